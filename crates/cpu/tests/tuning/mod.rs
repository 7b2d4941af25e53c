//! Networks of which parts learn, at rates of their own, with norms that are fixed or measured anew.

use std::convert::Infallible;

use crate::common::{RANDOM, lived_in, pictures};
use inception_cpu::{
    Device, Keep, Learning, Optimizer, Phase, Precision, StepOptions, TrainNeeds, Trainer, Wire,
};
use inception_graph::{Graph, Role, Weights};

use crate::small;

fn options() -> StepOptions {
    StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
        lr: 0.5,
        weight_decay: 0.0,
        clip_grad: None,
        label_smoothing: 0.1,
        aux_weight: 0.0,
        bn_decay: 0.9,
        ema_decay: Some(0.9),
        random: RANDOM,
        micro_batch: None,
        sync_norm: false,
        wire: Wire::F32,
    }
}

fn trainer(graph: &Graph, weights: &Weights) -> Trainer {
    let device = Device::new(Some(2)).expect("a device");
    Trainer::with(graph, weights.clone(), &Device { precision: Precision::Exact, ..device }, Keep::default())
}

/// Of which parameters the values of `a` and `b` differ.
fn moved<'a>(a: &'a Weights, b: &Weights) -> Vec<&'a str> {
    let differs = |&i: &usize| a.get(i) != b.get(i);
    (0..a.params().len()).filter(differs).map(|i| a.params()[i].name.as_str()).collect()
}

/// All layers whose names start with `prefix` are frozen.
fn frozen(graph: &Graph, prefix: &str) -> Learning {
    let mut learning = Learning::all(graph);
    let named = |id: inception_graph::NodeId| graph.node(id).name.starts_with(prefix);
    for (param, rate) in graph.params().iter().zip(&mut learning.rates) {
        *rate = if named(param.node) { 0.0 } else { 1.0 };
    }
    graph.ids().zip(&mut learning.fixed_norms).for_each(|(id, fixed)| *fixed = named(id));
    learning
}

#[test]
fn a_head_learns_alone_and_as_in_the_whole_network() {
    for net in ["inception_v4", "inception_resnet_v2"] {
        let graph = small(net);
        let (weights, pixels) = (lived_in(&graph, 1), pictures(3, 75, 2));
        let mut learning = Learning::all(&graph);
        for (param, rate) in graph.params().iter().zip(&mut learning.rates) {
            *rate = f32::from(u8::from(param.name.starts_with("logits/")));
        }
        let [mut whole, mut head] = [trainer(&graph, &weights), trainer(&graph, &weights)];
        head.set_learning(learning);
        whole.step(&pixels, &[0, 1, 2], &options()).expect("finite");
        head.step(&pixels, &[0, 1, 2], &options()).expect("finite");
        let statistic = |name: &str| name.ends_with("/mean") || name.ends_with("/variance");
        let trained: Vec<_> = moved(&weights, head.weights()).into_iter().filter(|n| !statistic(n)).collect();
        assert_eq!(trained, ["logits/weight", "logits/bias"]);
        for name in trained {
            let i = weights.index(name).expect("exists");
            assert_eq!(head.weights().get(i), whole.weights().get(i), "{net} {name}");
        }
        let times = head.times();
        let busy = times.nodes.iter().filter(|phases| !phases[Phase::GradWeight as usize].is_zero());
        assert_eq!(busy.count(), 1, "no gradient in front of all that learns");
    }
}

#[test]
fn frozen_layers_stay_as_they_are_to_the_last_bit() {
    let graph = small("inception_resnet_v1");
    let weights = lived_in(&graph, 3);
    let mut trainer = trainer(&graph, &weights);
    trainer.set_learning(frozen(&graph, "block35"));
    for step in 0..3 {
        let options = StepOptions { weight_decay: 0.1, random: [1, step], ..options() };
        trainer.step(&pictures(3, 75, step), &[0, 1, 2], &options).expect("finite");
    }
    let moved = moved(&weights, trainer.weights());
    assert!(!moved.iter().any(|name| name.starts_with("block35")), "{moved:?}");
    let others = weights.params().iter().filter(|param| !param.name.starts_with("block35")).count();
    assert_eq!(moved.len(), others, "all others move, those in front of it, too");
}

#[test]
fn rates_scale_the_step() {
    let graph = small("inception_v3");
    let (weights, pixels) = (lived_in(&graph, 4), pictures(2, 75, 5));
    let mut learning = Learning::all(&graph);
    let i = weights.index("logits/weight").expect("exists");
    learning.rates[i] = 0.25;
    let [mut whole, mut slower] = [trainer(&graph, &weights), trainer(&graph, &weights)];
    slower.set_learning(learning);
    whole.step(&pixels, &[0, 1], &options()).expect("finite");
    slower.step(&pixels, &[0, 1], &options()).expect("finite");
    let old = weights.get(i).iter();
    for ((old, fast), slow) in old.zip(whole.weights().get(i)).zip(slower.weights().get(i)) {
        assert!(((slow - old) - 0.25 * (fast - old)).abs() < 1e-6, "{old} {fast} {slow}");
    }
}

