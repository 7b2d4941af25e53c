//! The subcommands, one file each: arguments in, work done by the library, text or JSON out.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use inception_cpu::Device;
use inception_graph::thousands;
use inception_kernels::Pool;

use crate::data::{Dataset, LeftOut, Preprocessing};
use crate::exit::UsageError;
use crate::progress::say;

pub mod average;
pub mod bench;
pub mod compare;
pub mod convert;
pub mod data;
pub mod demo;
pub mod device;
pub mod dist;
pub mod ensemble;
pub mod eval;
pub mod info;
pub mod predict;
pub mod ranks;
pub mod train;
pub mod verify;
pub mod weights;

/// Where data go. Flush it at the end: an error there is an error of the command.
fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// One JSON value, indented, and a line end.
fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// What happens to a picture, in a line: `crop_pct 0.875, interpolation bicubic, …`.
fn settings(preprocessing: &Preprocessing) -> anyhow::Result<String> {
    let value = serde_json::to_value(preprocessing).context("describing the preprocessing")?;
    let settings: Vec<_> = value.as_object().into_iter().flatten().map(|(k, v)| format!("{k} {v}")).collect();
    Ok(settings.join(", ").replace('"', ""))
}

/// Names of classes shown in a message; the records have them all.
const NAMED: usize = 20;

/// Names in a message, the first of many.
fn named(names: Vec<String>) -> String {
    match names.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

/// Says which classes of `judge`, a data set or a checkpoint, have no picture in `data`, and what was left out of it.
fn say_common(data: &Dataset, left_out: &[LeftOut], judge: &str) {
    let missing: Vec<String> = data.empty_classes().into_iter().map(str::to_string).collect();
    if !missing.is_empty() {
        say(&format!(
            "not judged, for they have no picture: {} of {} classes: {}",
            missing.len(),
            data.classes.len(),
            named(missing)
        ));
    }
    if !left_out.is_empty() {
        let pictures: usize = left_out.iter().map(|class| class.pictures).sum();
        let names =
            left_out.iter().map(|LeftOut { class, pictures }| format!("{class} ({pictures})")).collect();
        say(&format!(
            "left out: {} pictures of classes that {judge} does not know: {}",
            thousands(pictures as u64),
            named(names)
        ));
    }
}

/// An error unless `out` can be written: a safetensors file that is not there yet, or is to be replaced.
fn check_output(out: &Path, force: bool) -> Result<(), UsageError> {
    let (name, exists) = (out.display(), out.exists() && !force);
    match out.extension().is_some_and(|extension| extension == "safetensors") {
        true if exists => {
            Err(UsageError(format!("{name} exists: choose another name, or replace it with --force")))
        }
        true => Ok(()),
        false => {
            Err(UsageError(format!("{name}: only safetensors files are written: call it NAME.safetensors")))
        }
    }
}

/// Threads that decode pictures.
fn workers(asked: Option<NonZeroUsize>) -> usize {
    asked.or(std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// Threads that decode pictures for a network that runs on `device`: as many as are asked for beside it, or its own between its
/// steps.
fn decoders(asked: Option<NonZeroUsize>, device: &Device) -> Arc<Pool> {
    // One more: the thread that waits for pictures helps, and it is the network's.
    asked.map_or_else(|| device.pool.clone(), |n| Arc::new(Pool::new(n.get() + 1)))
}

/// An error unless a benchmark can take so many seconds.
fn check_seconds(seconds: f64) -> Result<(), UsageError> {
    match seconds > 0.0 && seconds <= 3600.0 {
        true => Ok(()),
        false => Err(UsageError(format!("--seconds {seconds}: expected more than 0 and at most 3600"))),
    }
}
