//! The vocabulary of a training step, shared by whoever asks for one.

use std::num::NonZeroUsize;

use crate::peers::{PeersLost, Wire};

/// How gradients move the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Momentum SGD: `m ← momentum·m + g; w ← w − lr·m`, with Nesterov's look-ahead `w ← w − lr·(g + momentum·m)`.
    Sgd {
        /// Decay of the momentum buffer.
        momentum: f32,
        /// Nesterov's variant.
        nesterov: bool,
    },
    /// RMSProp as TensorFlow defines it: `ms ← decay·ms + (1 − decay)·g²` starting at 1,
    /// `m ← momentum·m + lr·g / √(ms + epsilon)`, `w ← w − m`.
    RmsPropTf {
        /// Decay of the mean square.
        decay: f32,
        /// Decay of the momentum buffer, which holds the learning rate.
        momentum: f32,
        /// Added inside the root; the paper uses 1.0.
        epsilon: f32,
    },
    /// Adam with weight decay of its own: `m ← β₁·m + (1 − β₁)·g`, `v ← β₂·v + (1 − β₂)·g²`, both corrected for their start
    /// at zero, `w ← w − lr·(λ·w + m̂ / (√v̂ + epsilon))` (arXiv:1711.05101, algorithm 2).
    AdamW {
        /// Decay of the mean.
        beta1: f32,
        /// Decay of the mean square.
        beta2: f32,
        /// Added to the root.
        epsilon: f32,
    },
}

/// What one training step needs to know besides pictures and labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// Update rule; the same for all steps of a run.
    pub optimizer: Optimizer,
    /// Learning rate of this step.
    pub lr: f32,
    /// λ of the loss term `λ/2·‖w‖²` over kernels (not over biases, γ, β); AdamW's own decay.
    pub weight_decay: f32,
    /// Gradients are scaled down to this global norm where theirs is larger.
    pub clip_grad: Option<f32>,
    /// ε of `(1 − ε)·onehot + ε/classes`.
    pub label_smoothing: f32,
    /// Factor of the auxiliary head's loss, which is added to that of the network; of no effect where the graph has no head.
    pub aux_weight: f32,
    /// Decay of batch norm's running statistics, `s ← decay·s + (1 − decay)·batch`.
    pub bn_decay: f32,
    /// Decay of the moving average of all weights and statistics at this step; `None` keeps no average.
    pub ema_decay: Option<f32>,
    /// Key of this step's random numbers (dropout): `[seed, step]`.
    pub random: [u64; 2],
    /// Pictures that are computed at a time; the whole batch where `None`. Their gradients add up to the batch's, with less
    /// memory; batch norm sees each group by itself, and the running statistics follow the mean over the groups.
    pub micro_batch: Option<NonZeroUsize>,
    /// Whether batch norm sees the pictures of all who take the step together, of each the whole part: `micro_batch` has no effect then.
    pub sync_norm: bool,
    /// How gradients travel to all who take the step together.
    pub wire: Wire,
}

impl Optimizer {
    /// How many values it keeps for each weight.
    pub fn buffers(&self) -> usize {
        match self {
            Optimizer::Sgd { .. } => 1,
            Optimizer::RmsPropTf { .. } | Optimizer::AdamW { .. } => 2,
        }
    }
}

impl StepOptions {
    /// The weight decay that is part of the gradient.
    pub(crate) fn decay_of_gradient(&self) -> f32 {
        if matches!(self.optimizer, Optimizer::AdamW { .. }) { 0.0 } else { self.weight_decay }
    }
}

/// What one training step reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy over the batch, label smoothing included, weight decay not; with an auxiliary head the sum of that of
    /// the logits and [`StepOptions::aux_weight`] times that of the head's.
    pub loss: f32,
    /// Pictures whose largest logit was their label's.
    pub correct: usize,
    /// Pictures of the batch.
    pub count: usize,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f32,
}

/// Why a training step was refused or did not finish; the weights are as they were before it.
#[derive(Clone, Debug, PartialEq)]
pub enum StepError {
    /// A number stopped being finite.
    NotFinite {
        /// First node, in execution order, at which it was found.
        node: String,
        /// `"activation"`, `"loss"` or `"gradient"`.
        what: &'static str,
    },
    /// A label is not a class of the network.
    Label {
        /// Position in the batch.
        index: usize,
        /// The label.
        label: u32,
        /// Classes of the network.
        classes: usize,
    },
    /// Another of those who take the step together has an error.
    Elsewhere,
    /// Of the batch no picture is left.
    Empty,
    /// The others are lost.
    Lost(PeersLost),
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StepError::NotFinite { node, what } => write!(f, "the {what} at `{node}` is not finite"),
            StepError::Label { index, label, classes } => {
                write!(
                    f,
                    "label {label} at position {index} of the batch, but the network has {classes} classes"
                )
            }
            StepError::Elsewhere => write!(f, "another rank has an error"),
            StepError::Empty => write!(f, "no picture of the batch can be read"),
            StepError::Lost(PeersLost(why)) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for StepError {}
