//! Training with an auxiliary head: its loss, every gradient, and what it leaves as it is.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use inception_cpu::{
    Keep, Learning, Mixed, Optimizer, Precision, StepOptions, Targets, TrainNeeds, TrainState, Trainer,
};
use inception_graph::{Graph, NETWORKS, Role, Spec, Weights, build};

use super::common::{self, AUX_WEIGHT, Mode, in_f64, lived_in, pictures};
use super::{Bench, assert_slopes, assert_some, device, options, trained, worst_gradient};

/// Smallest pictures on which a head fits; its second convolution has one cell. The larger ones leave it 2×2.
const SIDE: usize = 107;
const LARGER: usize = 187;

/// The networks that have a head, with it.
fn with_heads(side: usize, width: f64) -> impl Iterator<Item = Spec> {
    let specs =
        NETWORKS.iter().map(move |net| Spec::new(net.name).img_size(side).width(width).classes(5).aux());
    specs.filter(|spec| build(spec).expect("valid").aux_logits().is_some())
}

fn small(net: &str) -> Graph {
    build(&Spec::new(net).img_size(SIDE).width(0.06).classes(5).aux()).expect("valid")
}

#[test]
fn the_reference_gradient_of_both_losses_matches_finite_differences() {
    assert_eq!(with_heads(SIDE, 0.06).count(), 5);
    with_heads(SIDE, 0.06).for_each(|spec| assert_slopes(&spec.net, &Bench::of(&spec, 4, 3)));
    let larger = with_heads(LARGER, 0.06).next().expect("there are some");
    assert_slopes("at 2×2", &Bench::of(&larger, 4, 3));
}

/// Of the head, and of everything in front of what it reads, where both losses' gradients add up.
#[test]
fn every_gradient_of_both_losses_matches_f64() {
    let papers = ["inception_v3", "inception_v4", "inception_resnet_v2"];
    for spec in with_heads(SIDE, 0.12).filter(|spec| papers.contains(&spec.net.as_str())) {
        assert_some(&format!("{} with its head", spec.net), 1e-4, |seed| {
            let bench = Bench::of(&spec, 8, seed);
            let ((loss, gradient), (expected_loss, expected)) =
                (bench.trained(Precision::Exact), bench.expected());
            let error = (loss / expected_loss - 1.0).abs();
            assert!(error < 2e-5, "{}: loss {loss} instead of {expected_loss}", spec.net);
            worst_gradient(&spec.net, &bench.graph, &gradient, &expected)
        });
    }
}

/// Mixed and weighted, in groups: cross-entropies of both logits of the `f64` executor, written out.
#[test]
fn the_loss_is_that_of_the_logits_and_the_heads_in_its_share() {
    for net in ["inception_v3", "inception_resnet_v2"] {
        let graph = small(net);
        let (weights, pixels, labels) = (lived_in(&graph, 1), pictures(5, SIDE, 2), [0, 3, 1, 4, 2]);
        let mixed = [(1, 0.25), (3, 0.0), (2, 0.5), (0, 0.125), (2, 1.0)];
        let mixed = mixed.map(|(label, share)| Mixed { label, share });
        let factors = [0.5f32, 2.0, 1.0, 0.25, 1.5];
        let targets = Targets { labels: &labels, mixed: &mixed, weights: &factors };
        let mut expected = [0.0; 2];
        for (group, before) in [(0..3, 0), (3..5, 3)] {
            let pixels = &pixels[group.start * SIDE * SIDE * 3..group.end * SIDE * SIDE * 3];
            let mode = Mode::Training { before };
            let values = common::forward(&graph, &in_f64(&weights), pixels, group.len(), mode);
            for (sum, (id, _)) in expected.iter_mut().zip(common::answers(&graph)) {
                for (row, i) in values[id.0].chunks(5).zip(group.clone()) {
                    let log_sum = row.iter().map(|v| v.exp()).sum::<f64>().ln();
                    let share = f64::from(mixed[i].share);
                    let mut target = [0.1 / 5.0; 5];
                    target[labels[i] as usize] += 0.9 * (1.0 - share);
                    target[mixed[i].label as usize] += 0.9 * share;
                    let entropy: f64 = target.iter().zip(row).map(|(t, v)| t * (log_sum - v)).sum();
                    *sum += f64::from(factors[i]) * entropy / 5.0;
                }
            }
        }
        for aux_weight in [0.0, 0.4] {
            let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
            let options = StepOptions { aux_weight, micro_batch: NonZeroUsize::new(3), ..options() };
            let loss = trainer.step_towards(&pixels, &targets, &options).expect("finite").loss;
            let expected = expected[0] + f64::from(aux_weight) * expected[1];
            assert!((f64::from(loss) / expected - 1.0).abs() < 2e-5, "{net}: {loss}, not {expected}");
        }
    }
}

