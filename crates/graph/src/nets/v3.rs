//! Inception-v3, as Google released it; arXiv:1602.07261 cites it and arXiv:1512.00567 draws parts of it.

use crate::dsl::{Net, Tap, avg_pool, conv, max_pool, split};

/// Inception-v3.
pub(super) fn inception_v3(net: &mut Net, x: Tap, classes: usize) {
    let x = stem(net, x);
    let x = block_a(net, "mixed_5b", x, 32);
    let x = block_a(net, "mixed_5c", x, 64);
    let x = block_a(net, "mixed_5d", x, 64);
    let x = net.branches(
        "mixed_6a",
        x,
        [vec![conv(384, 3).down()], vec![conv(64, 1), conv(96, 3), conv(96, 3).down()], vec![max_pool(3).down()]],
    );
    let x = block_b(net, "mixed_6b", x, 128);
    let x = block_b(net, "mixed_6c", x, 160);
    let x = block_b(net, "mixed_6d", x, 160);
    let x = block_b(net, "mixed_6e", x, 192);
    let x = net.branches(
        "mixed_7a",
        x,
        [
            vec![conv(192, 1), conv(320, 3).down()],
            vec![conv(192, 1), conv(192, [1, 7]), conv(192, [7, 1]), conv(192, 3).down()],
            vec![max_pool(3).down()],
        ],
    );
    let x = block_c(net, "mixed_7b", x);
    let x = block_c(net, "mixed_7c", x);
    super::classifier(net, x, 0.8, classes);
}

fn stem(net: &mut Net, x: Tap) -> Tap {
    let x = net.layer("conv_1a", conv(32, 3).down(), x);
    let x = net.layer("conv_2a", conv(32, 3).valid(), x);
    let x = net.layer("conv_2b", conv(64, 3), x);
    let x = net.layer("pool_3a", max_pool(3).down(), x);
    let x = net.layer("conv_3b", conv(80, 1), x);
    let x = net.layer("conv_4a", conv(192, 3).valid(), x);
    net.layer("pool_5a", max_pool(3).down(), x)
}

fn block_a(net: &mut Net, name: &str, x: Tap, pooled: usize) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(64, 1)],
            vec![conv(48, 1), conv(64, 5)],
            vec![conv(64, 1), conv(96, 3), conv(96, 3)],
            vec![avg_pool(3), conv(pooled, 1)],
        ],
    )
}

fn block_b(net: &mut Net, name: &str, x: Tap, c: usize) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(192, 1)],
            vec![conv(c, 1), conv(c, [1, 7]), conv(192, [7, 1])],
            vec![conv(c, 1), conv(c, [7, 1]), conv(c, [1, 7]), conv(c, [7, 1]), conv(192, [1, 7])],
            vec![avg_pool(3), conv(192, 1)],
        ],
    )
}

fn block_c(net: &mut Net, name: &str, x: Tap) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(320, 1)],
            vec![conv(384, 1), split([conv(384, [1, 3]), conv(384, [3, 1])])],
            vec![conv(448, 1), conv(384, 3), split([conv(384, [1, 3]), conv(384, [3, 1])])],
            vec![avg_pool(3), conv(192, 1)],
        ],
    )
}
