//! `inception bench`: how fast a network runs here, and where the time goes.

mod images;
pub(super) mod training;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use inception_cpu::{Keep, Model, Scratch, Wire, peak_flops};
use inception_graph::{Graph, Spec, Weights, build, thousands};
use serde::Serialize;

use super::device::DeviceArgs;
use super::ranks::RanksArgs;
use super::{check_seconds, stdout, write_json};
use crate::data::Crops;
use crate::exit::{Exit, UsageError};
use crate::memory;
use crate::progress::{Progress, Style};

const EXAMPLES: &str = "\
Examples:
  inception bench inception_v4 --layers
  inception bench inception_v4 --images pictures/ -b 8
  inception bench inception_v3 --images pictures/ --eval --crops 144 -b 16
  mpirun -n 2 inception bench inception_v4 --train -b 16";

/// Arguments of `inception bench`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Network
    #[arg(value_name = "NET")]
    pub net: String,
    /// Pictures at a time
    #[arg(short, long, value_name = "N", default_value = "1", visible_alias = "batch")]
    pub batch_size: NonZeroUsize,
    /// Measure training steps, too, before anything else: SGD with momentum, weight decay, clipping and a moving average
    #[arg(long)]
    pub train: bool,
    /// In training keep a few activations for the gradient and compute the others again
    #[arg(long, requires = "train")]
    pub checkpoint_activations: bool,
    /// Pictures of a training step computed at a time [default: all]
    #[arg(long, value_name = "N", requires = "train")]
    pub micro_batch: Option<NonZeroUsize>,
    /// Several ranks: gradients travel rounded to bfloat16
    #[arg(long, requires = "train")]
    pub bf16_sums: bool,
    /// Measure from files to labels, too, on the pictures in a folder: decoded, the shorter side resized to 1/0.875 of
    /// the input (bicubic), the centre taken; with --train its steps take these pictures, distorted as the recipe `paper`
    /// does, and the time that they wait for them is shown
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Measure on --images what `inception eval` does: with --crops, the views of each picture, and how much longer they take than as
    /// many in the network alone
    #[arg(long, requires = "images")]
    pub eval: bool,
    /// Views of each picture: 1, 10, 12 or 144, as of `inception eval`
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "N",
        requires = "eval"
    )]
    pub crops: Crops,
    /// Show the time of every box, and of every algorithm that could compute it
    #[arg(long)]
    pub layers: bool,
    /// Seconds that each measurement takes at least, after a tenth of them for warming up
    #[arg(long, value_name = "S", default_value = "5")]
    pub seconds: f64,
    /// Side of the input in pixels [default: the network's own]
    #[arg(long, value_name = "N")]
    pub img_size: Option<usize>,
    /// Multiplier of the channels
    #[arg(long, value_name = "F", default_value = "1")]
    pub width: f64,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Measurements on one machine; times in milliseconds a batch.