/// With a share of nothing the network trains as without a head, to the last bit; with more it does not.
#[test]
fn a_head_that_counts_nothing_changes_no_bit_of_the_network() {
    for spec in with_heads(SIDE, 0.06) {
        let (with, net) = (build(&spec).expect("valid"), &spec.net);
        let without = with.without_aux();
        let run = |graph: &Graph, aux_weight: f32| {
            let mut trainer = Trainer::new(graph, Weights::init(graph, 1), &device(2));
            for step in 0..3 {
                let options = StepOptions { aux_weight, weight_decay: 1e-3, random: [1, step], ..options() };
                trainer.step(&pictures(4, SIDE, step), &[0, 1, 2, 3], &options).expect("finite");
            }
            trainer.weights().first_of(&without).data
        };
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let plain = bits(run(&without, 0.0));
        assert!(bits(run(&with, 0.0)) == plain, "{net}");
        assert!(bits(run(&without, AUX_WEIGHT)) == plain, "{net}: no head, no share");
        assert!(bits(run(&with, AUX_WEIGHT)) != plain, "{net}");
    }
}

#[test]
fn what_is_kept_and_the_number_of_threads_change_no_bit() {
    for spec in with_heads(SIDE, 0.06) {
        let (graph, net) = (build(&spec).expect("valid"), &spec.net);
        for micro_batch in [0, 4] {
            let kept = trained(&graph, Keep::Outputs, 1, micro_batch, 3);
            assert!(kept == trained(&graph, Keep::Checkpoints, 3, micro_batch, 3), "{net}, {micro_batch}");
        }
    }
    let graph = build(&Spec::new("inception_resnet_v2.slim").aux()).expect("valid");
    let needs = |keep| TrainNeeds::of(&graph, &device(2), 8, keep).step_bytes;
    let [all, few] = [Keep::Outputs, Keep::Checkpoints].map(needs);
    assert!(2 * few < all, "{few} bytes of {all}: checkpoints save as they do without a head");
}

/// A trainer that gets the state of another goes on as that one.
#[test]
fn a_state_holds_the_head() {
    let graph = small("inception_v4");
    let rule = Optimizer::RmsPropTf { decay: 0.9, momentum: 0.9, epsilon: 1.0 };
    let step = |trainer: &mut Trainer, i: u64| {
        let options = StepOptions { optimizer: rule, ema_decay: Some(0.5), random: [1, i], ..options() };
        trainer.step(&pictures(3, SIDE, i), &[0, 1, 2], &options).expect("finite");
    };
    let mut whole = Trainer::new(&graph, Weights::init(&graph, 1), &device(2));
    (0..2).for_each(|i| step(&mut whole, i));
    let mut later = Trainer::new(&graph, Weights::zeros(&graph), &device(2));
    let TrainState { weights, average, momentum, mean_square, steps } = whole.state();
    later.set_state(TrainState {
        weights: std::borrow::Cow::Owned(weights.into_owned()),
        average: average.map(|average| std::borrow::Cow::Owned(average.into_owned())),
        momentum: momentum.into_owned().into(),
        mean_square: mean_square.into_owned().into(),
        steps,
    });
    (2..4).for_each(|i| [&mut whole, &mut later].into_iter().for_each(|trainer| step(trainer, i)));
    assert_eq!(whole.weights().data, later.weights().data);
    assert_eq!(whole.average().expect("kept").data, later.average().expect("kept").data);
    let head = graph.params().iter().filter(|param| param.name.starts_with("aux_logits")).count();
    assert_eq!(head, 2 * 5 + 2, "two convolutions with their norms, a classifier");
    let start = Weights::init(&graph, 1);
    let stands = |i: &usize| start.get(*i) == whole.weights().get(*i);
    assert_eq!((0..start.params().len()).filter(stands).count(), 0, "everything moves");
}

/// The head alone, and all but the head.
#[test]
fn the_head_can_be_frozen_and_learn_alone() {
    for net in ["inception_v3", "inception_resnet_v2"] {
        let graph = small(net);
        let weights = lived_in(&graph, 1);
        for alone in [true, false] {
            let mut learning = Learning::all(&graph);
            let learns = |name: &str| name.starts_with("aux_logits") == alone;
            for (param, rate) in graph.params().iter().zip(&mut learning.rates) {
                *rate = f32::from(u8::from(learns(&param.name)));
            }
            for (id, fixed) in graph.ids().zip(&mut learning.fixed_norms) {
                *fixed = !learns(&graph.node(id).name);
            }
            let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
            trainer.set_learning(learning);
            let options = StepOptions { weight_decay: 0.1, ..options() };
            trainer.step(&pictures(3, SIDE, 2), &[0, 1, 2], &options).expect("finite");
            for (i, param) in weights.params().iter().enumerate() {
                let moved = weights.get(i) != trainer.weights().get(i);
                assert_eq!(moved, learns(&param.name), "{net}, {alone}: {}", param.name);
            }
        }
    }
}

/// The head's running statistics, too.
#[test]
fn statistics_of_the_head_are_measured_anew() {
    let graph = small("inception_v4");
    let weights = lived_in(&graph, 8);
    let mut trainer = Trainer::new(&graph, weights.clone(), &device(2));
    let Ok(()) = trainer.recalibrate(&mut std::iter::once(Ok::<_, Infallible>(pictures(4, SIDE, 9))), None);
    for (i, param) in weights.params().iter().enumerate() {
        let statistic = matches!(param.role, Role::Mean | Role::Variance);
        assert_eq!(trainer.weights().get(i) != weights.get(i), statistic, "{}", param.name);
    }
}
