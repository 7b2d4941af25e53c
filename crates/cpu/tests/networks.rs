//! Whole networks against a naive `f64` executor: every node's numbers, the loss, gradients by finite differences.

mod common;

use common::{Mode, RANDOM, in_f64, lived_in, pictures};
use inception_cpu::{Device, Model, Optimizer, Precision, Scratch, StepError, StepOptions, Trainer};
use inception_graph::{Graph, NETWORKS, Param, Spec, Weights, build, stream};
use rand::RngExt;

/// Every network, small: at 8 channels a convolution and more, on the smallest pictures.
fn small(net: &str) -> Graph {
    build(&Spec::new(net).img_size(75).width(0.06).classes(5)).expect("a valid network")
}

fn options() -> StepOptions {
    StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false },
        lr: 0.05,
        weight_decay: 0.0,
        clip_grad: None,
        label_smoothing: 0.1,
        bn_decay: 0.9,
        ema_decay: None,
        random: RANDOM,
        micro_batch: None,
    }
}

fn device(threads: usize) -> Device {
    Device::new(Some(threads)).expect("a device")
}

#[test]
fn logits_match_the_reference() {
    for net in NETWORKS {
        let graph = small(net.name);
        let (weights, pixels) = (lived_in(&graph, 1), pictures(3, 75, 2));
        let values = common::forward(&graph, &in_f64(&weights), &pixels, 3, Mode::Inference);
        let model = Model::new(&graph, &weights, &device(2));
        for (name, id) in graph.outputs() {
            let actual = model.run(&pixels, name, &mut Scratch::default()).expect("an output");
            let expected = &values[id.0];
            let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert_eq!(actual.len(), expected.len());
            for (a, e) in actual.iter().zip(expected) {
                assert!((f64::from(*a) - e).abs() < 2e-5 * scale, "{} {name}: {a} instead of {e}", net.name);
            }
        }
    }
}

/// At a size at which most convolutions are Winograd's: other roundings, the same answer.
#[test]
fn precision_changes_the_last_digits_alone() {
    for net in ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2"] {
        let graph = build(&Spec::new(net).img_size(149).width(0.25).classes(50)).expect("a valid network");
        let (weights, pixels) = (lived_in(&graph, 1), pictures(2, 149, 2));
        let run = |precision: Precision| {
            let device = Device { precision, ..device(2) };
            let logits =
                Model::new(&graph, &weights, &device).run(&pixels, "logits", &mut Scratch::default());
            logits.expect("logits")
        };
        let (exact, default) = (run(Precision::Exact), run(Precision::Default));
        assert_ne!(exact, default, "{net}: other algorithms");
        let n = exact.len() as f32;
        let mean = exact.iter().sum::<f32>() / n;
        let deviation = (exact.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
        let worst = exact.iter().zip(&default).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4 * deviation, "{net}: {worst} of {deviation}");
    }
}

#[test]
fn any_batch_and_any_number_of_threads_give_the_same_bits() {
    let graph = small("inception_resnet_v2");
    let (weights, pixels) = (lived_in(&graph, 1), pictures(5, 75, 2));
    let run = |threads: usize, batch: usize| {
        let model = Model::new(&graph, &weights, &device(threads));
        let mut scratch = Scratch::default();
        let batches = pixels.chunks(batch * 75 * 75 * 3);
        batches.flat_map(|p| model.run(p, "logits", &mut scratch).expect("logits")).collect::<Vec<f32>>()
    };
    let one = run(1, 5);
    assert_eq!(one, run(3, 5));
    assert_eq!(one, run(2, 1));
    assert_eq!(one, run(1, 2));
}

#[test]
fn weights_that_leave_as_they_are_packed_give_the_same_bits() {
    for net in NETWORKS {
        let graph = small(net.name);
        let (weights, pixels) = (lived_in(&graph, 1), pictures(1, 75, 2));
        let run = |model: Model| model.run(&pixels, &graph.outputs()[0].0, &mut Scratch::default());
        let kept = run(Model::new(&graph, &weights, &device(2)));
        assert_eq!(run(Model::consuming(&graph, weights, &device(2))), kept, "{}", net.name);
    }
}

/// A network, its weights and a batch, and the loss in `f64` as a function of the weights.
struct Bench {
    graph: Graph,
    weights: Weights,
    pixels: Vec<f32>,
    labels: Vec<u32>,
}

impl Bench {
    fn new(net: &str, pictures: usize) -> Self {
        let graph = small(net);
        let labels = [0, 3, 1, 4, 2].into_iter().cycle().take(pictures).collect();
        Bench { weights: lived_in(&graph, 3), pixels: common::pictures(pictures, 75, 4), labels, graph }
    }

