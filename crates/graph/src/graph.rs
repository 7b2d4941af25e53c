//! The graph: nodes in execution order, shapes inferred, outputs named.

use crate::op::Op;

/// Which network, how large, how wide, for how many classes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Name as on the command line: `inception_v4`, `inception_resnet_v2.slim`, …
    pub net: String,
    /// Side of the square input in pixels; the network's own where `None`.
    pub img_size: Option<usize>,
    /// Multiplier of every convolution's channels; results are rounded to multiples of 8, at least 8.
    pub width: f64,
    /// Classes of the classifier; the network's own where `None`, no classifier where `Some(0)`.
    pub classes: Option<usize>,
    /// Values of the embedding of a network that ends in one; its own where `None`. Others have no use for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,
    /// With the auxiliary head of training, where the network has one and a classifier ([`Graph::aux_logits`] says).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aux: bool,
    /// Scale of every residual branch in place of the network's own (section 3.3); branches that are not scaled, those of the last
    /// block of the released networks, stay so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f32>,
}

impl Spec {
    /// The network `net` as published.
    pub fn new(net: impl Into<String>) -> Self {
        Spec {
            net: net.into(),
            img_size: None,
            width: 1.0,
            classes: None,
            embedding: None,
            aux: false,
            residual_scale: None,
        }
    }
    /// With another input size.
    pub fn img_size(mut self, side: usize) -> Self {
        self.img_size = Some(side);
        self
    }
    /// With a width multiplier.
    pub fn width(mut self, width: f64) -> Self {
        self.width = width;
        self
    }
    /// With a number of classes.
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = Some(classes);
        self
    }
    /// With an embedding of `values`.
    pub fn embedding(mut self, values: usize) -> Self {
        self.embedding = Some(values);
        self
    }
    /// With the auxiliary head, where the network has one.
    pub fn aux(mut self) -> Self {
        self.aux = true;
        self
    }
}

/// Height, width, channels of one picture's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// Cells of the grid.
    pub fn pixels(self) -> usize {
        self.h * self.w
    }
    /// Values of one picture.
    pub fn len(self) -> usize {
        self.pixels() * self.c
    }
    /// Whether it holds no value.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl From<[usize; 3]> for Shape {
    fn from([h, w, c]: [usize; 3]) -> Self {
        Shape { h, w, c }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}×{}×{}", self.h, self.w, self.c))
    }
}

/// Index of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// One box with its place in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Path of the box: `mixed_5b/b1/0`; the last box of a block has the block's name, `mixed_5b`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Where its inputs come from, in order.
    pub inputs: Vec<NodeId>,
    /// Shape of its output.
    pub shape: Shape,
}

/// A network: nodes in execution order. Made by [`crate::build`].
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) spec: Spec,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<(String, NodeId)>,
    pub(crate) aux_logits: Option<NodeId>,
    /// Standard deviations of kernels that start otherwise than by the rule of [`crate::Weights::init`].
    pub(crate) deviations: Vec<(NodeId, f32)>,
}

/// The auxiliary classifier; what leads to it has names inside this one.
pub(crate) const AUX_LOGITS: &str = "aux_logits";

impl Graph {
    /// The request that this graph answers, all defaults filled in.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
    /// Side of the square input in pixels.
    pub fn img_size(&self) -> usize {
        self.nodes[0].shape.h
    }
    /// Classes of the output `logits`, 0 without a classifier.
    pub fn classes(&self) -> usize {
        self.output("logits").map_or(0, |id| self.node(id).shape.c)
    }
    /// All nodes, every one behind its inputs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// Node ids in execution order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }
    /// The node `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
    /// Shape of the first input of `id`.
    pub fn input_shape(&self, id: NodeId) -> Shape {
        self.node(self.node(id).inputs[0]).shape
    }
    /// Named outputs: `features` or `embedding` without a classifier; `logits`, which come last.
    pub fn outputs(&self) -> &[(String, NodeId)] {
        &self.outputs
    }
    /// The output called `name`.
    pub fn output(&self, name: &str) -> Option<NodeId> {
        self.outputs.iter().find(|(n, _)| n == name).map(|&(_, id)| id)
    }
    /// The logits of the auxiliary head, `1 × 1 × classes`, where the network has one and it was asked for. They are none of the
    /// outputs: training alone computes them. The head's nodes stand behind all others.
    pub fn aux_logits(&self) -> Option<NodeId> {
        self.aux_logits
    }
    /// The network without its auxiliary head. Its nodes and parameters are the first of these, in the same order.
    pub fn without_aux(&self) -> Graph {
        let is_head = |node: &Node| node.name.split('/').next() == Some(AUX_LOGITS);
        let nodes: Vec<Node> = self.nodes.iter().filter(|node| !is_head(node)).cloned().collect();
        let deviations = self.deviations.iter().copied().filter(|(id, _)| id.0 < nodes.len()).collect();
        let spec = Spec { aux: false, ..self.spec.clone() };
        Graph { spec, nodes, outputs: self.outputs.clone(), aux_logits: None, deviations }
    }
    /// The standard deviation that the kernel of `id` starts with where it is published as a number.
    pub(crate) fn deviation(&self, id: NodeId) -> Option<f32> {
        self.deviations.iter().find(|(of, _)| *of == id).map(|&(_, deviation)| deviation)
    }
    /// The node called `name`.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }
    /// Shape of the node called `name`.
    pub fn shape_of(&self, name: &str) -> Option<Shape> {
        self.find(name).map(|id| self.node(id).shape)
    }
    /// The endpoints: boxes outside any block and the last box of each block, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, n)| !n.name.contains('/')).map(|(i, n)| (NodeId(i), n))
    }
    /// For each node, how many nodes and outputs read it.
    pub fn reader_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.nodes.len()];
        let read = self.nodes.iter().flat_map(|n| &n.inputs).chain(self.outputs.iter().map(|(_, id)| id));
        read.for_each(|id| counts[id.0] += 1);
        counts
    }
}
