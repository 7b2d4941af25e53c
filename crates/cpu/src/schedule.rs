//! What inference computes when, together with what, and which memory it uses.
//!
//! - An average pool and the 1×1 convolution behind it change places: both are linear, one over pixels, the other over
//!   channels, and behind the convolution there are fewer channels to average.
//! - 1×1 convolutions of the same pictures are computed together, so that their input is read once.
//! - Of a large batch the first maps, which are large while the weights are few, are computed for a few pictures at a
//!   time, so that they stay in the cache; the later ones for all, so that the weights are read once.
//! - A residual sum lies where its shortcut lay, if nobody reads that afterwards.
//! - Buffers whose lifetimes do not meet share a slot.

use std::ops::Range;

use inception_graph::{Graph, NodeId, Op};

use crate::layout::Layout;

/// Pixels from which on a map counts as large: its weights are fewer than its values.
const SMALL: usize = 400;
/// Values that are expected to stay in the last cache.
const CACHE: usize = 4 << 20;

/// The order of work of one network.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) layout: Layout,
    /// For a 1×1 convolution behind an average pool with which it changes places: that pool.
    swapped: Vec<Option<NodeId>>,
    /// The convolutions that are computed at the turn of a node.
    siblings: Vec<Vec<NodeId>>,
    /// Nodes before this are computed for a few pictures of a batch at a time.
    split: usize,
    /// Values that one of those nodes reads and writes at most.
    largest: usize,
    /// The buffer in whose place a buffer lies: its own, or that of the first shortcut of a chain of residual sums.
    owner: Vec<usize>,
    /// Slot of each buffer, and whether it holds a whole batch.
    slot_of: Vec<(usize, bool)>,
    slots: Vec<Slot>,
}

/// Memory that buffers take in turns.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Values a picture of the buffers that hold the few pictures in work, and of those that hold a whole batch.
    few: usize,
    whole: usize,
    /// Turn after which it is free.
    busy_until: usize,
}

impl Schedule {
    pub(crate) fn new(graph: &Graph) -> Self {
        let layout = Layout::new(graph);
        let readers = graph.reader_counts();
        let swapped: Vec<_> = graph.ids().map(|id| swapped_pool(graph, &readers, id)).collect();
        let mut schedule = Schedule {
            layout,
            swapped,
            siblings: vec![Vec::new(); graph.nodes().len()],
            split: 0,
            largest: 1,
            owner: Vec::new(),
            slot_of: Vec::new(),
            slots: Vec::new(),
        };
        schedule.find_siblings(graph);
        schedule.find_split(graph);
        schedule.assign_slots(graph);
        schedule
    }

    /// The average pool that is computed after the convolution `id` instead of before it.
    pub(crate) fn swapped(&self, id: NodeId) -> Option<NodeId> {
        self.swapped[id.0]
    }
    /// Whether `id` is such a pool.
    pub(crate) fn is_swapped(&self, id: NodeId) -> bool {
        self.swapped.contains(&Some(id))
    }
    /// The convolutions that are computed at the turn of `id`: the first of siblings brings the others.
    pub(crate) fn siblings(&self, id: NodeId) -> &[NodeId] {
        &self.siblings[id.0]
    }
    /// What the convolution `id` reads.
    pub(crate) fn source(&self, graph: &Graph, id: NodeId) -> NodeId {
        graph.node(self.swapped(id).unwrap_or(id)).inputs[0]
    }
    /// The node in whose place the sums of the convolution `id` go: its own, that of the residual sum behind it, or that
    /// of the average pool that follows.
    pub(crate) fn target(&self, id: NodeId) -> NodeId {
        self.swapped(id).or(self.layout.fused(id)).unwrap_or(id)
    }

    /// Whether the residual sum `id` lies in the place of its shortcut.
    pub(crate) fn is_in_place(&self, graph: &Graph, id: NodeId) -> bool {
        let buffer = |id: NodeId| self.owner[self.layout.place(id).buffer];
        matches!(graph.node(id).op, Op::Residual { .. }) && buffer(graph.node(id).inputs[0]) == buffer(id)
    }