    fn loss(&self, params: &[Vec<f64>]) -> f64 {
        let values = common::forward(&self.graph, params, &self.pixels, self.labels.len(), Mode::Training);
        common::loss(&self.graph, &values, &self.labels, 0.1)
    }

    /// Slope of the loss along `direction` by central differences.
    fn slope(&self, direction: &[Vec<f64>]) -> f64 {
        let norm = direction.iter().flatten().map(|d| d * d).sum::<f64>().sqrt();
        let step = 1e-7 / norm;
        let moved = |by: f64| -> Vec<Vec<f64>> {
            let tensors = in_f64(&self.weights).into_iter().zip(direction);
            tensors.map(|(w, d)| w.iter().zip(d).map(|(w, d)| w + by * d).collect()).collect()
        };
        (self.loss(&moved(step)) - self.loss(&moved(-step))) / (2.0 * step)
    }

    fn trained(&self) -> (f64, Vec<Vec<f64>>) {
        let mut trainer = Trainer::new(&self.graph, self.weights.clone(), &device(2));
        let report = trainer.step(&self.pixels, &self.labels, &options()).expect("finite");
        (f64::from(report.loss), in_f64(trainer.gradient()))
    }

    /// Along the gradient and across it, in the parameters that `counts` accepts.
    fn direction(&self, gradient: &[Vec<f64>], seed: u64, counts: impl Fn(&Param) -> bool) -> Vec<Vec<f64>> {
        let random = &mut stream(&[seed]);
        let tensors = gradient.iter().zip(self.weights.params());
        tensors
            .map(|(g, p)| {
                let size = (g.iter().map(|v| v * v).sum::<f64>() / g.len() as f64).sqrt();
                let counts = counts(p) && p.role.trainable();
                g.iter()
                    .map(|g| if counts { g + size * random.random_range(-1.0..1.0) } else { 0.0 })
                    .collect()
            })
            .collect()
    }
}

fn dot(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
}

/// Narrow plain networks amplify: weights moved by 1e-7 of their size move Inception-v4's loss by 1e-4 of its own, and
/// so does rounding. The bounds below are some ten times that.
#[test]
fn loss_and_gradient_of_every_network_match_finite_differences() {
    for net in NETWORKS.iter().filter(|net| net.classes > 0) {
        let bench = Bench::new(net.name, 12);
        let (loss, gradient) = bench.trained();
        let expected = bench.loss(&in_f64(&bench.weights));
        assert!((loss - expected).abs() < 1e-3 * expected, "{}: loss {loss} instead of {expected}", net.name);
        let direction = bench.direction(&gradient, 8, |_| true);
        let (along, slope) = (dot(&direction, &gradient), bench.slope(&direction));
        assert!((along / slope - 1.0).abs() < 0.05, "{}: {along} instead of {slope}", net.name);
        for (g, p) in gradient.iter().zip(bench.weights.params()).filter(|(_, p)| p.role.trainable()) {
            assert!(g.iter().any(|v| *v != 0.0), "{}: {} gets no gradient", net.name, p.name);
        }
    }
}

/// Box by box, so that a wrong gradient cannot hide among right ones. The two networks have every operation.
#[test]
fn gradients_of_every_box_match_finite_differences() {
    for (net, tolerance) in [("inception_resnet_v1", 0.01), ("inception_v3", 0.03)] {
        let bench = Bench::new(net, 4);
        let (_, gradient) = bench.trained();
        for id in bench.graph.ids().filter(|&id| !bench.graph.node_params(id).is_empty()) {
            let direction = bench.direction(&gradient, id.0 as u64, |p| p.node == id);
            let (along, slope) = (dot(&direction, &gradient), bench.slope(&direction));
            let name = &bench.graph.node(id).name;
            assert!((along / slope - 1.0).abs() < tolerance, "{net} {name}: {along} instead of {slope}");
        }
    }
}

#[test]
fn training_has_the_same_bits_on_any_number_of_threads() {
    let graph = small("inception_resnet_v1");
    let run = |threads: usize| {
        let mut trainer = Trainer::new(&graph, Weights::init(&graph, 1), &device(threads));
        for step in 0..3 {
            let options = StepOptions { random: [1, step], ema_decay: Some(0.5), ..options() };
            trainer.step(&pictures(6, 75, step), &[0, 1, 2, 3, 4, 0], &options).expect("finite");
        }
        let average = trainer.average().expect("kept").data.clone();
        (trainer.weights().data.clone(), average)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(4));
}

