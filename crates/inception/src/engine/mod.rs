//! What a training loop asks of an engine; the CPU engine is the first.

mod cpu;
mod predictor;

pub use cpu::Cpu;
pub use inception_cpu::{
    Keep, Learning, Mixed, Optimizer, Part, Peers, StepError, StepOptions, StepReport, TrainState, Wire,
};
use inception_graph::{Graph, Weights};
pub use predictor::Predictor;
pub(crate) use predictor::answer;

use crate::data::{Batch, DataError};

/// Which weights a prediction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The weights as trained.
    Current,
    /// Their moving average; the current ones where none is kept.
    Average,
}

/// Others who take the same steps, each on its part of a batch.
#[derive(Clone, Copy)]
pub struct Together<'a> {
    /// The part that is given.
    pub part: Part,
    /// The others.
    pub peers: &'a dyn Peers,
}

/// Runs and trains one network.
pub trait Engine {
    /// The network, with its auxiliary head where it is trained with one.
    fn graph(&self) -> &Graph;
    /// One optimisation step, alone or together with others. On an error nothing has changed.
    fn train_step(
        &mut self,
        batch: &Batch,
        options: &StepOptions,
        others: Option<Together>,
    ) -> Result<StepReport, StepError>;
    /// Values of the output `logits` (`embedding` where the network has no classifier), `[n, classes]` row by row.
    fn predict(&mut self, batch: &Batch, weights: Use) -> Vec<f32>;
    /// Values of the layer before the last pooling as a training step on `batch` has them, `[n, h, w, channels]`, and its channels.
    fn before_pooling(&mut self, batch: &Batch) -> (Vec<f32>, usize);
    /// A copy of the weights.
    fn weights(&self, weights: Use) -> Weights;
    /// Replaces the weights and forgets average and optimizer state.
    fn set_weights(&mut self, weights: &Weights);
    /// From now on parts of the network learn as `learning` says.
    fn set_learning(&mut self, learning: Learning);
    /// Running statistics of the average weights become those of all pictures of `batches`, and of the batches of `peers`. The first
    /// error ends it, and nothing has changed.
    fn recalibrate(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        peers: Option<&dyn Peers>,
    ) -> Result<(), DataError>;
    /// All that later steps depend on.
    fn state(&self) -> TrainState<'_>;
    /// Goes on from a state of the same network: later steps are those of the engine that gave it, bit by bit.
    fn set_state(&mut self, state: TrainState);
}
