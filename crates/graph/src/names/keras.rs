//! Keras: layers with automatic numbers.
//!
//! By name, `conv2d_12` counts the convolutions in the order of their creation, which is ours; in a `.weights.h5` file
//! it counts them in the order of `model.layers`, which sorts by depth. The second follows from the first block by
//! block: in a block, position `j` holds creation index `order[j]`.

use super::{Axes, Foreign, Place, numbered};
use crate::graph::NodeId;
use crate::op::{After, Op};
use crate::param::{Param, Role};

/// Numbers of every convolution of a network.
pub(super) struct Numbers {
    /// By creation, counting only convolutions without a name of their own.
    created: Vec<(NodeId, usize)>,
    /// By position, counting all convolutions, and those with a batch norm.
    placed: Vec<(NodeId, usize, usize)>,
}

/// In a block of as many convolutions, which one in the order of creation stands at each position.
fn order(block: &str, size: usize) -> Vec<usize> {
    let order: &[usize] = match (block, size) {
        (_, 4) => &[1, 2, 0, 3],
        // Residual blocks: the last is the up-projection.
        (_, 5) => &[1, 2, 0, 3, 4],
        (_, 6) => &[2, 3, 0, 4, 1, 5],
        ("mixed_7a", 7) => &[4, 0, 2, 5, 1, 3, 6],
        (_, 7) => &[3, 1, 4, 0, 2, 5, 6],
        (_, 9) => &[4, 1, 5, 2, 3, 6, 7, 0, 8],
        (_, 10) => &[4, 5, 1, 6, 2, 7, 0, 3, 8, 9],
        _ => return (0..size).collect(),
    };
    order.to_vec()
}

fn is_conv(at: &Place) -> bool {
    matches!(at.node.op, Op::Conv { .. })
}

fn has_norm(at: &Place) -> bool {
    matches!(at.node.op, Op::Conv { after: After::Bn | After::BnRelu, .. })
}

/// The name that Keras gives the layer itself, where it is no automatic one.
fn own_name(at: &Place) -> Option<String> {
    match at.block {
        "conv_7b" => Some("conv_7b".into()),
        block if at.is_up() => Some(format!("{block}_conv")),
        _ => None,
    }
}

impl Numbers {
    pub(super) fn new(boxes: &[Place]) -> Self {
        let convs: Vec<&Place> = boxes.iter().filter(|b| is_conv(b)).collect();
        let automatic = convs.iter().filter(|b| own_name(b).is_none());
        let created = automatic.enumerate().map(|(i, b)| (b.id, i)).collect();
        let (mut placed, mut norms) = (Vec::new(), 0);
        for block in convs.chunk_by(|a, b| a.block == b.block) {
            for index in order(block[0].block, block.len()) {
                let at = block[index];
                placed.push((at.id, placed.len(), norms));
                norms += usize::from(has_norm(at));
            }
        }
        Numbers { created, placed }
    }

    pub(super) fn foreign(&self, at: &Place, param: &Param, by_position: bool) -> Option<Foreign> {
        let name =
            if by_position { self.by_position(at, param.role)? } else { self.by_name(at, param.role)? };
        Some(Foreign { name, axes: Axes::Same })
    }

    /// `conv2d_12/conv2d_12/kernel:0`; numbers start at one, and the bare `conv2d` does not occur.
    fn by_name(&self, at: &Place, role: Role) -> Option<String> {
        let what = match role {
            Role::Gamma => return None,
            Role::Weight => "kernel",
            Role::Bias => "bias",
            Role::Beta => "beta",
            Role::Mean => "moving_mean",
            Role::Variance => "moving_variance",
        };
        let number = || self.created.iter().find(|(id, _)| *id == at.id).map(|(_, number)| number + 1);
        let norm = matches!(role, Role::Beta | Role::Mean | Role::Variance);
        let layer = match (own_name(at), norm) {
            _ if matches!(at.node.op, Op::Linear { .. }) => "predictions".into(),
            (Some(name), true) => format!("{name}_bn"),
            (Some(name), false) => name,
            (None, true) => format!("batch_normalization_{}", number()?),
            (None, false) => format!("conv2d_{}", number()?),
        };
        Some(format!("{layer}/{layer}/{what}:0"))
    }

    /// `layers/conv2d_18/vars/0`; numbers start at zero, which is not written.
    fn by_position(&self, at: &Place, role: Role) -> Option<String> {
        let place = self.placed.iter().find(|(id, ..)| *id == at.id);
        let (layer, variable) = match role {
            Role::Gamma => return None,
            Role::Weight | Role::Bias if place.is_none() => ("dense".into(), usize::from(role == Role::Bias)),
            Role::Weight | Role::Bias => (numbered("conv2d", place?.1), usize::from(role == Role::Bias)),
            Role::Beta => (numbered("batch_normalization", place?.2), 0),
            Role::Mean => (numbered("batch_normalization", place?.2), 1),
            Role::Variance => (numbered("batch_normalization", place?.2), 2),
        };
        Some(format!("layers/{layer}/vars/{variable}"))
    }
}
