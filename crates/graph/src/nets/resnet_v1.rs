//! Inception-ResNet-v1: Figures 7, 10–15 and Table 1 of arXiv:1602.07261, and FaceNet's variant.

use super::stem::{self, ReductionA};
use super::{Scale, reduction_b};
use crate::dsl::{Net, Tap, conv};
use crate::op::{After, Op, Pad};

/// Inception-ResNet-v1, Figure 15.
pub(super) fn inception_resnet_v1(net: &mut Net, x: Tap, classes: usize) {
    let x = body(net, x);
    super::classifier(net, x, 0.8, classes);
}

/// FaceNet's network: a sixth C block at scale 1 without ReLU, a bottleneck with batch norm, its L2 norm. The
/// bottleneck has 512 values in the models of 2018 and 128, the default of the code, in those before. A classifier of identities, where there is one, reads the bottleneck before the norm.
pub(super) fn facenet(net: &mut Net, x: Tap, classes: usize) {
    let x = body(net, x);
    let x = block8(net, "block8_6", x, Scale::LAST);
    let x = net.push("pool", Op::GlobalAvgPool, &[x]);
    let x = net.push("dropout", Op::Dropout { keep: 0.8 }, &[x]);
    let out = net.embedding().unwrap_or(512);
    let bottleneck = Op::Conv { out, kernel: [1, 1], stride: 1, pad: Pad::Same, after: After::Bn };
    let x = net.push("bottleneck", bottleneck, &[x]);
    let embedding = net.push("embedding", Op::L2Norm, &[x]);
    net.output("embedding", embedding);
    if classes > 0 {
        let logits = net.push("logits", Op::Linear { out: classes }, &[x]);
        net.output("logits", logits);
    }
}

fn body(net: &mut Net, x: Tap) -> Tap {
    let x = stem::sequential(net, x);
    let mut x = net.layer("conv_4b", conv(256, 3).down(), x);
    for i in 1..=5 {
        x = block35(net, &format!("block35_{i}"), x);
    }
    x = stem::reduction_a(net, x, ReductionA { k: 192, l: 192, m: 256, n: 384 });
    for i in 1..=10 {
        x = block17(net, &format!("block17_{i}"), x);
    }
    x = reduction_b(net, x, ([256, 384], [256, 256], [256, 256, 256]));
    for i in 1..=5 {
        x = block8(net, &format!("block8_{i}"), x, Scale::C);
    }
    x
}

/// Inception-ResNet-A, Figure 10.
fn block35(net: &mut Net, name: &str, x: Tap) -> Tap {
    let branches =
        [vec![conv(32, 1)], vec![conv(32, 1), conv(32, 3)], vec![conv(32, 1), conv(32, 3), conv(32, 3)]];
    net.residual(name, x, Scale::A.factor, Scale::A.relu, branches)
}

/// Inception-ResNet-B, Figure 11.
fn block17(net: &mut Net, name: &str, x: Tap) -> Tap {
    let branches = [vec![conv(128, 1)], vec![conv(128, 1), conv(128, [1, 7]), conv(128, [7, 1])]];
    net.residual(name, x, Scale::B.factor, Scale::B.relu, branches)
}

/// Inception-ResNet-C, Figure 13.
fn block8(net: &mut Net, name: &str, x: Tap, scale: Scale) -> Tap {
    let branches = [vec![conv(192, 1)], vec![conv(192, 1), conv(192, [1, 3]), conv(192, [3, 1])]];
    net.residual(name, x, scale.factor, scale.relu, branches)
}
