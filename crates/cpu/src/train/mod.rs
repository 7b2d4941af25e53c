//! One training step: forward, backward, update.
//!
//! ```text
//! forward     y = conv(x);  batch mean and variance of y;  a = relu(scale·y + shift)
//! loss        softmax cross-entropy with smoothed labels; that of the auxiliary head, where there is one, in its share
//! backward    nodes in reverse; the first reader of an activation writes its gradient, later ones add
//! update      global norm; then weight decay, clipping, optimizer and moving average in one pass
//! ```
//! What is computed when, and where it lies, is a [`Program`] made before the first step of a batch size. Gradients of a
//! concat's branches are slices of the concat's gradient, as their values are of its value. Nothing is changed before loss
//! and gradient norm are known to be finite.

mod clock;
mod look;
mod needs;
mod partial;
mod plan;
mod recalibrate;
mod together;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use inception_graph::{After, BN_EPSILON, Graph, NodeId, Op, Param, Role, Weights, stream};
use inception_kernels::conv::{ConvPlan, Epilogue, GradInput, GradWeight, Operands, Shortcut};
use inception_kernels::loss::{Loss, Targets, cross_entropy};
use inception_kernels::norm::{self, BatchNorm};
use inception_kernels::pool2d::AvgEpilogue;
use inception_kernels::{Buffer, Isa, Pool, View, ViewMut, elementwise};
use rand::RngExt;

use crate::device::Device;
use crate::layout::{Layout, conv_shape, has_relu, pool_shape};
use crate::learning::Learning;
use crate::optimizer::State;
use crate::peers::{Part, Peers};
use crate::state::TrainState;
use crate::step::{StepError, StepOptions, StepReport};
use clock::Clock;
pub use clock::{Phase, StepTimes};
pub use needs::TrainNeeds;
pub use partial::sum_of;
use partial::{Act, Partial};
pub use plan::Keep;
use plan::{Program, Step, Task, Work};

/// A network in training: weights, their average, optimizer state, and the memory of its steps.
pub struct Trainer {
    graph: Graph,
    device: Device,
    layout: Layout,
    logits: NodeId,
    keep: Keep,
    learning: Learning,
    plans: Vec<Option<Plans>>,
    nodes: Vec<Trained>,
    weights: Weights,
    grad: Weights,
    average: Option<Weights>,
    state: State,
    /// Memory for the sums of some groups, how many of them are in use, and the way to the sum of all.
    partials: Vec<Partial>,
    kept_partials: usize,
    way: Vec<Act>,
    /// One for each batch size that was met.
    programs: Vec<Arc<Program>>,
    memory: Buffer,
    clock: Clock,
}

/// How a convolution and its gradients are computed.
struct Plans {
    forward: ConvPlan,
    grad_input: GradInput,
    grad_weight: GradWeight,
}

/// What a node has of its own.
#[derive(Default)]
struct Trained {
    /// Indices of its parameters among all, by role.
    params: Vec<(Role, usize)>,
    norm: BatchNorm,
    /// Means of the batch's mean and variance over the groups that were computed at a time.
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// Factor of each value of a dropout.
    mask: Vec<f32>,
}

impl Trained {
    /// Index of the parameter for `role`.
    fn param(&self, role: Role) -> usize {
        self.params.iter().find(|(r, _)| *r == role).expect("the graph gave the node this parameter").1
    }
}

/// Pictures that are computed at a time.
#[derive(Clone, Copy)]
struct Group<'a> {
    input: &'a [f32],
    targets: Targets<'a>,
    /// Pictures of the batch before these.
    first: usize,
    /// Whether gradients of groups before are there, to which theirs are added.
    adds: bool,
    /// Pictures of the batch.
    batch: usize,
    options: &'a StepOptions,
    /// Who sees the same batch norms.
    peers: Option<&'a dyn Peers>,
}

