//! Where the time of a run goes, node by node.

use std::time::{Duration, Instant};

use inception_graph::NodeId;
use inception_kernels::conv::{Algorithm, ConvPlan, Epilogue, Operands};
use inception_kernels::{Buffer, View, ViewMut};

use crate::infer::{Model, Scratch};
use crate::layout::conv_shape;

/// The time of one node.
#[derive(Clone, Debug)]
pub struct NodeTime {
    /// The node.
    pub id: NodeId,
    /// Median inside runs of the whole network.
    pub time: Duration,
    /// What computes it, where it is a convolution or linear layer.
    pub algorithm: Option<Algorithm>,
}

impl Model {
    /// Times of all nodes in `runs` runs on `input`, `[n, side, side, 3]`.
    pub fn profile(&self, input: &[f32], runs: usize, scratch: &mut Scratch) -> Vec<NodeTime> {
        let ids: Vec<NodeId> = self.graph().ids().collect();
        let mut times = vec![Vec::with_capacity(runs); ids.len()];
        for _ in 0..runs.max(1) {
            times.iter_mut().for_each(|times| times.push(Duration::ZERO));
            let mut start = Instant::now();
            self.run_nodes(input, ids[ids.len() - 1], self.few(self.batch(input)), scratch, |turn| {
                let end = Instant::now();
                times[turn.id.0].last_mut().iter_mut().for_each(|time| **time += end - start);
                start = end;
            });
        }
        let time = |(id, mut times): (NodeId, Vec<Duration>)| {
            times.sort_unstable();
            NodeTime { id, time: times[times.len() / 2], algorithm: self.plan(id).map(ConvPlan::algorithm) }
        };
        ids.into_iter().zip(times).map(time).collect()
    }

    /// Median times of every algorithm that can compute the convolution `id` for `batch` pictures, alone and with its
    /// operands in the caches where they fit; empty for other nodes.
    pub fn alternatives(&self, id: NodeId, batch: usize, runs: usize) -> Vec<(Algorithm, Duration)> {
        let Some(shape) = conv_shape(self.graph(), id) else { return Vec::new() };
        let (pool, isa) = (&self.device().pool, self.device().isa);
        let ramp = |len: usize| {
            let mut values = Buffer::zeroed(len);
            values.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 7919 % 251) as f32 / 125.0 - 1.0);
            values
        };
        let x = ramp(batch * shape.input[0] * shape.input[1] * shape.in_channels);
        let weights = ramp(shape.weight_len());
        let mut y = Buffer::zeroed(batch * shape.output()[0] * shape.output()[1] * shape.out_channels);
        let mut measure = |plan: &ConvPlan| {
            let mut packed = Buffer::zeroed(plan.packed_len());
            plan.pack(pool, isa, &weights, &mut packed);
            let mut scratch = Buffer::zeroed(plan.scratch_len(batch, pool.threads()));
            let mut times: Vec<Duration> = (0..runs.max(1) + 1)
                .map(|_| {
                    let start = Instant::now();
                    let x = View::dense(&x, shape.in_channels);
                    let operands = Operands { x, packed: &packed, next: &[], epilogue: Epilogue::default() };
                    let y = ViewMut::dense(&mut y, shape.out_channels);
                    plan.forward(pool, isa, operands, y, &mut scratch);
                    start.elapsed()
                })
                .collect();
            // The first touches memory for the first time.
            times.remove(0);
            times.sort_unstable();
            times[times.len() / 2]
        };
        ConvPlan::all(shape).iter().map(|plan| (plan.algorithm(), measure(plan))).collect()
    }
}
