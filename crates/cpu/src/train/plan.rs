//! What a training step computes when, and which memory it uses.
//!
//! The gradient needs of a convolution its input, and of a batch norm the values before it and their statistics. Kept from
//! forward to backward are those values alone; what a normalisation, a ReLU or a pool makes of them is computed again when
//! it is first needed on the way back, and forgotten after its last reader. Residual sums are kept: nothing cheap gives
//! them back.
//!
//! With checkpoints even those values go: the nodes are cut into segments through which one activation passes, the
//! activations at the cuts are kept, and a segment is computed anew from the one at its start when its gradient's turn has
//! come.
//!
//! All of this is a list of [`Step`]s, made before anything runs. Each value lives from the step that writes it first to
//! the one that uses it last; those that never live together share memory.

use std::ops::Range;

use inception_graph::{After, Graph, NodeId, Op};

use crate::layout::Layout;

/// What a step does to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Computes its output.
    Forward,
    /// The loss and the gradient of the logits, or of the auxiliary ones.
    Loss,
    /// Computes its activation again from what was kept of it.
    Restore,
    /// The gradient in front of its batch norm, in place of that behind it.
    NormGrad,
    /// The gradients of its weights and its inputs.
    Backward,
}

/// Operands of a step, by their place in [`Step::operands`].
pub(crate) const OPERANDS: usize = 8;

/// One step; operands that it does not have are empty.
#[derive(Clone, Debug)]
pub(crate) struct Step<T = Range<usize>> {
    pub(crate) work: Work,
    pub(crate) id: NodeId,
    /// Whether the gradient of its input is added to one that is there.
    pub(crate) accumulate: bool,
    /// Whether it computes what was computed before.
    pub(crate) again: bool,
    pub(crate) operands: Operands<T>,
}

/// Where the operands of a step lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operands<T> {
    /// Activation of its input.
    pub(crate) x: T,
    /// Output of its convolution in front of the batch norm.
    pub(crate) y: T,
    /// Its own activation.
    pub(crate) a: T,
    /// What a residual sum adds its branch to.
    pub(crate) shortcut: T,
    /// Gradient of its activation.
    pub(crate) g: T,
    /// Gradient of its input.
    pub(crate) dx: T,
    /// Gradient of the branch of a residual sum.
    pub(crate) df: T,
    pub(crate) scratch: T,
}

impl<T> Operands<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Operands<U> {
        let Operands { x, y, a, shortcut, g, dx, df, scratch } = self;
        let [x, y, a, shortcut, g, dx, df, scratch] = [x, y, a, shortcut, g, dx, df, scratch].map(f);
        Operands { x, y, a, shortcut, g, dx, df, scratch }
    }
    /// All of them, in the order of the fields.
    pub(crate) fn into_array(self) -> [T; OPERANDS] {
        let Operands { x, y, a, shortcut, g, dx, df, scratch } = self;
        [x, y, a, shortcut, g, dx, df, scratch]
    }
}

/// Which values are kept for the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// The output of every convolution, in front of its batch norm.
    #[default]
    Outputs,
    /// A few activations; what lies between them is computed again.
    Checkpoints,
}

/// What is to be planned.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) layout: &'a Layout,
    pub(crate) logits: NodeId,
    pub(crate) keep: Keep,
    /// For each node whether the gradient is needed there.
    pub(crate) reaches: &'a [bool],
}

/// The steps for one batch size, and the memory that they work in.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Pictures.
    pub(crate) n: usize,
    pub(crate) steps: Vec<Step>,
    /// Values of the memory.
    pub(crate) len: usize,
    /// Convolutions that are computed a second time, or more often.
    pub(crate) recomputed: Vec<NodeId>,
}

/// Ends of segments, all nodes in all: `[[4, 9], [14]]` are two groups, the first of the segments `0..4` and `4..9`.
type Cuts = Vec<Vec<usize>>;

