//! Networks and pictures for the checks, and the loss.

mod gradient;

use inception_graph::{Graph, Role, Weights, stream};
use inception_kernels::reference::cross_entropy;
use rand::RngExt;

pub(crate) use gradient::gradient;
pub(crate) use inception_cpu::reference::{Mode, RANDOM, forward, in_f64};

/// Mean cross-entropy of the output `logits`.
pub(crate) fn loss(graph: &Graph, values: &[Vec<f64>], labels: &[u32], smoothing: f64) -> f64 {
    cross_entropy(&values[graph.output("logits").expect("has a classifier").0], labels, smoothing).0
}

/// Weights like those of a trained network: statistics and biases away from their initial values.
pub(crate) fn lived_in(graph: &Graph, seed: u64) -> Weights {
    let mut weights = Weights::init(graph, seed);
    let random = &mut stream(&[seed, 77]);
    for i in 0..weights.params().len() {
        let role = weights.params()[i].role;
        for v in weights.get_mut(i) {
            *v += match role {
                Role::Weight => 0.0,
                Role::Bias | Role::Beta | Role::Mean => random.random_range(-0.2..0.2),
                Role::Gamma | Role::Variance => random.random_range(-0.3..0.3),
            };
        }
    }
    weights
}

/// Weights at which gradients can be compared: ReLUs let three values in four through, β being one standard deviation of
/// what batch norm has centred, on the average.
///
/// With every second value cut off, as at the start, the plain networks amplify: rounding to `f32` changes Inception-v4's
/// gradients by a tenth. With none cut off, what β adds would be taken out by the next batch norm, and β have no gradient.
pub(crate) fn mostly_open(graph: &Graph, seed: u64) -> Weights {
    let mut weights = Weights::init(graph, seed);
    let random = &mut stream(&[seed, 77]);
    for i in 0..weights.params().len() {
        let role = weights.params()[i].role;
        for v in weights.get_mut(i) {
            match role {
                Role::Gamma => *v = random.random_range(0.28..0.52),
                Role::Beta => *v = random.random_range(-0.2..1.0),
                Role::Bias => *v = random.random_range(-0.2..0.2),
                Role::Weight | Role::Mean | Role::Variance => {}
            }
        }
    }
    weights
}

/// `n` pictures of side `side` from −1 to 1, smooth enough to be pictures.
pub(crate) fn pictures(n: usize, side: usize, seed: u64) -> Vec<f32> {
    let random = &mut stream(&[seed, 3]);
    let waves: Vec<[f32; 4]> =
        (0..n * 3).map(|_| std::array::from_fn(|_| random.random_range(0.5..6.0f32))).collect();
    let mut values = Vec::with_capacity(n * side * side * 3);
    for i in 0..n {
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            for [a, b, c, d] in &waves[i * 3..i * 3 + 3] {
                let (u, v) = (x as f32 / side as f32, y as f32 / side as f32);
                let wave = (a * u * 6.0 + c).sin() * (b * v * 6.0 + d).cos();
                values.push(0.8 * wave + random.random_range(-0.15..0.15f32));
            }
        }
    }
    values
}
