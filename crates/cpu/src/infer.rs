//! Inference: batch norms folded, weights packed once, buffers shared by lifetime.

use inception_graph::{BN_EPSILON, Graph, NodeId, Op, Role, Weights};
use inception_kernels::conv::{ConvPlan, Epilogue, Operands};
use inception_kernels::elementwise;
use inception_kernels::norm::Affine;
use inception_kernels::pool2d::AvgEpilogue;
use inception_kernels::{View, ViewMut};

use crate::device::Device;
use crate::layout::{Layout, Place, conv_shape, has_relu, pool_shape};

/// A network ready to predict. `Send + Sync`; every run brings its own [`Scratch`].
pub struct Model {
    graph: Graph,
    layout: Layout,
    device: Device,
    convs: Vec<Option<Folded>>,
    /// Slot of each buffer, and values a picture of each slot.
    slots: Vec<usize>,
    slot_sizes: Vec<usize>,
}

/// A convolution with its batch norm multiplied in.
struct Folded {
    plan: ConvPlan,
    packed: Vec<f32>,
    bias: Vec<f32>,
    relu: bool,
}

/// Activations of one run; kept between runs to spare allocation.
#[derive(Default)]
pub struct Scratch {
    slots: Vec<Vec<f32>>,
    conv: Vec<f32>,
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
        let layout = Layout::new(graph);
        let (slots, slot_sizes) = assign_slots(graph, &layout);
        Model { graph: graph.clone(), layout, device: device.clone(), convs, slots, slot_sizes }
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

    /// Packed weights of the next convolution.
    fn packed_after(&self, id: NodeId) -> &[f32] {
        self.convs[id.0 + 1..].iter().flatten().next().map_or(&[], |conv| &conv.packed)
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.convs.iter().flatten().map(|conv| conv.packed.len() * size_of::<f32>()).sum()
    }

    /// Bytes of activations that a run over `batch` pictures holds.
    pub fn activation_bytes(&self, batch: usize) -> usize {
        self.slot_sizes.iter().sum::<usize>() * batch * size_of::<f32>()
    }

    /// Values of the output `name` for `input`, `[n, side, side, 3]`; `None` where the network has no such output.
    pub fn run(&self, input: &[f32], name: &str, scratch: &mut Scratch) -> Option<Vec<f32>> {
        let output = self.graph.output(name)?;
        let mut values = Vec::new();
        self.run_and_see(input, output, scratch, |id, view| {
            if id == output {
                values = view.to_vec();
            }
        });
        Some(values)
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
        self.run_nodes(input, last, scratch, |id, slots, n| {
            if self.layout.fused(id).is_none() && !self.layout.is_swapped(id) {
                let place = self.layout.place(id);
                see(id, place.view(&slots[self.slots[place.buffer]], n));
            }
        });
    }

    /// Runs all nodes up to `last` and calls `after` with each, all slots and the number of pictures.
    pub(crate) fn run_nodes(
        &self,
        input: &[f32],
        last: NodeId,
        scratch: &mut Scratch,
        mut after: impl FnMut(NodeId, &[Vec<f32>], usize),
    ) {
        let picture = self.graph.nodes()[0].shape.len();
        let n = input.len() / picture;
        assert_eq!(input.len(), n * picture, "whole pictures of {picture} values");
        scratch.slots.resize_with(self.slot_sizes.len(), Vec::new);
        for (slot, &size) in scratch.slots.iter_mut().zip(&self.slot_sizes) {
            slot.resize(size * n, 0.0);
        }
        let plans = self.convs.iter().flatten().map(|conv| &conv.plan);
        let len = plans.map(|plan| plan.scratch_len(n, self.device.pool.threads())).max().unwrap_or(0);
        scratch.conv.resize(scratch.conv.len().max(len), 0.0);
        for id in self.graph.ids().take(last.0 + 1) {
            self.run_node(id, input, n, scratch);
            after(id, &scratch.slots, n);
        }
    }

