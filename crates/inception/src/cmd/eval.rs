//! `inception eval`: what a checkpoint, or an ensemble of them, answers to labelled pictures, and how well.

mod collecting;
mod judging;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;

use super::device::DeviceArgs;
use super::ensemble::EnsembleArgs;
use super::ranks::RanksArgs;
use super::weights::WeightsArgs;
use crate::data::OnBad;
use crate::exit::{BadData, Exit};
use crate::interrupt;
use crate::progress::say;
use crate::run_dir::environment;
use collecting::{Collected, KeepArgs};
use judging::JudgingArgs;

const NOTES: &str = "\
DATA is a folder with a folder a class, or one with `val/` inside, a list (.csv, .tsv, .txt), a tar file or TFRecord shards. Classes are joined by name with those of the checkpoint.
An error is the share of pictures whose first answer (top-1), or all of whose first five (top-5), are wrong. The 95 % are those of a bootstrap over pictures. Folders called 0 to 999 are ImageNet's classes in order, as ImageNet-V2 has them, where the checkpoint knows these.
With --crops and --ensemble probabilities are averaged, and each network's answers are kept in output/eval/logits, so that no network is asked twice.

Examples:
  inception eval -w best.safetensors pictures/
  inception eval -w best.safetensors pictures/val --json | jq .eval_top1_error
  inception eval -w best.safetensors pictures/ --report report/                  then look at report/report.html
  inception eval -w best.safetensors pictures/ --crops 144
  inception eval -w v4.safetensors imagenet/val --crops 12 --ensemble resnet_v2.pth --ensemble other.ckpt
  inception eval -w v4.safetensors imagenet/val --exclude ILSVRC2014_clsloc_validation_blacklist.txt
  inception eval -w v4.safetensors imagenet/val --real-labels real.json
  inception eval -w v4.safetensors imagenet/test --submission v4.txt --devkit ILSVRC2012_devkit_t12";

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
    /// What to do about a picture that cannot be read
    #[arg(long, value_enum, default_value_t = OnBad::Error)]
    pub on_bad: OnBad,
    #[command(flatten)]
    judging: JudgingArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Threads that decode pictures, beside the network's [default: the network's own, between its steps; all cores for a URL]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

/// Runs the command.
pub fn run(args: EvalArgs) -> Result<Exit> {
    interrupt::catch()?;
    let world = args.ranks.join()?;
    let members = args.ensemble.load(&args.weights, true)?;
    let metadata = members[0].0.metadata.clone();
    let device = args.device.device()?;
    let environment = environment(device.isa.name(), device.pool.threads());
    let keeps = args.keep.folder(&args.ensemble).is_some();
    let pictures = args.judging.open(&args.data, &metadata, keeps)?;
    // Files of answers, and of what they are judged by, are rank 0's alone.
    let prepare = || args.judging.clone().prepare(&pictures, &metadata, args.on_bad);
    let judging = world.leads().then(prepare).transpose()?;
    if let Some(first) = pictures.data.ignored.first() {
        let (n, first) = (pictures.data.ignored.len(), first.display());
        say(&format!("note: {n} files are no .jpg or .png and were not read, the first is {first}"));
    }
    let collected = collecting::collect(members, &pictures, &device, &args, world)?;
    let Some(Collected { answers, skipped, asked }) = collected else { return Ok(Exit::Stopped) };
    let Some(judging) = judging else { return Ok(Exit::Done) };
    if answers.is_empty() {
        return Err(BadData(format!("no picture of {} could be evaluated", args.data.display())).into());
    }
    judging.finish(&answers, pictures, asked, skipped, &metadata, &environment)?;
    Ok(Exit::Done)
}
