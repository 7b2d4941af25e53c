//! Inception-ResNet-v2: the paper's (Figures 3, 7, 15–19 and Table 1 of arXiv:1602.07261) and the released one.
//!
//! Figures 17 and 19 print up-projections to 1154 and 2048 channels, which cannot be added to their inputs; an
//! up-projection always has its input's depth.

use super::stem::{self, ReductionA};
use super::{ReductionB, Scale, reduction_b};
use crate::dsl::{Net, Tap, avg_pool, conv, max_pool};

const REDUCTION_A: ReductionA = ReductionA { k: 256, l: 256, m: 384, n: 384 };
const REDUCTION_B: ReductionB = ([256, 384], [256, 288], [256, 288, 320]);

/// Inception-ResNet-v2 as the paper draws it.
pub(super) fn inception_resnet_v2(net: &mut Net, x: Tap, classes: usize) {
    let x = stem::branched(net, x);
    let [half_way, x] = residual_stages(net, x, [5, 10, 5]);
    super::classifier(net, x, 0.8, classes);
    super::auxiliary::head(net, half_way, classes, None);
}

/// The network that Google released, known to slim, Keras and timm by the same name: the sequential stem, one plain
/// block, twice the residual blocks, a last C block at scale 1 without ReLU, a final 1×1.
pub(super) fn slim(net: &mut Net, x: Tap, classes: usize) {
    let x = stem::sequential(net, x);
    let x = net.layer("pool_5a", max_pool(3).down(), x);
    let x = net.branches(
        "mixed_5b",
        x,
        [
            vec![conv(96, 1)],
            vec![conv(48, 1), conv(64, 5)],
            vec![conv(64, 1), conv(96, 3), conv(96, 3)],
            vec![avg_pool(3), conv(64, 1)],
        ],
    );
    let [half_way, x] = residual_stages(net, x, [10, 20, 9]);
    let x = block8(net, "block8_10", x, Scale::LAST);
    let x = net.layer("conv_7b", conv(1536, 1), x);
    super::classifier(net, x, 0.8, classes);
    super::auxiliary::head(net, half_way, classes, None);
}

/// The residual blocks and the reductions between them: the output of the last B block, and that of the last C block.
fn residual_stages(net: &mut Net, mut x: Tap, [a, b, c]: [usize; 3]) -> [Tap; 2] {
    for i in 1..=a {
        x = block35(net, &format!("block35_{i}"), x);
    }
    x = stem::reduction_a(net, x, REDUCTION_A);
    for i in 1..=b {
        x = block17(net, &format!("block17_{i}"), x);
    }
    let half_way = x;
    x = reduction_b(net, x, REDUCTION_B);
    for i in 1..=c {
        x = block8(net, &format!("block8_{i}"), x, Scale::C);
    }
    [half_way, x]
}

/// Inception-ResNet-A, Figure 16.
fn block35(net: &mut Net, name: &str, x: Tap) -> Tap {
    let branches =
        [vec![conv(32, 1)], vec![conv(32, 1), conv(32, 3)], vec![conv(32, 1), conv(48, 3), conv(64, 3)]];
    net.residual(name, x, Scale::A.factor, Scale::A.relu, branches)
}

/// Inception-ResNet-B, Figure 17.
fn block17(net: &mut Net, name: &str, x: Tap) -> Tap {
    let branches = [vec![conv(192, 1)], vec![conv(128, 1), conv(160, [1, 7]), conv(192, [7, 1])]];
    net.residual(name, x, Scale::B.factor, Scale::B.relu, branches)
}

/// Inception-ResNet-C, Figure 19.
fn block8(net: &mut Net, name: &str, x: Tap, scale: Scale) -> Tap {
    let branches = [vec![conv(192, 1)], vec![conv(192, 1), conv(224, [1, 3]), conv(256, [3, 1])]];
    net.residual(name, x, scale.factor, scale.relu, branches)
}