impl Program {
    /// The steps of `task` for `n` pictures. `scratch` says how much a step needs besides its operands.
    pub(crate) fn new(task: &Task, n: usize, scratch: &dyn Fn(Work, NodeId) -> usize) -> Self {
        let Task { graph, layout, logits, keep, .. } = *task;
        let end = end(graph, logits);
        let build = |cuts: &Cuts| Builder::new(task, n, scratch).run(cuts);
        let mut best = build(&vec![vec![end]]);
        if keep == Keep::Checkpoints {
            // The fewest values at a time, and among plans alike the fewest steps: every size of segments, in groups or not.
            let cuts = cuts(graph, layout, logits);
            let total: usize = (0..end).map(|id| graph.node(NodeId(id)).shape.len()).sum();
            for size in std::iter::successors(Some(total / 2), |size| Some(size * 2 / 3)).take(14) {
                let segments = segments(graph, &cuts, end, size);
                for group in [segments.len(), 6, 4, 3, 2] {
                    let other = build(&segments.chunks(group).map(<[usize]>::to_vec).collect());
                    if other.peak() + other.peak() / 64 < best.peak() {
                        best = other;
                    }
                }
            }
        }
        best.program()
    }

    /// Steps up to the first loss.
    pub(crate) fn forward(&self) -> usize {
        self.steps.iter().position(|step| step.work == Work::Loss).expect("there is a loss")
    }
}

/// The nodes that a loss reads: the logits, and those of the auxiliary head.
fn answers(graph: &Graph, logits: NodeId) -> impl Iterator<Item = NodeId> {
    std::iter::once(logits).chain(graph.aux_logits())
}

/// The position behind all of them.
fn end(graph: &Graph, logits: NodeId) -> usize {
    answers(graph, logits).map(|id| id.0 + 1).max().expect("there are logits")
}

/// Positions behind a step through which one activation passes, complete. An answer passes all behind it, for the losses come
/// last; so there are none between what the auxiliary head reads, which passes as well, and the end.
fn cuts(graph: &Graph, layout: &Layout, logits: NodeId) -> Vec<usize> {
    let end = end(graph, logits);
    let buffer = |id: NodeId| layout.place(layout.fused(id).unwrap_or(id)).buffer;
    let buffers = layout.sizes().len();
    let (mut first, mut last_write, mut last) =
        (vec![usize::MAX; buffers], vec![0; buffers], vec![0; buffers]);
    let counts = writers(graph, logits);
    for id in (0..end).map(NodeId).filter(|id| counts[id.0]) {
        let b = buffer(id);
        first[b] = first[b].min(id.0);
        last_write[b] = last_write[b].max(id.0);
        for read in reads(graph, layout, id) {
            let b = buffer(read);
            last[b] = last[b].max(id.0);
        }
    }
    answers(graph, logits).for_each(|id| last[buffer(id)] = end);
    let passes = |p: usize| {
        let mut across = (0..buffers).filter(|&b| first[b] < p && last[b].max(last_write[b]) >= p);
        match (across.next(), across.next()) {
            (Some(b), None) => last_write[b] < p,
            _ => false,
        }
    };
    (1..end).filter(|&p| counts[p - 1] && passes(p)).collect()
}

/// Ends of segments of about `size` values a picture each.
fn segments(graph: &Graph, cuts: &[usize], end: usize, size: usize) -> Vec<usize> {
    let (mut ends, mut start) = (Vec::new(), 0);
    for &cut in cuts {
        let values: usize = (start..cut).map(|id| graph.node(NodeId(id)).shape.len()).sum();
        if values >= size {
            ends.push(cut);
            start = cut;
        }
    }
    ends.push(end);
    ends
}

/// For each node whether it has a forward step: an answer depends on it, and it writes something itself.
fn writers(graph: &Graph, logits: NodeId) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    answers(graph, logits).for_each(|id| needed[id.0] = true);
    for id in graph.ids().rev() {
        if needed[id.0] {
            graph.node(id).inputs.iter().for_each(|input| needed[input.0] = true);
        }
    }
    let writes = |id: NodeId| !matches!(graph.node(id).op, Op::Input | Op::Concat | Op::Residual { .. });
    graph.ids().map(|id| needed[id.0] && writes(id)).collect()
}

/// The nodes whose activations the forward step of `id` reads.
fn reads(graph: &Graph, layout: &Layout, id: NodeId) -> impl Iterator<Item = NodeId> {
    let input = graph.node(id).inputs.first().copied();
    let shortcut = layout.fused(id).map(|sum| graph.node(sum).inputs[0]);
    input.filter(|&input| !is_picture(graph, input)).into_iter().chain(shortcut)
}

