//! Inception-v4: Figures 3–9 and Table 1 of arXiv:1602.07261.
//!
//! Where a figure repeats or swaps 1×7 and 7×1 (Figures 5 and 6), the order of Google's released network holds.

use super::stem::{self, ReductionA};
use crate::dsl::{Net, Tap, avg_pool, conv, max_pool, split};

/// Inception-v4, Figure 9.
pub(super) fn inception_v4(net: &mut Net, x: Tap, classes: usize) {
    let mut x = stem::branched(net, x);
    for letter in 'b'..='e' {
        x = inception_a(net, &format!("mixed_5{letter}"), x);
    }
    x = stem::reduction_a(net, x, ReductionA { k: 192, l: 224, m: 256, n: 384 });
    for letter in 'b'..='h' {
        x = inception_b(net, &format!("mixed_6{letter}"), x);
    }
    let half_way = x;
    x = reduction_b(net, x);
    for letter in 'b'..='d' {
        x = inception_c(net, &format!("mixed_7{letter}"), x);
    }
    super::classifier(net, x, 0.8, classes);
    super::auxiliary::head(net, half_way, classes, None);
}

/// Inception-A, Figure 4.
fn inception_a(net: &mut Net, name: &str, x: Tap) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(96, 1)],
            vec![conv(64, 1), conv(96, 3)],
            vec![conv(64, 1), conv(96, 3), conv(96, 3)],
            vec![avg_pool(3), conv(96, 1)],
        ],
    )
}

/// Inception-B, Figure 5.
fn inception_b(net: &mut Net, name: &str, x: Tap) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(384, 1)],
            vec![conv(192, 1), conv(224, [1, 7]), conv(256, [7, 1])],
            vec![conv(192, 1), conv(192, [7, 1]), conv(224, [1, 7]), conv(224, [7, 1]), conv(256, [1, 7])],
            vec![avg_pool(3), conv(128, 1)],
        ],
    )
}

/// Reduction-B, Figure 8.
fn reduction_b(net: &mut Net, x: Tap) -> Tap {
    net.branches(
        "mixed_7a",
        x,
        [
            vec![conv(192, 1), conv(192, 3).down()],
            vec![conv(256, 1), conv(256, [1, 7]), conv(320, [7, 1]), conv(320, 3).down()],
            vec![max_pool(3).down()],
        ],
    )
}

/// Inception-C, Figure 6.
fn inception_c(net: &mut Net, name: &str, x: Tap) -> Tap {
    net.branches(
        name,
        x,
        [
            vec![conv(256, 1)],
            vec![conv(384, 1), split([conv(256, [1, 3]), conv(256, [3, 1])])],
            vec![
                conv(384, 1),
                conv(448, [3, 1]),
                conv(512, [1, 3]),
                split([conv(256, [1, 3]), conv(256, [3, 1])]),
            ],
            vec![avg_pool(3), conv(256, 1)],
        ],
    )
}
