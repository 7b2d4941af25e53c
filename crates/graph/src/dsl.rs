//! The words in which the networks are written down: layers, branches, blocks.
//!
//! A description names only what a figure prints: output channels, kernels, strides. Input widths, paths and shapes
//! are inferred. A shape that cannot be is remembered and reported once, when the description is finished.

use crate::graph::{Graph, Node, NodeId, Shape, Spec};
use crate::op::{After, Op, Pad};

/// A point in the network under construction.
pub type Tap = NodeId;

/// One layer of a branch.
#[derive(Clone, Debug)]
pub enum Layer {
    /// One box.
    Box(Op),
    /// Several layers reading the same input, all of them outputs of the branch: `{ 1×3 ‖ 3×1 }` of Figure 6.
    Split(Vec<Layer>),
}

impl Layer {
    fn edit(mut self, f: impl Fn(&mut usize, &mut Pad)) -> Self {
        if let Layer::Box(
            Op::Conv { stride, pad, .. } | Op::MaxPool { stride, pad, .. } | Op::AvgPool { stride, pad, .. },
        ) = &mut self
        {
            f(stride, pad);
        }
        self
    }
    /// Without padding: the figures' mark `V`.
    pub fn valid(self) -> Self {
        self.edit(|_, pad| *pad = Pad::Valid)
    }
    /// Stride 2 without padding, as every stride-2 box of these networks is.
    pub fn down(self) -> Self {
        self.edit(|stride, pad| (*stride, *pad) = (2, Pad::Valid))
    }
}

/// Kernel of a convolution: `3` for 3×3, `[1, 7]` for one row and seven columns.
pub(crate) trait Kernel {
    fn hw(self) -> [usize; 2];
}
impl Kernel for usize {
    fn hw(self) -> [usize; 2] {
        [self, self]
    }
}
impl Kernel for [usize; 2] {
    fn hw(self) -> [usize; 2] {
        self
    }
}

/// Convolution with batch norm and ReLU, stride 1, same padding.
pub(crate) fn conv(out: usize, kernel: impl Kernel) -> Layer {
    Layer::Box(Op::Conv { out, kernel: kernel.hw(), stride: 1, pad: Pad::Same, after: After::BnRelu })
}
/// Maximum pooling, stride 1, same padding.
pub(crate) fn max_pool(size: usize) -> Layer {
    Layer::Box(Op::MaxPool { size, stride: 1, pad: Pad::Same })
}
/// Average pooling, stride 1, same padding, padded cells not counted.
pub(crate) fn avg_pool(size: usize) -> Layer {
    Layer::Box(Op::AvgPool { size, stride: 1, pad: Pad::Same, count_padding: false })
}
/// Two or more layers side by side at the end of a branch.
pub(crate) fn split<const N: usize>(layers: [Layer; N]) -> Layer {
    Layer::Split(layers.into())
}

/// A network under construction.
pub struct Net {
    graph: Graph,
    width: f64,
    failed: Option<String>,
}

impl Net {
    /// Starts with the picture; returns the network and the point behind its input.
    pub(crate) fn new(spec: Spec, img_size: usize) -> (Self, Tap) {
        let shape = Shape { h: img_size, w: img_size, c: 3 };
        let input = Node { name: "input".into(), op: Op::Input, inputs: Vec::new(), shape };
        let width = spec.width;
        let (nodes, outputs, deviations) = (vec![input], Vec::new(), Vec::new());
        let graph = Graph { spec, nodes, outputs, aux_logits: None, deviations };
        (Net { graph, width, failed: None }, NodeId(0))
    }

    /// Ends the description: the graph, or the name of the first box for which the picture was too small.
    pub(crate) fn finish(self) -> Result<Graph, String> {
        match self.failed {
            None => Ok(self.graph),
            Some(node) => Err(node),
        }
    }

    /// Names the output at `tap`.
    pub(crate) fn output(&mut self, name: &str, tap: Tap) {
        self.graph.outputs.push((name.into(), tap));
    }

    /// Says that the auxiliary logits are those at `tap`.
    pub(crate) fn aux_output(&mut self, tap: Tap) {
        self.graph.aux_logits = Some(tap);
    }

    /// Whether the auxiliary head is asked for.
    pub(crate) fn wants_aux(&self) -> bool {
        self.graph.spec.aux
    }

    /// The kernel of the box at `tap` starts from a normal distribution of this standard deviation, cut at two of them.
    pub(crate) fn start_from(&mut self, tap: Tap, deviation: f32) {
        self.graph.deviations.push((tap, deviation));
    }

    /// Rows and columns at `tap`.
    pub(crate) fn grid(&self, tap: Tap) -> [usize; 2] {
        let shape = self.graph.node(tap).shape;
        [shape.h, shape.w]
    }

