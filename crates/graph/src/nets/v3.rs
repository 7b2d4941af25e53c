//! Inception-v3 as Google released it: arXiv:1602.07261 cites it, arXiv:1512.00567 draws parts of it.

use crate::dsl::{Layer, Net, Tap, avg_pool, conv, max_pool, split};
use crate::op::Op;

/// How the published networks called Inception-v3 differ.
struct Variant {
    /// Average pools divide by the window's area even at the border.
    count_padding: bool,
    /// The last block pools with a maximum.
    last_max: bool,
    /// Dropout in front of the classifier.
    keep: f32,
    /// Whether training has an auxiliary head.
    aux: bool,
}

const GOOGLE: Variant = Variant { count_padding: false, last_max: false, keep: 0.8, aux: true };

/// Google's released network, which the paper compares against.
pub(super) fn inception_v3(net: &mut Net, x: Tap, classes: usize) {
    describe(net, x, classes, &GOOGLE);
}

/// torchvision's and timm's: average pools count the padding.
pub(super) fn torchvision(net: &mut Net, x: Tap, classes: usize) {
    describe(net, x, classes, &Variant { count_padding: true, keep: 0.5, ..GOOGLE });
}

/// The 2015-12-05 graph, whose features the Fréchet Inception distance is defined on: the pooling branch of its last
/// block takes the maximum. It is published without an auxiliary head.
pub(super) fn fid(net: &mut Net, x: Tap, classes: usize) {
    describe(net, x, classes, &Variant { last_max: true, aux: false, ..GOOGLE });
}

fn describe(net: &mut Net, x: Tap, classes: usize, variant: &Variant) {
    let pool = || variant.avg_pool();
    let x = super::stem::sequential(net, x);
    let x = net.layer("pool_5a", max_pool(3).down(), x);
    let x = block_a(net, "mixed_5b", x, pool(), 32);
    let x = block_a(net, "mixed_5c", x, pool(), 64);
    let x = block_a(net, "mixed_5d", x, pool(), 64);
    let x = net.branches(
        "mixed_6a",
        x,
        [
            vec![conv(384, 3).down()],
            vec![conv(64, 1), conv(96, 3), conv(96, 3).down()],
            vec![max_pool(3).down()],
        ],
    );
    let x = block_b(net, "mixed_6b", x, pool(), 128);
    let x = block_b(net, "mixed_6c", x, pool(), 160);
    let x = block_b(net, "mixed_6d", x, pool(), 160);
    let half_way = block_b(net, "mixed_6e", x, pool(), 192);
    let x = net.branches(
        "mixed_7a",
        half_way,
        [
            vec![conv(192, 1), conv(320, 3).down()],
            vec![conv(192, 1), conv(192, [1, 7]), conv(192, [7, 1]), conv(192, 3).down()],
            vec![max_pool(3).down()],
        ],
    );
    let x = block_c(net, "mixed_7b", x, pool());
    let x = block_c(net, "mixed_7c", x, if variant.last_max { max_pool(3) } else { pool() });
    super::classifier(net, x, variant.keep, classes);
    if variant.aux {
        super::auxiliary::head(net, half_way, classes, Some(super::auxiliary::V3));
    }
}

impl Variant {
    fn avg_pool(&self) -> Layer {
        let Layer::Box(mut op) = avg_pool(3) else { unreachable!("a pool is one box") };
        if let Op::AvgPool { count_padding, .. } = &mut op {
            *count_padding = self.count_padding;
        }
        Layer::Box(op)
    }
}

/// Figure 5 of arXiv:1512.00567, with the release's 5×5.
fn block_a(net: &mut Net, name: &str, x: Tap, pool: Layer, pooled: usize) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(64, 1)],
            vec![conv(48, 1), conv(64, 5)],
            vec![conv(64, 1), conv(96, 3), conv(96, 3)],
            vec![pool, conv(pooled, 1)],
        ],
    )
}

/// Figure 6 of arXiv:1512.00567, n = 7.
fn block_b(net: &mut Net, name: &str, x: Tap, pool: Layer, c: usize) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(192, 1)],
            vec![conv(c, 1), conv(c, [1, 7]), conv(192, [7, 1])],
            vec![conv(c, 1), conv(c, [7, 1]), conv(c, [1, 7]), conv(c, [7, 1]), conv(192, [1, 7])],
            vec![pool, conv(192, 1)],
        ],
    )
}

/// Figure 7 of arXiv:1512.00567.
fn block_c(net: &mut Net, name: &str, x: Tap, pool: Layer) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(320, 1)],
            vec![conv(384, 1), split([conv(384, [1, 3]), conv(384, [3, 1])])],
            vec![conv(448, 1), conv(384, 3), split([conv(384, [1, 3]), conv(384, [3, 1])])],
            vec![pool, conv(192, 1)],
        ],
    )
}