fn is_picture(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Input)
}

fn has_norm(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Conv { after: After::BnRelu | After::Bn, .. })
}

/// A value while the program is made.
struct Value {
    len: usize,
    /// First and last step that use it.
    first: usize,
    last: usize,
}

struct Builder<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    logits: NodeId,
    /// The position behind the last answer.
    end: usize,
    reaches: &'a [bool],
    n: usize,
    scratch: &'a dyn Fn(Work, NodeId) -> usize,
    values: Vec<Value>,
    steps: Vec<Step<Option<usize>>>,
    /// Which nodes have a forward step.
    counts: Vec<bool>,
    /// Nodes that write to each buffer, in order.
    writers: Vec<Vec<NodeId>>,
    /// The activations of each buffer as computed forward, and as restored for the segment in work.
    activations: Vec<Option<usize>>,
    restored: Vec<Option<usize>>,
    gradients: Vec<Option<usize>>,
    /// The output of each convolution in front of its batch norm.
    outputs: Vec<Option<usize>>,
    /// How often the output of each node was computed.
    computed: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(task: &Task<'a>, n: usize, scratch: &'a dyn Fn(Work, NodeId) -> usize) -> Self {
        let Task { graph, layout, logits, reaches, .. } = *task;
        let (nodes, buffers) = (graph.nodes().len(), layout.sizes().len());
        let mut writers = vec![Vec::new(); buffers];
        let counts = self::writers(graph, logits);
        for id in graph.ids().filter(|id| counts[id.0]) {
            writers[layout.place(layout.fused(id).unwrap_or(id)).buffer].push(id);
        }
        Builder {
            graph,
            layout,
            logits,
            end: end(graph, logits),
            reaches,
            n,
            scratch,
            values: Vec::new(),
            steps: Vec::new(),
            counts,
            writers,
            activations: vec![None; buffers],
            restored: vec![None; buffers],
            gradients: vec![None; buffers],
            outputs: vec![None; nodes],
            computed: vec![0; nodes],
        }
    }

    /// All steps, cut into groups of segments.
    fn run(mut self, groups: &Cuts) -> Self {
        // Forward through all groups but the last, whose segments are then computed and led back one by one.
        let mut start = 0;
        let mut starts = Vec::new();
        for group in groups {
            starts.push(start);
            start = *group.last().expect("a group has segments");
        }
        for (group, &start) in groups.iter().zip(&starts).take(groups.len() - 1) {
            self.forward(start..*group.last().expect("as above"), false);
        }
        for (group, &first) in groups.iter().zip(&starts).rev() {
            let mut start = first;
            for &end in &group[..group.len() - 1] {
                self.forward(start..end, false);
                start = end;
            }
            for (i, &end) in group.iter().enumerate().rev() {
                let start = if i == 0 { first } else { group[i - 1] };
                self.forward(start..end, true);
                if end == self.end {
                    answers(self.graph, self.logits).for_each(|id| self.loss(id));
                }
                self.backward(start..end);
            }
        }
        self
    }

    /// Most values that live at the same time.
    fn peak(&self) -> usize {
        let mut change = vec![0isize; self.steps.len() + 1];
        for &Value { len, first, last } in &self.values {
            change[first] += len as isize;
            change[last + 1] -= len as isize;
        }
        let mut live = 0;
        let living = change.into_iter().map(|change| {
            live += change;
            live
        });
        living.max().unwrap_or(0) as usize
    }

    fn program(self) -> Program {
        let (places, len) = place(&self.values);
        let range = |value: usize| places[value]..places[value] + self.values[value].len;
        let place = |Step { work, id, accumulate, again, operands }: Step<Option<usize>>| {
            let operands = operands.map(|value| value.map_or(0..0, range));
            Step { work, id, accumulate, again, operands }
        };
        let steps = self.steps.into_iter().map(place).collect();
        let times = |id: &NodeId| self.computed[id.0].saturating_sub(1);
        let recomputed = self.graph.ids().flat_map(|id| std::iter::repeat_n(id, times(&id))).collect();
        Program { n: self.n, steps, len, recomputed }
    }

    fn buffer(&self, id: NodeId) -> usize {
        self.layout.place(self.layout.fused(id).unwrap_or(id)).buffer
    }

    /// The buffer that a segment writes last, and others read.
    fn last(&self, nodes: &Range<usize>) -> usize {
        let last = nodes.clone().rev().find(|&id| self.counts[id]).expect("a segment has steps");
        self.buffer(NodeId(last))
    }

    /// A value that the next step is the first to use.
    fn value(&mut self, len: usize) -> usize {
        let now = self.steps.len();
        self.values.push(Value { len, first: now, last: now });
        self.values.len() - 1
    }

    fn push(&mut self, work: Work, id: NodeId, accumulate: bool, mut operands: Operands<Option<usize>>) {
        let len = (self.scratch)(work, id);
        operands.scratch = (len > 0).then(|| self.value(len));
        let now = self.steps.len();
        for value in operands.clone().into_array().into_iter().flatten() {
            self.values[value].last = now;
        }
        let again = work == Work::Forward && self.computed[id.0] > 1 || work == Work::Restore;
        self.steps.push(Step { work, id, accumulate, again, operands });
    }

    /// Computes a segment. What its gradient needs stays where `keep`; else its last activation alone.
    fn forward(&mut self, nodes: Range<usize>, keep: bool) {
        let last = self.last(&nodes);
        // What is known of the last activation need not be computed again.
        let known = self.activations[last].is_some();
        for id in nodes.clone().map(NodeId) {
            if !self.counts[id.0] {
                continue;
            }
            let buffer = self.buffer(id);
            let written = !(known && buffer == last);
            if !(written || keep && has_norm(self.graph, id)) {
                continue;
            }
            let mut operands = Operands::default();
            let graph = self.graph;
            if let Some(&input) = graph.node(id).inputs.first()
                && !is_picture(graph, input)
            {
                operands.x = self.activations[self.buffer(input)];
            }
            if let Some(sum) = self.layout.fused(id) {
                operands.shortcut = self.activations[self.buffer(graph.node(sum).inputs[0])];
            }
            if has_norm(graph, id) {
                let y = self.value(graph.node(id).shape.len() * self.n);
                operands.y = Some(y);
                self.outputs[id.0] = keep.then_some(y);
            }
            if written {
                if self.activations[buffer].is_none() {
                    self.activations[buffer] = Some(self.value(self.layout.sizes()[buffer] * self.n));
                }
                operands.a = self.activations[buffer];
            }
            self.computed[id.0] += 1;
            self.push(Work::Forward, id, false, operands);
        }
        if !keep {
            self.forget(nodes, Some(last));
        }
    }

    /// Nothing is left of the activations of `nodes` but those of the buffer `but`.
    fn forget(&mut self, nodes: Range<usize>, but: Option<usize>) {
        for id in nodes.map(NodeId).filter(|id| self.counts[id.0]) {
            let buffer = self.layout.place(self.layout.fused(id).unwrap_or(id)).buffer;
            if Some(buffer) != but {
                self.activations[buffer] = None;
            }
            self.restored[buffer] = None;
        }
    }

    /// The loss of the answer `id`.
    fn loss(&mut self, id: NodeId) {
        let buffer = self.buffer(id);
        let a = self.activations[buffer];
        self.gradients[buffer] = Some(self.value(self.layout.sizes()[buffer] * self.n));
        self.push(Work::Loss, id, false, Operands { a, g: self.gradients[buffer], ..Operands::default() });
    }

    /// The gradients of a segment whose values were kept.
    fn backward(&mut self, nodes: Range<usize>) {
        let last = self.last(&nodes);
        // Activations at the ends of a segment are there anyway.
        let ends_here = nodes.end < self.end;
        for id in nodes.clone().rev().map(NodeId) {
            let held = |buffer: usize, builder: &Self| {
                builder.writers[buffer].iter().all(|id| id.0 < nodes.start) || ends_here && buffer == last
            };
            self.backward_node(id, &held);
        }
        self.forget(nodes.clone(), None);
        for id in nodes {
            self.outputs[id] = None;
        }
    }

    fn backward_node(&mut self, id: NodeId, held: &dyn Fn(usize, &Self) -> bool) {
        let graph = self.graph;
        let node = graph.node(id);
        let own = self.layout.place(id).buffer;
        // What leads to no logits has no gradient, and nobody asks for one in front of all that learns.
        let (Some(g), Some(&input)) = (self.gradients[own], node.inputs.first()) else { return };
        if !self.reaches[id.0] {
            return;
        }
        let picture = is_picture(graph, input);
        let mut operands = Operands { g: Some(g), ..Operands::default() };
        match node.op {
            Op::Input | Op::Concat => return,
            Op::Residual { relu, .. } => {
                if relu {
                    operands.a = Some(self.activation(own, held));
                }
                // The gradient of the shortcut is that of the sum, so it lies in its place.
                let shortcut = self.buffer(input);
                assert!(self.gradients[shortcut].is_none(), "{}: the sum is the last to read it", node.name);
                self.gradients[shortcut] = Some(g);
                let branch = self.layout.place(node.inputs[1]).buffer;
                let df = self.value(self.layout.sizes()[branch] * self.n);
                self.gradients[branch] = Some(df);
                operands.df = Some(df);
                return self.push(Work::Backward, id, false, operands);
            }
            Op::Conv { .. } | Op::Linear { .. } => {
                if has_norm(graph, id) {
                    let y = self.outputs[id.0];
                    assert!(y.is_some(), "{}: kept for its gradient", node.name);
                    self.push(Work::NormGrad, id, false, Operands { y, g: Some(g), ..Operands::default() });
                }
                if !picture {
                    operands.x = Some(self.activation(self.buffer(input), held));
                }
            }
            Op::MaxPool { .. } => {
                operands.x = Some(self.activation(self.buffer(input), held));
                operands.a = Some(self.activation(own, held));
            }
            Op::AvgPool { .. } | Op::GlobalAvgPool | Op::Dropout { .. } => {}
            Op::L2Norm => unreachable!("an embedding's norm lies behind the classifier"),
        }
        let buffer = self.buffer(input);
        let accumulate = self.gradients[buffer].is_some();
        if self.reaches[input.0] {
            if !accumulate {
                self.gradients[buffer] = Some(self.value(self.layout.sizes()[buffer] * self.n));
            }
            operands.dx = self.gradients[buffer];
        }
        self.push(Work::Backward, id, accumulate, operands);
    }

    /// The activations of `buffer` on the way back.
    fn activation(&mut self, buffer: usize, held: &dyn Fn(usize, &Self) -> bool) -> usize {
        let writers = self.writers[buffer].clone();
        let restorable = writers.iter().all(|&id| {
            has_norm(self.graph, id)
                || matches!(self.graph.node(id).op, Op::MaxPool { .. } | Op::AvgPool { .. })
        });
        if held(buffer, self) || !restorable {
            return self.activations[buffer].expect("computed forward and kept");
        }
        if let Some(value) = self.restored[buffer] {
            return value;
        }
        // What pools read comes first.
        let sources: Vec<Option<usize>> = writers
            .iter()
            .map(|&id| {
                let input = self.graph.node(id).inputs[0];
                (!has_norm(self.graph, id)).then(|| self.activation(self.buffer(input), held))
            })
            .collect();
        let value = self.value(self.layout.sizes()[buffer] * self.n);
        self.restored[buffer] = Some(value);
        for (&id, x) in writers.iter().zip(sources) {
            let operands = Operands { x, y: self.outputs[id.0], a: Some(value), ..Operands::default() };
            self.push(Work::Restore, id, false, operands);
        }
        value
    }
}

/// Values begin at lines of the cache.
pub(super) const LINE: usize = 16;

/// Where each value lies, and how many there are in all: the largest first, each as low as those allow that live at the
/// same time.
fn place(values: &[Value]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&value| (std::cmp::Reverse(values[value].len), values[value].first));
    let mut places = vec![0; values.len()];
    let (mut placed, mut end) = (Vec::<usize>::new(), 0);
    let mut taken = Vec::new();
    for value in order {
        let Value { len, first, last } = values[value];
        taken.clear();
        let meets = |&&other: &&usize| values[other].first <= last && values[other].last >= first;
        taken.extend(
            placed.iter().filter(meets).map(|&other| (places[other], places[other] + values[other].len)),
        );
        taken.sort_unstable();
        let mut at = 0;
        for &(start, end) in &taken {
            if at + len <= start {
                break;
            }
            at = at.max(end.next_multiple_of(LINE));
        }
        places[value] = at;
        end = end.max(at + len);
        placed.push(value);
    }
    (places, end)
}
