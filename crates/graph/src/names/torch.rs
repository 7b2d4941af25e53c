//! Modules of the PyTorch ports: torchvision's `Mixed_6b.branch7x7dbl_4`, timm's `features.11.branch2.3`.

use super::Place;
use crate::graph::Graph;

/// facenet-pytorch's linear layer in front of its embedding.
pub(super) const BOTTLENECK: &str = "last_linear";

/// torchvision's, timm's and pytorch-fid's `inception_v3`: branches have names of their own in each kind of block.
pub(super) fn v3(at: &Place) -> String {
    let Some((branch, layer, part)) = at.branch else {
        return match at.block.strip_prefix("conv_") {
            Some(place) => format!("Conv2d_{place}_{}", at.size()),
            None => "fc".into(),
        };
    };
    let branches = match at.block {
        "mixed_5b" | "mixed_5c" | "mixed_5d" => ["branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"],
        "mixed_6a" => ["branch3x3", "branch3x3dbl", "", ""],
        "mixed_7a" => ["branch3x3", "branch7x7x3", "", ""],
        "mixed_7b" | "mixed_7c" => ["branch1x1", "branch3x3", "branch3x3dbl", "branch_pool"],
        _ => ["branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"],
    };
    let split = at.node.name.ends_with(['a', 'b']);
    // A single convolution, behind a pool or not, has no number.
    let number = match (at.depth, branch) {
        (1, _) | (_, 3) => String::new(),
        _ if split => format!("_{}{}", layer + 1, ["a", "b"][part]),
        _ => format!("_{}", layer + 1),
    };
    format!("{}.{}{number}", at.block.replacen('m', "M", 1), branches[branch])
}

/// timm's and Cadene's `inception_v4` and `inception_resnet_v2`.
pub(super) fn timm(at: &Place, graph: &Graph) -> String {
    if graph.spec().net == "inception_v4" { v4(at) } else { resnet_v2(at) }
}

/// Blocks of `inception_v4` in the order of their numbers.
const FEATURES: [&str; 22] = [
    "conv_1a", "conv_2a", "conv_2b", "mixed_3a", "mixed_4a", "mixed_5a", "mixed_5b", "mixed_5c", "mixed_5d",
    "mixed_5e", "mixed_6a", "mixed_6b", "mixed_6c", "mixed_6d", "mixed_6e", "mixed_6f", "mixed_6g",
    "mixed_6h", "mixed_7a", "mixed_7b", "mixed_7c", "mixed_7d",
];

fn v4(at: &Place) -> String {
    let Some(number) = FEATURES.iter().position(|&block| block == at.block) else {
        return "last_linear".into();
    };
    let Some((branch, layer, part)) = at.branch else {
        return format!("features.{number}");
    };
    let inside = match at.block {
        "mixed_3a" | "mixed_5a" => "conv".into(),
        // Branches 1 and 2 of Inception-C are no sequences.
        "mixed_7b" | "mixed_7c" | "mixed_7d" if branch == 1 || branch == 2 => {
            let split = at.node.name.ends_with(['a', 'b']);
            let part = if split { ["a", "b"][part] } else { "" };
            format!("branch{branch}_{layer}{part}")
        }
        _ => sequence(at, branch, layer),
    };
    format!("features.{number}.{inside}")
}

/// `branch1.2`, or `branch0` for a branch of one layer.
fn sequence(at: &Place, branch: usize, layer: usize) -> String {
    if at.depth == 1 { format!("branch{branch}") } else { format!("branch{branch}.{layer}") }
}

fn resnet_v2(at: &Place) -> String {
    residual(at, ["repeat", "repeat_1", "repeat_2"], 10, "classif")
}

/// facenet-pytorch's `InceptionResnetV1`, whose repeats are numbered from one.
pub(super) fn facenet(at: &Place) -> String {
    residual(at, ["repeat_1", "repeat_2", "repeat_3"], 6, "logits")
}

fn residual(at: &Place, repeats: [&str; 3], last: usize, classifier: &str) -> String {
    let block = match at.repeat() {
        Some(("block8", number)) if number == last => "block8".into(),
        Some((kind, number)) => {
            let repeat = match kind {
                "block35" => repeats[0],
                "block17" => repeats[1],
                _ => repeats[2],
            };
            format!("{repeat}.{}", number - 1)
        }
        None => match at.block {
            "logits" => classifier.into(),
            "bottleneck" => BOTTLENECK.into(),
            block => match block.strip_prefix("conv_") {
                Some(place) => format!("conv2d_{place}"),
                None => block.into(),
            },
        },
    };
    match at.branch {
        None if at.is_up() => format!("{block}.conv2d"),
        None => block,
        Some((branch, layer, _)) => format!("{block}.{}", sequence(at, branch, layer)),
    }
}
