//! Whole networks against a naive `f64` executor: logits, the loss, every gradient. The executor's gradients are held
//! against finite differences of its loss.

mod auxiliary;
mod common;
mod tuning;

use std::num::NonZeroUsize;

use common::{Mode, RANDOM, in_f64, lived_in, mostly_open, pictures};
use inception_cpu::{
    Device, Keep, Model, Optimizer, Precision, Scratch, StepError, StepOptions, StepReport, Trainer, Wire,
};
use inception_graph::{Graph, NETWORKS, Spec, Weights, build, stream};
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
        aux_weight: common::AUX_WEIGHT,
        bn_decay: 0.9,
        ema_decay: None,
        random: RANDOM,
        micro_batch: None,
        sync_norm: false,
        wire: Wire::F32,
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

/// A network, its weights and a batch; in `f64` the loss as a function of the weights, and its gradient.
struct Bench {
    graph: Graph,
    weights: Weights,
    pixels: Vec<f32>,
    labels: Vec<u32>,
}

impl Bench {
    fn new(net: &str, width: f64, pictures: usize) -> Self {
        Self::seeded(net, width, pictures, 3)
    }

    fn seeded(net: &str, width: f64, pictures: usize, seed: u64) -> Self {
        Self::of(&Spec::new(net).img_size(75).width(width).classes(5), pictures, seed)
    }

    fn of(spec: &Spec, pictures: usize, seed: u64) -> Self {
        let graph = build(spec).expect("a valid network");
        let labels = [0, 3, 1, 4, 2].into_iter().cycle().take(pictures).collect();
        let pixels = common::pictures(pictures, graph.img_size(), seed + 1);
        Bench { weights: mostly_open(&graph, seed), pixels, labels, graph }
    }

    fn values(&self, params: &[Vec<f64>]) -> Vec<Vec<f64>> {
        common::forward(&self.graph, params, &self.pixels, self.labels.len(), Mode::Training { before: 0 })
    }

    fn loss(&self, values: &[Vec<f64>]) -> f64 {
        common::loss(&self.graph, values, &self.labels, 0.1)
    }

    /// Loss and gradient in `f64`.
    fn expected(&self) -> (f64, Vec<Vec<f64>>) {
        let params = in_f64(&self.weights);
        let values = self.values(&params);
        (self.loss(&values), common::gradient(&self.graph, &params, &values, &self.labels, 0.1, 0))
    }

    /// Loss and gradient of the trainer.
    fn trained(&self, precision: Precision) -> (f64, Vec<Vec<f64>>) {
        let device = Device { precision, ..device(2) };
        let mut trainer = Trainer::new(&self.graph, self.weights.clone(), &device);
        let report = trainer.step(&self.pixels, &self.labels, &options()).expect("finite");
        (f64::from(report.loss), in_f64(trainer.gradient()))
    }

