//! A step from its groups to its report, alone or together with others.
//!
//! ```text
//! groups of the part ─ forward, backward ─▶ gradient ─┬─ buckets, while the backward pass of the last group goes on ─▶ Σ ─▶ update
//!                              statistics, loss, … ───┘
//! ```
//! Whatever happens to one, all ask for the same sums: an error is one of the numbers that are summed.

use std::time::Instant;

use inception_graph::{NodeId, Op, Weights};
use inception_kernels::loss::{Loss, Targets};

use super::partial::{Act, Partial, way};
use super::plan::Work;
use super::{Group, Trainer};
use crate::peers::{Part, Peers, Wire, buckets};
use crate::step::{StepError, StepOptions, StepReport};

/// Numbers behind the statistics: high and low half of the loss, right answers, pictures, errors.
const TOTALS: usize = 5;

/// Gradients on their way to the others.
struct Exchange<'a> {
    peers: &'a dyn Peers,
    wire: Wire,
    /// Parameters of each bucket.
    buckets: Vec<Vec<usize>>,
    /// The bucket of each node that has a gradient.
    bucket_of: Vec<Option<usize>>,
    /// Nodes of each bucket that are not done.
    missing: Vec<usize>,
    /// Buckets that are on their way.
    begun: usize,
}

impl<'a> Exchange<'a> {
    /// A node's gradient is complete.
    fn done(&mut self, node: NodeId, gradient: &Weights, aside: &[Partial]) {
        if let Some(bucket) = self.bucket_of[node.0] {
            self.missing[bucket] -= 1;
        }
        while self.begun < self.buckets.len() && self.missing[self.begun] == 0 {
            self.begin(gradient, aside);
        }
    }

    /// Sends the sum of all groups, those that were put aside among them.
    fn begin(&mut self, gradient: &Weights, aside: &[Partial]) {
        let mut values = Vec::new();
        for &param in &self.buckets[self.begun] {
            let from = values.len();
            values.extend_from_slice(gradient.get(param));
            for first in aside.iter().rev() {
                let first = &first.gradient[gradient.range(param)];
                values[from..].iter_mut().zip(first).for_each(|(sum, first)| *sum += first);
            }
        }
        self.begun += 1;
        self.peers.begin(&format!("gradients {} of {}", self.begun, self.buckets.len()), values, self.wire);
    }

    /// Sends what is left, whatever it is.
    fn begin_all(&mut self, gradient: &Weights) {
        (self.begun..self.buckets.len()).for_each(|_| self.begin(gradient, &[]));
    }

    /// Waits for the sums.
    fn finish(&self, gradient: &mut Weights) -> Result<(), StepError> {
        for bucket in &self.buckets {
            let sums = self.peers.finish().map_err(StepError::Lost)?;
            let mut left = &sums[..];
            for &param in bucket {
                let values = gradient.get_mut(param);
                let (own, rest) = left.split_at(values.len());
                values.copy_from_slice(own);
                left = rest;
            }
        }
        Ok(())
    }
}

/// What a step's pictures come to.
#[derive(Clone, Copy, Default)]
struct Totals {
    loss: Loss,
    count: usize,
    errors: usize,
}

impl Trainer {
    /// One step that all `peers` take together: `input`, `[n, side, side, 3]`, is this one's `part` of the batch, of which pictures may be
    /// missing, even all. The weights are the same for all before, and are so after; on an error of any one they are as they were.
    pub fn step_with(
        &mut self,
        input: &[f32],
        targets: &Targets,
        options: &StepOptions,
        part: Part,
        peers: &dyn Peers,
    ) -> Result<StepReport, StepError> {
        self.step_of(input, targets, options, part, Some(peers))
    }

