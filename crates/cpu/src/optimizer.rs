//! Update rules over flat vectors: one pass over memory, in pieces.

use std::ops::Range;

use inception_graph::{Role, Weights};
use inception_kernels::elementwise::{self, PIECE, for_pieces};

use crate::device::Device;
use crate::step::{Optimizer, StepOptions};

/// State of an optimizer and the pieces into which it cuts the weights.
pub(crate) struct State {
    /// Pieces of trainable values, ascending, and whether weight decay applies.
    pieces: Vec<Range<usize>>,
    decays: Vec<bool>,
    /// Pieces of all values, running statistics included.
    all: Vec<Range<usize>>,
    momentum: Vec<f32>,
    mean_square: Vec<f32>,
}

fn cut(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(PIECE).map(move |start| start..(start + PIECE).min(end))
}

impl State {
    pub(crate) fn new(weights: &Weights) -> Self {
        let (mut pieces, mut decays) = (Vec::new(), Vec::new());
        for (i, param) in weights.params().iter().enumerate().filter(|(_, p)| p.role.trainable()) {
            pieces.extend(cut(weights.range(i)));
            decays.resize(pieces.len(), param.role == Role::Weight);
        }
        let all = cut(0..weights.data.len()).collect();
        State { pieces, decays, all, momentum: Vec::new(), mean_square: Vec::new() }
    }

    /// Adds weight decay to the gradient, `g ← g + λ·w` for kernels, and returns the gradient's global norm.
    /// `grad` is zero where nothing is trained.
    pub(crate) fn finish_gradient(
        &self,
        device: &Device,
        weights: &mut [f32],
        grad: &mut [f32],
        lambda: f32,
    ) -> f32 {
        let Device { isa, ref pool, .. } = *device;
        if lambda != 0.0 {
            for_pieces(pool, isa, &self.pieces, [&mut *grad, weights], |i, [g, w]| {
                if self.decays[i] {
                    g.iter_mut().zip(w).for_each(|(g, w)| *g += lambda * *w);
                }
            });
        }
        elementwise::sum_of_squares(pool, isa, grad).sqrt() as f32
    }

    /// Moves the weights along the gradient, scaled by `clip`.
    pub(crate) fn update(
        &mut self,
        device: &Device,
        options: &StepOptions,
        weights: &mut [f32],
        grad: &mut [f32],
        clip: f32,
    ) {
        let Device { isa, ref pool, .. } = *device;
        let lr = options.lr;
        self.momentum.resize(weights.len(), 0.0);
        match options.optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                for_pieces(pool, isa, &self.pieces, [weights, grad, &mut self.momentum], |_, [w, g, m]| {
                    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
                        let g = *g * clip;
                        *m = momentum * *m + g;
                        *w -= lr * if nesterov { g + momentum * *m } else { *m };
                    }
                });
            }
            Optimizer::RmsPropTf { decay, momentum, epsilon } => {
                self.mean_square.resize(weights.len(), 1.0);
                let state = [weights, grad, &mut self.momentum, &mut self.mean_square];
                for_pieces(pool, isa, &self.pieces, state, |_, [w, g, m, ms]| {
                    for (((w, g), m), ms) in w.iter_mut().zip(g).zip(m).zip(ms) {
                        let g = *g * clip;
                        *ms = decay * *ms + (1.0 - decay) * g * g;
                        *m = momentum * *m + lr * g / (*ms + epsilon).sqrt();
                        *w -= *m;
                    }
                });
            }
        }
    }

    /// `average ← decay·average + (1 − decay)·weights`, running statistics included.
    pub(crate) fn average(&self, device: &Device, decay: f32, weights: &mut [f32], average: &mut [f32]) {
        for_pieces(&device.pool, device.isa, &self.all, [average, weights], |_, [a, w]| {
            a.iter_mut().zip(w).for_each(|(a, w)| *a -= (1.0 - decay) * (*a - *w));
        });
    }
}

#[cfg(test)]
mod tests {
    use inception_graph::{Spec, build};

    use super::*;

    /// Recorded by `reference/rmsprop_tf.py`: the mean square starts at one, epsilon stands inside the root, the momentum
    /// buffer holds the learning rate.
    #[test]
    fn rmsprop_follows_tensorflow() {
        let recorded: Vec<[f32; 6]> = include_str!("../tests/fixtures/rmsprop_tf.csv")
            .lines()
            .skip(1)
            .map(|line| {
                let values: Vec<f32> = line.split(',').map(|v| v.parse().expect("a number")).collect();
                values.try_into().expect("six columns")
            })
            .collect();
        assert_eq!(recorded.len(), 300);
        for run in recorded.chunk_by(|a, b| a[..3] == b[..3]) {
            let [decay, momentum, epsilon, ..] = run[0];
            let column = |i: usize| run.iter().map(|row| row[i]).collect::<Vec<f32>>();
            let rule = Optimizer::RmsPropTf { decay, momentum, epsilon };
            let weights = trajectory(rule, &column(3), &column(4));
            for (step, (found, expected)) in weights.iter().zip(column(5)).enumerate() {
                assert!((found - expected).abs() < 2e-6, "{rule:?}, step {step}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn momentum_with_and_without_look_ahead() {
        let plain =
            trajectory(Optimizer::Sgd { momentum: 0.5, nesterov: false }, &[1.0, 1.0, -2.0], &[0.5; 3]);
        assert_eq!(plain, [0.5, -0.25, 0.375]);
        let nesterov =
            trajectory(Optimizer::Sgd { momentum: 0.5, nesterov: true }, &[1.0, 1.0, -2.0], &[0.5; 3]);
        assert_eq!(nesterov, [0.25, -0.625, 0.6875]);
    }

    /// The first bias of a network, starting at 1, under the given gradients.
    fn trajectory(optimizer: Optimizer, grads: &[f32], rates: &[f32]) -> Vec<f32> {
        let graph = build(&Spec::new("inception_v3").img_size(75).width(0.1).classes(2)).expect("valid");
        let mut weights = Weights::init(&graph, 0);
        let at = weights.range(weights.index("logits/bias").expect("has a bias")).start;
        weights.data[at] = 1.0;
        let (mut state, device) = (State::new(&weights), Device::new(Some(1)).expect("a device"));
        let step = grads.iter().zip(rates).map(|(&g, &lr)| {
            let mut grad = vec![0.0; weights.data.len()];
            grad[at] = g;
            let options = StepOptions {
                optimizer,
                lr,
                weight_decay: 0.0,
                clip_grad: None,
                label_smoothing: 0.0,
                bn_decay: 0.9,
                ema_decay: None,
                random: [0, 0],
            };
            state.update(&device, &options, &mut weights.data, &mut grad, 1.0);
            weights.data[at]
        });
        step.collect()
    }
}