#[derive(Serialize)]
struct Report {
    net: String,
    img_size: usize,
    width: f64,
    batch: usize,
    threads: usize,
    isa: &'static str,
    precision: String,
    /// Multiplications and additions of the networks' definition a picture, in units of 10⁹.
    gflop: f64,
    /// Fused multiply–adds on registers alone, before and after, in GFLOP/s.
    peak_gflops: [f64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    inference: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<images::Images>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<training::Training>,
    /// Activations that inference holds.
    activation_bytes: usize,
    /// Folded, packed, transformed weights.
    packed_bytes: usize,
    /// Largest resident memory of the process; not on every system.
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Times {
    runs: usize,
    median_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    images_per_second: f64,
    /// Of the network's definition: Winograd does fewer.
    gflops: f64,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: String,
    input: [usize; 3],
    output: [usize; 3],
    /// Inside the network.
    ms: f64,
    gflops: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// Alone, with its operands in the caches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternatives: Vec<Alternative>,
}

#[derive(Serialize)]
struct Alternative {
    algorithm: String,
    ms: f64,
    gflops: f64,
    chosen: bool,
}

/// Runs the command.
pub fn run(args: BenchArgs) -> Result<Exit> {
    check_seconds(args.seconds)?;
    let world = args.ranks.join()?;
    if world.size() > 1 && (!args.train || args.images.is_some() || args.layers) {
        let message = "several ranks measure training steps alone: give --train without --images and --layers, or start it without mpirun";
        return Err(UsageError(message.into()).into());
    }
    let spec = Spec { img_size: args.img_size, width: args.width, ..Spec::new(args.net.as_str()) };
    let graph = build(&spec)?;
    let files = args.images.as_deref().map(images::list).transpose()?;
    let device = args.device.device()?;
    let batch = args.batch_size.get();
    let before = peak_flops(&device.pool, device.isa, PEAK_ROUNDS) / 1e9;
    let flop = 2.0 * graph.macs() as f64 * batch as f64;
    let training = args.train.then(|| {
        training::measure(&training::Asked {
            graph: &graph,
            device: &device,
            files: files.as_deref(),
            batch,
            micro_batch: args.micro_batch,
            keep: if args.checkpoint_activations { Keep::Checkpoints } else { Keep::Outputs },
            seconds: args.seconds,
            layers: args.layers,
            wire: if args.bf16_sums { Wire::Bf16 } else { Wire::F32 },
            world,
            watch: false,
        })
    });
    let training = training.transpose()?;
    if !world.leads() {
        return Ok(Exit::Done);
    }
    let pixels = pixels(&graph, batch);
    let model = Model::consuming(&graph, Weights::init(&graph, 0), &device);
    let mut scratch = Scratch::default();
    let output = graph.outputs()[0].0.clone();
    let inference = (world.size() == 1).then(|| {
        let run = || _ = model.run(&pixels, &output, &mut scratch);
        Times::new(repeat(args.seconds, |go_on| go_on, run), batch, flop)
    });
    let images = files.map(|files| images::measure(&model, files, batch, args.seconds, args.crops));
    let images = images.transpose()?;
    let layers = if args.layers { layers(&model, &pixels, batch, &mut scratch) } else { Vec::new() };
    let (activation_bytes, packed_bytes) = (model.activation_bytes(batch), model.packed_bytes());
    let report = Report {
        net: args.net,
        img_size: graph.img_size(),
        width: args.width,
        batch,
        threads: device.pool.threads(),
        isa: device.isa.name(),
        precision: format!("{:?}", args.device.precision).to_lowercase(),
        gflop: flop / batch as f64 / 1e9,
        peak_gflops: [before, peak_flops(&device.pool, device.isa, PEAK_ROUNDS) / 1e9],
        inference,
        images,
        training,
        activation_bytes,
        packed_bytes,
        peak_memory_bytes: memory::peak(),
        layers,
    };
    let mut out = stdout();
    if args.json {
        write_json(&mut out, &report)?
    } else {
        text(&mut out, &report)?
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Rounds of some milliseconds for the rate of the hardware.
const PEAK_ROUNDS: usize = 10;

impl Times {
    /// Of runs over `batch` pictures that took `times`.
    fn new(mut times: Vec<Duration>, batch: usize, flop: f64) -> Times {
        times.sort_unstable();
        let at = |share: f64| milliseconds(times[((times.len() - 1) as f64 * share).round() as usize]);
        let median = at(0.5);
        Times {
            runs: times.len(),
            median_ms: median,
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            images_per_second: batch as f64 / median * 1e3,
            gflops: flop / median / 1e6,
        }
    }

    fn text(&self, out: &mut impl Write, what: &str) -> Result<()> {
        let Times { runs, median_ms, p90_ms, p99_ms, images_per_second, gflops } = self;
        writeln!(
            out,
            "{what:<10} {median_ms:.1} ms a batch (p90 {p90_ms:.1}, p99 {p99_ms:.1}, {runs} runs), {images_per_second:.1} images/s, {gflops:.0} GFLOP/s"
        )?;
        Ok(())
    }
}

/// Times of `run`, again and again for so many seconds, after a tenth of them for warming up. `go_on` is asked before each whether,
/// as it is told, to go on.
fn repeat(seconds: f64, mut go_on: impl FnMut(bool) -> bool, mut run: impl FnMut()) -> Vec<Duration> {
    let mut times = Vec::new();
    for (share, keep) in [(0.1, false), (1.0, true)] {
        let start = Instant::now();
        // Two runs at least: the first touches its memory for the first time.
        while go_on(times.len() < 2 || start.elapsed().as_secs_f64() < share * seconds) {
            let start = Instant::now();
            run();
            times.push(start.elapsed());
        }
        if !keep {
            times.clear();
        }
    }
    times
}

/// Pictures of which each is another.
fn pixels(graph: &Graph, batch: usize) -> Vec<f32> {
    let side = graph.img_size();
    (0..batch * side * side * 3).map(|i| (i * 7919 % 251) as f32 / 125.0 - 1.0).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn layers(model: &Model, pixels: &[f32], batch: usize, scratch: &mut Scratch) -> Vec<Layer> {
    let graph = model.graph();
    let times = model.profile(pixels, PROFILE_RUNS, scratch);
    let mut progress = Progress::new(Style::Auto, times.len() as u64);
    let layer = |time: &inception_cpu::NodeTime| {
        let node = graph.node(time.id);
        let shape = |s: inception_graph::Shape| [s.h, s.w, s.c];
        let flop = 2.0 * graph.node_macs(time.id) as f64 * batch as f64;
        let rate = |time: Duration| flop / time.as_secs_f64().max(1e-9) / 1e9;
        let alternatives = model.alternatives(time.id, batch, ALTERNATIVE_RUNS);
        let alternatives = alternatives.into_iter().map(|(algorithm, alone)| Alternative {
            algorithm: algorithm.to_string(),
            ms: milliseconds(alone),
            gflops: rate(alone),
            chosen: Some(algorithm) == time.algorithm,
        });
        let layer = Layer {
            name: node.name.clone(),
            kind: node.op.to_string(),
            input: shape(if node.inputs.is_empty() { node.shape } else { graph.input_shape(time.id) }),
            output: shape(node.shape),
            ms: milliseconds(time.time),
            gflops: rate(time.time),
            algorithm: time.algorithm.map(|a| a.to_string()),
            alternatives: alternatives.collect(),
        };
        progress.advance(1, "boxes");
        layer
    };
    times.iter().map(layer).collect()
}

/// Runs of the whole network that a box's median is of.
const PROFILE_RUNS: usize = 15;
/// Runs of each algorithm for a box.
const ALTERNATIVE_RUNS: usize = 7;

fn text(out: &mut impl Write, report: &Report) -> Result<()> {
    let Report { net, img_size, batch, threads, isa, precision, gflop, .. } = report;
    let digits = if *gflop < 1.0 { 3 } else { 1 };
    writeln!(
        out,
        "{net}, {img_size}×{img_size}, batch {batch}, {threads} threads, {isa}, precision {precision}, {gflop:.digits$} GFLOP a picture"
    )?;
    let [before, after] = report.peak_gflops;
    let peak = before.max(after);
    if let Some(inference) = &report.inference {
        inference.text(out, "inference")?;
    }
    if let Some(images) = &report.images {
        images::text(out, images, *threads)?;
    }
    if let Some(training) = &report.training {
        training::text(out, training, peak)?;
    }
    writeln!(out, "peak       {before:.0} GFLOP/s of multiply–adds before, {after:.0} after")?;
    let mib = |bytes: usize| format!("{} MiB", thousands((bytes >> 20) as u64));
    write!(
        out,
        "memory     {} of activations, {} of packed weights",
        mib(report.activation_bytes),
        mib(report.packed_bytes)
    )?;
    match report.peak_memory_bytes {
        Some(bytes) => writeln!(out, ", {} the whole process at most", mib(bytes as usize))?,
        None => writeln!(out)?,
    }
    for layer in &report.layers {
        let [[h, w, c], [oh, ow, oc]] = [layer.input, layer.output];
        let shapes = format!("{h}×{w}×{c} → {oh}×{ow}×{oc}");
        write!(out, "\n{:<24} {shapes:<28} {:8.3} ms", layer.name, layer.ms)?;
        if layer.gflops > 0.0 {
            write!(out, " {:4.0} % of peak", 100.0 * layer.gflops / peak)?;
        }
        for other in &layer.alternatives {
            let mark = if other.chosen { "  <--" } else { "" };
            write!(out, "\n    {:<49} {:8.3} ms alone{mark}", other.algorithm, other.ms)?;
        }
    }
    if !report.layers.is_empty() {
        writeln!(out, "\n\ntotal of the boxes {:.1} ms", report.layers.iter().map(|l| l.ms).sum::<f64>())?;
    }
    Ok(())
}
