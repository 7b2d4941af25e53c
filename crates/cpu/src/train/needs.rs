//! How much memory training takes, before any of it is there.

use inception_graph::{Graph, Weights};

use super::plan::Task;
use super::{Keep, Plans, program};
use crate::device::Device;
use crate::layout::Layout;
use crate::learning::Learning;
use crate::step::Optimizer;

/// What training steps on a batch need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainNeeds {
    /// Bytes of the weights, running statistics included: as much again each for the gradient, for every buffer of the
    /// optimizer, and for the moving average.
    pub weight_bytes: usize,
    /// Bytes in which activations, their gradients, packed weights and the kernels' own memory take turns.
    pub step_bytes: usize,
    /// Multiply–adds a picture that are computed again because their results were not kept.
    pub recomputed_macs: u64,
}

impl TrainNeeds {
    /// Needs of steps on `batch` pictures.
    ///
    /// # Panics
    /// If the network has no output `logits`.
    pub fn of(graph: &Graph, device: &Device, batch: usize, keep: Keep) -> Self {
        Self::learning(graph, device, batch, keep, &Learning::all(graph))
    }

    /// Needs of steps on `batch` pictures of a network of which parts learn.
    ///
    /// # Panics
    /// If the network has no output `logits`.
    pub fn learning(graph: &Graph, device: &Device, batch: usize, keep: Keep, learning: &Learning) -> Self {
        let logits = graph.output("logits").expect("a network with a classifier");
        let plans: Vec<_> = graph.ids().map(|id| Plans::of(graph, id, device)).collect();
        let sizes = [batch, device.pool.threads()];
        let (layout, weights) = (Layout::new(graph), Weights::zeros(graph));
        let reaches = learning.reaches(graph, &weights);
        let task = Task { graph, layout: &layout, logits, keep, reaches: &reaches };
        let program = program(&task, &plans, sizes);
        TrainNeeds {
            weight_bytes: weights.data.len() * size_of::<f32>(),
            step_bytes: program.len * size_of::<f32>(),
            recomputed_macs: program.recomputed.iter().map(|&id| graph.node_macs(id)).sum(),
        }
    }

    /// Bytes in all: weights, gradient, `optimizer`, the moving average where there is one, and a step's.
    pub fn bytes(&self, optimizer: &Optimizer, average: bool) -> usize {
        self.weight_bytes * (2 + optimizer.buffers() + usize::from(average)) + self.step_bytes
    }
}
