//! Parameters: names, shapes, initial values, and the container that holds them.

use std::sync::Arc;

use rand::RngExt;
use serde::Serialize;

use crate::graph::{Graph, NodeId};
use crate::op::{After, Op};
use crate::rng::{Stream, stream};

/// Added to the variance in every batch norm of every published network.
pub const BN_EPSILON: f32 = 1e-3;

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Kernel of a convolution `[kh, kw, in, out]` or of a linear layer `[in, out]`.
    Weight,
    /// Bias.
    Bias,
    /// Batch norm's scale γ.
    Gamma,
    /// Batch norm's shift β.
    Beta,
    /// Running mean of batch norm.
    Mean,
    /// Running (biased) variance of batch norm.
    Variance,
}

impl Role {
    /// Last component of the parameter's name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Weight => "weight",
            Role::Bias => "bias",
            Role::Gamma => "gamma",
            Role::Beta => "beta",
            Role::Mean => "mean",
            Role::Variance => "variance",
        }
    }
    /// Whether gradients move it (running statistics follow the data instead).
    pub fn trainable(self) -> bool {
        !matches!(self, Role::Mean | Role::Variance)
    }
}

/// One parameter of a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// Canonical name: the node's path and the role, `mixed_5b/b1/0/weight`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The node that owns it.
    #[serde(skip)]
    pub node: NodeId,
}

impl Param {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Graph {
    /// Every parameter, in execution order.
    pub fn params(&self) -> Vec<Param> {
        self.ids().flat_map(|id| self.node_params(id)).collect()
    }

    /// Parameters of one node.
    pub fn node_params(&self, id: NodeId) -> Vec<Param> {
        let node = self.node(id);
        let (shape, out, after) = match node.op {
            Op::Conv { out, kernel: [kh, kw], after, .. } => {
                (vec![kh, kw, self.input_shape(id).c, out], out, after)
            }
            Op::Linear { out } => (vec![self.input_shape(id).c, out], out, After::Bias),
            Op::Input
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Concat
            | Op::Residual { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::L2Norm => return Vec::new(),
        };
        let roles: &[Role] = match after {
            After::Bias => &[Role::Bias],
            After::Bn | After::BnRelu => &[Role::Gamma, Role::Beta, Role::Mean, Role::Variance],
        };
        let named = |role: Role, shape| Param {
            name: format!("{}/{}", node.name, role.name()),
            role,
            shape,
            node: id,
        };
        std::iter::once(named(Role::Weight, shape))
            .chain(roles.iter().map(|&r| named(r, vec![out])))
            .collect()
    }
}

/// Values of all parameters of one graph, in one block of memory.
#[derive(Clone, Debug)]
pub struct Weights {
    params: Arc<[Param]>,
    starts: Arc<[usize]>,
    /// All values, parameter behind parameter.
    pub data: Vec<f32>,
}

impl Weights {
    /// Zeros for every parameter of `graph`.
    pub fn zeros(graph: &Graph) -> Self {
        let params: Arc<[Param]> = graph.params().into();
        let mut total = 0;
        let starts = std::iter::once(0).chain(params.iter().map(|p| (total += p.len(), total).1)).collect();
        Weights { params, starts, data: vec![0.0; total] }
    }

    /// The values of `graph`'s parameters, which are the first of these: those of a network without its auxiliary head.
    ///
    /// # Panics
    /// If they are not.
    pub fn first_of(&self, graph: &Graph) -> Self {
        let mut first = Weights::zeros(graph);
        assert!(
            self.params.starts_with(&first.params),
            "the first parameters are those of {}",
            graph.spec().net
        );
        let len = first.data.len();
        first.data.copy_from_slice(&self.data[..len]);
        first
    }

    /// Zeros in the layout of `self`.
    pub fn zeros_like(&self) -> Self {
        Weights { data: vec![0.0; self.data.len()], ..self.clone() }
    }

    /// Initial values: kernels in front of a ReLU from a normal distribution of variance `2 / fan-in` cut at two
    /// standard deviations (slim's `variance_scaling_initializer`), other kernels Xavier uniform, γ and variance 1, the rest 0.
    /// Kernels of an auxiliary head whose standard deviation is published have that, cut likewise. The head's values are drawn
    /// after all others, which are the same with it and without.
    pub fn init(graph: &Graph, seed: u64) -> Self {
        let mut weights = Weights::zeros(graph);
        for i in 0..weights.params.len() {
            let Param { ref shape, role, node, .. } = weights.params[i];
            let (out, fan_in) = (shape[shape.len() - 1], shape[..shape.len() - 1].iter().product::<usize>());
            let fan_out = out * fan_in / shape[shape.len().saturating_sub(2)].max(1);
            let rectified = matches!(graph.node(node).op, Op::Conv { after: After::BnRelu, .. });
            let random = &mut stream(&[seed, i as u64]);
            let values = weights.get_mut(i);
            match (role, graph.deviation(node)) {
                (Role::Weight, Some(deviation)) => {
                    values.fill_with(|| deviation * truncated_normal(random));
                }
                (Role::Weight, None) if rectified => {
                    // Cutting at two deviations leaves a standard deviation of 0.8796.
                    let deviation = (2.0 / fan_in as f32).sqrt() / 0.879_625_7;
                    values.fill_with(|| deviation * truncated_normal(random));
                }
                (Role::Weight, None) => {
                    let limit = (6.0 / (fan_in + fan_out) as f32).sqrt();
                    values.fill_with(|| random.random_range(-limit..limit));
                }
                (Role::Gamma | Role::Variance, _) => values.fill(1.0),
                (Role::Bias | Role::Beta | Role::Mean, _) => {}
            }
        }
        weights
    }

    /// The parameters.
    pub fn params(&self) -> &[Param] {
        &self.params
    }
    /// Where parameter `i` lies in `data`.
    pub fn range(&self, i: usize) -> std::ops::Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }
    /// Values of parameter `i`.
    pub fn get(&self, i: usize) -> &[f32] {
        &self.data[self.range(i)]
    }
    /// Values of parameter `i`, to be changed.
    pub fn get_mut(&mut self, i: usize) -> &mut [f32] {
        let range = self.range(i);
        &mut self.data[range]
    }
    /// Gives up the values of parameter `i` and of all behind it, and their memory.
    pub fn truncate(&mut self, i: usize) {
        self.data.truncate(self.starts[i]);
        self.data.shrink_to_fit();
    }
    /// Index of the parameter called `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }
}

/// Standard normal, drawn again until it lies within two standard deviations (Marsaglia's polar method).
fn truncated_normal(random: &mut Stream) -> f32 {
    loop {
        let (x, y) = (random.random_range(-1.0f64..1.0), random.random_range(-1.0f64..1.0));
        let s = x * x + y * y;
        let normal = x * (-2.0 * s.ln() / s).sqrt();
        if s > 0.0 && s < 1.0 && normal.abs() < 2.0 {
            return normal as f32;
        }
    }
}