    /// Channels at `tap`.
    pub(crate) fn channels(&self, tap: Tap) -> usize {
        self.graph.node(tap).shape.c
    }

    /// Values of the embedding that is asked for.
    pub(crate) fn embedding(&self) -> Option<usize> {
        self.graph.spec.embedding
    }

    /// `out` channels of the paper at this width: a multiple of 8 except at width 1.
    pub(crate) fn scaled(&self, out: usize) -> usize {
        if self.width == 1.0 { out } else { ((out as f64 * self.width / 8.0).round() as usize * 8).max(8) }
    }

    /// Appends one box with its exact channels.
    pub(crate) fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[Tap]) -> Tap {
        let name = name.into();
        let x = self.graph.node(inputs[0]).shape;
        let window = |size: [usize; 2], stride, pad: Pad, c| {
            Some(Shape { h: pad.output(x.h, size[0], stride)?, w: pad.output(x.w, size[1], stride)?, c })
        };
        let shape = match op {
            Op::Conv { out, kernel, stride, pad, .. } => window(kernel, stride, pad, out),
            Op::MaxPool { size, stride, pad } | Op::AvgPool { size, stride, pad, .. } => {
                window([size; 2], stride, pad, x.c)
            }
            Op::Concat => Some(Shape { c: inputs.iter().map(|&i| self.channels(i)).sum(), ..x }),
            Op::GlobalAvgPool => Some(Shape { h: 1, w: 1, c: x.c }),
            Op::Linear { out } => Some(Shape { h: 1, w: 1, c: out }),
            Op::Residual { .. } => {
                assert_eq!(
                    x,
                    self.graph.node(inputs[1]).shape,
                    "{name}: both sides of a residual sum have one shape"
                );
                Some(x)
            }
            Op::Input | Op::Dropout { .. } | Op::L2Norm => Some(x),
        };
        // After the first misfit shapes are made up; `finish` reports the misfit and nobody sees the rest.
        let shape = shape.unwrap_or_else(|| {
            self.failed.get_or_insert_with(|| name.clone());
            Shape { h: 1, w: 1, c: x.c }
        });
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), shape });
        NodeId(self.graph.nodes.len() - 1)
    }

    /// Appends one layer with the paper's channels scaled by the width.
    pub(crate) fn layer(&mut self, name: impl Into<String>, layer: Layer, x: Tap) -> Tap {
        let Layer::Box(mut op) = layer else { unreachable!("a split ends a branch") };
        if let Op::Conv { out, .. } = &mut op {
            *out = self.scaled(*out);
        }
        self.push(name, op, &[x])
    }

    fn branch_ends(&mut self, block: &str, x: Tap, branches: Vec<Vec<Layer>>) -> Vec<Tap> {
        let mut ends = Vec::new();
        for (b, layers) in branches.into_iter().enumerate() {
            let mut at = x;
            let last = layers.len() - 1;
            for (i, layer) in layers.into_iter().enumerate() {
                match layer {
                    Layer::Box(_) => {
                        at = self.layer(format!("{block}/b{b}/{i}"), layer, at);
                        if i == last {
                            ends.push(at);
                        }
                    }
                    Layer::Split(parts) => {
                        for (part, letter) in parts.into_iter().zip('a'..) {
                            ends.push(self.layer(format!("{block}/b{b}/{i}{letter}"), part, at));
                        }
                    }
                }
            }
        }
        ends
    }

    /// A block of branches over the same input, concatenated in order; its output has the block's name.
    pub(crate) fn branches<const N: usize>(&mut self, block: &str, x: Tap, branches: [Vec<Layer>; N]) -> Tap {
        let ends = self.branch_ends(block, x, branches.into());
        self.push(block, Op::Concat, &ends)
    }

    /// A residual block (Figures 10–19): branches, concatenated, projected linearly to the input's depth, scaled (by what the spec
    /// asks for, if anything, unless `scale` is 1), added.
    pub(crate) fn residual<const N: usize>(
        &mut self,
        block: &str,
        x: Tap,
        scale: f32,
        relu: bool,
        branches: [Vec<Layer>; N],
    ) -> Tap {
        let ends = self.branch_ends(block, x, branches.into());
        let joined = self.push(format!("{block}/concat"), Op::Concat, &ends);
        let (out, kernel) = (self.channels(x), [1, 1]);
        let up = Op::Conv { out, kernel, stride: 1, pad: Pad::Same, after: After::Bias };
        let f = self.push(format!("{block}/up"), up, &[joined]);
        let scale = self.graph.spec.residual_scale.filter(|_| scale != 1.0).unwrap_or(scale);
        self.push(block, Op::Residual { scale, relu }, &[x, f])
    }
}
