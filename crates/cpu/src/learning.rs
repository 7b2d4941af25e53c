//! Which parts of a network learn, and how fast.

use inception_graph::{Graph, Op, Weights};

/// How much each part of a network learns: everything alike, unless fine-tuning asks for less.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// Factor of the learning rate of each parameter, in the order of [`Weights::params`]; 0 for one that stays as it is.
    pub rates: Vec<f32>,
    /// For each node whether its batch norm normalises with its running statistics, in training as in evaluation, and leaves
    /// them as they are.
    pub fixed_norms: Vec<bool>,
}

impl Learning {
    /// Everything learns alike.
    pub fn all(graph: &Graph) -> Self {
        Learning { rates: vec![1.0; graph.params().len()], fixed_norms: vec![false; graph.nodes().len()] }
    }

    /// For each node whether the loss's gradient is needed there: it or something in front of it learns.
    pub(crate) fn reaches(&self, graph: &Graph, weights: &Weights) -> Vec<bool> {
        let mut reaches = vec![false; graph.nodes().len()];
        for (param, &rate) in weights.params().iter().zip(&self.rates) {
            reaches[param.node.0] |= rate != 0.0 && param.role.trainable();
        }
        for id in graph.ids() {
            let node = graph.node(id);
            reaches[id.0] |=
                !matches!(node.op, Op::Input) && node.inputs.iter().any(|input| reaches[input.0]);
        }
        reaches
    }
}
