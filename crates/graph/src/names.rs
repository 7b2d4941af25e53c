//! What published files call our tensors, and how they lay them out.
//!
//! ```text
//! canonical   mixed_6b/b2/3/weight        [1, 7, in, out]
//! slim        InceptionV4/Mixed_6b/Branch_2/Conv2d_0d_7x1/weights
//! timm        features.11.branch2.3.conv.weight      [out, in, 1, 7]
//! Keras       conv2d_57/conv2d_57/kernel:0
//! ```
//! A name has two parts: what the family calls the box, which follows from the box's place by the rules in the files
//! below, and what it calls the parameter, which [`Family`] knows. Nothing is listed that a rule can say.

mod inception_2015;
mod keras;
mod slim;
mod torch;

use crate::graph::{AUX_LOGITS, Graph, Node, NodeId};
use crate::op::{After, Op};
use crate::param::{Param, Role};

/// A way in which a published file names the tensors of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// TF-slim's checkpoints of Inception-v3, Inception-v4 and Inception-ResNet-v2.
    Slim,
    /// David Sandberg's FaceNet: slim's names for Inception-ResNet-v1.
    Facenet,
    /// The frozen Inception-v3 of December 2015.
    Inception2015,
    /// torchvision's `inception_v3`; timm's has the same names.
    Torchvision,
    /// pytorch-fid's Inception-v3: torchvision's names.
    PytorchFid,
    /// timm's and Cadene's `inception_v4` and `inception_resnet_v2`; for Inception-v3 the same as torchvision's.
    Timm,
    /// facenet-pytorch's `InceptionResnetV1`.
    FacenetPytorch,
    /// Keras's HDF5 files by layer name: automatic numbers count layers in the order of their creation.
    Keras,
    /// Keras's `.weights.h5` and `.keras`: numbers count layers in the order of the model.
    Keras3,
}

/// How the extents of a foreign tensor follow from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axes {
    /// The same.
    Same,
    /// `[kh, kw, in, out]` is stored as `[out, in, kh, kw]`.
    OutInHw,
    /// `[in, out]` or `[1, 1, in, out]` is stored as `[out, in]`.
    OutIn,
    /// `[in, out]` is stored as the kernel of a 1×1 convolution, `[1, 1, in, out]`.
    Pointwise,
    /// The kernel of a 1×1 convolution, `[1, 1, in, out]`, is stored as `[in, out]`.
    Matrix,
}

impl Axes {
    /// The foreign shape of a tensor that has `shape` here.
    pub fn shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Axes::OutInHw, &[kh, kw, i, o]) => vec![o, i, kh, kw],
            (Axes::OutIn, &[i, o] | &[1, 1, i, o]) => vec![o, i],
            (Axes::Pointwise, &[i, o]) => vec![1, 1, i, o],
            (Axes::Matrix, &[1, 1, i, o]) => vec![i, o],
            _ => shape.to_vec(),
        }
    }

    /// Foreign values of a tensor that has `shape` and `values` here.
    pub fn to_foreign(self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        match self {
            Axes::Same | Axes::Pointwise | Axes::Matrix => values.to_vec(),
            Axes::OutInHw | Axes::OutIn => transpose(values, rows(shape), shape),
        }
    }

    /// Our values, `to`, of a tensor that has `shape` here and `values` in the file.
    pub fn to_canonical(self, shape: &[usize], values: &[f32], to: &mut [f32]) {
        match self {
            Axes::Same | Axes::Pointwise | Axes::Matrix => to.copy_from_slice(values),
            Axes::OutInHw | Axes::OutIn => untranspose(values, rows(shape), to),
        }
    }
}

/// Grid of a kernel, input channels, output channels.
fn rows(shape: &[usize]) -> [usize; 3] {
    match *shape {
        [kh, kw, i, o] => [kh * kw, i, o],
        [i, o] => [1, i, o],
        _ => unreachable!("only kernels have other axes"),
    }
}

