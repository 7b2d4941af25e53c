//! The CPU engine behind the [`Engine`] trait.

use std::borrow::Cow;

use inception_cpu::{Device, Keep, Learning, Model, Scratch, Targets, TrainState, Trainer};
use inception_graph::{Graph, Weights};

use super::{Engine, Peers, StepError, StepOptions, StepReport, Together, Use, answer};
use crate::data::{Batch, DataError};

/// The CPU engine. It pays for training from the first step on, and folds its weights anew when they have moved.
pub struct Cpu {
    graph: Graph,
    /// What predicts: all but an auxiliary head.
    predicting: Graph,
    device: Device,
    keep: Keep,
    weights: Held,
    /// The folded network and which weights it holds.
    model: Option<(Use, Model)>,
    scratch: Scratch,
}

/// Weights before and after the first training step.
enum Held {
    Still(Weights),
    Moving(Box<Trainer>),
}

impl Cpu {
    /// An engine for `graph` with `weights` on `device`.
    pub fn new(graph: Graph, weights: Weights, device: Device) -> Self {
        let (weights, scratch) = (Held::Still(weights), Scratch::default());
        let predicting = graph.without_aux();
        Cpu { graph, predicting, device, keep: Keep::default(), weights, model: None, scratch }
    }

    /// The same, keeping for the gradient what `keep` says.
    pub fn keeping(self, keep: Keep) -> Self {
        Cpu { keep, ..self }
    }

    /// The trainer, from now on; whatever it does, the folded network no longer holds its weights.
    fn trainer(&mut self) -> &mut Trainer {
        self.model = None;
        if let Held::Still(weights) = &self.weights {
            let trainer = Trainer::with(&self.graph, weights.clone(), &self.device, self.keep);
            self.weights = Held::Moving(Box::new(trainer));
        }
        let Held::Moving(trainer) = &mut self.weights else { unreachable!("set above") };
        trainer
    }

    /// The network folded with these weights, and its memory.
    fn model(&mut self, weights: Use) -> (&Model, &mut Scratch) {
        if self.model.as_ref().is_none_or(|(held, _)| *held != weights) {
            self.model = Some((weights, Model::new(&self.predicting, self.held(weights), &self.device)));
        }
        let Some((_, model)) = &self.model else { unreachable!("set above") };
        (model, &mut self.scratch)
    }

    fn held(&self, which: Use) -> &Weights {
        match (&self.weights, which) {
            (Held::Still(weights), _) => weights,
            (Held::Moving(trainer), Use::Current) => trainer.weights(),
            (Held::Moving(trainer), Use::Average) => trainer.average().unwrap_or(trainer.weights()),
        }
    }
}

impl Engine for Cpu {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn train_step(
        &mut self,
        batch: &Batch,
        options: &StepOptions,
        others: Option<Together>,
    ) -> Result<StepReport, StepError> {
        let Batch { pixels, labels, mixed, weights, .. } = batch;
        let (targets, trainer) = (Targets { labels, mixed, weights }, self.trainer());
        match others {
            None => trainer.step_towards(pixels, &targets, options),
            Some(Together { part, peers }) => trainer.step_with(pixels, &targets, options, part, peers),
        }
    }

    fn predict(&mut self, batch: &Batch, weights: Use) -> Vec<f32> {
        let (model, scratch) = self.model(weights);
        answer(model, &batch.pixels, scratch)
    }

    fn before_pooling(&mut self, batch: &Batch) -> (Vec<f32>, usize) {
        self.trainer().before_pooling(&batch.pixels)
    }

    fn weights(&self, weights: Use) -> Weights {
        self.held(weights).clone()
    }

    fn set_weights(&mut self, weights: &Weights) {
        self.weights = Held::Still(weights.clone());
        self.model = None;
    }

    fn set_learning(&mut self, learning: Learning) {
        self.trainer().set_learning(learning);
    }

    fn recalibrate(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        peers: Option<&dyn Peers>,
    ) -> Result<(), DataError> {
        self.trainer().recalibrate(&mut batches.map(|batch| batch.map(|batch| batch.pixels)), peers)
    }

    fn state(&self) -> TrainState<'_> {
        match &self.weights {
            Held::Still(weights) => TrainState::new(Cow::Borrowed(weights)),
            Held::Moving(trainer) => trainer.state(),
        }
    }

    fn set_state(&mut self, state: TrainState) {
        self.trainer().set_state(state);
    }
}
