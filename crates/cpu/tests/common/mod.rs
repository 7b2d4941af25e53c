//! Networks and pictures for the checks, and the loss.

mod gradient;

use inception_graph::{Graph, NodeId, Role, Weights, stream};
use inception_kernels::reference::cross_entropy;
use rand::RngExt;

pub(crate) use gradient::gradient;
pub(crate) use inception_cpu::reference::{Mode, RANDOM, forward, in_f64};

/// Factor of the loss of an auxiliary head.
pub(crate) const AUX_WEIGHT: f32 = 0.375;

/// The nodes that have a loss, and its factor: the output `logits`, and an auxiliary head's.
pub(crate) fn answers(graph: &Graph) -> Vec<(NodeId, f64)> {
    let head = graph.aux_logits().map(|id| (id, f64::from(AUX_WEIGHT)));
    std::iter::once((graph.output("logits").expect("has a classifier"), 1.0)).chain(head).collect()
}

/// Mean cross-entropy of the output `logits`, and that of an auxiliary head in its share.
pub(crate) fn loss(graph: &Graph, values: &[Vec<f64>], labels: &[u32], smoothing: f64) -> f64 {
    let part = |(id, factor): (NodeId, f64)| factor * cross_entropy(&values[id.0], labels, smoothing).0;
    answers(graph).into_iter().map(part).sum()
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
/// The last kernels of Inception-v3's auxiliary head, which start so small that its gradients drown in rounding, are larger.
///
/// With every second value cut off, as at the start, the plain networks amplify: rounding to `f32` changes Inception-v4's
/// gradients by a tenth. With none cut off, what β adds would be taken out by the next batch norm, and β have no gradient.
pub(crate) fn mostly_open(graph: &Graph, seed: u64) -> Weights {
    let mut weights = Weights::init(graph, seed);
    let random = &mut stream(&[seed, 77]);
    for i in 0..weights.params().len() {
        let (role, name) = (weights.params()[i].role, weights.params()[i].name.clone());
        let larger = match name.as_str() {
            "aux_logits/conv_2a/weight" => 20.0,
            "aux_logits/weight" => 200.0,
            _ => 1.0,
        };
        let larger = if graph.spec().net.starts_with("inception_v3") { larger } else { 1.0 };
        for v in weights.get_mut(i) {
            match role {
                Role::Weight => *v *= larger,
                Role::Gamma => *v = random.random_range(0.28..0.52),
                Role::Beta => *v = random.random_range(-0.2..1.0),
                Role::Bias => *v = random.random_range(-0.2..0.2),
                Role::Mean | Role::Variance => {}
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
