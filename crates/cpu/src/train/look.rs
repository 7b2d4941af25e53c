//! A forward pass as training has it: batch norm by the statistics of the pictures, and no weight changes.

use inception_graph::{NodeId, Op};
use inception_kernels::View;
use inception_kernels::loss::Targets;

use super::{Group, Trainer, activation, split};
use crate::peers::Wire;
use crate::step::{Optimizer, StepOptions};

/// What a pass without a backward half has no use for.
const FORWARD_ALONE: StepOptions = StepOptions {
    optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
    lr: 0.0,
    weight_decay: 0.0,
    clip_grad: None,
    label_smoothing: 0.0,
    aux_weight: 0.0,
    bn_decay: 0.0,
    ema_decay: None,
    random: [0; 2],
    micro_batch: None,
    sync_norm: false,
    wire: Wire::F32,
};

impl Trainer {
    /// Runs `input`, `[n, side, side, 3]`, forward and shows what each node reads first. How many pictures that were.
    pub(super) fn look(&mut self, input: &[f32], mut see: impl FnMut(NodeId, View)) -> usize {
        let n = input.len() / self.graph.nodes()[0].shape.len();
        let labels = vec![0; n];
        let (targets, options) = (Targets::new(&labels), &FORWARD_ALONE);
        let group = Group { input, targets, first: 0, adds: false, batch: n, options, peers: None };
        let program = self.prepare(n);
        for step in &program.steps[..program.forward()] {
            if let Some(&source) = self.graph.node(step.id).inputs.first() {
                let [x, ..] = split(&mut self.memory, step);
                see(step.id, activation(&self.graph, &self.layout, source, x, &group));
            }
            self.take(step, &group);
        }
        n
    }

    /// Values of the layer before the last pooling for `input`, `[n, side, side, 3]`, as a training step has them: `[n, h, w, channels]`,
    /// and its channels. Dropout comes later.
    ///
    /// # Panics
    /// Where the network does not end in a pooling.
    pub fn before_pooling(&mut self, input: &[f32]) -> (Vec<f32>, usize) {
        let nodes = self.graph.nodes();
        let is_pooling = |id: &NodeId| matches!(nodes[id.0].op, Op::GlobalAvgPool);
        let pooling = self.graph.ids().rfind(is_pooling).expect("the network ends in a pooling");
        let channels = nodes[pooling.0].shape.c;
        let mut values = Vec::new();
        self.look(input, |id, x| {
            if id == pooling {
                values = x.to_vec();
            }
        });
        (values, channels)
    }
}
