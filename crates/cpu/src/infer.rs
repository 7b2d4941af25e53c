//! Inference: batch norms folded, weights packed once, buffers shared by lifetime.

use std::ops::Range;

use inception_graph::{BN_EPSILON, Graph, NodeId, Op, Role, Weights};
use inception_kernels::conv::{self, Algorithm, ConvPlan, Epilogue, Shortcut, Sibling};
use inception_kernels::elementwise;
use inception_kernels::norm;
use inception_kernels::pool2d::AvgEpilogue;
use inception_kernels::{Buffer, View, ViewMut};

use crate::device::Device;
use crate::layout::{conv_shape, has_relu, pool_shape};
use crate::schedule::Schedule;

/// A network ready to predict. `Send + Sync`; every run brings its own [`Scratch`].
pub struct Model {
    graph: Graph,
    schedule: Schedule,
    device: Device,
    convs: Vec<Option<Folded>>,
}

/// A convolution with its batch norm multiplied in.
struct Folded {
    plan: ConvPlan,
    packed: Buffer,
    bias: Vec<f32>,
    relu: bool,
}

/// Activations of one run; kept between runs to spare allocation.
#[derive(Default)]
pub struct Scratch {
    slots: Vec<Buffer>,
    conv: Buffer,
}

/// What inference needs, before any weights are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Convolutions and linear layers.
    pub convolutions: usize,
    /// Those that are computed by Winograd's algorithm.
    pub winograd: usize,
    /// Those that are computed by Strassen's.
    pub strassen: usize,
    /// Bytes of the packed weights.
    pub packed_bytes: usize,
    /// Bytes of activations that a run holds.
    pub activation_bytes: usize,
}

impl Needs {
    /// What runs of `graph` over `batch` pictures need.
    pub fn of(graph: &Graph, device: &Device, batch: usize) -> Self {
        let schedule = Schedule::new(graph);
        let shapes = graph.ids().filter_map(|id| conv_shape(graph, id));
        let plans: Vec<ConvPlan> = shapes.map(|shape| ConvPlan::choose(shape, device.precision)).collect();
        let few = schedule.few(batch, device.pool.threads());
        let count = |is: fn(Algorithm) -> bool| plans.iter().filter(|plan| is(plan.algorithm())).count();
        Needs {
            convolutions: plans.len(),
            winograd: count(|algorithm| matches!(algorithm, Algorithm::Winograd(_))),
            strassen: count(|algorithm| algorithm == Algorithm::Strassen),
            packed_bytes: plans.iter().map(ConvPlan::packed_len).sum::<usize>() * size_of::<f32>(),
            activation_bytes: schedule.activation_bytes(batch, few),
        }
    }
}

/// What a run shows after each turn.
pub(crate) struct Turn<'a> {
    pub(crate) id: NodeId,
    slots: &'a [Buffer],
}

impl Model {
    /// Folds and packs `weights` for `graph`.
    pub fn new(graph: &Graph, weights: &Weights, device: &Device) -> Self {
        let mut folded = Vec::new();
        let convs = graph.ids().map(|id| fold(graph, id, weights, device, &mut folded)).collect();
        Self::of(graph, convs, device)
    }

    /// Folds and packs `weights` for `graph`; each leaves memory when it is packed, so that both are never there as a whole.
    /// From the last on: memory can only be cut at its end.
    pub fn consuming(graph: &Graph, mut weights: Weights, device: &Device) -> Self {
        let first: Vec<usize> = {
            let params = weights.params();
            graph.ids().map(|id| params.partition_point(|param| param.node.0 < id.0)).collect()
        };
        let mut folded = Vec::new();
        let pack = |id: NodeId| {
            let conv = fold(graph, id, &weights, device, &mut folded);
            weights.truncate(first[id.0]);
            conv
        };
        let mut convs: Vec<_> = graph.ids().rev().map(pack).collect();
        convs.reverse();
        Self::of(graph, convs, device)
    }