impl Plans {
    /// Of the convolution `id`, `None` for other nodes.
    fn of(graph: &Graph, id: NodeId, device: &Device) -> Option<Self> {
        let shape = conv_shape(graph, id)?;
        Some(Plans {
            forward: ConvPlan::choose(shape, device.precision),
            grad_input: GradInput::choose(shape, device.precision),
            grad_weight: GradWeight::choose(shape, device.precision),
        })
    }

    /// Values that a step on `n` pictures needs besides its operands: packed weights, and what the kernels ask for.
    fn scratch_len(&self, work: Work, graph: &Graph, id: NodeId, n: usize, threads: usize) -> usize {
        let shape = graph.node(id).shape;
        let sums = norm::scratch_len(n * shape.pixels(), shape.c);
        match work {
            Work::Forward => {
                let scratch = self.forward.scratch_len(n, threads);
                packed_len(self.forward.packed_len()) + scratch.max(sums)
            }
            Work::NormGrad => sums,
            Work::Backward => {
                let input =
                    packed_len(self.grad_input.packed_len()) + self.grad_input.scratch_len(n, threads);
                self.grad_weight.scratch_len(n, threads).max(input).max(sums)
            }
            Work::Loss | Work::Restore => 0,
        }
    }
}

/// Packed weights, to the end of a line of the cache.
fn packed_len(len: usize) -> usize {
    len.next_multiple_of(plan::LINE)
}

/// The program for `n` pictures.
fn program(task: &Task, plans: &[Option<Plans>], [n, threads]: [usize; 2]) -> Program {
    Program::new(task, n, &|work, id| {
        plans[id.0].as_ref().map_or(0, |plans| plans.scratch_len(work, task.graph, id, n, threads))
    })
}

impl Trainer {
    /// A trainer that starts from `weights` and keeps the outputs of all convolutions.
    ///
    /// # Panics
    /// If the network has no output `logits`.
    pub fn new(graph: &Graph, weights: Weights, device: &Device) -> Self {
        Self::with(graph, weights, device, Keep::default())
    }

    /// A trainer that starts from `weights` and keeps for the gradient what `keep` says. The bits of its steps do not depend
    /// on that.
    ///
    /// # Panics
    /// If the network has no output `logits`.
    pub fn with(graph: &Graph, weights: Weights, device: &Device, keep: Keep) -> Self {
        let logits = graph.output("logits").expect("a network with a classifier");
        let mut nodes: Vec<Trained> = graph.ids().map(|_| Trained::default()).collect();
        for (i, &Param { role, node, .. }) in weights.params().iter().enumerate() {
            nodes[node.0].params.push((role, i));
        }
        for id in graph.ids() {
            if let Op::Conv { after: After::BnRelu | After::Bn, out, .. } = graph.node(id).op {
                nodes[id.0].norm = BatchNorm::new(out);
            }
        }
        Trainer {
            logits,
            keep,
            learning: Learning::all(graph),
            plans: graph.ids().map(|id| Plans::of(graph, id, device)).collect(),
            nodes,
            layout: Layout::new(graph),
            grad: weights.zeros_like(),
            state: State::new(&weights),
            average: None,
            weights,
            partials: Vec::new(),
            kept_partials: 0,
            way: Vec::new(),
            programs: Vec::new(),
            memory: Buffer::default(),
            clock: Clock::new(graph.nodes().len()),
            graph: graph.clone(),
            device: device.clone(),
        }
    }

    /// From now on parts of the network learn as `learning` says.
    ///
    /// # Panics
    /// If it is of another network.
    pub fn set_learning(&mut self, learning: Learning) {
        assert_eq!(learning.fixed_norms.len(), self.nodes.len(), "an entry for each node");
        self.state.set_rates(&self.weights, &learning.rates);
        self.learning = learning;
        self.programs.clear();
    }

    /// The weights as trained.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Their moving average; `None` where no step kept one.
    pub fn average(&self) -> Option<&Weights> {
        self.average.as_ref()
    }

