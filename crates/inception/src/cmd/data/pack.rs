//! `inception data pack`: shards of pictures that are as large as training needs.

use std::io::Write;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use anyhow::Result;
use inception_graph::{Spec, build, thousands};

use crate::cmd::{say_common, stdout, workers, write_json};
use crate::data::folder::{Division, divide};
use crate::data::pack::{Format, Options, Packed, pack};
use crate::data::{OnBad, Preprocessing};
use crate::exit::Exit;
use crate::interrupt;
use crate::progress::{Style, bytes, counted, say};
use crate::recipe::Recipe;

const NOTES: &str = "\
OUT becomes train-000000.tar, …, val-000000.tar, … and classes.txt, which `inception train OUT` and any reader of WebDataset
take: each picture upright, its shorter side resized to --size if it is longer, beside a .json with its class and where it
came from. Pictures that are small enough are copied byte for byte; a PNG becomes a JPEG unless --format png says otherwise.
Training crops at random, so the size should be somewhat larger than the network's input. OUT appears when it is whole.

Examples:
  inception data pack imagenet/ -o imagenet-344/ -m inception_v4 --on-bad skip
  inception data pack photos/ -o packed/ --val-split 0.1 --size 256 --format png";

/// Where nothing is said: enough for any Inception network and for crops at several scales.
const SIZE: usize = 512;

/// The shorter side, times the network's input: what a crop of 87 % leaves.
const MARGIN: f64 = 1.15;

/// Arguments of `inception data pack`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct PackArgs {
    /// What is to be packed, of any kind that `inception train` takes
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Folder for the shards, new or empty
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Network that is to be trained, for the size of its input
    #[arg(short, long, value_name = "NET")]
    model: Option<String>,
    /// Longest shorter side in pixels [default: 1.15 times the network's input, or 512]
    #[arg(long, value_name = "N")]
    size: Option<NonZeroUsize>,
    /// How pictures are stored: JPEG of quality 95 with full colours, or PNG without loss
    #[arg(long, value_enum, default_value = "jpeg")]
    format: Format,
    /// Megabytes of a shard, about
    #[arg(long, value_name = "MB", default_value = "256")]
    shard_size: NonZeroU64,
    /// Share of each class to hold out, where DATA has no val/: as `inception train` does
    #[arg(long, value_name = "F")]
    val_split: Option<f64>,
    /// Seed that decides what is held out [default: that of the recipes]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave validation pictures of classes out that training does not have: as `inception train` does
    #[arg(long)]
    allow_missing: bool,
    /// At a picture that cannot be read: stop, or leave it out, count and name it
    #[arg(long, value_enum, default_value_t = OnBad::Error)]
    on_bad: OnBad,
    /// Threads [default: all cores]
    #[arg(short = 'j', long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How progress is shown
    #[arg(long, value_enum, value_name = "STYLE", default_value = "auto")]
    progress: Style,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: PackArgs) -> Result<Exit> {
    let recipe = Recipe::load("small", &[])?;
    let side =
        args.model.as_ref().map(|net| build(&Spec::new(net)).map(|graph| graph.img_size())).transpose()?;
    let size = side.map_or(SIZE, |side| (MARGIN * side as f64).round() as usize);
    let options = Options {
        size: args.size.map_or(size, NonZeroUsize::get),
        format: args.format,
        shard_bytes: args.shard_size.get().saturating_mul(1_000_000),
        on_bad: args.on_bad,
        decoding: Preprocessing::from(recipe.eval).decoding(),
        threads: workers(args.workers),
        progress: args.progress,
    };
    let seed = args.seed.unwrap_or(recipe.seed);
    let division = Division { val_split: args.val_split, seed, allow_missing: args.allow_missing };
    let splits = divide(&args.data, division)?;
    say_common(&splits.val, &splits.left_out, "training");
    let (train, val) = (splits.train.samples.len(), splits.val.samples.len());
    say(&format!(
        "{} to learn from and {} to judge by, shorter side {} px at the most",
        counted(train, "picture"),
        thousands(val as u64),
        options.size
    ));
    interrupt::catch()?;
    let Some(packed) = pack(&splits, &args.data, &args.output, &options)? else {
        say("stopped; nothing is left of it");
        return Ok(Exit::Stopped);
    };
    let mut out = stdout();
    match args.json {
        true => write_json(&mut out, &packed)?,
        false => write_text(&mut out, &packed, &args.output)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn write_text(out: &mut impl Write, packed: &Packed, folder: &std::path::Path) -> Result<()> {
    let Packed { pictures, copied, shards, skipped, emptied, .. } = packed;
    writeln!(
        out,
        "{} + {} in {}, {}; {} copied as they were",
        counted(pictures[0], "picture"),
        thousands(pictures[1] as u64),
        counted(*shards, "shard"),
        bytes(packed.bytes),
        thousands(*copied as u64)
    )?;
    if !skipped.is_empty() {
        writeln!(out, "\nleft out {} that cannot be read:", counted(skipped.len(), "picture"))?;
        skipped.iter().try_for_each(|s| writeln!(out, "  {}: {}", s.name, s.reason))?;
    }
    if !emptied.is_empty() {
        writeln!(out, "\nno picture is left to learn from of: {}", emptied.join(", "))?;
    }
    writeln!(out, "\ninception train {}", folder.display())?;
    Ok(())
}