    /// The slot in which the output of `id` lies.
    pub(crate) fn slot(&self, id: NodeId) -> usize {
        self.slot_of[self.layout.place(id).buffer].0
    }
    /// Values of each slot for `batch` pictures of which at most `few` are in work at first.
    pub(crate) fn slot_lens(&self, batch: usize, few: usize) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().map(move |slot| (slot.few * few.min(batch)).max(slot.whole * batch))
    }
    /// Bytes of all slots.
    pub(crate) fn activation_bytes(&self, batch: usize, few: usize) -> usize {
        self.slot_lens(batch, few).sum::<usize>() * size_of::<f32>()
    }
    /// Pictures at which the output of `id` is found in its slot while `span` is in work.
    pub(crate) fn pictures(&self, id: NodeId, span: &Range<usize>) -> Range<usize> {
        if self.slot_of[self.layout.place(id).buffer].1 { span.clone() } else { 0..span.len() }
    }

    /// Turns up to `last` in their order, each with its pictures of `batch`, `few` at a time in the first part.
    pub(crate) fn turns(
        &self,
        last: NodeId,
        batch: usize,
        few: usize,
    ) -> impl Iterator<Item = (NodeId, Range<usize>)> {
        let (split, end) = (self.split.min(last.0 + 1), last.0 + 1);
        let few = few.max(1);
        let spans = (0..batch).step_by(few).map(move |start| start..(start + few).min(batch));
        let first = spans.flat_map(move |span| (0..split).map(move |id| (NodeId(id), span.clone())));
        first.chain((split..end).map(move |id| (NodeId(id), 0..batch)))
    }

    /// 1×1 convolutions of the same pictures, each with a buffer of its own to write.
    fn find_siblings(&mut self, graph: &Graph) {
        let sibling = |id: NodeId| {
            matches!(graph.node(id).op, Op::Conv { kernel: [1, 1], stride: 1, .. })
                && self.layout.fused(id).is_none()
        };
        let buffer = |id: NodeId| self.layout.place(self.target(id)).buffer;
        let mut siblings = vec![Vec::<NodeId>::new(); graph.nodes().len()];
        for id in graph.ids() {
            if !matches!(graph.node(id).op, Op::Conv { .. } | Op::Linear { .. }) {
                continue;
            }
            let joins = |first: &NodeId| {
                sibling(id)
                    && siblings[first.0].first().is_some_and(|&first| sibling(first))
                    && self.source(graph, *first) == self.source(graph, id)
                    && siblings[first.0].iter().all(|&other| buffer(other) != buffer(id))
            };
            let first = graph.ids().take(id.0).find(joins).unwrap_or(id);
            siblings[first.0].push(id);
        }
        self.siblings = siblings;
    }

    /// Everything before the first small map, but siblings stay together.
    fn find_split(&mut self, graph: &Graph) {
        let small = |id: &NodeId| graph.node(*id).shape.pixels() < SMALL;
        self.split = graph.ids().find(small).map_or(graph.nodes().len(), |id| id.0);
        let torn =
            |split: usize| (0..split).find(|&id| self.siblings[id].iter().any(|other| other.0 >= split));
        while let Some(first) = torn(self.split) {
            self.split = first;
        }
        let values = |id: NodeId| graph.node(id).shape.len();
        let step =
            |id: NodeId| graph.node(id).inputs.iter().map(|&input| values(input)).sum::<usize>() + values(id);
        self.largest = (0..self.split).map(|id| step(NodeId(id))).max().unwrap_or(1);
    }

    /// Pictures of `batch` in work at a time where maps are large: as many as stay in the cache, and enough to keep
    /// `threads` threads busy.
    pub(crate) fn few(&self, batch: usize, threads: usize) -> usize {
        (CACHE / self.largest).max(threads.div_ceil(4)).clamp(1, batch.max(1))
    }

    /// Nodes whose place is written, and those whose place is read, at the turn of `id`.
    fn uses(&self, graph: &Graph, id: NodeId) -> [Vec<NodeId>; 2] {
        let node = graph.node(id);
        let elsewhere = self.layout.fused(id).is_some() || self.is_swapped(id);
        let (mut written, mut read) = (if elsewhere { Vec::new() } else { vec![id] }, node.inputs.clone());
        for &conv in self.siblings(id) {
            written.push(self.target(conv));
            read.push(self.source(graph, conv));
            read.extend(self.layout.fused(conv).map(|sum| graph.node(sum).inputs[0]));
        }
        if let Some(pool) = self.swapped(id) {
            read.push(pool);
        }
        [written, read]
    }

    /// Each buffer takes, when it is first written, the free slot that fits it best.
    fn assign_slots(&mut self, graph: &Graph) {
        let buffers = self.layout.sizes().len();
        let (mut first, mut last) = (vec![usize::MAX; buffers], vec![0; buffers]);
        for id in graph.ids() {
            let [written, read] = self.uses(graph, id);
            for node in written {
                let buffer = self.layout.place(node).buffer;
                first[buffer] = first[buffer].min(id.0);
                last[buffer] = last[buffer].max(id.0);
            }
            for node in read {
                let buffer = self.layout.place(node).buffer;
                last[buffer] = last[buffer].max(id.0);
            }
        }
        graph.outputs().iter().for_each(|&(_, id)| last[self.layout.place(id).buffer] = usize::MAX);
        self.owner = (0..buffers).collect();
        for id in graph.ids().filter(|&id| matches!(graph.node(id).op, Op::Residual { .. })) {
            let [x, sum] = [graph.node(id).inputs[0], id].map(|id| self.layout.place(id));
            let ends = last[x.buffer] == first[sum.buffer];
            let same_span = (last[x.buffer] < self.split) == (last[sum.buffer] < self.split);
            if ends && same_span && self.layout.sizes()[x.buffer] == self.layout.sizes()[sum.buffer] {
                let owner = self.owner[x.buffer];
                self.owner[sum.buffer] = owner;
                last[owner] = last[owner].max(last[sum.buffer]);
            }
        }
        // The own buffer of a fused up-projection is never written.
        let mut order: Vec<usize> = (0..buffers)
            .filter(|&buffer| first[buffer] != usize::MAX && self.owner[buffer] == buffer)
            .collect();
        order.sort_by_key(|&buffer| first[buffer]);
        self.slot_of = vec![(0, false); buffers];
        for buffer in order {
            let (first, last, len) = (first[buffer], last[buffer], self.layout.sizes()[buffer]);
            let whole = last >= self.split;
            // What is written in the first part and read in the second outlasts the other pictures' turns.
            let alone = whole && first < self.split;
            let held = |slot: &Slot| if whole { slot.whole } else { slot.few };
            let waste =
                |slot: &Slot| if held(slot) >= len { held(slot) - len } else { (len - held(slot)) * 4 };
            let slots = self.slots.iter().enumerate().filter(|(_, slot)| !alone && slot.busy_until < first);
            let slot = slots.min_by_key(|(_, slot)| waste(slot)).map_or(self.slots.len(), |(i, _)| i);
            if slot == self.slots.len() {
                self.slots.push(Slot::default());
            }
            let taken = &mut self.slots[slot];
            let held = if whole { &mut taken.whole } else { &mut taken.few };
            *held = (*held).max(len);
            taken.busy_until = last;
            self.slot_of[buffer] = (slot, whole);
        }
        for buffer in 0..buffers {
            self.slot_of[buffer] = self.slot_of[self.owner[buffer]];
        }
    }
}

fn swapped_pool(graph: &Graph, readers: &[usize], id: NodeId) -> Option<NodeId> {
    let Op::Conv { out, kernel: [1, 1], stride: 1, .. } = graph.node(id).op else { return None };
    let pool = graph.node(id).inputs[0];
    let Op::AvgPool { stride: 1, .. } = graph.node(pool).op else { return None };
    (readers[pool.0] == 1 && out <= graph.node(pool).shape.c).then_some(pool)
}
