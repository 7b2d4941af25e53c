//! `inception eval`: loss and errors of a checkpoint, or of an ensemble of them, on labelled pictures.

mod collecting;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::device::DeviceArgs;
use super::ensemble::EnsembleArgs;
use super::weights::WeightsArgs;
use super::{say_common, stdout, write_json};
use crate::data::{LeftOut, OnBad, Skipped, folder};
use crate::evaluate::{ClassReport, per_class};
use crate::exit::{BadData, Exit};
use crate::interrupt;
use crate::metrics::Metrics;
use collecting::{Collected, KeepArgs, MemberReport};

const NOTES: &str = "\
DATA is a folder with a folder a class, or one with `val/` inside, a list (.csv, .tsv, .txt), a tar file or TFRecord shards. Classes are joined by name with those of the checkpoint.
An error is the share of pictures whose first answer (top-1), or all of whose first five (top-5), are wrong.
With --crops and --ensemble probabilities are averaged, and each network's answers are kept in output/eval/logits, so that no network is asked twice.

Examples:
  inception eval -w best.safetensors pictures/
  inception eval -w best.safetensors pictures/ --crops 144
  inception eval -w v4.safetensors imagenet/val --crops 12 --ensemble resnet_v2.pth --ensemble other.ckpt
  inception eval -w best.safetensors pictures/val --json | jq .eval_top1_error";

/// Arguments of `inception eval`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct EvalArgs {
    /// Labelled pictures: a folder with a folder a class
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// The weights.
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    ensemble: EnsembleArgs,
    #[command(flatten)]
    keep: KeepArgs,
    /// Pictures, or views of them, at a time; changes the speed and no digit
    #[arg(short, long, value_name = "N", default_value = "32")]
    pub batch_size: NonZeroUsize,
    /// Write JSON, with the training log's keys
    #[arg(long)]
    pub json: bool,
    /// What to do about a picture that cannot be read
    #[arg(long, value_enum, default_value_t = OnBad::Error)]
    pub on_bad: OnBad,
    /// Judge by the classes that DATA and the checkpoint have in common: classes without a picture are not judged, pictures of
    /// unknown classes are left out, counted and named
    #[arg(long)]
    pub allow_missing: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads that decode pictures, beside the network's [default: the network's own, between its steps; all cores for a URL]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

/// What an evaluation found, as it is written to JSON.
#[derive(Serialize)]
struct Report {
    count: u64,
    eval_loss: f64,
    eval_top1_error: f64,
    eval_top5_error: f64,
    crops: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<MemberReport>,
    per_class: Vec<ClassReport>,
    left_out: Vec<LeftOut>,
    skipped: Vec<Skipped>,
}

/// Runs the command.
pub fn run(args: EvalArgs) -> Result<Exit> {
    interrupt::catch()?;
    let members = args.ensemble.load(&args.weights, true)?;
    let (classes, background) = (members[0].0.metadata.classes.clone(), members[0].0.metadata.background);
    let device = args.device.device()?;
    let all = folder::open_single(&args.data)?;
    let pictures = args.keep.folder(&args.ensemble).map(|_| all.fingerprint());
    let (dataset, left_out) = match args.allow_missing {
        true => all.join_by_name(&classes)?,
        // No picture is of the background.
        false => (all.join(&classes, |label| background == Some(label))?, Vec::new()),
    };
    if args.allow_missing {
        say_common(&dataset, &left_out, "the checkpoint");
    }
    if let Some(first) = dataset.ignored.first() {
        let (n, first) = (dataset.ignored.len(), first.display());
        writeln!(
            std::io::stderr().lock(),
            "note: {n} files are no .jpg or .png and were not read, the first is {first}"
        )?;
    }
    let collected = collecting::collect(members, &dataset, pictures, &device, &args)?;
    let Some(Collected { answers, skipped, members }) = collected else { return Ok(Exit::Stopped) };
    let metrics = answers.metrics();
    if metrics.count() == 0 {
        return Err(BadData(format!("no picture of {} could be evaluated", args.data.display())).into());
    }
    let report = Report {
        count: metrics.count(),
        eval_loss: metrics.loss(),
        eval_top1_error: metrics.top1_error(),
        eval_top5_error: metrics.top5_error(),
        crops: args.ensemble.crops.views(),
        members,
        per_class: per_class(&metrics, &classes),
        left_out,
        skipped,
    };
    let mut out = stdout();
    if args.json {
        write_json(&mut out, &report)?;
    } else {
        write_text(&mut out, &report, &metrics)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn write_text(out: &mut impl Write, report: &Report, metrics: &Metrics) -> std::io::Result<()> {
    let count = report.count;
    writeln!(out, "pictures     {count}")?;
    writeln!(out, "loss         {:.4}", report.eval_loss)?;
    for (name, error, wrong) in [
        ("top-1 error", report.eval_top1_error, metrics.top1_errors()),
        ("top-5 error", report.eval_top5_error, metrics.top5_errors()),
    ] {
        writeln!(out, "{name}  {:.2} %  ({wrong} of {count})", 100.0 * error)?;
    }
    collecting::write_members(out, &report.members)?;
    let longest =
        report.per_class.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max("class".len());
    writeln!(out, "\n{:<longest$}  pictures  top-1 error  most confused with", "class")?;
    for class in &report.per_class {
        let error =
            if class.count == 0 { "–".into() } else { format!("{:.2} %", 100.0 * class.top1_error) };
        let other = class.most_confused_with.as_ref().map(|name| format!("{name} ({})", class.confusions));
        let row = format!(
            "{:<longest$}  {:>8}  {error:>11}  {}",
            class.class,
            class.count,
            other.unwrap_or_default()
        );
        writeln!(out, "{}", row.trim_end())?;
    }
    if !report.skipped.is_empty() {
        let (n, s) = (report.skipped.len(), if report.skipped.len() == 1 { "" } else { "s" });
        writeln!(out, "\nskipped {n} picture{s} that cannot be read:")?;
        report.skipped.iter().try_for_each(|s| writeln!(out, "  {}: {}", s.name, s.reason))?;
    }
    Ok(())
}