    /// Slope of the loss along `direction`, a unit vector, by central differences.
    fn slope(&self, direction: &[Vec<f64>]) -> f64 {
        let moved = |by: f64| {
            let tensors = in_f64(&self.weights).into_iter().zip(direction);
            let params: Vec<Vec<f64>> =
                tensors.map(|(w, d)| w.iter().zip(d).map(|(w, d)| w + by * d).collect()).collect();
            self.loss(&self.values(&params))
        };
        let step = 1e-6;
        (moved(step) - moved(-step)) / (2.0 * step)
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Along directions that have some of every tensor's gradient and some across it, all adding the same to the slope: the
/// largest network has 700, so an error of 1e-4 in one of them shows.
#[test]
fn the_reference_gradient_matches_finite_differences() {
    NETWORKS.iter().for_each(|net| assert_slopes(net.name, &Bench::new(net.name, 0.06, 4)));
}

/// In two such directions the loss rises as the reference's gradient says.
fn assert_slopes(what: &str, bench: &Bench) {
    let (_, gradient) = bench.expected();
    for seed in 0..2 {
        let random = &mut stream(&[seed]);
        let part = |g: &Vec<f64>| -> Vec<f64> {
            let (size, len) = (norm(g), (g.len() as f64).sqrt());
            // What is not trainable, and a bias that a batch norm takes out.
            let still = size < 1e-12;
            let mut across = || random.random_range(-1.7..1.7) / len;
            g.iter().map(|g| if still { 0.0 } else { (g / size + across()) / size }).collect()
        };
        let mut direction: Vec<Vec<f64>> = gradient.iter().map(part).collect();
        let length = norm(&direction.concat());
        direction.iter_mut().flatten().for_each(|d| *d /= length);
        let along: f64 = direction.concat().iter().zip(gradient.concat()).map(|(a, b)| a * b).sum();
        let slope = bench.slope(&direction);
        assert!((along / slope - 1.0).abs() < 1e-7, "{what}: {along} instead of {slope}");
    }
}

/// The largest error of a gradient over its size, and whose: tensor by tensor, so that a wrong gradient cannot hide among
/// right ones. One that is less than a thousandth of the largest may err as if it were that large.
fn worst_gradient(net: &str, graph: &Graph, gradient: &[Vec<f64>], expected: &[Vec<f64>]) -> (f64, String) {
    let largest = expected.iter().map(|e| norm(e)).fold(0.0, f64::max);
    let (mut without, mut worst) = (Vec::new(), (0.0, String::new()));
    for ((g, e), p) in gradient.iter().zip(expected).zip(graph.params()) {
        if p.role.trainable() && norm(e) < 1e-9 * largest {
            without.push(p.name.clone());
        }
        let difference: Vec<f64> = g.iter().zip(e).map(|(g, e)| g - e).collect();
        let error = norm(&difference) / norm(e).max(1e-3 * largest);
        if error.is_nan() || error > worst.0 {
            worst = (error, p.name.clone());
        }
    }
    // The last block has no ReLU, and the batch norm behind it takes out what the bias adds.
    let none: &[&str] = if net == "inception_resnet_v2.slim" { &["block8_10/up/bias"] } else { &[] };
    assert_eq!(without, none, "{net}: parameters without a gradient");
    worst
}

/// The first of some instances whose gradients are within `bound`. A ReLU so near to its kink that it opens in `f32` alone
/// changes gradients by 1e-3 and more, as does a maximum that moves, and which instance has one depends on the last digits;
/// a gradient that is wrong is wrong in all of them.
fn assert_some(what: &str, bound: f64, instance: impl Fn(u64) -> (f64, String)) {
    let found: Vec<(f64, String)> = (1..=INSTANCES)
        .map(instance)
        .scan(false, |done, worst| {
            let now = *done;
            *done |= worst.0 <= bound;
            (!now).then_some(worst)
        })
        .collect();
    let within = found.last().is_some_and(|(worst, _)| *worst <= bound);
    assert!(within, "{what}: gradients are off by more than {bound} of themselves: {found:?}");
}

/// Half of them have no such ReLU.
const INSTANCES: u64 = 12;

/// Sums of products alone keep every gradient within 1e-4 of itself. Winograd's and Strassen's round more, and plain
/// networks amplify what their forward pass rounds: 5e-4, the residual ones within 1e-4 as well.
#[test]
fn every_gradient_of_every_network_matches_f64() {
    for net in NETWORKS {
        let residual = net.name.starts_with("inception_resnet");
        let bounds = [(Precision::Exact, 1e-4), (Precision::Default, if residual { 1e-4 } else { 5e-4 })];
        for (precision, bound) in bounds {
            assert_some(&format!("{} {precision:?}", net.name), bound, |seed| {
                let bench = Bench::seeded(net.name, 0.25, 8, seed);
                let ((loss, gradient), (expected_loss, expected)) =
                    (bench.trained(precision), bench.expected());
                let error = (loss / expected_loss - 1.0).abs();
                assert!(error < bound / 5.0, "{}: loss {loss} instead of {expected_loss}", net.name);
                worst_gradient(net.name, &bench.graph, &gradient, &expected)
            });
        }
    }
}

#[test]
fn training_has_the_same_bits_on_any_number_of_threads_and_in_every_run() {
    for net in ["inception_resnet_v1", "inception_v4"] {
        let graph = small(net);
        let one = trained(&graph, Keep::Outputs, 1, 0, 50);
        assert!(one == trained(&graph, Keep::Outputs, 2, 0, 50), "{net}: two threads");
        assert!(one == trained(&graph, Keep::Outputs, 2, 0, 50), "{net}: once more");
    }
}

/// Some steps: the bits of weights, statistics and average, and the report of the last step.
fn trained(
    graph: &Graph,
    keep: Keep,
    threads: usize,
    micro_batch: usize,
    steps: u64,
) -> (Vec<u32>, StepReport) {
    let mut trainer = Trainer::with(graph, Weights::init(graph, 1), &device(threads), keep);
    let mut report = None;
    for step in 0..steps {
        let micro_batch = NonZeroUsize::new(micro_batch);
        let options =
            StepOptions { lr: 0.01, random: [1, step], ema_decay: Some(0.5), micro_batch, ..options() };
        let (labels, side) = ([0, 1, 2, 3, 4, 0], graph.img_size());
        report = Some(trainer.step(&pictures(6, side, step), &labels, &options).expect("finite"));
    }
    let average = &trainer.average().expect("kept").data;
    let bits = trainer.weights().data.iter().chain(average).map(|v| v.to_bits()).collect();
    (bits, report.expect("a step"))
}

#[test]
fn what_is_kept_for_the_gradient_changes_no_bit() {
    for net in NETWORKS.iter().filter(|net| net.classes > 0) {
        let graph = small(net.name);
        for micro_batch in [0, 4] {
            let [kept, again] =
                [Keep::Outputs, Keep::Checkpoints].map(|keep| trained(&graph, keep, 3, micro_batch, 3));
            assert!(kept == again, "{} in groups of {micro_batch}", net.name);
        }
    }
}

/// Each group has batch norm's statistics of its own, as if it were a batch; loss, gradient and the statistics that the
/// running ones follow are means over all pictures.
#[test]
fn gradients_of_groups_add_up_to_that_of_the_batch() {
    for net in ["inception_resnet_v1", "inception_resnet_v2"] {
        assert_some(net, 1e-4, |seed| groups(net, seed));
    }
}

/// The worst gradient of groups of 12 and 8 pictures, whose loss and statistics are right.
fn groups(net: &str, seed: u64) -> (f64, String) {
    let bench = Bench::seeded(net, 0.25, 20, seed);
    let Bench { graph, weights, pixels, labels } = &bench;
    let mut trainer =
        Trainer::new(graph, weights.clone(), &Device { precision: Precision::Exact, ..device(2) });
    let options = StepOptions { lr: 0.0, bn_decay: 0.0, micro_batch: NonZeroUsize::new(12), ..options() };
    let report = trainer.step(pixels, labels, &options).expect("finite");
    let (params, picture) = (in_f64(weights), pixels.len() / labels.len());
    let (mut loss, mut statistics) = (0.0, [0.0; 2]);
    let mut gradient = in_f64(&weights.zeros_like());
    for (i, (pixels, labels)) in pixels.chunks(12 * picture).zip(labels.chunks(12)).enumerate() {
        let mode = Mode::Training { before: 12 * i };
        let share = labels.len() as f64 / bench.labels.len() as f64;
        let values = common::forward(graph, &params, pixels, labels.len(), mode);
        loss += share * common::loss(graph, &values, labels, 0.1);
        let group = common::gradient(graph, &params, &values, labels, 0.1, 12 * i);
        for (sum, g) in gradient.iter_mut().flatten().zip(group.concat()) {
            *sum += share * g;
        }
        let [mean, variance] = first_statistics(graph, &params, pixels, labels.len());
        statistics = [statistics[0] + share * mean, statistics[1] + share * variance];
    }
    assert!((f64::from(report.loss) / loss - 1.0).abs() < 1e-5, "{net}: {} instead of {loss}", report.loss);
    for (name, expected) in ["conv_1a/mean", "conv_1a/variance"].into_iter().zip(statistics) {
        let found = f64::from(trainer.weights().get(weights.index(name).expect("exists"))[0]);
        assert!((found - expected).abs() < 1e-5, "{net}: {name} {found} instead of {expected}");
    }
    worst_gradient(net, graph, &in_f64(trainer.gradient()), &gradient)
}

/// Batch mean and variance of the first channel of the first convolution, which sees the pictures themselves.
fn first_statistics(graph: &Graph, params: &[Vec<f64>], pixels: &[f32], n: usize) -> [f64; 2] {
    let conv = graph.find("conv_1a").expect("exists");
    let shape = graph.node(conv).shape;
    let (side, width) = (graph.img_size(), shape.c);
    let kernel = &params[graph.params().iter().position(|p| p.name == "conv_1a/weight").expect("exists")];
    let mut sums = Vec::new();
    for i in 0..n {
        for (oy, ox) in (0..shape.h).flat_map(|y| (0..shape.w).map(move |x| (y, x))) {
            let tap = |k: usize| {
                let (ky, kx, c) = (k / 9, k / 3 % 3, k % 3);
                let v = pixels[((i * side + oy * 2 + ky) * side + ox * 2 + kx) * 3 + c];
                f64::from(v) * kernel[k * width]
            };
            sums.push((0..27).map(tap).sum::<f64>());
        }
    }
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    [mean, sums.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / sums.len() as f64]
}

#[test]
fn running_statistics_and_the_average_follow() {
    let graph = small("inception_v4");
    let weights = lived_in(&graph, 5);
    let pixels = pictures(4, 75, 6);
    let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
    let options = StepOptions { ema_decay: Some(0.75), bn_decay: 0.8, ..options() };
    trainer.step(&pixels, &[0, 1, 2, 3], &options).expect("finite");
    let batch = first_statistics(&graph, &in_f64(&weights), &pixels, 4);
    for (name, batch) in ["conv_1a/mean", "conv_1a/variance"].into_iter().zip(batch) {
        let i = weights.index(name).expect("exists");
        let expected = 0.8 * f64::from(weights.get(i)[0]) + 0.2 * batch;
        let found = f64::from(trainer.weights().get(i)[0]);
        assert!((found - expected).abs() < 1e-5, "{name}: {found} instead of {expected}");
    }
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