    /// All that later steps depend on.
    pub fn state(&self) -> TrainState<'_> {
        let (momentum, mean_square, steps) = self.state.memory();
        TrainState {
            weights: Cow::Borrowed(&self.weights),
            average: self.average.as_ref().map(Cow::Borrowed),
            momentum: Cow::Borrowed(momentum),
            mean_square: Cow::Borrowed(mean_square),
            steps,
        }
    }

    /// Goes on from `state`: later steps are those of the trainer that gave it, bit by bit.
    ///
    /// # Panics
    /// If it is of another network.
    pub fn set_state(&mut self, state: TrainState) {
        let len = self.weights.data.len();
        let TrainState { weights, average, momentum, mean_square, steps } = state;
        let fits = |vector: &[f32]| vector.is_empty() || vector.len() == len;
        assert!(weights.data.len() == len && average.as_ref().is_none_or(|a| a.data.len() == len));
        assert!(fits(&momentum) && fits(&mean_square), "a state of another network");
        self.weights = weights.into_owned();
        self.average = average.map(Cow::into_owned);
        self.state.set_memory(momentum.into_owned(), mean_square.into_owned(), steps);
    }

    /// Gradient of the last step's loss, before weight decay and clipping.
    pub fn gradient(&self) -> &Weights {
        &self.grad
    }

    /// Where the time of the last step went.
    pub fn times(&self) -> StepTimes {
        self.clock.times()
    }

    /// One optimisation step on `input`, `[n, side, side, 3]`, with their `labels`.
    pub fn step(
        &mut self,
        input: &[f32],
        labels: &[u32],
        options: &StepOptions,
    ) -> Result<StepReport, StepError> {
        self.step_towards(input, &Targets::new(labels), options)
    }

    /// The same with pictures that may be mixed and weighted.
    pub fn step_towards(
        &mut self,
        input: &[f32],
        targets: &Targets,
        options: &StepOptions,
    ) -> Result<StepReport, StepError> {
        assert!(!targets.is_empty(), "a picture at least");
        self.step_of(input, targets, options, Part { first: 0, batch: targets.len() }, None)
    }

    /// Whether every label is a class.
    fn check(&self, input: &[f32], targets: &Targets) -> Result<(), StepError> {
        let (classes, labels) = (self.graph.classes(), targets.labels);
        assert_eq!(input.len(), labels.len() * self.graph.nodes()[0].shape.len(), "one picture a label");
        let mixed = targets.mixed.iter().map(|mixed| mixed.label).enumerate();
        let mut all = labels.iter().copied().enumerate().chain(mixed);
        match all.find(|&(_, label)| label as usize >= classes) {
            Some((index, label)) => Err(StepError::Label { index, label, classes }),
            None => Ok(()),
        }
    }

    /// The program for `n` pictures, and the memory that it works in.
    fn prepare(&mut self, n: usize) -> Arc<Program> {
        let program = self.program(n);
        if self.memory.len() < program.len {
            self.memory.resize(program.len);
        }
        program
    }

    fn program(&mut self, n: usize) -> Arc<Program> {
        if let Some(program) = self.programs.iter().find(|program| program.n == n) {
            return program.clone();
        }
        let sizes = [n, self.device.pool.threads()];
        let reaches = self.learning.reaches(&self.graph, &self.weights);
        let Self { graph, layout, logits, keep, .. } = self;
        let task = Task { graph, layout, logits: *logits, keep: *keep, reaches: &reaches };
        let program = program(&task, &self.plans, sizes);
        self.programs.push(Arc::new(program));
        self.programs[self.programs.len() - 1].clone()
    }

    /// Takes one step of a program; [`Work::Loss`] has a loss, or the auxiliary head's part of it.
    fn take(&mut self, step: &Step, group: &Group) -> Option<Loss> {
        match step.work {
            Work::Forward => self.forward(step, group),
            Work::Restore => self.restore(step, group),
            Work::NormGrad => self.norm_grad(step, group),
            Work::Backward => self.backward(step, group),
            Work::Loss => {
                let [_, _, a, _, g, ..] = split(&mut self.memory, step);
                let StepOptions { label_smoothing, aux_weight, .. } = *group.options;
                let loss = cross_entropy(a, &group.targets, label_smoothing, group.batch, g);
                if step.id == self.logits {
                    return Some(loss);
                }
                g.iter_mut().for_each(|g| *g *= aux_weight);
                return Some(Loss { sum: f64::from(aux_weight) * loss.sum, correct: 0 });
            }
        }
        None
    }

    fn forward(&mut self, step: &Step, group: &Group) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, plans, nodes, weights, memory, clock, learning, .. } = self;
        let (id, n) = (step.id, group.targets.len());
        let (node, kept) = (graph.node(id), &mut nodes[id.0]);
        let target = layout.fused(id).unwrap_or(id);
        let place = layout.place(target);
        let [x, y, a, shortcut, _, _, _, scratch] = split(memory, step);
        let x = activation(graph, layout, node.inputs[0], x, group);
        let phase = if step.again { Phase::Recompute } else { Phase::Forward };
        match node.op {
            Op::Conv { after, .. } => {
                let plan = &plans[id.0].as_ref().expect("a convolution has plans").forward;
                let (packed, scratch) = scratch.split_at_mut(packed_len(plan.packed_len()));
                let packed = &mut packed[..plan.packed_len()];
                clock.charge(id, phase, || {
                    plan.pack(pool, isa, weights.get(kept.param(Role::Weight)), packed)
                });
                if after == After::Bias {
                    let mut epilogue =
                        Epilogue { bias: Some(weights.get(kept.param(Role::Bias))), ..Epilogue::default() };
                    if let Op::Residual { scale, relu } = graph.node(target).op {
                        let x = layout.place(graph.node(target).inputs[0]).view(shortcut, 0..n);
                        epilogue.residual = Some((Shortcut::Of(x), scale));
                        epilogue.relu = relu;
                    }
                    let operands = Operands { x, packed, next: &[], epilogue };
                    let a = place.view_mut(a, 0..n);
                    return clock.charge(id, phase, || plan.forward(pool, isa, operands, a, scratch));
                }
                let c = node.shape.c;
                let operands = Operands { x, packed, next: &[], epilogue: Epilogue::default() };
                let y_mut = ViewMut::dense(y, c);
                clock.charge(id, phase, || plan.forward(pool, isa, operands, y_mut, scratch));
                let fixed = learning.fixed_norms[id.0];
                clock.charge(id, Phase::Norm, || {
                    let y = View::dense(y, c);
                    let of = |roles: [Role; 2]| roles.map(|role| weights.get(kept.param(role)));
                    let affine = of([Role::Gamma, Role::Beta]);
                    if fixed {
                        kept.norm.fix(of([Role::Mean, Role::Variance]), affine, BN_EPSILON);
                    } else if !step.again {
                        kept.norm.statistics(pool, isa, y, affine, BN_EPSILON, scratch);
                        if let Some(peers) = group.peers {
                            peers.sum(&node.name, kept.norm.moments());
                            kept.norm.join(affine, BN_EPSILON);
                        }
                    }
                    if !a.is_empty() {
                        kept.norm.apply(pool, isa, y, has_relu(&node.op), place.view_mut(a, 0..n));
                    }
                });
                if !step.again && !fixed {
                    kept.remember_statistics(group);
                }
            }
            Op::Linear { .. } => {
                let plan = &plans[id.0].as_ref().expect("a linear layer has plans").forward;
                let (packed, scratch) = scratch.split_at_mut(packed_len(plan.packed_len()));
                let packed = &mut packed[..plan.packed_len()];
                clock.charge(id, phase, || {
                    plan.pack(pool, isa, weights.get(kept.param(Role::Weight)), packed);
                    let epilogue =
                        Epilogue { bias: Some(weights.get(kept.param(Role::Bias))), ..Epilogue::default() };
                    let operands = Operands { x, packed, next: &[], epilogue };
                    plan.forward(pool, isa, operands, place.view_mut(a, 0..n), scratch);
                });
            }
            Op::MaxPool { .. } | Op::AvgPool { .. } => {
                clock.charge(id, Phase::Other, || run_pool(pool, isa, graph, id, x, place.view_mut(a, 0..n)));
            }
            Op::GlobalAvgPool => clock.charge(id, Phase::Other, || {
                elementwise::global_avg_pool(pool, isa, x, place.view_mut(a, 0..n));
            }),
            Op::Dropout { keep } => clock.charge(id, Phase::Other, || {
                kept.draw_mask(id, keep, place.shape.len(), group);
                let values = (0..x.pixels()).flat_map(|p| x.pixel(p));
                a.iter_mut().zip(values).zip(&kept.mask).for_each(|((a, x), m)| *a = x * m);
            }),
            Op::Input | Op::Concat | Op::Residual { .. } | Op::L2Norm => {
                unreachable!("{}: no program has such a step", node.name)
            }
        }
    }

    /// The activation of a step's node once more, from the output of its convolution or from what its pool reads.
    fn restore(&mut self, step: &Step, group: &Group) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, nodes, memory, clock, .. } = self;
        let (id, n) = (step.id, group.targets.len());
        let node = graph.node(id);
        let [x, y, a, ..] = split(memory, step);
        let a = layout.place(id).view_mut(a, 0..n);
        clock.charge(id, Phase::Norm, || match node.op {
            Op::Conv { .. } => {
                let y = View::dense(y, node.shape.c);
                nodes[id.0].norm.apply(pool, isa, y, has_relu(&node.op), a);
            }
            _ => run_pool(pool, isa, graph, id, activation(graph, layout, node.inputs[0], x, group), a),
        });
    }

    fn norm_grad(&mut self, step: &Step, group: &Group) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, nodes, grad, memory, clock, learning, .. } = self;
        let id = step.id;
        let (node, kept) = (graph.node(id), &mut nodes[id.0]);
        let [_, y, _, _, g, _, _, scratch] = split(memory, step);
        let ranges = [Role::Gamma, Role::Beta].map(|role| grad.range(kept.param(role)));
        let gradients = grad.data.get_disjoint_mut(ranges).expect("parameters are disjoint");
        let (y, relu) = (View::dense(y, node.shape.c), has_relu(&node.op));
        let mut g = layout.place(id).view_mut(g, 0..group.targets.len());
        let peers = group.peers.filter(|_| !learning.fixed_norms[id.0]);
        clock.charge(id, Phase::Norm, || {
            let sums = kept.norm.grad_sums(pool, isa, y, relu, g.reborrow(), group.adds, gradients, scratch);
            if let Some(peers) = peers {
                peers.sum(&node.name, sums);
            }
            kept.norm.grad(pool, isa, y, relu, g);
        });
    }

    fn backward(&mut self, step: &Step, group: &Group) {
        let Device { isa, ref pool, .. } = self.device;
        let Self { graph, layout, plans, nodes, weights, grad, memory, clock, .. } = self;
        let (id, n, accumulate) = (step.id, group.targets.len(), step.accumulate);
        let (node, kept) = (graph.node(id), &mut nodes[id.0]);
        let (place, input) = (layout.place(id), node.inputs[0]);
        let x_place = layout.place(input);
        let [x, _, a, _, g, dx, df, scratch] = split(memory, step);
        match node.op {
            Op::Conv { .. } | Op::Linear { .. } => {
                let plans = plans[id.0].as_ref().expect("a convolution has plans");
                let dy = place.view(g, 0..n);
                let kernel = kept.param(Role::Weight);
                clock.charge(id, Phase::GradWeight, || {
                    if let Some(&(_, bias)) = kept.params.iter().find(|(role, _)| *role == Role::Bias) {
                        norm::sums(pool, isa, dy, group.adds, grad.get_mut(bias), scratch);
                    }
                    let x = activation(graph, layout, input, x, group);
                    plans.grad_weight.run(pool, isa, x, dy, group.adds, grad.get_mut(kernel), scratch);
                });
                // Nobody wants the gradient of the picture.
                if !dx.is_empty() {
                    let plan = &plans.grad_input;
                    let (packed, scratch) = scratch.split_at_mut(packed_len(plan.packed_len()));
                    let packed = &mut packed[..plan.packed_len()];
                    let dx = x_place.view_mut(dx, 0..n);
                    clock.charge(id, Phase::GradInput, || {
                        plan.pack(pool, isa, weights.get(kernel), packed);
                        plan.run(pool, isa, dy, packed, accumulate, dx, scratch);
                    });
                }
            }
            Op::MaxPool { size, stride, pad } => clock.charge(id, Phase::Other, || {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                let (y, dy) = (place.view(a, 0..n), place.view(g, 0..n));
                let x = activation(graph, layout, input, x, group);
                shape.max_grad(pool, isa, x, y, dy, accumulate, x_place.view_mut(dx, 0..n));
            }),
            Op::AvgPool { size, stride, pad, count_padding } => clock.charge(id, Phase::Other, || {
                let shape = pool_shape(graph.input_shape(id), size, stride, pad);
                let (dy, dx) = (place.view(g, 0..n), x_place.view_mut(dx, 0..n));
                shape.avg_grad(pool, isa, count_padding, dy, accumulate, dx);
            }),
            Op::Residual { scale, relu } => clock.charge(id, Phase::Other, || {
                let out = relu.then(|| place.view(a, 0..n));
                let df = layout.place(node.inputs[1]).view_mut(df, 0..n);
                elementwise::residual_grad(pool, isa, scale, out, place.view_mut(g, 0..n), df);
            }),
            Op::GlobalAvgPool => clock.charge(id, Phase::Other, || {
                let dy = place.view(g, 0..n);
                elementwise::global_avg_pool_grad(pool, isa, dy, accumulate, x_place.view_mut(dx, 0..n));
            }),
            Op::Dropout { .. } => clock.charge(id, Phase::Other, || {
                for ((dx, dy), m) in dx.iter_mut().zip(&*g).zip(&kept.mask) {
                    *dx = dy * m + if accumulate { *dx } else { 0.0 };
                }
            }),
            Op::Input | Op::Concat | Op::L2Norm => {
                unreachable!("{}: no program has such a step", node.name)
            }
        }
    }

    /// Moves the weights along the gradient; returns its norm.
    fn update(&mut self, options: &StepOptions) -> Result<f32, StepError> {
        let start = Instant::now();
        let Self { device, state, weights, grad, .. } = self;
        let grad_norm = state.grad_norm(device, options, &mut weights.data, &mut grad.data);
        if !grad_norm.is_finite() {
            let params = self.grad.params();
            let bad = (0..params.len()).rev().find(|&i| !finite(self.grad.get(i)));
            let node = bad.map_or(self.logits, |i| params[i].node);
            return Err(self.not_finite(node, "gradient"));
        }
        let clip =
            options.clip_grad.map_or(1.0, |limit| if grad_norm > limit { limit / grad_norm } else { 1.0 });
        // As in TensorFlow, the average starts at the weights before the first step that keeps one.
        if options.ema_decay.is_some() {
            self.average.get_or_insert_with(|| self.weights.clone());
        }
        self.update_statistics(options.bn_decay);
        let Self { device, state, weights, grad, average, .. } = self;
        let average = average.as_mut().filter(|_| options.ema_decay.is_some());
        let average = average.map(|average| &mut average.data[..]);
        state.update(device, options, clip, &mut weights.data, &mut grad.data, average);
        self.clock.optimizer(start.elapsed());
        Ok(grad_norm)
    }

    /// Running statistics follow the batch's.
    fn update_statistics(&mut self, decay: f32) {
        let moving = |(kept, fixed): &(&Trained, &bool)| !kept.mean.is_empty() && !**fixed;
        for (kept, _) in self.nodes.iter().zip(&self.learning.fixed_norms).filter(moving) {
            for (role, batch) in [(Role::Mean, &kept.mean), (Role::Variance, &kept.variance)] {
                let running = self.weights.get_mut(kept.param(role));
                running.iter_mut().zip(batch).for_each(|(r, b)| *r = decay * *r + (1.0 - decay) * b);
            }
        }
    }

    /// The first node, in execution order, whose output is not finite, or the loss: the forward steps once more, looking at each.
    fn first_not_finite(&mut self, group: &Group) -> StepError {
        let program = self.prepare(group.targets.len());
        let mut first = None;
        // To the end, for others may see the same norms.
        for step in &program.steps[..program.forward()] {
            self.take(step, group);
            let [_, y, a, ..] = split(&mut self.memory, step);
            let target = self.layout.fused(step.id).unwrap_or(step.id);
            let written = || self.layout.place(target).view(a, 0..group.targets.len());
            let bad = |view: View| (0..view.pixels()).any(|p| !finite(view.pixel(p)));
            if first.is_none() && (!finite(y) || !a.is_empty() && bad(written())) {
                first = Some(step.id);
            }
        }
        match first {
            Some(node) => self.not_finite(node, "activation"),
            None => self.not_finite(self.logits, "loss"),
        }
    }

    fn not_finite(&self, node: NodeId, what: &'static str) -> StepError {
        StepError::NotFinite { node: self.graph.node(node).name.clone(), what }
    }
}