    pub(super) fn step_of(
        &mut self,
        input: &[f32],
        targets: &Targets,
        options: &StepOptions,
        part: Part,
        peers: Option<&dyn Peers>,
    ) -> Result<StepReport, StepError> {
        let start = Instant::now();
        self.clock.reset();
        let mut error = self.check(input, targets).err();
        let norms = peers.filter(|_| options.sync_norm);
        let count = if error.is_none() { targets.len() } else { 0 };
        let asked = options.micro_batch.filter(|_| norms.is_none());
        let size = asked.map_or(count, |size| size.get().min(count)).max(1);
        let picture = self.graph.nodes()[0].shape.len();
        let group = |index: usize, adds: bool| {
            let before = index * size;
            let pictures = before..(before + size).min(count);
            Group {
                input: &input[pictures.start * picture..pictures.end * picture],
                targets: targets.part(pictures),
                first: part.first + before,
                adds,
                batch: part.batch,
                options,
                peers: norms,
            }
        };
        let mut exchange = peers.map(|peers| self.exchange(peers, options.wire));
        if let Some(exchange) = exchange.as_mut().filter(|_| count == 0) {
            self.step_without_pictures(norms, exchange);
        }
        let (mut loss, mut failed) = (Loss::default(), None);
        let groups = count.div_ceil(size);
        let mut acts = std::mem::take(&mut self.way);
        acts.clear();
        if groups > 0 {
            way(0..groups, &mut acts);
        }
        self.kept_partials = 0;
        let mut last = false;
        for &act in &acts {
            let (index, adds) = match act {
                Act::Group { index, adds } => (index, adds),
                Act::Keep => {
                    self.keep_partial();
                    continue;
                }
                // What has been sent has been joined.
                Act::Join => {
                    self.join_partial(last && peers.is_some());
                    continue;
                }
            };
            last = index + 1 == groups;
            let group = group(index, adds);
            let program = self.prepare(group.targets.len());
            for step in &program.steps {
                if let Some(part) = self.take(step, &group) {
                    loss = loss.and(part);
                }
                if !loss.sum.is_finite() && failed.is_none() {
                    failed = Some(index);
                    if peers.is_none() {
                        return Err(self.first_not_finite(&group));
                    }
                }
                if let Some(exchange) = exchange.as_mut().filter(|_| last)
                    && step.work == Work::Backward
                {
                    exchange.done(step.id, &self.grad, &self.partials[..self.kept_partials]);
                }
            }
        }
        self.way = acts;
        let errors = usize::from(error.is_some() || failed.is_some());
        let mut totals = Totals { loss, count, errors };
        if let Some(mut exchange) = exchange {
            exchange.begin_all(&self.grad);
            totals = self.sum_up(&exchange, totals)?;
        }
        if totals.errors > 0 {
            // Whoever sees the same norms looks, too.
            match failed.or(norms.map(|_| 0)).filter(|_| count > 0) {
                Some(index) => {
                    let found = self.first_not_finite(&group(index, false));
                    error = error.or(failed.map(|_| found));
                }
                None => self.show_no_moments(norms),
            }
            return Err(error.unwrap_or(StepError::Elsewhere));
        }
        if totals.count == 0 {
            return Err(StepError::Empty);
        }
        self.scale(part.batch, totals.count);
        let grad_norm = self.update(options)?;
        self.clock.total(start.elapsed());
        let Totals { loss, count, .. } = totals;
        let mean = (loss.sum / count as f64) as f32;
        Ok(StepReport { loss: mean, correct: loss.correct, count, grad_norm })
    }

