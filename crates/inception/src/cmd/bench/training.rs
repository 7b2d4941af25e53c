//! How fast a network trains here, and where the time of a step goes.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use inception_cpu::{
    Device, Keep, Optimizer, Phase, StepOptions, StepTimes, Targets, TrainNeeds, Trainer, Wire,
};
use inception_graph::{Graph, Weights, thousands};
use serde::Serialize;
use serde_json::json;

use super::{Times, milliseconds, pixels, repeat};
use crate::data::{Batch, Cache, DataError, Dataset, Loader, OnBad, Request, Transform};
use crate::dist::{Notes, Watched, Work};
use crate::exit::UsageError;
use crate::memory;
use crate::ranks::{Exchange, World};
use crate::recipe::Recipe;

/// Which steps are measured.
pub(crate) struct Asked<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) device: &'a Device,
    /// Pictures that are decoded ahead and distorted as `inception train` does with its recipe `paper`; without them always the same.
    pub(crate) files: Option<&'a [PathBuf]>,
    /// Pictures of all ranks.
    pub(crate) batch: usize,
    pub(crate) micro_batch: Option<NonZeroUsize>,
    pub(crate) keep: Keep,
    pub(crate) seconds: f64,
    /// Whether each box is told.
    pub(crate) layers: bool,
    /// How gradients travel.
    pub(crate) wire: Wire,
    /// All ranks, which take each step together.
    pub(crate) world: &'a World,
    /// Whether gradients are packed to be summed where one rank is alone, too.
    pub(crate) watch: bool,
}

impl<'a> Asked<'a> {
    /// Steps that are measured for a forecast: of whole batches, always the same one, watched.
    pub(crate) fn watched(
        graph: &'a Graph,
        device: &'a Device,
        batch: usize,
        seconds: f64,
        world: &'a World,
    ) -> Self {
        Asked {
            graph,
            device,
            files: None,
            batch,
            micro_batch: None,
            keep: Keep::Outputs,
            seconds,
            layers: false,
            wire: Wire::F32,
            world,
            watch: true,
        }
    }
}

/// Measurements of training steps.
#[derive(Serialize)]
pub(crate) struct Training {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    sums: Option<Sums>,
    /// What the median step came to at this rank, but for waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<Work>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
}

