//! How fast a network trains here, and where the time of a step goes.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use inception_cpu::{Device, Keep, Optimizer, Phase, StepOptions, StepTimes, TrainNeeds, Trainer, Wire};
use inception_graph::{Graph, Weights, thousands};
use serde::Serialize;

use super::{BenchArgs, Times, milliseconds};
use crate::data::{Batch, Cache, DataError, Dataset, Loader, OnBad, Request, Transform};
use crate::exit::UsageError;
use crate::memory;
use crate::recipe::Recipe;

/// Measurements of training steps.
#[derive(Serialize)]
pub(super) struct Training {
    #[serde(flatten)]
    times: Times,
    checkpoint_activations: bool,
    /// Pictures computed at a time.
    micro_batch: usize,
    /// Parts of the median step, in milliseconds.
    parts: Vec<Part>,
    /// Memory in which activations, their gradients and the kernels' own take turns, by plan.
    step_bytes: usize,
    /// Largest resident memory of the process up to the end of the last step; not on every system.
    training_peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
}

/// One kind of work.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    ms: f64,
    /// Of the network's definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
}

/// One box, its kinds of work in milliseconds.
#[derive(Serialize)]
struct Layer {
    name: String,
    output: [usize; 3],
    parts: Vec<Part>,
}

/// Batches for training steps: always the same one, or pictures of files, decoded and distorted ahead as `inception train`
/// does with its recipe `paper`.
enum Batches {
    Same(Batch),
    Files(Box<Request>, Loader, Batch),
}

impl Batches {
    fn of_files(graph: &Graph, files: &[PathBuf], batch: usize, workers: usize) -> Result<Self> {
        let recipe = Recipe::load("paper", &[])?;
        let request = Request {
            order: (0..files.len()).cycle().take(files.len().next_multiple_of(batch) * EPOCHS).collect(),
            dataset: Arc::new(Dataset::of_files(files, graph.classes())),
            transform: Transform::Train(recipe.train, [0, 0]),
            preprocessing: recipe.eval.into(),
            side: graph.img_size(),
            batch_size: batch,
            drop_last: true,
            keep_empty: false,
            on_bad: OnBad::Error,
            workers,
            // As if no picture came twice.
            cache: Cache::new(0),
        };
        let loader = Loader::new(request.clone());
        Ok(Batches::Files(Box::new(request), loader, Batch::default()))
    }

    /// The next batch, and what was waited for it.
    fn next(&mut self) -> Result<(&Batch, Duration), DataError> {
        let start = Instant::now();
        match self {
            Batches::Same(batch) => Ok((batch, Duration::ZERO)),
            Batches::Files(request, loader, batch) => {
                loader.reuse(std::mem::take(batch));
                *batch = match loader.next() {
                    Some(batch) => batch?,
                    None => {
                        *loader = Loader::new((**request).clone());
                        loader.next().expect("a request of whole batches")?
                    }
                };
                Ok((batch, start.elapsed()))
            }
        }
    }
}

/// Passes over the pictures before the threads that decode start anew.
const EPOCHS: usize = 64;

