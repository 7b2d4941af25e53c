//! TF-slim's scopes: `InceptionV3/Mixed_5b/Branch_1/Conv2d_0b_5x5`.
//!
//! In a branch, `0` and a letter count the layers (pools and the parts of a split, too), and a layer without padding is
//! `1a`; a residual network's branch of one convolution has neither. The released checkpoints keep six slips of the
//! pen, listed below.

use super::Place;
use crate::graph::Graph;

/// Scopes that do not follow the rule: network, block, branch, layer, part of a split.
const SLIPS: [(&str, &str, usize, usize, usize, &str); 6] = [
    ("InceptionV3", "mixed_5c", 1, 0, 0, "Conv2d_0b_1x1"),
    ("InceptionV3", "mixed_5c", 1, 1, 0, "Conv_1_0c_5x5"),
    ("InceptionV3", "mixed_6a", 0, 0, 0, "Conv2d_1a_1x1"),
    ("InceptionV3", "mixed_6a", 1, 2, 0, "Conv2d_1a_1x1"),
    ("InceptionV3", "mixed_7b", 1, 1, 1, "Conv2d_0b_3x1"),
    ("InceptionV4", "mixed_3a", 1, 0, 0, "Conv2d_0a_3x3"),
];

/// The scope of a box.
pub(super) fn base(at: &Place, graph: &Graph) -> String {
    let net = graph.spec().net.as_str();
    let (root, logits) = match net {
        "inception_v4" => ("InceptionV4", "InceptionV4/Logits/Logits"),
        "inception_resnet_v2.slim" => ("InceptionResnetV2", "InceptionResnetV2/Logits/Logits"),
        "inception_resnet_v1.facenet" => ("InceptionResnetV1", "Logits"),
        _ => ("InceptionV3", "InceptionV3/Logits/Conv2d_1c_1x1"),
    };
    match at.block {
        "logits" => return logits.into(),
        "bottleneck" => return format!("{root}/Bottleneck"),
        _ => {}
    }
    let scope = match at.repeat() {
        Some((_, number)) if Some(number) == last_block8(net) && at.block.starts_with("block8") => {
            "Block8".into()
        }
        Some((kind, number)) => {
            let repeat = match kind {
                "block35" => "Repeat",
                "block17" => "Repeat_1",
                _ => "Repeat_2",
            };
            format!("{repeat}/{kind}_{number}")
        }
        None => match at.block.strip_prefix("conv_") {
            Some(place) => format!("Conv2d_{place}_{}", at.size()),
            None => at.block.replacen('m', "M", 1),
        },
    };
    let inside = match at.branch {
        None if at.is_up() => "/Conv2d_1x1".into(),
        None => String::new(),
        Some(place) => format!("/Branch_{}/{}", place.0, layer(at, place, root)),
    };
    format!("{root}/{scope}{inside}")
}

/// Number of the block that slim calls `Block8`.
fn last_block8(net: &str) -> Option<usize> {
    match net {
        "inception_resnet_v2.slim" => Some(10),
        "inception_resnet_v1.facenet" => Some(6),
        _ => None,
    }
}

fn layer(at: &Place, (branch, layer, part): (usize, usize, usize), root: &str) -> String {
    let slip = SLIPS.iter().find(|s| (s.0, s.1, s.2, s.3, s.4) == (root, at.block, branch, layer, part));
    if let Some((.., name)) = slip {
        return (*name).into();
    }
    if at.valid {
        return format!("Conv2d_1a_{}", at.size());
    }
    if root.starts_with("InceptionResnet") && at.depth == 1 {
        return format!("Conv2d_{}", at.size());
    }
    let letter = char::from(b'a' + (layer + part) as u8);
    format!("Conv2d_0{letter}_{}", at.size())
}
