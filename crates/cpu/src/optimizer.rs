//! Update rules over flat vectors: one pass over memory, in pieces.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use inception_graph::{Role, Weights};
use inception_kernels::elementwise::{PIECE, for_pieces};

use crate::device::Device;
use crate::step::{Optimizer, StepOptions};

/// State of an optimizer and the pieces into which it cuts the weights.
pub(crate) struct State {
    /// Pieces of all values, ascending, and what happens to each.
    pieces: Vec<Range<usize>>,
    kinds: Vec<Kind>,
    /// Factor of the learning rate of each.
    rates: Vec<f32>,
    /// The gradient's sum of squares over each piece, bits of an `f64`.
    squares: Vec<AtomicU64>,
    momentum: Vec<f32>,
    mean_square: Vec<f32>,
    /// Steps taken.
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Trained, with weight decay.
    Kernel,
    /// Trained.
    Free,
    /// Moved by batch norm alone.
    Statistic,
}

/// Values that are read and written together.
struct Piece<'a> {
    w: &'a mut [f32],
    g: &'a mut [f32],
    m: &'a mut [f32],
    /// Empty for rules without it.
    v: &'a mut [f32],
}

impl State {
    pub(crate) fn new(weights: &Weights) -> Self {
        let (mut pieces, mut kinds) = (Vec::new(), Vec::new());
        for (i, param) in weights.params().iter().enumerate() {
            let range = weights.range(i);
            pieces.extend(range.clone().step_by(PIECE).map(|start| start..(start + PIECE).min(range.end)));
            let kind = match param.role {
                Role::Weight => Kind::Kernel,
                role if role.trainable() => Kind::Free,
                _ => Kind::Statistic,
            };
            kinds.resize(pieces.len(), kind);
        }
        let squares = pieces.iter().map(|_| AtomicU64::new(0)).collect();
        let rates = vec![1.0; pieces.len()];
        State { pieces, kinds, rates, squares, momentum: Vec::new(), mean_square: Vec::new(), steps: 0 }
    }

    /// Parameters learn at these factors of the learning rate.
    pub(crate) fn set_rates(&mut self, weights: &Weights, rates: &[f32]) {
        assert_eq!(rates.len(), weights.params().len(), "a rate for each parameter");
        let mut param = 0;
        for (piece, rate) in self.pieces.iter().zip(&mut self.rates) {
            while weights.range(param).end <= piece.start {
                param += 1;
            }
            *rate = rates[param];
        }
    }

    /// Momentum, mean square and the number of steps, as [`crate::TrainState`] has them.
    pub(crate) fn memory(&self) -> (&[f32], &[f32], u64) {
        (&self.momentum, &self.mean_square, self.steps)
    }

    /// Goes on from what [`Self::memory`] gave.
    pub(crate) fn set_memory(&mut self, momentum: Vec<f32>, mean_square: Vec<f32>, steps: u64) {
        (self.momentum, self.mean_square, self.steps) = (momentum, mean_square, steps);
    }

    /// Global norm of the gradient of what learns, with weight decay, `g + λ·w` for kernels; AdamW's decay is none of the gradient's.
    pub(crate) fn grad_norm(
        &self,
        device: &Device,
        options: &StepOptions,
        weights: &mut [f32],
        grad: &mut [f32],
    ) -> f32 {
        let lambda = options.decay_of_gradient();
        let Self { pieces, kinds, rates, squares, .. } = self;
        for_pieces(&device.pool, device.isa, pieces, [grad, weights], |i, [g, w]| {
            let lambda = if kinds[i] == Kind::Kernel { lambda } else { 0.0 };
            let mut sum = 0.0;
            if kinds[i] != Kind::Statistic && rates[i] != 0.0 {
                // Lanes, so that the compiler may use vectors without reordering.
                let mut lanes = [0.0f64; 16];
                for (g, w) in g.chunks(16).zip(w.chunks(16)) {
                    for ((lane, &g), &w) in lanes.iter_mut().zip(g).zip(w) {
                        let g = f64::from(g + lambda * w);
                        *lane += g * g;
                    }
                }
                sum = lanes.iter().sum();
            }
            squares[i].store(sum.to_bits(), Ordering::Relaxed);
        });
        let sums = squares.iter().map(|sum| f64::from_bits(sum.load(Ordering::Relaxed)));
        sums.sum::<f64>().sqrt() as f32
    }