/// What summing over all ranks cost this one: means over the steps.
#[derive(Serialize)]
struct Sums {
    ranks: usize,
    /// Time of a step in which a sum was on its way.
    in_flight_ms: f64,
    /// Time of it in which this rank had nothing else to do.
    waited_ms: f64,
    /// Share of it that was hidden behind the backward pass.
    hidden: f64,
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

/// Times training steps.
pub(crate) fn measure(asked: &Asked) -> Result<Training> {
    let Asked { graph, device, files, keep, world, .. } = *asked;
    if graph.classes() == 0 {
        return Err(UsageError(format!("{} has no classes to train on", graph.spec().net)).into());
    }
    let own = world.share(asked.batch);
    let batch = own.len();
    if asked.batch < world.size() {
        let message = format!("-b {}: each of {} ranks needs a picture", asked.batch, world.size());
        return Err(UsageError(message).into());
    }
    let same = json!({
        "network": graph.spec(),
        "batch_size": asked.batch,
        "micro_batch": asked.micro_batch,
        "checkpoint_activations": keep == Keep::Checkpoints,
        "bf16_sums": asked.wire == Wire::Bf16,
    });
    world.agree_on("measure", device.isa.name(), &same)?;
    let micro_batch = asked.micro_batch.map_or(batch, |size| size.get().min(batch));
    let mut batches = match files {
        Some(files) => Batches::of_files(graph, files, batch, device.pool.threads())?,
        None => Batches::Same(Batch {
            pixels: pixels(graph, batch),
            side: graph.img_size(),
            labels: own.clone().map(|i| (i % graph.classes()) as u32).collect(),
            indices: own.clone().collect(),
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
        wire: asked.wire,
    };
    let flop = 3.0 * 2.0 * graph.macs() as f64 * batch as f64;
    let part = inception_cpu::Part { first: own.start, batch: asked.batch };
    let watched = (asked.watch || world.size() > 1).then(|| Watched::new(world.peers()));
    let mut failed = None;
    let mut taken: Vec<Taken> = Vec::new();
    let mut run = || -> Result<()> {
        let (batch, waited) = batches.next()?;
        let before = world.exchange();
        match &watched {
            None => trainer.step(&batch.pixels, &batch.labels, &options)?,
            Some(watched) => {
                watched.begin_step();
                let targets = Targets::new(&batch.labels);
                trainer.step_with(&batch.pixels, &targets, &options, part, watched)?
            }
        };
        let notes = watched.as_ref().map(Watched::notes).unwrap_or_default();
        let exchange = world.exchange().since(before);
        taken.push(Taken { waited, times: trainer.times(), notes, exchange });
        Ok(())
    };
    // Rank 0 says when it is enough.
    let mut lost = None;
    let go_on = |go_on: bool| match world.any("whether to go on", [go_on && world.leads()]) {
        Ok([any]) => any,
        Err(error) => {
            lost = Some(error);
            false
        }
    };
    let times = repeat(asked.seconds, go_on, || failed = failed.take().or(run().err()));
    if let Some(error) = failed.or(lost) {
        return Err(error);
    }
    // Pictures are those of all ranks, products and their rate this one's.
    let times = Times::new(times, asked.batch, flop);
    // The step of the median: its parts add up. Those that warmed up are not among the measured.
    let mut measured = taken.split_off(taken.len() - times.runs);
    let sums = (world.size() > 1).then(|| sums(&measured, world.size()));
    measured.sort_by_key(|taken| taken.waited + taken.times.total);
    let Taken { waited, times: median, notes, .. } = &measured[(measured.len() - 1) / 2];
    let waited = files.map(|_| *waited);
    let parts = parts(graph, median, waited, notes.waited, batch);
    let layers = if asked.layers { layers(graph, median, batch) } else { Vec::new() };
    let work = watched.map(|_| work(&mut measured, batch, device.pool.threads()));
    Ok(Training {
        parts,
        layers,
        sums,
        work,
        times,
        checkpoint_activations: keep == Keep::Checkpoints,
        micro_batch,
        step_bytes: TrainNeeds::of(graph, device, micro_batch, keep).step_bytes,
        training_peak_memory_bytes: memory::peak(),
    })
}

/// A step that was taken.
struct Taken {
    /// For pictures.
    waited: Duration,
    times: StepTimes,
    notes: Notes,
    exchange: Exchange,
}

impl Taken {
    /// Without waiting for sums.
    fn own(&self) -> Duration {
        self.times.total - self.notes.waited
    }
}

fn sums(taken: &[Taken], ranks: usize) -> Sums {
    let mean = |of: fn(&Exchange) -> Duration| {
        taken.iter().map(|taken| milliseconds(of(&taken.exchange))).sum::<f64>() / taken.len() as f64
    };
    let (in_flight_ms, waited_ms) = (mean(|exchange| exchange.in_flight), mean(|exchange| exchange.waited));
    let hidden = 1.0 - (waited_ms / in_flight_ms.max(f64::MIN_POSITIVE)).min(1.0);
    Sums { ranks, in_flight_ms, waited_ms, hidden }
}

/// The step whose own work is the median.
fn work(taken: &mut [Taken], batch: usize, threads: usize) -> Work {
    taken.sort_by_key(Taken::own);
    let at = |share: f64| &taken[((taken.len() - 1) as f64 * share).round() as usize];
    let median = at(0.5);
    let sums: Vec<(usize, f64)> =
        median.notes.sums.iter().map(|&(n, ready)| (n, ready.as_secs_f64())).collect();
    let gradient = sums.last().map_or(0.0, |&(_, ready)| ready);
    let update = (median.own().as_secs_f64() - gradient).max(0.0);
    // Of a normal distribution.
    let deviation = (at(0.9).own() - median.own()).as_secs_f64() / 1.2816;
    Work { batch, threads, sums, update, deviation }
}

/// Rate of `macs` multiply–adds a picture, where they belong to `phase`.
fn gflops(phase: Phase, macs: u64, batch: usize, time: Duration) -> Option<f64> {
    let counts = matches!(phase, Phase::Forward | Phase::GradInput | Phase::GradWeight);
    let flop = 2.0 * macs as f64 * batch as f64;
    (counts && !time.is_zero()).then(|| flop / time.as_secs_f64() / 1e9)
}

fn parts(
    graph: &Graph,
    step: &StepTimes,
    waited: Option<Duration>,
    sums: Duration,
    batch: usize,
) -> Vec<Part> {
    let phases = Phase::ALL.iter().enumerate().map(|(i, &phase)| {
        let time: Duration = step.nodes.iter().map(|phases| phases[i]).sum();
        Part { name: phase.name(), ms: milliseconds(time), gflops: gflops(phase, graph.macs(), batch, time) }
    });
    let mut parts: Vec<Part> = phases.filter(|part| part.ms > 0.0).collect();
    parts.push(Part { name: "optimizer", ms: milliseconds(step.optimizer), gflops: None });
    if !sums.is_zero() {
        parts.push(Part { name: "waiting for sums", ms: milliseconds(sums), gflops: None });
    }
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

pub(crate) fn text(out: &mut impl Write, training: &Training, peak: f64) -> Result<()> {
    training.times.text(out, "training")?;
    for Part { name, ms, gflops } in &training.parts {
        write!(out, "  {name:<16} {ms:9.1} ms {:4.0} %", 100.0 * ms / training.times.median_ms)?;
        match gflops {
            Some(rate) if peak.is_nan() => writeln!(out, "  {rate:5.0} GFLOP/s")?,
            Some(rate) => writeln!(out, "  {rate:5.0} GFLOP/s, {:3.0} % of peak", 100.0 * rate / peak)?,
            None => writeln!(out)?,
        }
    }
    if let Some(Sums { ranks, in_flight_ms, waited_ms, hidden }) = &training.sums {
        writeln!(
            out,
            "  {ranks} ranks: gradients were {in_flight_ms:.1} ms of a step on their way, {waited_ms:.1} ms of it waited for: {:.0} % hidden",
            100.0 * hidden
        )?;
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
