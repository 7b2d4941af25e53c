//! Blocks: an endpoint with the boxes inside it, and stages, runs of blocks that look the same in a figure.

use std::ops::Range;

use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// An endpoint together with the boxes that lead to it. A box outside any block is a block of one.
pub(crate) struct Block {
    /// The boxes in execution order; the endpoint is the last.
    pub(crate) nodes: Range<usize>,
}

impl Block {
    /// The endpoint.
    pub(crate) fn end(&self) -> NodeId {
        NodeId(self.nodes.end - 1)
    }
    /// The boxes in execution order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.nodes.clone().map(NodeId)
    }
    /// Whether `id` is one of the boxes.
    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains(&id.0)
    }
    /// Whether there is more inside than the endpoint.
    pub(crate) fn has_inside(&self) -> bool {
        self.nodes.len() > 1
    }
}

/// A block, and those behind it that look the same.
pub(crate) struct Stage {
    pub(crate) first: Block,
    more: Vec<Block>,
}

impl Stage {
    /// The blocks in execution order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(&self.first).chain(&self.more)
    }
    /// How many they are.
    pub(crate) fn times(&self) -> usize {
        1 + self.more.len()
    }
    /// The last block.
    pub(crate) fn last(&self) -> &Block {
        self.more.last().unwrap_or(&self.first)
    }
}

impl Graph {
    /// The blocks in execution order; together they hold every node once.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut start = 0;
        let block = |end: NodeId| Block { nodes: std::mem::replace(&mut start, end.0 + 1)..end.0 + 1 };
        self.endpoints().map(|(id, _)| id).map(block).collect()
    }

    /// The stages: neighbouring blocks with the same boxes, wires and output shape are one.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for block in self.blocks() {
            match stages.last_mut() {
                Some(stage) if block.has_inside() && self.alike(&stage.first, &block) => {
                    stage.more.push(block)
                }
                _ => stages.push(Stage { first: block, more: Vec::new() }),
            }
        }
        stages
    }

    fn alike(&self, a: &Block, b: &Block) -> bool {
        let wires = |block: &Block, id: NodeId| -> Vec<Option<usize>> {
            self.node(id).inputs.iter().map(|i| i.0.checked_sub(block.nodes.start)).collect()
        };
        let pairs = || a.ids().zip(b.ids());
        a.nodes.len() == b.nodes.len()
            && self.node(a.end()).shape == self.node(b.end()).shape
            && pairs().all(|(x, y)| self.node(x).op == self.node(y).op && wires(a, x) == wires(b, y))
    }

    /// The node outside `block` that it reads, `None` for the picture.
    pub(crate) fn source(&self, block: &Block) -> Option<NodeId> {
        block.ids().flat_map(|id| &self.node(id).inputs).copied().find(|&input| !block.contains(input))
    }

    /// First boxes of the branches of `block`.
    pub(crate) fn branch_starts(&self, block: &Block) -> Vec<NodeId> {
        let starts = |id: &NodeId| self.node(*id).inputs.iter().all(|&input| !block.contains(input));
        block.ids().filter(starts).collect()
    }

    /// What an endpoint is, in a few words.
    pub(crate) fn block_text(&self, block: &Block) -> String {
        let end = self.node(block.end());
        if !block.has_inside() {
            return end.op.to_string();
        }
        let branches = self.branch_starts(block).len();
        match end.op {
            Op::Residual { scale, relu } => {
                format!("{branches} branches, residual × {scale}{}", if relu { ", ReLU" } else { "" })
            }
            Op::Input
            | Op::Conv { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Concat
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::Linear { .. }
            | Op::L2Norm => format!("{branches} branches, {}", end.op),
        }
    }
}