/// `[grid, in, out]` to `[out, in, grid]`.
fn transpose(values: &[f32], [grid, inputs, outputs]: [usize; 3], shape: &[usize]) -> Vec<f32> {
    assert_eq!(values.len(), shape.iter().product::<usize>(), "a tensor of shape {shape:?}");
    let mut to = Vec::with_capacity(values.len());
    for o in 0..outputs {
        for i in 0..inputs {
            to.extend((0..grid).map(|g| values[(g * inputs + i) * outputs + o]));
        }
    }
    to
}

/// `[out, in, grid]` to `[grid, in, out]`, some outputs at a time: so many rows are read in order, and what is written next
/// to each other fills lines of the cache.
fn untranspose(values: &[f32], [grid, inputs, outputs]: [usize; 3], to: &mut [f32]) {
    const OUTPUTS: usize = 32;
    let row = inputs * grid;
    assert_eq!([values.len(), to.len()], [row * outputs; 2], "a tensor of {grid}×{inputs}×{outputs}");
    for first in (0..outputs).step_by(OUTPUTS) {
        let last = (first + OUTPUTS).min(outputs);
        for i in 0..inputs {
            for g in 0..grid {
                let to = &mut to[(g * inputs + i) * outputs..][first..last];
                to.iter_mut().zip(first..).for_each(|(to, o)| *to = values[o * row + i * grid + g]);
            }
        }
    }
}

/// What a file calls one of our parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Name in the file.
    pub name: String,
    /// Order of its axes there.
    pub axes: Axes,
}

/// What a family calls the parameters of a box.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    /// `B/weights`, `B/BatchNorm/beta`; batch norms without γ.
    Slim,
    /// `B/conv2d_params`, `B/batchnorm/gamma`.
    Inception2015,
    /// `B.conv.weight`, `B.bn.running_mean`.
    Torch,
    /// Keras by name.
    Keras,
    /// Keras by position.
    Keras3,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Layout; 9] = [
        Layout::Slim,
        Layout::Facenet,
        Layout::Inception2015,
        Layout::Torchvision,
        Layout::PytorchFid,
        Layout::Timm,
        Layout::FacenetPytorch,
        Layout::Keras,
        Layout::Keras3,
    ];

    /// The layout called `name`.
    pub fn find(name: &str) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Slim => "slim",
            Layout::Facenet => "facenet",
            Layout::Inception2015 => "inception-2015",
            Layout::Torchvision => "torchvision",
            Layout::PytorchFid => "pytorch-fid",
            Layout::Timm => "timm",
            Layout::FacenetPytorch => "facenet-pytorch",
            Layout::Keras => "keras",
            Layout::Keras3 => "keras3",
        }
    }

    /// The networks that are published in this layout, the one its own code computes first.
    pub fn nets(self) -> &'static [&'static str] {
        match self {
            Layout::Slim => &["inception_v3", "inception_v4", "inception_resnet_v2.slim"],
            Layout::Facenet | Layout::FacenetPytorch => &["inception_resnet_v1.facenet"],
            Layout::Inception2015 | Layout::PytorchFid => &["inception_v3.fid"],
            Layout::Torchvision => &["inception_v3.torchvision", "inception_v3"],
            Layout::Timm => &["inception_v4", "inception_resnet_v2.slim"],
            Layout::Keras | Layout::Keras3 => &["inception_v3", "inception_resnet_v2.slim"],
        }
    }

    /// Names and axes of all of `graph`'s parameters, in their order; `None` for a batch norm's γ that such files do not
    /// have because it is one, for the auxiliary head, which starts anew in training, and for everything where the layout has
    /// no such network.
    pub fn names(self, graph: &Graph) -> Vec<Option<Foreign>> {
        let family = match self {
            Layout::Slim | Layout::Facenet => Family::Slim,
            Layout::Inception2015 => Family::Inception2015,
            Layout::Torchvision | Layout::PytorchFid | Layout::Timm | Layout::FacenetPytorch => Family::Torch,
            Layout::Keras => Family::Keras,
            Layout::Keras3 => Family::Keras3,
        };
        let params = graph.params();
        if !self.nets().contains(&graph.spec().net.as_str()) {
            return vec![None; params.len()];
        }
        let boxes: Vec<Place> = graph.ids().map(|id| Place::new(graph, id)).collect();
        let keras = matches!(family, Family::Keras | Family::Keras3).then(|| keras::Numbers::new(&boxes));
        let base = |at: &Place| match self {
            Layout::Slim | Layout::Facenet => slim::base(at, graph),
            Layout::Inception2015 => inception_2015::base(at),
            Layout::Torchvision | Layout::PytorchFid => torch::v3(at),
            Layout::Timm => torch::timm(at, graph),
            Layout::FacenetPytorch => torch::facenet(at),
            Layout::Keras | Layout::Keras3 => String::new(),
        };
        let named = |param: &Param| {
            let at = &boxes[param.node.0];
            if at.block == AUX_LOGITS {
                return None;
            }
            match &keras {
                Some(numbers) => numbers.foreign(at, param, family == Family::Keras3),
                None => family.foreign(&base(at), at, param),
            }
        };
        params.iter().map(named).collect()
    }
}

