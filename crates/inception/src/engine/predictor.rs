//! A network that only predicts.

use inception_cpu::{Device, Model, Scratch};
use inception_graph::{Graph, Weights};

/// A network folded and packed for predictions alone: its weights are gone, so that it holds half of what a
/// [`super::Cpu`] does.
pub struct Predictor {
    model: Model,
    scratch: Scratch,
}

impl Predictor {
    /// Folds `weights` for `graph` on `device`.
    pub fn new(graph: &Graph, weights: Weights, device: &Device) -> Self {
        Predictor { model: Model::consuming(graph, weights, device), scratch: Scratch::default() }
    }

    /// Values of the output `logits` (`embedding` where the network has no classifier) for `pixels`, `[n, side, side, 3]`:
    /// `[n, classes]` row by row.
    pub fn predict(&mut self, pixels: &[f32]) -> Vec<f32> {
        answer(&self.model, pixels, &mut self.scratch)
    }
}

/// Values of the last output of `model`, its answer.
pub(crate) fn answer(model: &Model, pixels: &[f32], scratch: &mut Scratch) -> Vec<f32> {
    let (output, _) = model.graph().outputs().last().expect("every network has an output");
    model.run(pixels, output, scratch).expect("an output of its graph")
}