    /// Which gradients there are, in the order in which they are complete: that of the nodes from the last to the first.
    fn exchange<'a>(&self, peers: &'a dyn Peers, wire: Wire) -> Exchange<'a> {
        let reaches = self.learning.reaches(&self.graph, &self.weights);
        let learns = |id: &NodeId| {
            reaches[id.0] && matches!(self.graph.node(*id).op, Op::Conv { .. } | Op::Linear { .. })
        };
        let nodes: Vec<NodeId> = self.graph.ids().rev().filter(learns).collect();
        let params_of = |id: &NodeId| {
            let params = self.nodes[id.0].params.iter().filter(|(role, _)| role.trainable());
            params.map(|&(_, index)| (index, self.weights.range(index).len())).collect::<Vec<_>>()
        };
        let buckets = buckets(nodes.iter().flat_map(params_of));
        let mut bucket_of = vec![None; self.nodes.len()];
        let mut missing = vec![0; buckets.len()];
        for (bucket, params) in buckets.iter().enumerate() {
            // A node whose parameters are in two buckets is complete with the second.
            params.iter().for_each(|&param| bucket_of[self.weights.params()[param].node.0] = Some(bucket));
        }
        bucket_of.iter().flatten().for_each(|&bucket: &usize| missing[bucket] += 1);
        Exchange { peers, wire, buckets, bucket_of, missing, begun: 0 }
    }

    /// No gradient, no statistics, and no pictures in the norms that others see: the same sums in the same order as with pictures.
    fn step_without_pictures(&mut self, norms: Option<&dyn Peers>, exchange: &mut Exchange) {
        self.grad.data.fill(0.0);
        for kept in &mut self.nodes {
            kept.mean.fill(0.0);
            kept.variance.fill(0.0);
        }
        self.show_no_moments(norms);
        let program = self.program(1);
        for step in &program.steps[program.forward()..] {
            let node = self.graph.node(step.id);
            match (step.work, norms) {
                (Work::NormGrad, Some(peers)) if !self.learning.fixed_norms[step.id.0] => {
                    peers.sum(&node.name, &mut vec![0.0; 2 * node.shape.c]);
                }
                (Work::Backward, _) => exchange.done(step.id, &self.grad, &[]),
                _ => {}
            }
        }
    }

    /// The norms that others see in the forward pass, without pictures.
    fn show_no_moments(&mut self, norms: Option<&dyn Peers>) {
        let Some(peers) = norms else { return };
        let program = self.program(1);
        for step in program.steps[..program.forward()].iter().filter(|step| !step.again) {
            let norm = &mut self.nodes[step.id.0].norm;
            if !norm.mean.is_empty() && !self.learning.fixed_norms[step.id.0] {
                peers.sum(&self.graph.node(step.id).name, norm.no_moments());
            }
        }
    }

    /// Gradient, statistics and totals become those of all.
    fn sum_up(&mut self, exchange: &Exchange, own: Totals) -> Result<Totals, StepError> {
        // Of few enough digits that their sum is exact.
        let high = (own.loss.sum * 1024.0).round() as f32 / 1024.0;
        let low = (own.loss.sum - f64::from(high)) as f32;
        let mut values = Vec::new();
        for kept in &mut self.nodes {
            let c = kept.norm.mean.len();
            kept.mean.resize(c, 0.0);
            kept.variance.resize(c, 0.0);
            values.extend_from_slice(&kept.mean);
            values.extend_from_slice(&kept.variance);
        }
        values.extend([high, low, own.loss.correct as f32, own.count as f32, own.errors as f32]);
        exchange.peers.begin("statistics", values, Wire::F32);
        exchange.finish(&mut self.grad)?;
        let sums = exchange.peers.finish().map_err(StepError::Lost)?;
        let (mut statistics, totals) = sums.split_at(sums.len() - TOTALS);
        for kept in &mut self.nodes {
            for own in [&mut kept.mean, &mut kept.variance] {
                let (sums, rest) = statistics.split_at(own.len());
                own.copy_from_slice(sums);
                statistics = rest;
            }
        }
        let loss = Loss { sum: f64::from(totals[0]) + f64::from(totals[1]), correct: totals[2] as usize };
        Ok(Totals { loss, count: totals[3] as usize, errors: totals[4] as usize })
    }

    /// Means over `batch` pictures become means over the `count` that are there.
    fn scale(&mut self, batch: usize, count: usize) {
        if count == batch {
            return;
        }
        let factor = batch as f32 / count as f32;
        let statistics =
            self.nodes.iter_mut().flat_map(|kept| kept.mean.iter_mut().chain(&mut kept.variance));
        self.grad.data.iter_mut().chain(statistics).for_each(|value| *value *= factor);
    }
}
