//! Scopes of the frozen Inception-v3 of December 2015: `mixed_4/tower_1/conv_3`.
//!
//! Blocks are numbered. The convolutions of a branch are `conv`, `conv_1`, …, in a `tower` of their own for every branch
//! but a first one of a single convolution; the parts of a split lie in `mixed`.

use super::{Place, numbered};

/// Blocks in the order of their numbers.
const BLOCKS: [&str; 11] = [
    "mixed_5b", "mixed_5c", "mixed_5d", "mixed_6a", "mixed_6b", "mixed_6c", "mixed_6d", "mixed_6e",
    "mixed_7a", "mixed_7b", "mixed_7c",
];

/// The scope of a box.
pub(super) fn base(at: &Place) -> String {
    let Some((branch, layer, part)) = at.branch else {
        return match at.block {
            "conv_1a" => "conv".into(),
            "conv_2a" => "conv_1".into(),
            "conv_2b" => "conv_2".into(),
            "conv_3b" => "conv_3".into(),
            "conv_4a" => "conv_4".into(),
            _ => "softmax".into(),
        };
    };
    let number = BLOCKS.iter().position(|&b| b == at.block).unwrap_or(0);
    let block = numbered("mixed", number);
    // Only the first branch of a block can be without a tower, and in 7a it is not.
    let towerless = at.block != "mixed_7a";
    let tower = match branch {
        0 if towerless => String::new(),
        _ => format!("/{}", numbered("tower", branch - usize::from(towerless))),
    };
    // The pooling branch has its pool before the convolution.
    let pooled = branch == 3;
    let split = at.node.name.ends_with(['a', 'b']);
    let conv = if split {
        format!("mixed/{}", numbered("conv", part))
    } else {
        numbered("conv", layer - usize::from(pooled))
    };
    format!("{block}{tower}/{conv}")
}
