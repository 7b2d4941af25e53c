//! `inception data bench`: how fast pictures come for training, with no network that waits for them.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::LookArgs;
use crate::cmd::{check_seconds, stdout, workers, write_json};
use crate::data::files::list_pictures;
use crate::data::folder::{is_collection, open_single};
use crate::data::{Cache, DataError, Dataset, Loader, OnBad, Request, Transform, shuffled, storage};
use crate::exit::Exit;
use crate::memory;
use crate::progress::{bytes, counted};
use crate::recipe::Recipe;

const NOTES: &str = "\
Every picture of DATA is read, cropped, resized and distorted as in training, over and over, and none is kept decoded. A network
that trains slower than this never waits: `inception bench NET --train` says how fast it is. In a run the same threads compute and decode.

Examples:
  inception data bench pictures/ -m inception_v4
  inception data bench pictures/ --img-size 128 --recipe small -j 1
  inception data bench packed/ --json | jq .images_per_second";

/// Arguments of `inception data bench`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct BenchArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Recipe whose distortions are made: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "paper")]
    recipe: String,
    /// Pictures a batch
    #[arg(short, long, value_name = "N", default_value = "32")]
    batch_size: NonZeroUsize,
    /// Seconds that are measured at least, after a tenth of them for warming up
    #[arg(long, value_name = "S", default_value = "5")]
    seconds: f64,
}

/// What was measured.
#[derive(Serialize)]
struct Measured {
    /// Pictures of DATA.
    pictures: usize,
    img_size: usize,
    recipe: String,
    workers: usize,
    /// Pictures that came while it was measured.
    measured: usize,
    images_per_second: f64,
    /// Of one thread.
    ms_per_image: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
}

/// Runs the command.
pub(super) fn run(args: BenchArgs) -> Result<Exit> {
    check_seconds(args.seconds)?;
    let measured = measure(&args)?;
    let mut out = stdout();
    match args.look.json {
        true => write_json(&mut out, &measured)?,
        false => write_text(&mut out, &measured)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// As training opens it; a folder of pictures in whatever folders will do, too, for nothing is learnt.
fn open(root: &Path) -> Result<Dataset, DataError> {
    storage::prepare(root)?;
    match storage::is_file(root) || is_collection(root) {
        true => open_single(root),
        false => Ok(Dataset::of_files(&list_pictures(&[root.into()])?, 1)),
    }
}

fn measure(args: &BenchArgs) -> Result<Measured> {
    let recipe = Recipe::load(&args.recipe, &[])?;
    let (data, side, workers) = (open(&args.look.data)?, args.look.side()?, workers(args.look.workers));
    let pictures = data.samples.len();
    let request = Request {
        // Enough for any time, and the same every time.
        order: (0..EPOCHS).flat_map(|epoch| shuffled(pictures, recipe.seed, epoch)).collect(),
        dataset: Arc::new(data),
        transform: Transform::Train(recipe.train, [recipe.seed, 0]),
        preprocessing: recipe.eval.into(),
        side,
        batch_size: args.batch_size.get(),
        drop_last: false,
        keep_empty: false,
        on_bad: OnBad::Error,
        workers,
        cache: Cache::new(0),
    };
    let mut loader = Loader::new(request.clone());
    let (mut measured, mut start, mut warm) = (0, Instant::now(), false);
    loop {
        let batch = match loader.next() {
            Some(batch) => batch.context(
                "only data that can be read can be measured: `inception data check` finds the rest",
            )?,
            None => {
                loader = Loader::new(request.clone());
                continue;
            }
        };
        measured += batch.len();
        loader.reuse(batch);
        let elapsed = start.elapsed().as_secs_f64();
        if !warm && elapsed >= args.seconds / 10.0 {
            (measured, start, warm) = (0, Instant::now(), true);
        } else if warm && elapsed >= args.seconds {
            let images_per_second = measured as f64 / elapsed;
            return Ok(Measured {
                pictures,
                img_size: side,
                recipe: args.recipe.clone(),
                workers,
                measured,
                images_per_second,
                ms_per_image: 1e3 * workers as f64 / images_per_second,
                peak_memory_bytes: memory::peak(),
            });
        }
    }
}

/// Passes over the pictures before the threads start anew.
const EPOCHS: u64 = 16;

fn write_text(out: &mut impl Write, measured: &Measured) -> Result<()> {
    let Measured { pictures, img_size, recipe, workers, images_per_second, ms_per_image, .. } = measured;
    let (pictures, threads) = (counted(*pictures, "picture"), counted(*workers, "thread"));
    writeln!(out, "{images_per_second:.1} images/s, {ms_per_image:.2} ms an image and thread")?;
    write!(out, "{pictures} at {img_size} px, recipe {recipe}, {threads}")?;
    match measured.peak_memory_bytes {
        Some(peak) => writeln!(out, ", {} of memory at most", bytes(peak))?,
        None => writeln!(out)?,
    }
    Ok(())
}
