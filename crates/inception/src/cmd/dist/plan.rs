//! `inception dist plan`: what ranks that there are not would do.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use inception_cpu::Wire;
use inception_graph::{Graph, thousands};
use serde::{Deserialize, Serialize};

use super::SizeArgs;
use super::doctor::read_link;
use super::table::{Forecast, forecast, text};
use crate::cmd::bench::training;
use crate::cmd::device::DeviceArgs;
use crate::cmd::{check_seconds, stdout, write_json};
use crate::dist::{Link, Ranks, Work, parse_bandwidth, parse_latency, parse_ranks};
use crate::exit::{BadData, Exit, UsageError};
use crate::progress::{bytes, say};
use crate::ranks;
use crate::recipe::{Recipe, Rule};

const NOTES: &str = "\
A step of one rank is measured here, or read from an earlier plan; how long sums take follows from the link's latency and bandwidth, or
from what `inception dist doctor --json` has measured. How it is computed: docs/scaling.md

Examples:
  inception dist plan inception_v4 --ranks 1..1024 --bandwidth 10Gbit --latency 30us --batch-per-rank 32
  inception dist plan inception_v4 --ranks 1..64 --doctor doctor.json --ranks-per-host 2
  inception dist plan inception_v4 --ranks 20 --bandwidth 1Gbit --latency 100us --work plan.json --bf16-sums";

/// Arguments of `inception dist plan`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub(super) struct PlanArgs {
    /// Network
    #[arg(value_name = "NET")]
    net: String,
    /// Numbers of ranks: `1..1024` has the powers of two between, `4,20,64` these
    #[arg(long, value_name = "RANKS", value_parser = RankCounts::parse)]
    ranks: RankCounts,
    /// What a host's link carries each way: 10Gbit, 1.2GB/s
    #[arg(long, value_name = "RATE", value_parser = parse_bandwidth, required_unless_present = "doctor")]
    bandwidth: Option<f64>,
    /// How long an empty message takes: 30us, 0.5ms
    #[arg(long, value_name = "TIME", value_parser = parse_latency, required_unless_present = "doctor")]
    latency: Option<f64>,
    /// Share of a core that is busy while a sum is on its way [default: of --doctor, or 0]
    #[arg(long, value_name = "F", value_parser = parse_share)]
    busy: Option<f64>,
    /// What `inception dist doctor --json` has written; flags go before
    #[arg(long, value_name = "FILE")]
    doctor: Option<PathBuf>,
    /// Ranks that share a host's link
    #[arg(long, value_name = "N", default_value = "1")]
    ranks_per_host: NonZeroUsize,
    /// Pictures of each rank
    #[arg(long, value_name = "N", default_value = "32")]
    batch_per_rank: NonZeroUsize,
    /// Gradients travel rounded to bfloat16
    #[arg(long)]
    bf16_sums: bool,
    /// Take the work of a rank from a plan written with --json, instead of measuring it here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threads", "precision", "seconds"])]
    work: Option<PathBuf>,
    /// Recipe whose learning rate is scaled to the batch: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "small")]
    recipe: String,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Numbers of ranks.
#[derive(Clone, Debug)]
struct RankCounts(Vec<usize>);

impl RankCounts {
    fn parse(text: &str) -> Result<RankCounts, String> {
        parse_ranks(text).map(RankCounts)
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share @ 0.0..=1.0) => Ok(share),
        _ => Err(format!("`{text}` is no number from 0 to 1")),
    }
}

/// What was forecast from what.
#[derive(Serialize)]
struct Plan {
    net: String,
    img_size: usize,
    width: f64,
    link: Link,
    ranks_per_host: usize,
    work: Work,
    forecasts: Vec<Forecast>,
}

/// What is read of an earlier plan.
#[derive(Deserialize)]
struct Earlier {
    net: String,
    img_size: usize,
    width: f64,
    work: Work,
}

