//! From files to labels: how fast `inception predict` is once it runs.
//!
//! ```text
//! files of the folder, over and over ─ feed: read, decode, resize ─▶ batch ─▶ network ─▶ best class of each
//! ```
//! A batch's time is that of waiting for its pictures, of the network while its threads decode the next batch, of the
//! labels, and of what decoding is left then. After each the network runs once more on the same batch, alone: a shared
//! machine changes its speed within seconds, and so both meet the same. The first tenth of the time is for warming up.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use inception_cpu::{Model, Scratch};
use serde::Serialize;

use super::{Times, milliseconds};
use crate::data::feed::{Feed, Squares};
use crate::data::{Batch, DataError, Eval, Interpolation, Preprocessing, Resize, folder};
use crate::engine::answer;
use crate::metrics::top_k;

/// Measurements from files to labels.
#[derive(Serialize)]
pub(super) struct Images {
    /// Pictures of the folder.
    pictures: usize,
    #[serde(flatten)]
    times: Times,
    /// The rate as a share of that of the network alone, measured in turn.
    of_inference: f64,
    /// Reading, decoding and resizing a picture, on one thread.
    decode_ms: f64,
    /// A picture in the network while its threads decode others.
    network_ms: f64,
    /// What the network stood still for a picture.
    waited_ms: f64,
    /// Decoding's share of the time of all threads.
    decode_share: f64,
}

/// Every picture in `folder` or below.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let flag = || format!("--images {}", folder.display());
    let wrong = |problem: &str| DataError::Layout { path: folder.into(), problem: problem.into() };
    if folder.is_file() {
        return Err(wrong("is a file: expected a folder of .jpg, .jpeg or .png files")).with_context(flag);
    }
    if !folder.is_dir() {
        return Err(wrong("no such folder: check how it is spelt")).with_context(flag);
    }
    folder::list_pictures(&[folder.into()]).with_context(flag)
}

/// Runs `model` on the pictures of `files` for so many seconds.
pub(super) fn measure(model: &Model, files: Vec<PathBuf>, batch: usize, seconds: f64) -> Result<Images> {
    let eval = Eval { crop_pct: 0.875, interpolation: Interpolation::Bicubic, resize: Resize::Shorter };
    let (pool, side) = (&model.device().pool, model.graph().img_size());
    let squares = Squares { how: Preprocessing::from(eval), side, batch };
    let (count, again) = (files.len(), files.into_iter().cycle().map(Ok));
    let mut feed =
        Feed::new(again, squares, pool.clone()).context("starting the thread that lists pictures")?;
    let (mut input, mut scratch) = (Batch { side, ..Batch::default() }, Scratch::default());
    let (mut times, mut decoding, mut computing, mut alone) =
        (Vec::new(), Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut start, mut waited, mut warm) = (Instant::now(), Duration::ZERO, false);
    while times.len() < 2 || start.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        let mut pictures = feed.next().context("the thread that lists pictures stopped")?;
        for picture in &pictures {
            decoding += picture.took;
            if let Err(problem) = &picture.pixels {
                let problem = format!("{problem}; --images measures pictures that can be read: remove it");
                return Err(DataError::Picture { name: picture.name.clone(), problem }.into());
            }
        }
        input.fill(&mut pictures);
        let before = Instant::now();
        let logits = answer(model, &input.pixels, &mut scratch);
        computing += before.elapsed();
        let best = logits.chunks_exact(logits.len() / batch).map(|row| top_k(row, 1));
        std::hint::black_box(best.collect::<Vec<_>>());
        feed.settle();
        times.push(began.elapsed());
        let before = Instant::now();
        std::hint::black_box(answer(model, &input.pixels, &mut scratch));
        alone += before.elapsed();
        // Two batches at least: the first is the one whose pictures were not decoded beside another.
        if !warm && times.len() >= 2 && start.elapsed().as_secs_f64() >= 0.1 * seconds {
            (times, decoding, computing, alone) = Default::default();
            (start, waited, warm) = (Instant::now(), feed.waited(), true);
        }
    }
    let wall: Duration = times.iter().sum();
    let answered = (times.len() * batch) as f64;
    let a_picture = |time: Duration| milliseconds(time) / answered;
    let flop = 2.0 * model.graph().macs() as f64 * batch as f64;
    let times = Times { images_per_second: answered / wall.as_secs_f64(), ..Times::new(times, batch, flop) };
    Ok(Images {
        pictures: count,
        of_inference: alone.as_secs_f64() / wall.as_secs_f64(),
        times,
        decode_ms: a_picture(decoding),
        network_ms: a_picture(computing),
        waited_ms: a_picture(feed.waited() - waited),
        decode_share: decoding.as_secs_f64() / (wall.as_secs_f64() * pool.threads() as f64),
    })
}

/// The lines of the report for people.
pub(super) fn text(out: &mut impl std::io::Write, images: &Images, threads: usize) -> std::io::Result<()> {
    let Images { pictures, times, of_inference, decode_ms, network_ms, waited_ms, decode_share } = images;
    let Times { runs, median_ms, p90_ms, p99_ms, images_per_second, .. } = times;
    writeln!(
        out,
        "files      {median_ms:.1} ms a batch (p90 {p90_ms:.1}, p99 {p99_ms:.1}, {runs} batches of {pictures} pictures), \
         {images_per_second:.1} images/s from files to labels, {of_inference:.2} of inference alone"
    )?;
    let s = if threads == 1 { "" } else { "s" };
    writeln!(
        out,
        "           a picture: {decode_ms:.2} ms of decoding, {:.1} % of the time of {threads} thread{s}; {network_ms:.1} ms in \
         the network, which waited {waited_ms:.2} ms",
        100.0 * decode_share
    )
}
