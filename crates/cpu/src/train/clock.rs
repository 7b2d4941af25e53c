//! Where the time of a training step goes.

use std::time::{Duration, Instant};

use inception_graph::NodeId;

/// Kinds of work in a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Convolutions.
    Forward,
    /// Convolutions that are computed again because their outputs were not kept.
    Recompute,
    /// Gradients of the convolutions' inputs.
    GradInput,
    /// Gradients of the convolutions' weights.
    GradWeight,
    /// Batch norm and ReLU, forward and backward.
    Norm,
    /// Pools, residual sums, dropout, forward and backward.
    Other,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 6] =
        [Phase::Forward, Phase::Recompute, Phase::GradInput, Phase::GradWeight, Phase::Norm, Phase::Other];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Recompute => "recompute",
            Phase::GradInput => "input gradient",
            Phase::GradWeight => "weight gradient",
            Phase::Norm => "norm",
            Phase::Other => "pools and sums",
        }
    }
}

/// Times of one training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTimes {
    /// Of each node, in the order of [`Phase::ALL`].
    pub nodes: Vec<[Duration; Phase::ALL.len()]>,
    /// Norm of the gradient, update rule, moving average.
    pub optimizer: Duration,
    /// All of the step.
    pub total: Duration,
}

/// Adds up times without allocating.
pub(super) struct Clock(StepTimes);

impl Clock {
    pub(super) fn new(nodes: usize) -> Self {
        let none = [Duration::ZERO; Phase::ALL.len()];
        Clock(StepTimes { nodes: vec![none; nodes], optimizer: Duration::ZERO, total: Duration::ZERO })
    }
    pub(super) fn reset(&mut self) {
        self.0.nodes.fill([Duration::ZERO; Phase::ALL.len()]);
    }
    /// Does `work` for `id`.
    pub(super) fn charge<T>(&mut self, id: NodeId, phase: Phase, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.nodes[id.0][phase as usize] += start.elapsed();
        result
    }
    pub(super) fn optimizer(&mut self, time: Duration) {
        self.0.optimizer = time;
    }
    pub(super) fn total(&mut self, time: Duration) {
        self.0.total = time;
    }
    pub(super) fn times(&self) -> StepTimes {
        self.0.clone()
    }
}