/// Times training steps on `pixels`, or on pictures of `files`.
pub(super) fn measure(
    graph: &Graph,
    device: &Device,
    pixels: &[f32],
    files: Option<&[PathBuf]>,
    args: &BenchArgs,
) -> Result<Training> {
    if graph.classes() == 0 {
        return Err(UsageError(format!("{} has no classes to train on", graph.spec().net)).into());
    }
    let (batch, keep) = (
        args.batch_size.get(),
        match args.checkpoint_activations {
            true => Keep::Checkpoints,
            false => Keep::Outputs,
        },
    );
    let micro_batch = args.micro_batch.map_or(batch, |size| size.get().min(batch));
    let mut batches = match files {
        Some(files) => Batches::of_files(graph, files, batch, device.pool.threads())?,
        None => Batches::Same(Batch {
            pixels: pixels.to_vec(),
            side: graph.img_size(),
            labels: (0..batch).map(|i| (i % graph.classes()) as u32).collect(),
            indices: (0..batch).collect(),
            ..Batch::default()
        }),
    };
    let mut trainer = Trainer::with(graph, Weights::init(graph, 0), device, keep);
    let options = StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
        // So small that no weight leaves the range of a useful network.
        lr: 1e-6,
        weight_decay: 1e-4,
        clip_grad: Some(1.0),
        label_smoothing: 0.1,
        aux_weight: 0.0,
        bn_decay: 0.9,
        ema_decay: Some(0.99),
        random: [0, 0],
        micro_batch: NonZeroUsize::new(micro_batch),
        sync_norm: false,
        wire: Wire::F32,
    };
    let flop = 3.0 * 2.0 * graph.macs() as f64 * batch as f64;
    let mut failed = None;
    let mut steps: Vec<(Duration, StepTimes)> = Vec::new();
    let times = Times::measure(args.seconds, batch, flop, || {
        let step = batches.next().map_err(anyhow::Error::from).and_then(|(batch, waited)| {
            trainer.step(&batch.pixels, &batch.labels, &options)?;
            Ok(waited)
        });
        match step {
            Ok(waited) => steps.push((waited, trainer.times())),
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    // The step of the median: its parts add up. Those that warmed up are not among the measured.
    let mut measured = steps.split_off(steps.len() - times.runs);
    measured.sort_by_key(|(waited, step)| *waited + step.total);
    let (waited, median) = &measured[(measured.len() - 1) / 2];
    let waited = files.map(|_| *waited);
    Ok(Training {
        parts: parts(graph, median, waited, batch),
        layers: if args.layers { layers(graph, median, batch) } else { Vec::new() },
        times,
        checkpoint_activations: args.checkpoint_activations,
        micro_batch,
        step_bytes: TrainNeeds::of(graph, device, micro_batch, keep).step_bytes,
        training_peak_memory_bytes: memory::peak(),
    })
}

/// Rate of `macs` multiply–adds a picture, where they belong to `phase`.
fn gflops(phase: Phase, macs: u64, batch: usize, time: Duration) -> Option<f64> {
    let counts = matches!(phase, Phase::Forward | Phase::GradInput | Phase::GradWeight);
    let flop = 2.0 * macs as f64 * batch as f64;
    (counts && !time.is_zero()).then(|| flop / time.as_secs_f64() / 1e9)
}

fn parts(graph: &Graph, step: &StepTimes, waited: Option<Duration>, batch: usize) -> Vec<Part> {
    let phases = Phase::ALL.iter().enumerate().map(|(i, &phase)| {
        let time: Duration = step.nodes.iter().map(|phases| phases[i]).sum();
        Part { name: phase.name(), ms: milliseconds(time), gflops: gflops(phase, graph.macs(), batch, time) }
    });
    let mut parts: Vec<Part> = phases.filter(|part| part.ms > 0.0).collect();
    parts.push(Part { name: "optimizer", ms: milliseconds(step.optimizer), gflops: None });
    let rest = milliseconds(step.total) - parts.iter().map(|part| part.ms).sum::<f64>();
    parts.push(Part { name: "rest", ms: rest, gflops: None });
    parts.extend(waited.map(|waited| Part { name: "data", ms: milliseconds(waited), gflops: None }));
    parts
}

fn layers(graph: &Graph, step: &StepTimes, batch: usize) -> Vec<Layer> {
    let layer = |id: inception_graph::NodeId| {
        let node = graph.node(id);
        let part = |(i, &phase): (usize, &Phase)| {
            let time = step.nodes[id.0][i];
            let gflops = gflops(phase, graph.node_macs(id), batch, time);
            Part { name: phase.name(), ms: milliseconds(time), gflops }
        };
        let parts: Vec<Part> = Phase::ALL.iter().enumerate().map(part).filter(|part| part.ms > 0.0).collect();
        let shape = node.shape;
        Layer { name: node.name.clone(), output: [shape.h, shape.w, shape.c], parts }
    };
    graph.ids().map(layer).filter(|layer| !layer.parts.is_empty()).collect()
}

pub(super) fn text(out: &mut impl Write, training: &Training, peak: f64) -> Result<()> {
    training.times.text(out, "training")?;
    for Part { name, ms, gflops } in &training.parts {
        write!(out, "  {name:<16} {ms:9.1} ms {:4.0} %", 100.0 * ms / training.times.median_ms)?;
        match gflops {
            Some(rate) => writeln!(out, "  {rate:5.0} GFLOP/s, {:3.0} % of peak", 100.0 * rate / peak)?,
            None => writeln!(out)?,
        }
    }
    let mib = |bytes: u64| thousands(bytes >> 20);
    write!(out, "  memory           {} MiB of a step's values", mib(training.step_bytes as u64))?;
    match training.training_peak_memory_bytes {
        Some(bytes) => writeln!(out, ", {} MiB the whole process at most", mib(bytes))?,
        None => writeln!(out)?,
    }
    for Layer { name, output: [h, w, c], parts } in &training.layers {
        write!(out, "\n  {name:<24} {:<14}", format!("{h}×{w}×{c}"))?;
        for Part { name, ms, gflops } in parts {
            write!(out, "  {name} {ms:.2} ms")?;
            if let Some(rate) = gflops {
                write!(out, " ({:.0} %)", 100.0 * rate / peak)?;
            }
        }
    }
    if !training.layers.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}