impl Trained {
    /// Adds the statistics of a group to those of the batch.
    fn remember_statistics(&mut self, group: &Group) {
        let share = group.targets.len() as f32 / group.batch as f32;
        let both = [(&mut self.mean, &self.norm.mean), (&mut self.variance, &self.norm.variance)];
        for (batch, of_group) in both {
            batch.resize(of_group.len(), 0.0);
            for (batch, v) in batch.iter_mut().zip(of_group) {
                *batch = v * share + if group.adds { *batch } else { 0.0 };
            }
        }
    }

    /// The factors of a dropout over `len` values a picture. They depend on a picture's place in the batch alone.
    fn draw_mask(&mut self, id: NodeId, keep: f32, len: usize, group: &Group) {
        let [seed, step] = group.options.random;
        let random = &mut stream(&[seed, step, id.0 as u64]);
        let mut factor = || if random.random::<f32>() < keep { 1.0 / keep } else { 0.0 };
        (0..group.first * len).for_each(|_| _ = factor());
        self.mask.clear();
        self.mask.extend((0..group.targets.len() * len).map(|_| factor()));
    }
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// The operands of a step.
fn split<'a>(memory: &'a mut Buffer, step: &Step) -> [&'a mut [f32]; plan::OPERANDS] {
    memory.get_disjoint_mut(step.operands.clone().into_array()).expect("operands are disjoint")
}

/// The activation of `id`: the pictures, or what lies in `memory`.
fn activation<'a>(
    graph: &Graph,
    layout: &Layout,
    id: NodeId,
    memory: &'a [f32],
    group: &Group<'a>,
) -> View<'a> {
    let node = graph.node(id);
    match node.op {
        Op::Input => View::dense(group.input, node.shape.c),
        _ => layout.place(id).view(memory, 0..group.targets.len()),
    }
}

/// The output of the pool `id`.
fn run_pool(pool: &Pool, isa: Isa, graph: &Graph, id: NodeId, x: View, y: ViewMut) {
    let shape = |size, stride, pad| pool_shape(graph.input_shape(id), size, stride, pad);
    match graph.node(id).op {
        Op::MaxPool { size, stride, pad } => shape(size, stride, pad).max(pool, isa, x, y),
        Op::AvgPool { size, stride, pad, count_padding } => {
            shape(size, stride, pad).avg(pool, isa, count_padding, x, AvgEpilogue::default(), y);
        }
        ref op => unreachable!("{op} is no pool"),
    }
}