impl Family {
    fn foreign(self, base: &str, at: &Place, param: &Param) -> Option<Foreign> {
        let linear = matches!(at.node.op, Op::Linear { .. });
        let normed = matches!(at.node.op, Op::Conv { after: After::Bn | After::BnRelu, .. });
        let suffix = match (self, param.role) {
            (Family::Slim, Role::Gamma) => return None,
            (Family::Slim, Role::Weight) => "/weights",
            (Family::Slim, Role::Bias) => "/biases",
            (Family::Slim, Role::Beta) => "/BatchNorm/beta",
            (Family::Slim, Role::Mean) => "/BatchNorm/moving_mean",
            (Family::Slim, Role::Variance) => "/BatchNorm/moving_variance",
            (Family::Inception2015, Role::Weight) if linear => "/weights",
            (Family::Inception2015, Role::Bias) => "/biases",
            (Family::Inception2015, Role::Weight) => "/conv2d_params",
            (Family::Inception2015, Role::Gamma) => "/batchnorm/gamma",
            (Family::Inception2015, Role::Beta) => "/batchnorm/beta",
            (Family::Inception2015, Role::Mean) => "/batchnorm/moving_mean",
            (Family::Inception2015, Role::Variance) => "/batchnorm/moving_variance",
            // FaceNet's bottleneck is a linear layer followed by a batch norm of another name.
            (Family::Torch, Role::Weight) if normed && base != torch::BOTTLENECK => ".conv.weight",
            (Family::Torch, Role::Weight) => ".weight",
            (Family::Torch, Role::Bias) => ".bias",
            (Family::Torch, role) => {
                let norm = match base {
                    torch::BOTTLENECK => "last_bn".into(),
                    _ => format!("{base}.bn"),
                };
                let name = match role {
                    Role::Gamma => "weight",
                    Role::Beta => "bias",
                    Role::Mean => "running_mean",
                    _ => "running_var",
                };
                return Some(Foreign { name: format!("{norm}.{name}"), axes: Axes::Same });
            }
            (Family::Keras | Family::Keras3, _) => unreachable!("named by number"),
        };
        let axes = match (self, param.role) {
            (Family::Torch, Role::Weight) if linear => Axes::OutIn,
            (Family::Torch, Role::Weight) if base == torch::BOTTLENECK => Axes::OutIn,
            (Family::Torch, Role::Weight) => Axes::OutInHw,
            (Family::Slim, Role::Weight) if at.block == "bottleneck" => Axes::Matrix,
            // slim's Inception-v3 ends in a 1×1 convolution.
            (Family::Slim, Role::Weight) if linear && base.ends_with("Conv2d_1c_1x1") => Axes::Pointwise,
            _ => Axes::Same,
        };
        Some(Foreign { name: format!("{base}{suffix}"), axes })
    }
}

/// `conv`, `conv_1`, `conv_2`, …: TensorFlow's and Keras's way to tell things of one name apart.
pub fn numbered(name: &str, number: usize) -> String {
    if number == 0 { name.into() } else { format!("{name}_{number}") }
}

