//! One training step: forward, backward, update.
//!
//! ```text
//! forward     y = conv(x);  batch mean and variance of y;  a = relu(scale·y + shift)          kept: x, y, statistics
//! loss        softmax cross-entropy with smoothed labels
//! backward    nodes in reverse; the first reader of an activation writes its gradient, later ones add
//! update      weight decay, global norm, clipping, optimizer; then running statistics; then the moving average
//! ```
//! Gradients of a concat's branches are slices of the concat's gradient, as their values are of its value. Nothing is
//! changed before loss and gradient norm are known to be finite.

use inception_graph::{After, BN_EPSILON, Graph, NodeId, Op, Param, Role, Weights, stream};
use inception_kernels::conv::{ConvPlan, Epilogue, GradInput, GradWeight, Operands, Shortcut};
use inception_kernels::elementwise::{self, ResidualGrad};
use inception_kernels::loss::cross_entropy;
use inception_kernels::norm::{self, Affine, Normalized};
use inception_kernels::pool2d::AvgEpilogue;
use inception_kernels::{Buffer, View, ViewMut};
use rand::RngExt;

use crate::device::Device;
use crate::layout::{Layout, conv_shape, has_relu, pool_shape};
use crate::optimizer::State;
use crate::step::{StepError, StepOptions, StepReport};

/// A network in training: weights, their average, optimizer state, activations and gradients.
pub struct Trainer {
    graph: Graph,
    device: Device,
    layout: Layout,
    logits: NodeId,
    nodes: Vec<Trained>,
    weights: Weights,
    grad: Weights,
    average: Option<Weights>,
    state: State,
    activations: Vec<Buffer>,
    gradients: Vec<Buffer>,
    scratch: Buffer,
}

/// What a node keeps between forward and backward.
#[derive(Default)]
struct Trained {
    conv: Option<ConvPlan>,
    grad_input: Option<GradInput>,
    grad_weight: Option<GradWeight>,
    packed: Buffer,
    packed_grad: Buffer,
    /// Indices of its parameters among all, by role.
    params: Vec<(Role, usize)>,
    /// Output of a convolution in front of its batch norm.
    y: Buffer,
    mean: Vec<f32>,
    variance: Vec<f32>,
    affine: Affine,
    /// Factor of each value of a dropout.
    mask: Vec<f32>,
}

/// Index of the parameter for `role`.
fn param(params: &[(Role, usize)], role: Role) -> usize {
    params.iter().find(|(r, _)| *r == role).expect("the graph gave the node this parameter").1
}

impl Trainer {
    /// A trainer that starts from `weights`.
    ///
    /// # Panics
    /// If the network has no output `logits`.
    pub fn new(graph: &Graph, weights: Weights, device: &Device) -> Self {
        let logits = graph.output("logits").expect("a network with a classifier");
        let mut nodes: Vec<Trained> = graph.ids().map(|_| Trained::default()).collect();
        for (i, &Param { role, node, .. }) in weights.params().iter().enumerate() {
            nodes[node.0].params.push((role, i));
        }
        for id in graph.ids() {
            let shape = conv_shape(graph, id);
            nodes[id.0].conv = shape.map(|shape| ConvPlan::choose(shape, device.precision));
            nodes[id.0].grad_input = shape.map(|shape| GradInput::choose(shape, device.precision));
            nodes[id.0].grad_weight = shape.map(|shape| GradWeight::choose(shape, device.precision));
        }
        let layout = Layout::new(graph);
        let buffers = || layout.sizes().iter().map(|_| Buffer::default()).collect::<Vec<Buffer>>();
        Trainer {
            logits,
            nodes,
            activations: buffers(),
            gradients: buffers(),
            layout,
            grad: weights.zeros_like(),
            state: State::new(&weights),
            average: None,
            weights,
            scratch: Buffer::default(),
            graph: graph.clone(),
            device: device.clone(),
        }
    }

    /// The weights as trained.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Their moving average; `None` where no step kept one.
    pub fn average(&self) -> Option<&Weights> {
        self.average.as_ref()
    }

    /// Gradient of the last step's loss, weight decay included, before clipping.
    pub fn gradient(&self) -> &Weights {
        &self.grad
    }