/// Runs the command.
pub(super) fn run(args: PlanArgs) -> Result<Exit> {
    ranks::alone("dist plan")?;
    check_seconds(args.size.seconds)?;
    let graph = args.size.graph(&args.net)?;
    let recipe = Recipe::load(&args.recipe, &[]).map_err(|e| UsageError(format!("{e:#}")))?;
    let measured = args.doctor.as_deref().map(read_link).transpose()?;
    let is_memory = args.bandwidth.is_none() && measured.is_some_and(|measured| measured.is_memory);
    if is_memory && args.ranks.0.iter().any(|&count| count > args.ranks_per_host.get()) {
        say(
            "--doctor was measured on one machine: its link is memory, which no host has to another; give --bandwidth and --latency of the network",
        );
    }
    // Flags are there where no doctor is.
    let Link { latency, bandwidth, busy } =
        measured.map_or(Link { latency: 0.0, bandwidth: 1.0, busy: 0.0 }, |measured| measured.link);
    let link = Link {
        latency: args.latency.unwrap_or(latency),
        bandwidth: args.bandwidth.unwrap_or(bandwidth),
        busy: args.busy.unwrap_or(busy),
    };
    let work = match &args.work {
        Some(file) => read_work(file, &args, &graph)?,
        None => measure(&args, &graph)?,
    };
    let wire = if args.bf16_sums { Wire::Bf16 } else { Wire::F32 };
    let value_bytes = 4.0 / wire.per_word() as f64;
    let per_host = args.ranks_per_host.get();
    let forecasts: Vec<Forecast> = args
        .ranks
        .0
        .iter()
        .map(|&count| forecast(&work, value_bytes, Ranks { count, per_host }, link))
        .collect();
    let plan = Plan {
        img_size: graph.img_size(),
        width: args.size.width,
        net: args.net,
        link,
        ranks_per_host: per_host,
        work,
        forecasts,
    };
    let mut out = stdout();
    if args.json {
        write_json(&mut out, &plan)?;
    } else {
        write_text(&mut out, &plan, value_bytes)?;
        advise(&mut out, &plan, &args.recipe, &recipe)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn read_work(file: &std::path::Path, args: &PlanArgs, graph: &Graph) -> Result<Work> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = |problem: String| BadData(format!("{}: {problem}", file.display()));
    let earlier: Earlier = serde_json::from_str(&text)
        .map_err(|e| wrong(format!("is no plan of `inception dist plan --json`: {e}")))?;
    let here = (graph.spec().net.as_str(), graph.img_size(), args.size.width);
    let there = (earlier.net.as_str(), earlier.img_size, earlier.width);
    if here != there {
        let told = |(net, side, width)| format!("{net} at {side} px, width {width}");
        return Err(wrong(format!("is about {}, not {}", told(there), told(here))).into());
    }
    if earlier.work.batch != args.batch_per_rank.get() {
        let (there, here) = (earlier.work.batch, args.batch_per_rank);
        return Err(wrong(format!("was measured with --batch-per-rank {there}, not {here}")).into());
    }
    match earlier.work.problem() {
        Some(problem) => Err(wrong(format!("work: {problem}")).into()),
        None => Ok(earlier.work),
    }
}

fn measure(args: &PlanArgs, graph: &Graph) -> Result<Work> {
    let device = args.device.device()?;
    say(&format!("measuring steps of {} pictures for {} s", args.batch_per_rank, args.size.seconds));
    let (batch, seconds) = (args.batch_per_rank.get(), args.size.seconds);
    let training =
        training::measure(&training::Asked::watched(graph, &device, batch, seconds, ranks::world()))?;
    training.work.context("a measurement without its work: please report it")
}

fn write_text(out: &mut impl Write, plan: &Plan, value_bytes: f64) -> Result<()> {
    let Plan { net, img_size, width, link, ranks_per_host, work, forecasts } = plan;
    let values: usize = work.sums.iter().map(|(values, _)| values).sum();
    writeln!(
        out,
        "{net} at {img_size} px, width {width}, {} pictures and {} threads a rank: {:.1} ms a step alone, {} values to sum ({})",
        work.batch,
        work.threads,
        1e3 * work.step(),
        thousands(values as u64),
        bytes((values as f64 * value_bytes) as u64)
    )?;
    let Link { latency, bandwidth, busy } = link;
    writeln!(
        out,
        "link of {:.1} µs and {}/s, {:.0} % of a core busy; {ranks_per_host} ranks a host\n",
        1e6 * latency,
        bytes(*bandwidth as u64),
        100.0 * busy
    )?;
    text(out, forecasts)
}

/// Epochs of a warm-up.
const WARM_UP: f64 = 5.0;
/// Largest batch for which linear scaling was shown.
const SHOWN: usize = 8192;

/// What the batches mean for the learning rate.
fn advise(out: &mut impl Write, plan: &Plan, name: &str, recipe: &Recipe) -> Result<()> {
    let (lr, batch) = (recipe.schedule.lr, recipe.batch_size);
    writeln!(
        out,
        "\nLearning rates for these batches: {lr} of the recipe `{name}` is for {batch} pictures; linear scaling, rising from the recipe's own rate over the first {WARM_UP} of its {} epochs\n(P. Goyal et al., \"Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour\", arXiv:1706.02677), with the same pictures for each batch norm (--micro-batch {}):",
        recipe.epochs, plan.work.batch
    )?;
    for Forecast { ranks, batch: pictures, .. } in &plan.forecasts {
        let factor = *pictures as f64 / batch as f64;
        let flags = format!("-b {pictures} --lr {}", (lr * factor * 1e6).round() / 1e6);
        let note = match () {
            () if *pictures > SHOWN => "  no longer shown to work: errors rise beyond 8,192 pictures",
            () if factor > 1.0 => "",
            () => "  no warm-up is needed",
        };
        let warmup = (WARM_UP / recipe.epochs as f64).min(1.0);
        let start = match factor > 1.0 {
            true => format!(" --set schedule.start={:.4} --set schedule.warmup={warmup:.3}", 1.0 / factor),
            false => String::new(),
        };
        writeln!(out, "{ranks:>7}  {flags}{start}{note}")?;
    }
    if recipe.optimizer.name != Rule::Sgd {
        writeln!(
            out,
            "The rule was shown for SGD with momentum; this recipe has another optimizer: try rates between its own and these."
        )?;
    }
    Ok(())
}