/// A box with its place in words: `mixed_6b/b2/3` is box 3 of branch 2 of the block `mixed_6b`.
struct Place<'a> {
    node: &'a Node,
    id: NodeId,
    /// First component of the path.
    block: &'a str,
    /// Branch, index of the layer in it, and which part of a split (0 or 1).
    branch: Option<(usize, usize, usize)>,
    /// Number of layers of the branch, a split counted as one.
    depth: usize,
    /// Kernel, stride and padding of a convolution.
    kernel: [usize; 2],
    /// Whether the box is without padding, as every box of stride 2 is.
    valid: bool,
}

impl<'a> Place<'a> {
    fn new(graph: &'a Graph, id: NodeId) -> Self {
        let node = graph.node(id);
        let mut parts = node.name.split('/');
        let block = parts.next().unwrap_or_default();
        let place = |path: &str| {
            let (branch, layer) = path.strip_prefix(block)?.strip_prefix("/b")?.split_once('/')?;
            let digits = layer.trim_end_matches(['a', 'b']);
            Some((branch.parse().ok()?, digits.parse().ok()?, usize::from(layer.ends_with('b'))))
        };
        let branch: Option<(usize, usize, usize)> = place(&node.name);
        // The layers of a branch stand together; only those behind this one can make it deeper.
        let depth = branch.map_or(0, |(b, layer, _)| {
            let behind = graph.nodes()[id.0 + 1..].iter().map_while(|n| place(&n.name).filter(|p| p.0 == b));
            behind.map(|(_, layer, _)| layer + 1).max().unwrap_or(0).max(layer + 1)
        });
        let (kernel, valid) = match node.op {
            Op::Conv { kernel, pad, .. } => (kernel, pad == crate::op::Pad::Valid),
            _ => ([1, 1], false),
        };
        Place { node, id, block, branch, depth, kernel, valid }
    }

    /// `3x1`.
    fn size(&self) -> String {
        format!("{}x{}", self.kernel[0], self.kernel[1])
    }

    /// Whether it is the up-projection of a residual block.
    fn is_up(&self) -> bool {
        self.node.name.ends_with("/up")
    }

    /// The number of a repeated block: 3 of `block35_3`.
    fn repeat(&self) -> Option<(&'a str, usize)> {
        let (kind, number) = self.block.rsplit_once('_')?;
        kind.starts_with("block").then_some(())?;
        Some((kind, number.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Spec, build};

    fn names(layout: Layout, net: &str) -> Vec<(String, Option<Foreign>, Vec<usize>)> {
        let graph = build(&Spec::new(net)).expect("a known network");
        let params = graph.params();
        let names = layout.names(&graph);
        params.into_iter().zip(names).map(|(p, f)| (p.name, f, p.shape)).collect()
    }

    #[test]
    fn axes_there_and_back() {
        let shape = [1, 2, 3, 4];
        let values: Vec<f32> = (0..24u8).map(f32::from).collect();
        let foreign = Axes::OutInHw.to_foreign(&shape, &values);
        // Output 1, input 2, column 1 is value ((0·2 + 1)·3 + 2)·4 + 1 of ours.
        assert_eq!(foreign[(3 + 2) * 2 + 1], 21.0);
        let mut canonical = vec![0.0; values.len()];
        Axes::OutInHw.to_canonical(&shape, &foreign, &mut canonical);
        assert_eq!(canonical, values);
        assert_eq!(Axes::OutInHw.shape(&shape), [4, 3, 1, 2]);
    }

    #[test]
    fn every_parameter_has_a_name_of_its_own_or_is_a_gamma() {
        for layout in Layout::ALL {
            for net in layout.nets() {
                let all = names(layout, net);
                let found: Vec<&str> =
                    all.iter().filter_map(|(_, f, _)| Some(f.as_ref()?.name.as_str())).collect();
                let unique: std::collections::BTreeSet<&str> = found.iter().copied().collect();
                assert_eq!(unique.len(), found.len(), "{layout:?} {net}");
                for (name, foreign, _) in &all {
                    assert!(foreign.is_some() || name.ends_with("/gamma"), "{layout:?} {net} {name}");
                }
            }
        }
    }
}