    fn of(graph: &Graph, convs: Vec<Option<Folded>>, device: &Device) -> Self {
        Model { graph: graph.clone(), schedule: Schedule::new(graph), device: device.clone(), convs }
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn plan(&self, id: NodeId) -> Option<&ConvPlan> {
        self.convs[id.0].as_ref().map(|conv| &conv.plan)
    }

    fn conv(&self, id: NodeId) -> &Folded {
        self.convs[id.0].as_ref().expect("made for every convolution and linear layer")
    }

    /// Packed weights of the convolution after those that are computed at the turn of `id`.
    fn packed_after(&self, id: NodeId) -> &[f32] {
        let mut later = (id.0 + 1..self.convs.len()).flat_map(|id| self.schedule.siblings(NodeId(id)));
        later.next().map_or(&[], |&id| &self.conv(id).packed)
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.convs.iter().flatten().map(|conv| conv.packed.len() * size_of::<f32>()).sum()
    }

    /// Bytes of activations that a run over `batch` pictures holds.
    pub fn activation_bytes(&self, batch: usize) -> usize {
        self.schedule.activation_bytes(batch, self.few(batch))
    }

    /// Pictures of `batch` that are computed at a time where maps are large.
    pub(crate) fn few(&self, batch: usize) -> usize {
        self.schedule.few(batch, self.device.pool.threads())
    }

    /// Values of the output `name` for `input`, `[n, side, side, 3]`; `None` where the network has no such output.
    pub fn run(&self, input: &[f32], name: &str, scratch: &mut Scratch) -> Option<Vec<f32>> {
        let output = self.graph.output(name)?;
        let batch = self.batch(input);
        self.run_nodes(input, output, self.few(batch), scratch, |_| {});
        Some(self.view(output, &(0..batch), &scratch.slots).to_vec())
    }

    /// Runs all nodes up to `last` on `input`, `[n, side, side, 3]`, and shows the value of each as soon as it is complete.
    /// An up-projection that is computed together with the sum behind it has none of its own, nor has an average pool
    /// that changed places with the convolution behind it.
    pub fn run_and_see(
        &self,
        input: &[f32],
        last: NodeId,
        scratch: &mut Scratch,
        mut see: impl FnMut(NodeId, View),
    ) {
        let (batch, schedule) = (self.batch(input), &self.schedule);
        self.run_nodes(input, last, batch, scratch, |turn| {
            if schedule.layout.fused(turn.id).is_none() && !schedule.is_swapped(turn.id) {
                see(turn.id, self.view(turn.id, &(0..batch), turn.slots));
            }
        });
    }

    /// Pictures in `input`.
    pub(crate) fn batch(&self, input: &[f32]) -> usize {
        let picture = self.graph.nodes()[0].shape.len();
        assert!(input.len().is_multiple_of(picture), "whole pictures of {picture} values");
        input.len() / picture
    }

    /// Runs all nodes up to `last`, the first of them for `few` pictures at a time, and calls `after` after each turn.
    pub(crate) fn run_nodes(
        &self,
        input: &[f32],
        last: NodeId,
        few: usize,
        scratch: &mut Scratch,
        mut after: impl FnMut(Turn),
    ) {
        let (batch, schedule) = (self.batch(input), &self.schedule);
        let lens: Vec<usize> = schedule.slot_lens(batch, few).collect();
        scratch.slots.resize_with(lens.len(), Buffer::default);
        for (slot, &len) in scratch.slots.iter_mut().zip(&lens) {
            slot.resize(len);
        }
        let threads = self.device.pool.threads();
        for (id, pictures) in schedule.turns(last, batch, few) {
            for &conv in schedule.siblings(id) {
                let len = self.conv(conv).plan.scratch_len(pictures.len(), threads);
                scratch.conv.resize(scratch.conv.len().max(len));
            }
            self.run_node(id, input, &pictures, scratch);
            after(Turn { id, slots: &scratch.slots });
        }
    }

    fn run_node(&self, id: NodeId, input: &[f32], pictures: &Range<usize>, scratch: &mut Scratch) {
        let (schedule, node) = (&self.schedule, self.graph.node(id));
        if matches!(node.op, Op::Conv { .. } | Op::Linear { .. }) {
            self.convolve(id, pictures, scratch);
            if let Some(pool) = schedule.swapped(id) {
                self.pool_sums(id, pool, pictures, scratch);
            }
            return;
        }
        if schedule.is_swapped(id) || matches!(node.op, Op::Concat | Op::Residual { .. }) {
            // Computed later; or its inputs have written to its place.
            return;
        }
        let Device { isa, ref pool, .. } = self.device;
        let slots = &mut scratch.slots;
        // The buffer that is written leaves the list, so that all others can be read.
        let mut out = std::mem::take(&mut slots[schedule.slot(id)]);
        let y = schedule.layout.place(id).view_mut(&mut out, schedule.pictures(id, pictures));
        let source = || self.view(node.inputs[0], pictures, slots);
        match node.op {
            Op::Input => {
                let picture = node.shape.len();
                let from = pictures.start * picture..pictures.end * picture;
                elementwise::copy(pool, View::dense(&input[from], node.shape.c), y);
            }
            Op::MaxPool { size, stride, pad } => {
                let shape = pool_shape(self.graph.input_shape(id), size, stride, pad);
                shape.max(pool, isa, source(), y);
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                let shape = pool_shape(self.graph.input_shape(id), size, stride, pad);
                shape.avg(pool, isa, count_padding, source(), AvgEpilogue::default(), y);
            }
            Op::GlobalAvgPool => elementwise::global_avg_pool(pool, isa, source(), y),
            Op::Dropout { .. } => elementwise::copy(pool, source(), y),
            Op::L2Norm => elementwise::l2_norm(pool, source(), y),
            Op::Conv { .. } | Op::Linear { .. } | Op::Concat | Op::Residual { .. } => {
                unreachable!("done above")
            }
        }
        scratch.slots[schedule.slot(id)] = out;
    }

    /// The output of `id` for `pictures`.
    fn view<'a>(&self, id: NodeId, pictures: &Range<usize>, slots: &'a [Buffer]) -> View<'a> {
        let schedule = &self.schedule;
        schedule.layout.place(id).view(&slots[schedule.slot(id)], schedule.pictures(id, pictures))
    }

    /// The convolutions that are computed at the turn of `id`.
    fn convolve(&self, id: NodeId, pictures: &Range<usize>, scratch: &mut Scratch) {
        let Device { isa, ref pool, .. } = self.device;
        let (schedule, Scratch { slots, conv: conv_scratch }) = (&self.schedule, scratch);
        let members = schedule.siblings(id);
        // The buffers that are written leave the list, so that all others can be read.
        let take = |&id: &NodeId| std::mem::take(&mut slots[schedule.slot(schedule.target(id))]);
        let mut outs: Vec<Buffer> = members.iter().map(take).collect();
        let next = self.packed_after(id);
        let each = members.iter().zip(&mut outs);
        let siblings: Vec<Sibling> = each.map(|(&id, out)| self.sibling(id, pictures, slots, out)).collect();
        if let Some(first) = members.first() {
            let x = self.view(schedule.source(&self.graph, *first), pictures, slots);
            conv::forward(pool, isa, x, siblings, next, conv_scratch);
        }
        for (&id, out) in members.iter().zip(outs) {
            slots[schedule.slot(schedule.target(id))] = out;
        }
    }

    /// The convolution `id`, which writes to `out`.
    fn sibling<'a>(
        &'a self,
        id: NodeId,
        pictures: &Range<usize>,
        slots: &'a [Buffer],
        out: &'a mut [f32],
    ) -> Sibling<'a> {
        let (schedule, Folded { plan, packed, bias, relu }) = (&self.schedule, self.conv(id));
        let target = schedule.target(id);
        let at = schedule.pictures(target, pictures);
        let (epilogue, y) = match self.graph.node(target).op {
            // The pool's output adds the bias and is rectified; its sums lie without gaps.
            Op::AvgPool { .. } => {
                let shape = self.graph.node(id).shape;
                let sums = &mut out[at.start * shape.len()..at.end * shape.len()];
                (Epilogue::default(), ViewMut::dense(sums, shape.c))
            }
            Op::Residual { scale, relu } => {
                let x = self.graph.node(target).inputs[0];
                let shortcut = match schedule.is_in_place(&self.graph, target) {
                    true => Shortcut::InPlace,
                    false => Shortcut::Of(self.view(x, pictures, slots)),
                };
                let epilogue = Epilogue { bias: Some(bias), residual: Some((shortcut, scale)), relu };
                (epilogue, schedule.layout.place(target).view_mut(out, at))
            }
            _ => {
                let epilogue = Epilogue { bias: Some(bias), relu: *relu, ..Epilogue::default() };
                (epilogue, schedule.layout.place(target).view_mut(out, at))
            }
        };
        Sibling { plan, packed, epilogue, y }
    }

    /// The average pool that changed places with the 1×1 convolution `id`, over its sums.
    fn pool_sums(&self, id: NodeId, avg: NodeId, pictures: &Range<usize>, scratch: &mut Scratch) {
        let Device { isa, ref pool, .. } = self.device;
        let (schedule, slots) = (&self.schedule, &mut scratch.slots);
        let Op::AvgPool { size, stride, pad, count_padding } = self.graph.node(avg).op else {
            unreachable!("an average pool before a convolution");
        };
        let Folded { bias, relu, .. } = self.conv(id);
        let mut out = std::mem::take(&mut slots[schedule.slot(id)]);
        let y = schedule.layout.place(id).view_mut(&mut out, schedule.pictures(id, pictures));
        let (c, picture) = (self.graph.node(id).shape.c, self.graph.node(id).shape.len());
        let at = schedule.pictures(avg, pictures);
        let sums = View::dense(&slots[schedule.slot(avg)][at.start * picture..at.end * picture], c);
        let shape = pool_shape(self.graph.input_shape(avg), size, stride, pad);
        let epilogue = AvgEpilogue { bias: Some(bias), relu: *relu };
        shape.avg(pool, isa, count_padding, sums, epilogue, y);
        slots[schedule.slot(id)] = out;
    }
}