    fn run_node(&self, id: NodeId, input: &[f32], n: usize, scratch: &mut Scratch) {
        let Scratch { slots, conv } = scratch;
        let Device { isa, ref pool, .. } = self.device;
        if self.layout.is_swapped(id) {
            return;
        }
        if let Some(avg) = self.layout.swapped(id) {
            return self.run_swapped(id, avg, n, scratch);
        }
        let node = self.graph.node(id);
        let target = self.layout.fused(id).unwrap_or(id);
        let place = self.layout.place(target);
        let slot = self.slots[place.buffer];
        // The buffer that is written leaves the list, so that all others can be read.
        let mut out = std::mem::take(&mut slots[slot]);
        let source = |input: NodeId| {
            let place: Place = self.layout.place(input);
            place.view(&slots[self.slots[place.buffer]], n)
        };
        match node.op {
            Op::Input => out[..input.len()].copy_from_slice(input),
            Op::Conv { .. } | Op::Linear { .. } => {
                if let Some(Folded { plan, packed, bias, relu }) = &self.convs[id.0] {
                    let mut epilogue = Epilogue { bias: Some(bias), relu: *relu, ..Epilogue::default() };
                    if let Op::Residual { scale, relu } = self.graph.node(target).op {
                        epilogue.residual = Some((source(self.graph.node(target).inputs[0]), scale));
                        epilogue.relu = relu;
                    }
                    let y = place.view_mut(&mut out, n);
                    let operands =
                        Operands { x: source(node.inputs[0]), packed, next: self.packed_after(id), epilogue };
                    plan.forward(pool, isa, operands, y, conv);
                }
            }
            Op::MaxPool { size, stride, pad } => {
                let shape = pool_shape(self.graph.input_shape(id), size, stride, pad);
                shape.max(pool, isa, source(node.inputs[0]), place.view_mut(&mut out, n));
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                let shape = pool_shape(self.graph.input_shape(id), size, stride, pad);
                let (x, y) = (source(node.inputs[0]), place.view_mut(&mut out, n));
                shape.avg(pool, isa, count_padding, x, AvgEpilogue::default(), y);
            }
            // Their inputs have written to their place.
            Op::Concat | Op::Residual { .. } => {}
            Op::GlobalAvgPool => {
                elementwise::global_avg_pool(pool, isa, source(node.inputs[0]), place.view_mut(&mut out, n));
            }
            Op::Dropout { .. } => {
                let x = source(node.inputs[0]);
                let len = place.shape.len();
                (0..x.pixels()).for_each(|p| out[p * len..(p + 1) * len].copy_from_slice(x.pixel(p)));
            }
            Op::L2Norm => elementwise::l2_norm(pool, source(node.inputs[0]), place.view_mut(&mut out, n)),
        }
        slots[slot] = out;
    }
}