    /// One optimisation step on `input`, `[n, side, side, 3]`, with their `labels`.
    pub fn step(
        &mut self,
        input: &[f32],
        labels: &[u32],
        options: &StepOptions,
    ) -> Result<StepReport, StepError> {
        let classes = self.graph.classes();
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(StepError::Label { index, label: labels[index], classes });
        }
        let n = labels.len();
        assert_eq!(input.len(), n * self.graph.nodes()[0].shape.len(), "one picture a label");
        self.forward(input, n, options);
        let place = self.layout.place(self.logits);
        let (buffer, len) = (place.buffer, n * classes);
        self.gradients[buffer].resize(len);
        let logits = &self.activations[buffer][..len];
        let loss = cross_entropy(logits, labels, options.label_smoothing, &mut self.gradients[buffer][..len]);
        if !loss.mean.is_finite() {
            return Err(self.not_finite("activation"));
        }
        self.backward(n);
        let decay = options.weight_decay;
        let grad_norm =
            self.state.finish_gradient(&self.device, &mut self.weights.data, &mut self.grad.data, decay);
        if !grad_norm.is_finite() {
            return Err(self.not_finite("gradient"));
        }
        let clip =
            options.clip_grad.map_or(1.0, |limit| if grad_norm > limit { limit / grad_norm } else { 1.0 });
        // As in TensorFlow, the average starts at the weights before the first step that keeps one.
        if options.ema_decay.is_some() {
            self.average.get_or_insert_with(|| self.weights.clone());
        }
        self.state.update(&self.device, options, &mut self.weights.data, &mut self.grad.data, clip);
        self.update_statistics(options.bn_decay);
        if let (Some(decay), Some(average)) = (options.ema_decay, &mut self.average) {
            self.state.average(&self.device, decay, &mut self.weights.data, &mut average.data);
        }
        Ok(StepReport { loss: loss.mean, correct: loss.correct, grad_norm })
    }

    fn forward(&mut self, input: &[f32], n: usize, options: &StepOptions) {
        for id in self.graph.ids().take(self.logits.0 + 1) {
            let buffer = self.layout.place(self.layout.fused(id).unwrap_or(id)).buffer;
            self.activations[buffer].resize(self.layout.sizes()[buffer] * n);
            self.forward_node(id, input, n, options);
        }
    }

    fn forward_node(&mut self, id: NodeId, input: &[f32], n: usize, options: &StepOptions) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, nodes, weights, activations, scratch, .. } = self;
        let node = graph.node(id);
        let kept = &mut nodes[id.0];
        let target = layout.fused(id).unwrap_or(id);
        let place = layout.place(target);
        // The buffer that is written leaves the list, so that all others can be read.
        let mut out = std::mem::take(&mut activations[place.buffer]);
        let source = |input: NodeId| {
            let place = layout.place(input);
            place.view(&activations[place.buffer], 0..n)
        };
        match node.op {
            Op::Input => out.copy_from_slice(input),
            Op::Conv { after: After::BnRelu | After::Bn, .. } => {
                let plan = kept.conv.as_ref().expect("a convolution has a plan");
                kept.packed.resize(plan.packed_len());
                let [kernel, gamma, beta] = [Role::Weight, Role::Gamma, Role::Beta]
                    .map(|role| weights.get(param(&kept.params, role)));
                plan.pack(pool, isa, kernel, &mut kept.packed);
                let c = place.shape.c;
                let pixels = n * place.shape.pixels();
                kept.y.resize(pixels * c);
                let y = ViewMut::dense(&mut kept.y, c);
                let epilogue = Epilogue::default();
                let operands =
                    Operands { x: source(node.inputs[0]), packed: &kept.packed, next: &[], epilogue };
                scratch.resize(scratch.len().max(plan.scratch_len(n, pool.threads())));
                plan.forward(pool, isa, operands, y, scratch);
                let y = View::dense(&kept.y, c);
                kept.mean.resize(c, 0.0);
                kept.variance.resize(c, 0.0);
                scratch.resize(scratch.len().max(norm::scratch_len(pixels, c)));
                norm::statistics(pool, isa, y, &mut kept.mean, &mut kept.variance, scratch);
                kept.affine = Affine::new(gamma, beta, &kept.mean, &kept.variance, BN_EPSILON);
                kept.affine.apply(pool, isa, y, has_relu(&node.op), place.view_mut(&mut out, 0..n));
            }
            Op::Conv { after: After::Bias, .. } | Op::Linear { .. } => {
                let plan = kept.conv.as_ref().expect("a convolution has a plan");
                kept.packed.resize(plan.packed_len());
                plan.pack(pool, isa, weights.get(param(&kept.params, Role::Weight)), &mut kept.packed);
                let bias = Some(weights.get(param(&kept.params, Role::Bias)));
                let mut epilogue = Epilogue { bias, ..Epilogue::default() };
                if let Op::Residual { scale, relu } = graph.node(target).op {
                    epilogue.residual = Some((Shortcut::Of(source(graph.node(target).inputs[0])), scale));
                    epilogue.relu = relu;
                }
                let operands =
                    Operands { x: source(node.inputs[0]), packed: &kept.packed, next: &[], epilogue };
                scratch.resize(scratch.len().max(plan.scratch_len(n, pool.threads())));
                plan.forward(pool, isa, operands, place.view_mut(&mut out, 0..n), scratch);
            }
            Op::MaxPool { size, stride, pad } => {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                shape.max(pool, isa, source(node.inputs[0]), place.view_mut(&mut out, 0..n));
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                let (x, y) = (source(node.inputs[0]), place.view_mut(&mut out, 0..n));
                shape.avg(pool, isa, count_padding, x, AvgEpilogue::default(), y);
            }
            // Their inputs have written to their place.
            Op::Concat | Op::Residual { .. } => {}
            Op::GlobalAvgPool => {
                elementwise::global_avg_pool(
                    pool,
                    isa,
                    source(node.inputs[0]),
                    place.view_mut(&mut out, 0..n),
                );
            }
            Op::Dropout { keep } => {
                let random = &mut stream(&[options.random[0], options.random[1], id.0 as u64]);
                let len = n * place.shape.len();
                kept.mask.clear();
                kept.mask
                    .extend((0..len).map(|_| if random.random::<f32>() < keep { 1.0 / keep } else { 0.0 }));
                let x = source(node.inputs[0]);
                let values = (0..x.pixels()).flat_map(|p| x.pixel(p));
                out.iter_mut().zip(values).zip(&kept.mask).for_each(|((o, x), m)| *o = x * m);
            }
            Op::L2Norm => elementwise::l2_norm(pool, source(node.inputs[0]), place.view_mut(&mut out, 0..n)),
        }
        activations[place.buffer] = out;
    }

    fn backward(&mut self, n: usize) {
        for (buffer, &size) in self.gradients.iter_mut().zip(self.layout.sizes()) {
            buffer.resize(size * n);
        }
        // Whether a buffer holds a gradient already.
        let mut written = vec![false; self.gradients.len()];
        written[self.layout.place(self.logits).buffer] = true;
        for id in self.graph.ids().rev() {
            if written[self.layout.place(id).buffer] {
                self.backward_node(id, n, &mut written);
            }
        }
    }

    fn backward_node(&mut self, id: NodeId, n: usize, written: &mut [bool]) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, nodes, weights, grad, activations, gradients, scratch, .. } = self;
        let node = graph.node(id);
        let kept = &mut nodes[id.0];
        let place = layout.place(id);
        let Some(&input) = node.inputs.first() else { return };
        let x_place = layout.place(input);
        let x = x_place.view(&activations[x_place.buffer], 0..n);
        match node.op {
            Op::Conv { after: After::BnRelu | After::Bn, .. } => {
                let forward = Normalized {
                    y: View::dense(&kept.y, place.shape.c),
                    mean: &kept.mean,
                    variance: &kept.variance,
                    affine: &kept.affine,
                    relu: has_relu(&node.op),
                    epsilon: BN_EPSILON,
                };
                let (mut dgamma, mut dbeta) = (vec![0.0; place.shape.c], vec![0.0; place.shape.c]);
                let da = place.view_mut(&mut gradients[place.buffer], 0..n);
                norm::grad(pool, isa, &forward, da, &mut dgamma, &mut dbeta, scratch);
                grad.get_mut(param(&kept.params, Role::Gamma)).copy_from_slice(&dgamma);
                grad.get_mut(param(&kept.params, Role::Beta)).copy_from_slice(&dbeta);
            }
            Op::Conv { after: After::Bias, .. } | Op::Linear { .. } => {
                let dy = place.view(&gradients[place.buffer], 0..n);
                scratch.resize(scratch.len().max(norm::scratch_len(dy.pixels(), dy.channels())));
                norm::sums(pool, isa, dy, grad.get_mut(param(&kept.params, Role::Bias)), scratch);
            }
            _ => {}
        }
        // The gradient that is written leaves the list, so that the node's own can be read.
        let mut dx = std::mem::take(&mut gradients[x_place.buffer]);
        let accumulate = std::mem::replace(&mut written[x_place.buffer], true);
        match node.op {
            Op::Input => {}
            Op::Conv { .. } | Op::Linear { .. } => {
                let plan = kept.grad_weight.as_ref().expect("a convolution has a plan");
                let dy = place.view(&gradients[place.buffer], 0..n);
                scratch.resize(scratch.len().max(plan.scratch_len(n)));
                let kernel = param(&kept.params, Role::Weight);
                plan.run(pool, isa, x, dy, false, grad.get_mut(kernel), scratch);
                // Nobody wants the gradient of the picture.
                if !matches!(graph.node(input).op, Op::Input) {
                    let plan = kept.grad_input.as_ref().expect("a convolution has a plan");
                    kept.packed_grad.resize(plan.packed_len());
                    plan.pack(pool, isa, weights.get(kernel), &mut kept.packed_grad);
                    let dx = x_place.view_mut(&mut dx, 0..n);
                    scratch.resize(scratch.len().max(plan.scratch_len(n, pool.threads())));
                    plan.run(pool, isa, dy, &kept.packed_grad, accumulate, dx, scratch);
                }
            }
            Op::MaxPool { size, stride, pad } => {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                let (y, dy) = (&activations[place.buffer], &gradients[place.buffer]);
                let (y, dy) = (place.view(y, 0..n), place.view(dy, 0..n));
                shape.max_grad(pool, isa, x, y, dy, accumulate, x_place.view_mut(&mut dx, 0..n));
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                let dy = place.view(&gradients[place.buffer], 0..n);
                shape.avg_grad(pool, isa, count_padding, dy, accumulate, x_place.view_mut(&mut dx, 0..n));
            }
            // Its inputs' gradients are slices of its own.
            Op::Concat => {}
            Op::Residual { scale, relu } => {
                let f = layout.place(node.inputs[1]);
                let mut df = std::mem::take(&mut gradients[f.buffer]);
                written[f.buffer] = true;
                let out = place.view(&activations[place.buffer], 0..n);
                let dout = place.view(&gradients[place.buffer], 0..n);
                let (dx, df_view) = (x_place.view_mut(&mut dx, 0..n), f.view_mut(&mut df, 0..n));
                ResidualGrad { scale, relu, accumulate }.run(pool, isa, out, dout, dx, df_view);
                gradients[f.buffer] = df;
            }
            Op::GlobalAvgPool => {
                let dy = place.view(&gradients[place.buffer], 0..n);
                elementwise::global_avg_pool_grad(pool, isa, dy, accumulate, x_place.view_mut(&mut dx, 0..n));
            }
            Op::Dropout { .. } => {
                for ((dx, dy), m) in dx.iter_mut().zip(&*gradients[place.buffer]).zip(&kept.mask) {
                    *dx = dy * m + if accumulate { *dx } else { 0.0 };
                }
            }
            Op::L2Norm => unreachable!("an embedding's norm lies behind the classifier"),
        }
        gradients[x_place.buffer] = dx;
    }

    /// Running statistics follow the batch's.
    fn update_statistics(&mut self, decay: f32) {
        for kept in self.nodes.iter().filter(|kept| !kept.mean.is_empty()) {
            for (role, batch) in [(Role::Mean, &kept.mean), (Role::Variance, &kept.variance)] {
                let running = self.weights.get_mut(param(&kept.params, role));
                running.iter_mut().zip(batch).for_each(|(r, b)| *r = decay * *r + (1.0 - decay) * b);
            }
        }
    }

    /// The first node whose numbers are not finite: activations in execution order, gradients in the order of backward.
    fn not_finite(&self, what: &'static str) -> StepError {
        let bad = |values: &[f32]| values.iter().any(|v| !v.is_finite());
        let names: Vec<&str> = self.graph.nodes().iter().map(|n| n.name.as_str()).collect();
        let params = self.grad.params();
        let found = match what {
            "gradient" => (0..params.len()).rev().find(|&i| bad(self.grad.get(i))).map(|i| params[i].node.0),
            _ => self.graph.ids().map(|id| id.0).find(|&i| {
                let place = self.layout.place(NodeId(i));
                let buffer = &self.activations[place.buffer];
                // An up-projection fused into its sum has no activation of its own.
                let pictures = buffer.len() / (place.shape.pixels() * place.stride);
                bad(&self.nodes[i].y) || {
                    let view = (pictures > 0).then(|| place.view(buffer, 0..pictures));
                    view.is_some_and(|view| (0..view.pixels()).any(|p| bad(view.pixel(p))))
                }
            }),
        };
        StepError::NotFinite { node: names[found.unwrap_or(self.logits.0)].to_string(), what }
    }
}