/// `w·scale` and `shift` of the batch norm behind `id` in place of its weights and bias (both in `f32`, as the trainer's
/// own batch norm computes them), packed. `folded` is scratch: memory that is new for every layer costs as much as packing.
fn fold(
    graph: &Graph,
    id: NodeId,
    weights: &Weights,
    device: &Device,
    folded: &mut Vec<f32>,
) -> Option<Folded> {
    let plan = ConvPlan::choose(conv_shape(graph, id)?, device.precision);
    let get = |role: Role| {
        let name = format!("{}/{}", graph.node(id).name, role.name());
        weights.index(&name).map(|i| weights.get(i))
    };
    let kernel = get(Role::Weight).expect("every convolution has a kernel");
    let mut packed = Buffer::zeroed(plan.packed_len());
    let bias = match (get(Role::Gamma), get(Role::Beta), get(Role::Mean), get(Role::Variance)) {
        (Some(gamma), Some(beta), Some(mean), Some(variance)) => {
            let affine = |i: usize| norm::affine([gamma[i], beta[i]], mean[i], variance[i], BN_EPSILON);
            let (scale, shift): (Vec<f32>, Vec<f32>) =
                (0..gamma.len()).map(affine).map(|[scale, shift]| (scale, shift)).unzip();
            folded.clear();
            folded.reserve(kernel.len());
            for row in kernel.chunks(scale.len()) {
                folded.extend(row.iter().zip(&scale).map(|(w, s)| w * s));
            }
            plan.pack(&device.pool, device.isa, folded, &mut packed);
            shift
        }
        _ => {
            plan.pack(&device.pool, device.isa, kernel, &mut packed);
            get(Role::Bias).expect("a convolution without batch norm has a bias").to_vec()
        }
    };
    let relu = has_relu(&graph.node(id).op);
    Some(Folded { plan, packed, bias, relu })
}
