//! What a network costs: multiply-accumulates and parameters.

use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::param::Role;

impl Graph {
    /// Multiply-accumulates of one node for one picture; convolutions and linear layers alone count.
    pub fn node_macs(&self, id: NodeId) -> u64 {
        let node = self.node(id);
        let depth = match node.op {
            Op::Conv { kernel: [kh, kw], .. } => kh * kw * self.input_shape(id).c,
            Op::Linear { .. } => self.input_shape(id).c,
            Op::Input
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Concat
            | Op::Residual { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::L2Norm => 0,
        };
        (node.shape.len() * depth) as u64
    }

    /// Multiply-accumulates of a forward pass over one picture.
    pub fn macs(&self) -> u64 {
        self.ids().map(|id| self.node_macs(id)).sum()
    }

    /// Trainable parameters of one node, batch norm counted with γ and β.
    pub fn node_parameter_count(&self, id: NodeId) -> usize {
        self.node_params(id).iter().filter(|p| p.role.trainable()).map(|p| p.len()).sum()
    }

    fn count(&self, counts: impl Fn(Role) -> bool) -> usize {
        self.params().iter().filter(|p| counts(p.role)).map(|p| p.len()).sum()
    }

    /// Trainable parameters, batch norm counted with γ and β (PyTorch's count).
    pub fn parameter_count(&self) -> usize {
        self.count(Role::trainable)
    }

    /// Trainable parameters, batch norm counted with β alone (TensorFlow's count: its networks have no γ).
    pub fn parameter_count_without_gamma(&self) -> usize {
        self.count(|role| role.trainable() && role != Role::Gamma)
    }
}