#[test]
fn running_statistics_and_the_average_follow() {
    let graph = small("inception_v4");
    let weights = lived_in(&graph, 5);
    let pixels = pictures(4, 75, 6);
    let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
    let options = StepOptions { ema_decay: Some(0.75), bn_decay: 0.8, ..options() };
    trainer.step(&pixels, &[0, 1, 2, 3], &options).expect("finite");
    // The first convolution sees the pictures themselves, so its statistics are easily known.
    let values = common::forward(&graph, &in_f64(&weights), &pixels, 4, Mode::Training);
    assert!(values.iter().all(|v| !v.is_empty()));
    let mean = weights.index("conv_1a/mean").expect("exists");
    let kernel = weights.get(weights.index("conv_1a/weight").expect("exists"));
    let side = 75;
    let (mut sum, mut count) = (0.0f64, 0.0);
    for n in 0..4 {
        for (oy, ox) in (0..37).flat_map(|y| (0..37).map(move |x| (y, x))) {
            for k in 0..27 {
                let (ky, kx, c) = (k / 9, k / 3 % 3, k % 3);
                let v = pixels[((n * side + oy * 2 + ky) * side + ox * 2 + kx) * 3 + c];
                sum += f64::from(v) * f64::from(kernel[k * 8]);
            }
            count += 1.0;
        }
    }
    let expected = 0.8 * f64::from(weights.get(mean)[0]) + 0.2 * sum / count;
    assert!((f64::from(trainer.weights().get(mean)[0]) - expected).abs() < 1e-5);
    let average = trainer.average().expect("kept");
    let triples = average.data.iter().zip(&weights.data).zip(&trainer.weights().data);
    for ((a, old), new) in triples {
        let expected = 0.75 * old + 0.25 * new;
        assert!(
            (a - expected).abs() <= 1e-6 * old.abs().max(new.abs()).max(1.0),
            "{a} instead of {expected}"
        );
    }
}

/// Clipping keeps the direction: one step of plain SGD moves the weights by `lr · limit` in all.
#[test]
fn clipping_bounds_the_global_norm() {
    let graph = small("inception_v3");
    let weights = Weights::init(&graph, 1);
    let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
    let options = StepOptions { clip_grad: Some(1e-3), lr: 1.0, weight_decay: 1e-4, ..options() };
    let report = trainer.step(&pictures(2, 75, 1), &[0, 1], &options).expect("finite");
    assert!(report.grad_norm > 1e-3);
    let params = weights.params().iter().enumerate().filter(|(_, p)| p.role.trainable());
    let moved: f64 = params
        .flat_map(|(i, _)| weights.get(i).iter().zip(trainer.weights().get(i)))
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum();
    assert!((moved.sqrt() - 1e-3).abs() < 1e-5, "{}", moved.sqrt());
}

#[test]
fn numbers_that_are_not_finite_stop_the_step_and_change_nothing() {
    let graph = small("inception_resnet_v1");
    let mut weights = Weights::init(&graph, 1);
    let bad = weights.index("block17_2/b1/1/gamma").expect("exists");
    weights.get_mut(bad)[0] = f32::NAN;
    let before = weights.data.clone();
    let mut trainer = Trainer::new(&graph, weights, &device(2));
    let error = trainer.step(&pictures(2, 75, 1), &[0, 1], &options()).expect_err("not finite");
    assert_eq!(error, StepError::NotFinite { node: "block17_2/b1/1".into(), what: "activation" });
    let same = trainer.weights().data.iter().zip(&before).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "a refused step changed the weights");

    let error = trainer.step(&pictures(2, 75, 1), &[0, 5], &options()).expect_err("a label too large");
    assert_eq!(error.to_string(), "label 5 at position 1 of the batch, but the network has 5 classes");
}

/// Large maps are computed for a few pictures at a time, small ones for the whole batch, unless every node is looked at.
#[test]
fn a_batch_in_parts_has_the_same_bits() {
    let graph = build(&Spec::new("inception_resnet_v1").img_size(299).width(0.5).classes(7)).expect("valid");
    let (weights, pixels) = (lived_in(&graph, 1), pictures(6, 299, 2));
    let model = Model::new(&graph, &weights, &device(2));
    let (output, scratch) = (graph.output("logits").expect("an output"), &mut Scratch::default());
    let parts = model.activation_bytes(6);
    assert!(parts < 5 * model.activation_bytes(1), "{parts} bytes: all six pictures are held");
    let mut seen = Vec::new();
    model.run_and_see(&pixels, output, scratch, |id, view| {
        if id == output {
            seen = view.to_vec();
        }
    });
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(model.run(&pixels, "logits", scratch).expect("logits")), bits(seen));
}

#[test]
fn inference_shares_buffers() {
    let graph = build(&Spec::new("inception_v3")).expect("valid");
    let model = Model::new(&graph, &Weights::zeros(&graph), &device(1));
    let all: usize = graph.nodes().iter().map(|n| n.shape.len() * 4).sum();
    assert!(model.activation_bytes(1) < all / 4, "{} of {all}", model.activation_bytes(1));
}
