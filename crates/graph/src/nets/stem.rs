//! The two beginnings and the reduction that several networks share.

use crate::dsl::{Net, Tap, conv, max_pool};

/// The first three convolutions of every network: 3×3/2 V, 3×3 V, 3×3.
fn first_three(net: &mut Net, x: Tap) -> Tap {
    let x = net.layer("conv_1a", conv(32, 3).down(), x);
    let x = net.layer("conv_2a", conv(32, 3).valid(), x);
    net.layer("conv_2b", conv(64, 3), x)
}

/// The sequential stem up to its 192 channels; what reduces the grid after it differs: Figure 14 without its last box.
pub(super) fn sequential(net: &mut Net, x: Tap) -> Tap {
    let x = first_three(net, x);
    let x = net.layer("pool_3a", max_pool(3).down(), x);
    let x = net.layer("conv_3b", conv(80, 1), x);
    net.layer("conv_4a", conv(192, 3).valid(), x)
}

/// The branched stem of Inception-v4 and Inception-ResNet-v2, Figure 3, with the released order of 1×7 and 7×1.
pub(super) fn branched(net: &mut Net, x: Tap) -> Tap {
    let x = first_three(net, x);
    let x = net.branches("mixed_3a", x, [vec![max_pool(3).down()], vec![conv(96, 3).down()]]);
    let x = net.branches(
        "mixed_4a",
        x,
        [
            vec![conv(64, 1), conv(96, 3).valid()],
            vec![conv(64, 1), conv(64, [1, 7]), conv(64, [7, 1]), conv(96, 3).valid()],
        ],
    );
    net.branches("mixed_5a", x, [vec![conv(192, 3).down()], vec![max_pool(3).down()]])
}

/// Channels of Reduction-A: a row of Table 1.
pub(super) struct ReductionA {
    pub(super) k: usize,
    pub(super) l: usize,
    pub(super) m: usize,
    pub(super) n: usize,
}

/// Reduction-A, Figure 7.
pub(super) fn reduction_a(net: &mut Net, x: Tap, ReductionA { k, l, m, n }: ReductionA) -> Tap {
    net.branches(
        "mixed_6a",
        x,
        [vec![conv(n, 3).down()], vec![conv(k, 1), conv(l, 3), conv(m, 3).down()], vec![max_pool(3).down()]],
    )
}
