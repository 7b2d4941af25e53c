//! The networks, one figure set a file, and the table of their names.

mod v3;

use crate::dsl::{Net, Tap};
use crate::error::GraphError;
use crate::graph::{Graph, Spec};

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

/// Every network, paper's networks first.
pub const NETWORKS: &[NetInfo] = &[NetInfo {
    name: "inception_v3",
    img_size: 299,
    classes: 1000,
    about: "Inception-v3 as Google released it (the definition of arXiv:1512.00567 cannot be built)",
    describe: v3::inception_v3,
}];

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
    if classes > 1_000_000 || (classes == 0 && info.classes != 0) {
        return out_of_range("number of classes", classes.to_string(), "1 to 1000000");
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

/// Global average pooling, dropout with `keep`, classifier (Figures 9 and 15).
fn classifier(net: &mut Net, x: Tap, keep: f32, classes: usize) {
    use crate::op::Op;
    let x = net.push("pool", Op::GlobalAvgPool, &[x]);
    let x = net.push("dropout", Op::Dropout { keep }, &[x]);
    let x = net.push("logits", Op::Linear { out: classes }, &[x]);
    net.output("logits", x);
}