    /// Moves the weights along the gradient, scaled by `clip`; then `average ← decay·average + (1 − decay)·weights`, running
    /// statistics included, where there is an average.
    pub(crate) fn update(
        &mut self,
        device: &Device,
        options: &StepOptions,
        clip: f32,
        weights: &mut [f32],
        grad: &mut [f32],
        average: Option<&mut [f32]>,
    ) {
        self.steps += 1;
        self.momentum.resize(weights.len(), 0.0);
        match options.optimizer {
            Optimizer::Sgd { .. } => {}
            Optimizer::RmsPropTf { .. } => self.mean_square.resize(weights.len(), 1.0),
            Optimizer::AdamW { .. } => self.mean_square.resize(weights.len(), 0.0),
        }
        let Self { pieces, kinds, rates, momentum, mean_square, steps, .. } = self;
        let ema = 1.0 - options.ema_decay.unwrap_or(1.0);
        let data = [weights, grad, &mut momentum[..], &mut mean_square[..], average.unwrap_or_default()];
        for_pieces(&device.pool, device.isa, pieces, data, |i, [w, g, m, v, average]| {
            let lambda = if kinds[i] == Kind::Kernel { options.weight_decay } else { 0.0 };
            if kinds[i] != Kind::Statistic && rates[i] != 0.0 {
                let piece = Piece { w: &mut *w, g, m, v };
                apply(&options.optimizer, options.lr * rates[i], lambda, clip, *steps, piece);
            }
            average.iter_mut().zip(w).for_each(|(a, w)| *a -= ema * (*a - *w));
        });
    }
}

/// One step of `optimizer` over a piece.
#[inline(always)]
fn apply(optimizer: &Optimizer, lr: f32, lambda: f32, clip: f32, step: u64, piece: Piece) {
    let Piece { w, g, m, v } = piece;
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
                let g = (*g + lambda * *w) * clip;
                *m = momentum * *m + g;
                *w -= lr * if nesterov { g + momentum * *m } else { *m };
            }
        }
        Optimizer::RmsPropTf { decay, momentum, epsilon } => {
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = (*g + lambda * *w) * clip;
                *v = decay * *v + (1.0 - decay) * g * g;
                *m = momentum * *m + lr * g / (*v + epsilon).sqrt();
                *w -= *m;
            }
        }
        Optimizer::AdamW { beta1, beta2, epsilon } => {
            let unbiased = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
            let (rate, root) = (lr / unbiased(beta1), unbiased(beta2).sqrt().recip());
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = *g * clip;
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *w -= lr * lambda * *w + rate * *m / (v.sqrt() * root + epsilon);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use inception_graph::{Spec, build};

    use super::*;
    use crate::peers::Wire;

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
                assert!((found - expected).abs() < 1e-6, "{rule:?}, step {step}: {found}, not {expected}");
            }
        }
    }

    /// PyTorch's RMSprop, with its mean square from zero and its epsilon beside the root, is another rule: with the paper's epsilon it
    /// goes elsewhere within ten steps.
    #[test]
    fn rmsprop_is_not_pytorchs() {
        let (grads, rates) = ([0.05f32; 10], [0.045f32; 10]);
        let ours =
            trajectory(Optimizer::RmsPropTf { decay: 0.9, momentum: 0.9, epsilon: 1.0 }, &grads, &rates);
        let (mut w, mut m, mut v) = (1.0f32, 0.0, 0.0f32);
        for (g, lr) in grads.into_iter().zip(rates) {
            v = 0.9 * v + 0.1 * g * g;
            m = 0.9 * m + g / (v.sqrt() + 1.0);
            w -= lr * m;
        }
        let (ours, theirs) = (1.0 - ours[9], 1.0 - w);
        assert!((theirs / ours - 1.0).abs() > 0.05, "{ours} and {theirs}");
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

    /// By hand, from the paper's algorithm 2 (arXiv:1711.05101) in `f64`: the first step moves by the rate whatever the
    /// gradient's size.
    #[test]
    fn adamw_corrects_its_bias() {
        let rule = Optimizer::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
        let (grads, rates) = ([0.5f32, -0.25, 1.5, 0.0], [0.1f32, 0.1, 0.05, 0.05]);
        let (mut w, mut m, mut v) = (1.0f64, 0.0, 0.0);
        let found = trajectory(rule, &grads, &rates);
        for (t, ((g, lr), found)) in (1..).zip(grads.iter().zip(rates).zip(found)) {
            let (g, lr) = (f64::from(*g), f64::from(lr));
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            w -= lr * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.99f64.powi(t))).sqrt() + 1e-8);
            assert!((f64::from(found) - w).abs() < 1e-6, "step {t}: {found}, not {w}");
        }
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
                aux_weight: 0.0,
                bn_decay: 0.9,
                ema_decay: None,
                random: [0, 0],
                micro_batch: None,
                sync_norm: false,
                wire: Wire::F32,
            };
            state.update(&device, &options, 1.0, &mut weights.data, &mut grad, None);
            weights.data[at]
        });
        step.collect()
    }
}
