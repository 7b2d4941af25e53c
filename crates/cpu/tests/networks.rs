//! Whole networks against a naive `f64` executor: every node's numbers, the loss, gradients by finite differences.

mod common;

use common::{Mode, RANDOM, in_f64, lived_in, pictures};
use inception_cpu::{Device, Model, Optimizer, Scratch, StepError, StepOptions, Trainer};
use inception_graph::{Graph, NETWORKS, Role, Spec, Weights, build, stream};
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

/// The gradient along random directions, against central differences of the loss in `f64`.
#[test]
fn gradients_match_finite_differences() {
    for net in NETWORKS {
        let graph = small(net.name);
        let (weights, pixels, labels) = (lived_in(&graph, 3), pictures(4, 75, 4), [0, 3, 1, 4]);
        let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
        let report = trainer.step(&pixels, &labels, &options()).expect("finite");
        let exact = in_f64(&weights);
        let loss_at = |moved: &[Vec<f64>]| {
            common::loss(&graph, &common::forward(&graph, moved, &pixels, 4, Mode::Training), &labels, 0.1)
        };
        let loss = loss_at(&exact);
        assert!((f64::from(report.loss) - loss).abs() < 1e-4 * loss, "{}: loss {} {loss}", net.name, report.loss);

        let gradient = in_f64(trainer.gradient());
        let random = &mut stream(&[8]);
        // Once along everything, then along each role by itself.
        let roles = [None, Some(Role::Weight), Some(Role::Gamma), Some(Role::Beta), Some(Role::Bias)];
        for role in roles {
            // Scaled by the gradient's size, so that every tensor has its say.
            let direction: Vec<Vec<f64>> = gradient
                .iter()
                .zip(weights.params())
                .map(|(g, p)| {
                    let counts = p.role.trainable() && role.is_none_or(|r| r == p.role);
                    let size = (g.iter().map(|v| v * v).sum::<f64>() / g.len() as f64).sqrt();
                    g.iter().map(|_| if counts { size * random.random_range(-1.0..1.0) } else { 0.0 }).collect()
                })
                .map(|d: Vec<f64>| d)
                .zip(&gradient)
                .map(|(d, g)| d.iter().zip(g).map(|(d, g)| d + 0.3 * g * f64::from(d.abs() > 0.0)).collect())
                .collect();
            let along: f64 = direction.iter().flatten().zip(gradient.iter().flatten()).map(|(d, g)| d * g).sum();
            let norm = direction.iter().flatten().map(|d| d * d).sum::<f64>().sqrt();
            let step = 1e-6 / norm;
            let moved = |by: f64| -> Vec<Vec<f64>> {
                let tensors = exact.iter().zip(&direction);
                tensors.map(|(w, d)| w.iter().zip(d).map(|(w, d)| w + by * d).collect()).collect()
            };
            let difference = (loss_at(&moved(step)) - loss_at(&moved(-step))) / (2.0 * step);
            let error = (along - difference).abs() / difference.abs().max(1e-12);
            assert!(error < 2e-3, "{} along {role:?}: {along} instead of {difference}", net.name);
        }
        for (g, p) in gradient.iter().zip(weights.params()).filter(|(_, p)| p.role.trainable()) {
            let dead = g.iter().all(|v| *v == 0.0);
            assert!(!dead, "{}: {} gets no gradient", net.name, p.name);
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
                let byte = pixels[((n * side + oy * 2 + ky) * side + ox * 2 + kx) * 3 + c];
                sum += (f64::from(byte) - 127.5) / 127.5 * f64::from(kernel[k * 8]);
            }
            count += 1.0;
        }
    }
    let expected = 0.8 * f64::from(weights.get(mean)[0]) + 0.2 * sum / count;
    assert!((f64::from(trainer.weights().get(mean)[0]) - expected).abs() < 1e-5);
    let average = trainer.average().expect("kept");
    let triples = average.data.iter().zip(&weights.data).zip(&trainer.weights().data);
    assert!(triples.into_iter().all(|((a, old), new)| (a - (0.75 * old + 0.25 * new)).abs() < 1e-6));
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

#[test]
fn inference_shares_buffers() {
    let graph = build(&Spec::new("inception_v3")).expect("valid");
    let model = Model::new(&graph, &Weights::zeros(&graph), &device(1));
    let all: usize = graph.nodes().iter().map(|n| n.shape.len() * 4).sum();
    assert!(model.activation_bytes(1) < all / 4, "{} of {all}", model.activation_bytes(1));
}
