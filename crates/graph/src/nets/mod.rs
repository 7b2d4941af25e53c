//! The networks, one figure set a file, and the table of their names.

mod auxiliary;
mod resnet_v1;
mod resnet_v2;
mod stem;
mod v3;
mod v4;

use crate::dsl::{Net, Tap, conv, max_pool};
use crate::error::GraphError;
use crate::graph::{Graph, Spec};
use crate::op::Op;

/// A network that can be built.
pub struct NetInfo {
    /// Name on the command line.
    pub name: &'static str,
    /// Side of its input where none is asked for.
    pub img_size: usize,
    /// Classes where none are asked for; 0 for a network that ends in an embedding.
    pub classes: usize,
    /// One line for people.
    pub about: &'static str,
    describe: fn(&mut Net, Tap, usize),
}

/// Every network: the paper's, then published variants.
pub const NETWORKS: &[NetInfo] = &[
    NetInfo {
        name: "inception_v3",
        img_size: 299,
        classes: 1000,
        about: "Inception-v3 as Google released it, the paper's baseline",
        describe: v3::inception_v3,
    },
    NetInfo {
        name: "inception_v4",
        img_size: 299,
        classes: 1000,
        about: "Inception-v4, Figure 9",
        describe: v4::inception_v4,
    },
    NetInfo {
        name: "inception_resnet_v1",
        img_size: 299,
        classes: 1000,
        about: "Inception-ResNet-v1, Figure 15: about Inception-v3's cost",
        describe: resnet_v1::inception_resnet_v1,
    },
    NetInfo {
        name: "inception_resnet_v2",
        img_size: 299,
        classes: 1000,
        about: "Inception-ResNet-v2 as the paper draws it, Figure 15",
        describe: resnet_v2::inception_resnet_v2,
    },
    NetInfo {
        name: "inception_resnet_v2.slim",
        img_size: 299,
        classes: 1000,
        about: "the released Inception-ResNet-v2 (slim, timm, Keras): 10/20/10 blocks",
        describe: resnet_v2::slim,
    },
    NetInfo {
        name: "inception_resnet_v1.facenet",
        img_size: 160,
        classes: 0,
        about: "FaceNet's Inception-ResNet-v1: a 512-d embedding of faces",
        describe: resnet_v1::facenet,
    },
    NetInfo {
        name: "inception_v3.fid",
        img_size: 299,
        classes: 1008,
        about: "the 2015 Inception-v3 on which FID is defined",
        describe: v3::fid,
    },
    NetInfo {
        name: "inception_v3.torchvision",
        img_size: 299,
        classes: 1000,
        about: "Inception-v3 of torchvision and timm: average pools count padding",
        describe: v3::torchvision,
    },
];

/// The network called `name`, or an error with the nearest name.
pub fn find(name: &str) -> Result<&'static NetInfo, GraphError> {
    NETWORKS.iter().find(|n| n.name == name).ok_or_else(|| {
        let plain = name.to_lowercase().replace('-', "_");
        let near = |n: &&NetInfo| strsim::jaro_winkler(&plain, n.name);
        let best = NETWORKS.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|n| near(n) > 0.8);
        GraphError::UnknownNet { name: name.into(), suggestion: best.map(|n| n.name) }
    })
}

/// Builds the network that `spec` asks for.
pub fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let info = find(&spec.net)?;
    let out_of_range = |what, found: String, expected| Err(GraphError::OutOfRange { what, found, expected });
    let img_size = spec.img_size.unwrap_or(info.img_size);
    let classes = spec.classes.unwrap_or(info.classes);
    if !(1..=4096).contains(&img_size) {
        return out_of_range("input size", img_size.to_string(), "1 to 4096 pixels");
    }
    if !(spec.width > 0.0 && spec.width <= 16.0) {
        return out_of_range("width", spec.width.to_string(), "more than 0 and at most 16");
    }
    if classes > 1_000_000 {
        return out_of_range("number of classes", classes.to_string(), "0 to 1000000");
    }
    if let Some(values) = spec.embedding.filter(|values| !(1..=65_536).contains(values)) {
        return out_of_range("size of the embedding", values.to_string(), "1 to 65536");
    }
    if let Some(scale) = spec.residual_scale.filter(|&scale| !(scale > 0.0 && scale <= 10.0)) {
        return out_of_range("residual scale", scale.to_string(), "more than 0 and at most 10");
    }
    let at_size = |side: usize| {
        let full = Spec { img_size: Some(side), classes: Some(classes), ..spec.clone() };
        let (mut net, x) = Net::new(full, side);
        (info.describe)(&mut net, x, classes);
        net.finish()
    };
    at_size(img_size).map_err(|node| {
        let smallest = (img_size..).find(|&side| at_size(side).is_ok()).expect("some size is large enough");
        GraphError::TooSmall { net: spec.net.clone(), img_size, node, smallest }
    })
}

/// Global average pooling, dropout with `keep`, classifier (Figures 9 and 15); without classes the pooled features.
fn classifier(net: &mut Net, x: Tap, keep: f32, classes: usize) {
    let x = net.push("pool", Op::GlobalAvgPool, &[x]);
    if classes == 0 {
        return net.output("features", x);
    }
    let x = net.push("dropout", Op::Dropout { keep }, &[x]);
    let x = net.push("logits", Op::Linear { out: classes }, &[x]);
    net.output("logits", x);
}

/// Scale of a residual branch and whether a ReLU follows its sum. The paper gives a range (section 3.3); these are the
/// released network's values.
#[derive(Clone, Copy)]
struct Scale {
    factor: f32,
    relu: bool,
}

impl Scale {
    const A: Scale = Scale { factor: 0.17, relu: true };
    const B: Scale = Scale { factor: 0.10, relu: true };
    const C: Scale = Scale { factor: 0.20, relu: true };
    /// The last block of the released networks.
    const LAST: Scale = Scale { factor: 1.0, relu: false };
}

/// Channels of the three convolutional branches of a residual network's Reduction-B.
type ReductionB = ([usize; 2], [usize; 2], [usize; 3]);

/// Reduction-B of the residual networks, Figures 12 and 18.
fn reduction_b(net: &mut Net, x: Tap, ([a, b], [c, d], [e, f, g]): ReductionB) -> Tap {
    net.branches(
        "mixed_7a",
        x,
        [
            vec![conv(a, 1), conv(b, 3).down()],
            vec![conv(c, 1), conv(d, 3).down()],
            vec![conv(e, 1), conv(f, 3), conv(g, 3).down()],
            vec![max_pool(3).down()],
        ],
    )
}
