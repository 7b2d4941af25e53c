//! `inception data`: what is in a folder of pictures, before anything is trained on it.

mod bench;
mod check;
mod pack;
mod stats;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use inception_graph::{Spec, build};

use super::workers;
use crate::data::check::Options;
use crate::exit::Exit;
use crate::progress::Style;
use crate::recipe::Recipe;

/// Side of the squares where neither network nor size is given: that of most Inception networks.
const SIDE: usize = 299;

/// Arguments of `inception data`.
#[derive(clap::Args, Clone, Debug)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// What can be asked about data.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum DataCommand {
    /// Read every file of a data set and say what would go wrong in training
    Check(check::CheckArgs),
    /// Numbers about a data set: pictures, sizes, formats, colours
    Stats(stats::StatsArgs),
    /// Write pictures of the size that training needs into tar files, which it reads faster
    Pack(pack::PackArgs),
    /// Measure how fast pictures come for training
    Bench(bench::BenchArgs),
}

/// Which data, and how they are looked at.
#[derive(clap::Args, Clone, Debug)]
struct LookArgs {
    /// Folder with train/ and val/, each with a folder a class; or with class folders. Lists, tar files and TFRecord shards, too
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Share of each class to hold out, where DATA has no val/: as `inception train` does
    #[arg(long, value_name = "F")]
    val_split: Option<f64>,
    /// Network that is to be trained, for the size of its input
    #[arg(short, long, value_name = "NET")]
    model: Option<String>,
    /// Side of the network's input in pixels [default: the network's own, or 299]
    #[arg(long, value_name = "N", alias = "imgsz")]
    img_size: Option<usize>,
    /// Threads that read pictures [default: all cores]
    #[arg(short = 'j', long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How progress is shown
    #[arg(long, value_name = "STYLE", default_value = "auto", value_parser = Style::without_dashboard())]
    progress: Style,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl LookArgs {
    /// Side of the network's input.
    fn side(&self) -> Result<usize> {
        Ok(match &self.model {
            Some(net) => build(&Spec { img_size: self.img_size, ..Spec::new(net) })?.img_size(),
            None => self.img_size.unwrap_or(SIDE).max(1),
        })
    }

    /// As training with its default recipe reads and distorts pictures.
    fn options(&self) -> Result<Options> {
        self.progress.begin();
        let recipe = Recipe::load("small", &[])?;
        let side = self.side()?;
        let asked = self.model.is_some() || self.img_size.is_some();
        Ok(Options {
            val_split: self.val_split,
            seed: recipe.seed,
            side,
            tiny: if asked { TINY.max(side.div_ceil(4)) } else { TINY },
            how: recipe.eval.into(),
            train: recipe.train,
            threads: workers(self.workers),
            progress: self.progress,
        })
    }
}

/// A shorter side of fewer pixels holds no picture to speak of.
const TINY: usize = 32;

/// Runs the command.
pub fn run(args: DataArgs) -> Result<Exit> {
    match args.command {
        DataCommand::Check(args) => check::run(args),
        DataCommand::Stats(args) => stats::run(args),
        DataCommand::Pack(args) => pack::run(args),
        DataCommand::Bench(args) => bench::run(args),
    }
}