/// With fixed norms the loss of a picture does not depend on its neighbours, and the gradient is that of this loss: along its own
/// direction the loss falls as fast as its norm says.
#[test]
fn fixed_norms_have_the_gradient_of_their_loss() {
    for net in ["inception_v3", "inception_resnet_v2"] {
        let graph = small(net);
        let (weights, pixels) = (lived_in(&graph, 6), pictures(4, 75, 7));
        let fixed = Learning { fixed_norms: vec![true; graph.nodes().len()], ..Learning::all(&graph) };
        // No step, so that trainers can be asked for losses.
        let still = StepOptions { lr: 0.0, ..options() };
        let ask = |weights: &Weights| {
            let mut trainer = trainer(&graph, weights);
            trainer.set_learning(fixed.clone());
            let loss = trainer.step(&pixels, &[0, 1, 2, 3], &still).expect("finite").loss;
            (f64::from(loss), trainer.gradient().data.clone(), trainer.weights().data.clone())
        };
        let (_, gradient, after) = ask(&weights);
        assert_eq!(after, weights.data, "statistics stay as they are");
        let square: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
        // So far that the loss moves by a hundredth.
        let step = 0.01 / square;
        let moved = |sign: f64| {
            let along = |(w, g): (&f32, &f32)| (f64::from(*w) + sign * step * f64::from(*g)) as f32;
            let mut there = weights.clone();
            there.data = weights.data.iter().zip(&gradient).map(along).collect();
            ask(&there).0
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        assert!((slope / square - 1.0).abs() < 0.02, "{net}: {slope} and {square}");
    }
}

#[test]
fn statistics_measured_anew_are_those_of_the_pictures() {
    let graph = small("inception_v4");
    let weights = lived_in(&graph, 8);
    let pixels = pictures(6, 75, 9);
    let recalibrated = |parts: &[&[f32]]| {
        let mut trainer = trainer(&graph, &weights);
        trainer.step(&pixels, &[0; 6], &StepOptions { lr: 0.0, ..options() }).expect("finite");
        let before = trainer.weights().data.clone();
        let mut batches = parts.iter().map(|part| Ok::<_, Infallible>(part.to_vec()));
        let Ok(()) = trainer.recalibrate(&mut batches, None);
        assert_eq!(trainer.weights().data, before, "the weights in training are not touched");
        trainer.average().expect("kept").clone()
    };
    let whole = recalibrated(&[&pixels]);
    for (i, param) in whole.params().iter().enumerate() {
        let statistic = matches!(param.role, Role::Mean | Role::Variance);
        let same = whole.get(i) == weights.get(i);
        assert_eq!(same, !statistic, "{}", param.name);
    }
    // The first layer sees the same values however the pictures are dealt out.
    let parts = recalibrated(&[&pixels[..2 * 75 * 75 * 3], &pixels[2 * 75 * 75 * 3..]]);
    for name in ["conv_1a/mean", "conv_1a/variance"] {
        let i = whole.index(name).expect("exists");
        for (a, b) in whole.get(i).iter().zip(parts.get(i)) {
            assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{name}: {a} and {b}");
        }
    }
    // One batch in training mode is what the network now computes in evaluation: the statistics of another pass are the same.
    let mut again = trainer(&graph, &whole);
    let Ok(()) = again.recalibrate(&mut std::iter::once(Ok::<_, Infallible>(pixels.clone())), None);
    for (a, b) in again.weights().data.iter().zip(&whole.data) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} and {b}");
    }
}

/// An error in the middle changes nothing.
#[test]
fn pictures_that_cannot_be_read_leave_the_statistics() {
    let graph = small("inception_v3");
    let weights = lived_in(&graph, 10);
    let mut trainer = trainer(&graph, &weights);
    let mut batches = [Ok(pictures(2, 75, 1)), Err("broken")].into_iter();
    assert_eq!(trainer.recalibrate(&mut batches, None), Err("broken"));
    assert_eq!(trainer.weights().data, weights.data);
}

/// A head alone needs no memory for the gradients of all else.
#[test]
fn a_head_needs_less_memory() {
    let graph = small("inception_v4");
    let device = Device::new(Some(2)).expect("a device");
    let needs =
        |learning: &Learning| TrainNeeds::learning(&graph, &device, 8, Keep::default(), learning).step_bytes;
    let all = needs(&Learning::all(&graph));
    let mut head = Learning::all(&graph);
    for (param, rate) in graph.params().iter().zip(&mut head.rates) {
        *rate = f32::from(u8::from(param.name.starts_with("logits/")));
    }
    assert!(3 * needs(&head) < 2 * all, "{} of {all}", needs(&head));
}