impl Model {
    /// The 1×1 convolution `id` and the average pool before it, in the other order.
    fn run_swapped(&self, id: NodeId, avg: NodeId, n: usize, scratch: &mut Scratch) {
        let Device { isa, ref pool, .. } = self.device;
        let Scratch { slots, conv } = scratch;
        let (Op::AvgPool { size, stride, pad, count_padding }, Some(folded)) =
            (&self.graph.node(avg).op, &self.convs[id.0])
        else {
            unreachable!("an average pool before a convolution");
        };
        let Folded { plan, packed, bias, relu } = folded;
        let place = self.layout.place(id);
        let [out_slot, sums_slot] = [place, self.layout.place(avg)].map(|p| self.slots[p.buffer]);
        // The buffers that are written leave the list, so that all others can be read.
        let [mut out, mut held] = [out_slot, sums_slot].map(|slot| std::mem::take(&mut slots[slot]));
        let x = self.layout.place(self.graph.node(avg).inputs[0]);
        let x = x.view(&slots[self.slots[x.buffer]], n);
        let channels = place.shape.c;
        let sums = &mut held[..n * place.shape.len()];
        let operands = Operands { x, packed, next: self.packed_after(id), epilogue: Epilogue::default() };
        plan.forward(pool, isa, operands, ViewMut::dense(sums, channels), conv);
        let shape = pool_shape(self.graph.input_shape(avg), *size, *stride, *pad);
        let epilogue = AvgEpilogue { bias: Some(bias), relu: *relu };
        let (sums, y) = (View::dense(sums, channels), place.view_mut(&mut out, n));
        shape.avg(pool, isa, *count_padding, sums, epilogue, y);
        slots[out_slot] = out;
        slots[sums_slot] = held;
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
    let mut packed = vec![0.0; plan.packed_len()];
    let bias = match (get(Role::Gamma), get(Role::Beta), get(Role::Mean), get(Role::Variance)) {
        (Some(gamma), Some(beta), Some(mean), Some(variance)) => {
            let affine = Affine::new(gamma, beta, mean, variance, BN_EPSILON);
            folded.clear();
            folded.reserve(kernel.len());
            for row in kernel.chunks(affine.scale.len()) {
                folded.extend(row.iter().zip(&affine.scale).map(|(w, s)| w * s));
            }
            plan.pack(&device.pool, folded, &mut packed);
            affine.shift
        }
        _ => {
            plan.pack(&device.pool, kernel, &mut packed);
            get(Role::Bias).expect("a convolution without batch norm has a bias").to_vec()
        }
    };
    let relu = has_relu(&graph.node(id).op);
    Some(Folded { plan, packed, bias, relu })
}

/// Buffers whose lifetimes do not meet share a slot: each buffer takes, when it is first written, the free slot that
/// fits it best.
fn assign_slots(graph: &Graph, layout: &Layout) -> (Vec<usize>, Vec<usize>) {
    let buffers = layout.sizes().len();
    let (mut first, mut last) = (vec![usize::MAX; buffers], vec![0; buffers]);
    for id in graph.ids() {
        let written = layout.place(layout.fused(id).unwrap_or(id)).buffer;
        let node = graph.node(id);
        let residual = layout.fused(id).map(|sum| graph.node(sum).inputs[0]);
        let before_pool = layout.swapped(id).map(|avg| graph.node(avg).inputs[0]);
        first[written] = first[written].min(id.0);
        last[written] = last[written].max(id.0);
        node.inputs.iter().chain(&residual).chain(&before_pool).for_each(|&input| {
            let read = layout.place(input).buffer;
            last[read] = last[read].max(id.0);
        });
    }
    graph.outputs().iter().for_each(|&(_, id)| last[layout.place(id).buffer] = usize::MAX);
    let (mut slots, mut sizes) = (vec![usize::MAX; buffers], Vec::<usize>::new());
    // When each slot is free again: after the last use of its buffer.
    let mut busy_until = Vec::<usize>::new();
    let mut order: Vec<usize> = (0..buffers).filter(|&b| first[b] != usize::MAX).collect();
    order.sort_by_key(|&b| first[b]);
    for b in order {
        let size = layout.sizes()[b];
        let waste =
            |slot: usize| if sizes[slot] >= size { sizes[slot] - size } else { (size - sizes[slot]) * 4 };
        let free = (0..sizes.len()).filter(|&s| busy_until[s] < first[b]).min_by_key(|&s| waste(s));
        let slot = free.unwrap_or_else(|| {
            sizes.push(0);
            busy_until.push(0);
            sizes.len() - 1
        });
        sizes[slot] = sizes[slot].max(size);
        busy_until[slot] = last[b];
        slots[b] = slot;
    }
    // Buffers nobody writes (a fused up-projection's own) are nobody's; any slot will do.
    slots.iter_mut().filter(|s| **s == usize::MAX).for_each(|s| *s = 0);
    (slots, sizes)
}
