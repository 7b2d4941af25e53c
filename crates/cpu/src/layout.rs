//! Where activations lie: concats cost nothing, because their branches write into their slices.

use std::ops::Range;

use inception_graph::{After, Graph, NodeId, Op, Shape};
use inception_kernels::conv::ConvShape;
use inception_kernels::pool2d::PoolShape;
use inception_kernels::{View, ViewMut};

/// Where a node's output lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the buffer.
    pub buffer: usize,
    /// First channel inside each pixel of the buffer.
    pub offset: usize,
    /// Channels of a pixel of the buffer.
    pub stride: usize,
    /// Shape of the output.
    pub shape: Shape,
}

impl Place {
    fn range(&self, pictures: Range<usize>) -> Range<usize> {
        let picture = self.shape.pixels() * self.stride;
        pictures.start * picture + self.offset..pictures.end * picture
    }
    /// The output of `pictures` in its buffer.
    pub fn view<'a>(&self, buffer: &'a [f32], pictures: Range<usize>) -> View<'a> {
        View::new(&buffer[self.range(pictures)], self.shape.c, self.stride)
    }
    /// The same, to be written.
    pub fn view_mut<'a>(&self, buffer: &'a mut [f32], pictures: Range<usize>) -> ViewMut<'a> {
        ViewMut::new(&mut buffer[self.range(pictures)], self.shape.c, self.stride)
    }
}

/// Places of all nodes of a graph.
#[derive(Clone, Debug)]
pub struct Layout {
    places: Vec<Place>,
    /// Values a picture of each buffer.
    sizes: Vec<usize>,
    /// For a linear up-projection whose only reader is a residual sum: that sum.
    fused: Vec<Option<NodeId>>,
}

impl Layout {
    /// Lays out `graph`.
    pub fn new(graph: &Graph) -> Self {
        let readers = graph.reader_counts();
        // The concat in which a node lies, and at which channel.
        let mut inside: Vec<Option<(NodeId, usize)>> = vec![None; graph.nodes().len()];
        let mut fused = vec![None; graph.nodes().len()];
        for id in graph.ids() {
            match graph.node(id).op {
                Op::Concat => {
                    let mut offset = 0;
                    for &input in &graph.node(id).inputs {
                        let name = &graph.node(input).name;
                        assert!(readers[input.0] == 1, "{name} is read by a concat and by others");
                        inside[input.0] = Some((id, offset));
                        offset += graph.node(input).shape.c;
                    }
                }
                Op::Residual { .. } => {
                    let f = graph.node(id).inputs[1];
                    let name = &graph.node(f).name;
                    let linear = matches!(graph.node(f).op, Op::Conv { .. }) && readers[f.0] == 1;
                    assert!(linear, "{name}: the branch of a residual sum ends in a convolution of its own");
                    fused[f.0] = Some(id);
                }
                _ => {}
            }
        }
        let (mut sizes, mut buffers) = (Vec::new(), vec![usize::MAX; graph.nodes().len()]);
        // A concat stands behind its inputs, so owners are known only backwards.
        for id in graph.ids().rev() {
            buffers[id.0] = match inside[id.0] {
                Some((concat, _)) => buffers[concat.0],
                None => {
                    sizes.push(graph.node(id).shape.len());
                    sizes.len() - 1
                }
            };
        }
        let places = graph.ids().map(|id| {
            let (mut offset, mut owner) = (0, id);
            while let Some((concat, at)) = inside[owner.0] {
                (offset, owner) = (offset + at, concat);
            }
            let shape = graph.node(id).shape;
            Place { buffer: buffers[id.0], offset, stride: graph.node(owner).shape.c, shape }
        });
        Layout { places: places.collect(), sizes, fused }
    }

    /// Where the output of `id` lies.
    pub fn place(&self, id: NodeId) -> Place {
        self.places[id.0]
    }
    /// Values a picture of each buffer.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }
    /// The residual sum that the convolution `id` writes to itself.
    pub fn fused(&self, id: NodeId) -> Option<NodeId> {
        self.fused[id.0]
    }
}

/// Shape of the convolution or linear layer `id`, `None` for other operations.
pub(crate) fn conv_shape(graph: &Graph, id: NodeId) -> Option<ConvShape> {
    let x = || graph.input_shape(id);
    let shape = match graph.node(id).op {
        Op::Conv { out, kernel, stride, pad, .. } => ConvShape {
            input: [x().h, x().w],
            in_channels: x().c,
            out_channels: out,
            kernel,
            stride,
            pad: kernel.map(|k| pad.amount(k)),
        },
        // A matrix product over pictures is a convolution over pictures of one pixel.
        Op::Linear { out } => ConvShape {
            input: [1, 1],
            in_channels: x().c,
            out_channels: out,
            kernel: [1, 1],
            stride: 1,
            pad: [0, 0],
        },
        _ => return None,
    };
    Some(shape)
}

/// Window of a pooling node over pictures of shape `x`.
pub(crate) fn pool_shape(x: Shape, size: usize, stride: usize, pad: inception_graph::Pad) -> PoolShape {
    PoolShape { input: [x.h, x.w], size, stride, pad: pad.amount(size) }
}

/// Whether a ReLU ends the box of a convolution.
pub(crate) fn has_relu(op: &Op) -> bool {
    matches!(op, Op::Conv { after: After::BnRelu, .. })
}
