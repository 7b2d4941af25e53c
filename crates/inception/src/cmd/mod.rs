//! The subcommands, one file each: arguments in, work done by the library, text or JSON out.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::num::NonZeroUsize;

use anyhow::Context;

use crate::data::Preprocessing;

pub mod bench;
pub mod convert;
pub mod data;
pub mod demo;
pub mod device;
pub mod eval;
pub mod info;
pub mod predict;
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

/// Threads that decode pictures.
fn workers(asked: Option<NonZeroUsize>) -> usize {
    asked.or(std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}
