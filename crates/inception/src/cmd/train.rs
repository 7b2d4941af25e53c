//! `inception train`: from a folder of pictures to a run.

mod flags;
mod prepare;
mod resume;
mod telling;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

pub use flags::RunArgs;
pub(super) use flags::pair;
pub(super) use prepare::{Asked, network};
pub(super) use resume::{Begun, Resume};

use super::ranks::RanksArgs;
use crate::exit::{Exit, UsageError};
use crate::progress::{duration, say};
use crate::ranks;
use crate::recipe::Recipe;
use crate::train::{Flow, Run};

const EXAMPLES: &str = "\
Examples:
  inception train pictures/ -m inception_resnet_v1 --img-size 128 --width 0.25
  inception train pictures/ -m inception_v4 --val-split 0.1 --epochs 90 --set train.hue=0.1
  inception train pictures/ -w timm.safetensors --new-head --recipe finetune
  inception train --resume output/train/flowers                     go on with a run that was stopped
  inception train --dump-config -m inception_v4 --recipe paper      print the merged recipe";

/// Arguments of `inception train`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// Folder with train/ and val/, each with a folder a class; or with class folders, and --val-split. Lists (.csv, .tsv, .txt), tar
    /// files and TFRecord shards, too: docs/training.md
    #[arg(value_name = "DATA", required_unless_present_any = ["dump_config", "data_dir", "resume"])]
    data: Option<PathBuf>,
    /// DATA, by its name in other tools
    #[arg(long, hide = true, conflicts_with = "data", alias = "data-path")]
    data_dir: Option<PathBuf>,
    /// Network; `inception info` lists them
    #[arg(short, long, value_name = "NET")]
    model: Option<String>,
    /// File of weights to start from, ours or a published one; its network, width and preprocessing are taken over
    #[arg(short, long, value_name = "FILE", alias = "initial-checkpoint")]
    weights: Option<PathBuf>,
    /// Start a new classifier on top of the weights: the classes are those of DATA
    #[arg(long, requires = "weights")]
    new_head: bool,
    /// Layers that stay as they are: a name, or how names begin and a `*`; `!` takes one out again [recipe: freeze]
    #[arg(long, value_name = "LAYER")]
    freeze: Vec<String>,
    /// How it is trained.
    #[command(flatten)]
    run: RunArgs,
    /// Seed of everything random [recipe: seed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "output/train", alias = "output-dir")]
    output: PathBuf,
    /// Name of this run's folder [default: time, network, size]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Go on with a run from its latest state, bit by bit as if it had not stopped: the run of --experiment where there is one
    /// (`auto`), or the one in a folder, with its pictures and its recipe
    #[arg(long, value_name = "auto|DIR")]
    resume: Option<Resume>,
    /// Write contact sheets into the run's folder first: images.png, each picture as in evaluation and as distorted in the first
    /// epochs, and mixed.png where pictures are mixed
    #[arg(long)]
    save_images: bool,
    /// Print the merged recipe and stop
    #[arg(long)]
    dump_config: bool,
    #[command(flatten)]
    ranks: RanksArgs,
}

/// Runs the command.
pub fn run(args: TrainArgs) -> Result<Exit> {
    args.run.progress.begin();
    args.ranks.join()?;
    let begun = Begun::find(args.resume.as_ref(), &args.output, args.experiment.as_deref())?;
    let recipe_name = args.run.recipe.clone().unwrap_or_else(|| "small".into());
    let base = begun.as_ref().filter(|_| args.run.recipe.is_none()).and_then(Begun::recipe);
    let freeze = (!args.freeze.is_empty()).then(|| json!(args.freeze));
    let own = [pair("net", &args.model), pair("seed", &args.seed), pair("freeze", &freeze)];
    let sets: Vec<_> = own.into_iter().flatten().chain(args.run.sets()?).collect();
    let recipe = match base {
        Some(base) => Recipe::merge("recipe.toml", &base.dump(), &sets),
        None => Recipe::load(&recipe_name, &sets),
    };
    let recipe = recipe.map_err(|e| UsageError(format!("{e:#}")))?;
    if args.dump_config && !ranks::world().leads() {
        return Ok(Exit::Done);
    }
    if args.dump_config {
        std::io::stdout().lock().write_all(recipe.dump().as_bytes())?;
        return Ok(Exit::Done);
    }
    let asked = Asked {
        args: &args.run,
        recipe,
        recipe_name,
        data: args.data.or(args.data_dir),
        weights: args.weights,
        new_head: args.new_head,
        output: &args.output,
        name: args.experiment,
        begun,
    };
    let (mut run, root) = asked.prepare()?;
    if args.save_images && ranks::world().leads() {
        run.save_images()?;
    }
    let folder = run.folder().to_path_buf();
    if go_on(&mut run)? == Flow::Stopped {
        run.finish()?;
        say(&format!(
            "stopped; the weights so far are in {}\n\ninception train --resume {}",
            folder.join("last.safetensors").display(),
            folder.display()
        ));
        return Ok(Exit::Stopped);
    }
    let summary = run.finish()?;
    let exchange = ranks::world().exchange();
    if let Some(hidden) = exchange.hidden() {
        say(&format!(
            "gradients were summed for {:.1} s, {:.0} % of it while other work went on",
            exchange.in_flight.as_secs_f64(),
            100.0 * hidden
        ));
    }
    let best = &summary.epochs[summary.best_epoch - 1];
    say(&format!(
        "best top-1 error {:.2} % at epoch {} of {}, {} in all\n\ninception eval -w {} {}",
        100.0 * best.eval_top1_error,
        best.epoch,
        summary.epochs.len(),
        duration(summary.seconds),
        folder.join("best.safetensors").display(),
        root.display()
    ));
    Ok(Exit::Done)
}

/// Trains to the end, or until the user asks for one.
pub(super) fn go_on(run: &mut Run) -> Result<Flow> {
    while !run.is_finished() {
        if run.epoch()? == Flow::Stopped {
            return Ok(Flow::Stopped);
        }
    }
    if run.has_lost_patience() {
        say(&format!(
            "ended after {} epochs: none of the last was better (recipe: patience)",
            run.epochs().len()
        ));
    }
    Ok(Flow::Done)
}
