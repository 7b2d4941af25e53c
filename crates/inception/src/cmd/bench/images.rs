//! From files to labels: how fast `inception predict` and `inception eval` are once they run.
//!
//! ```text
//! files of the folder, over and over ─ feed: read, decode, resize ─▶ views in batches ─▶ network ─▶ best class of each picture
//! ```
//! A turn is a batch of pictures, or with several views of each as many pictures as begin a batch. Its time is that of waiting for
//! pictures, of the network while its threads decode the next, of the labels, and of what decoding is left then. After each the
//! network runs as often once more, alone: a shared machine changes its speed within seconds, and so both meet the same. The first
//! tenth of the time is for warming up.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use inception_cpu::{Model, Scratch};
use serde::Serialize;

use super::{Times, milliseconds};
use crate::collect::{Collector, Network};
use crate::data::feed::Feed;
use crate::data::{Crops, DataError, Eval, Interpolation, Picture, Preprocessing, Resize, Sight, files};
use crate::engine::answer;
use crate::metrics::top_k;

/// Measurements from files to labels.
#[derive(Serialize)]
pub(super) struct Images {
    /// Pictures of the folder.
    pictures: usize,
    #[serde(flatten)]
    times: Times,
    /// Views of a picture that the protocol averages.
    crops: usize,
    /// Views that the network took; of a square picture those that differ.
    views_per_second: f64,
    /// The rate as a share of that of the network alone, measured in turn.
    of_inference: f64,
    /// The time as a multiple of that of the same number of views in the network alone.
    of_single_views: f64,
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
    files::list_pictures(&[folder.into()]).with_context(flag)
}

/// What the network did since it was last looked at.
#[derive(Default)]
struct Work {
    took: Duration,
    batches: u32,
    views: usize,
}

/// Runs `model` on the pictures of `files` for so many seconds.
pub(super) fn measure(
    model: &Model,
    files: Vec<PathBuf>,
    batch: usize,
    seconds: f64,
    crops: Crops,
) -> Result<Images> {
    let eval = Eval { crop_pct: 0.875, interpolation: Interpolation::Bicubic, resize: Resize::Shorter };
    let (pool, side) = (&model.device().pool, model.graph().img_size());
    let sight = Sight { how: Preprocessing::from(eval), side, crops };
    let (count, again) = (files.len(), files.into_iter().cycle().map(|file| Ok(Picture::File(file))));
    let feed =
        Feed::new(again, &[sight], batch, pool.clone()).context("starting the thread that lists pictures")?;
    let (work, scratch) = (RefCell::<Work>::default(), RefCell::<Scratch>::default());
    let input: RefCell<Vec<f32>> = RefCell::default();
    let network = Network::new(|pixels| {
        if input.borrow().is_empty() {
            input.replace(pixels.to_vec());
        }
        let before = Instant::now();
        let logits = answer(model, pixels, &mut scratch.borrow_mut());
        let mut work = work.borrow_mut();
        work.took += before.elapsed();
        work.batches += 1;
        work.views += batch;
        logits
    });
    let mut collector = Collector::new(feed, vec![network], batch);
    let turn = batch.div_ceil(crops.views());
    let (mut times, mut views, mut decoding, mut computing, mut alone) =
        (Vec::new(), 0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut start, mut waited, mut warm) = (Instant::now(), Duration::ZERO, false);
    while times.len() < 2 || start.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        for _ in 0..turn {
            let answered = collector.next_answer()?.context("the thread that lists pictures stopped")?;
            decoding += answered.took;
            let rows = answered.rows.map_err(|error| {
                let problem = format!("{error}; --images measures pictures that can be read: remove it");
                DataError::Picture { name: answered.name, problem }
            })?;
            std::hint::black_box(top_k(&rows[0], 1));
        }
        collector.feed().settle();
        times.push(began.elapsed());
        let done = work.take();
        views += done.views;
        computing += done.took;
        let before = Instant::now();
        for _ in 0..done.batches {
            std::hint::black_box(answer(model, &input.borrow(), &mut scratch.borrow_mut()));
        }
        alone += before.elapsed();
        // Two turns at least: the first is the one whose pictures were not decoded beside another.
        if !warm && times.len() >= 2 && start.elapsed().as_secs_f64() >= 0.1 * seconds {
            (times, views, decoding, computing, alone) = Default::default();
            (start, waited, warm) = (Instant::now(), collector.feed().waited(), true);
        }
    }
    let wall: Duration = times.iter().sum();
    let answered = (times.len() * turn) as f64;
    let a_picture = |time: Duration| milliseconds(time) / answered;
    let flop = 2.0 * model.graph().macs() as f64 * views as f64 / times.len() as f64;
    let times = Times { images_per_second: answered / wall.as_secs_f64(), ..Times::new(times, turn, flop) };
    Ok(Images {
        pictures: count,
        crops: crops.views(),
        views_per_second: views as f64 / wall.as_secs_f64(),
        of_inference: alone.as_secs_f64() / wall.as_secs_f64(),
        of_single_views: wall.as_secs_f64() / alone.as_secs_f64(),
        times,
        decode_ms: a_picture(decoding),
        network_ms: a_picture(computing),
        waited_ms: a_picture(collector.feed().waited() - waited),
        decode_share: decoding.as_secs_f64() / (wall.as_secs_f64() * pool.threads() as f64),
    })
}

/// The lines of the report for people.
pub(super) fn text(out: &mut impl std::io::Write, images: &Images, threads: usize) -> std::io::Result<()> {
    let Images { pictures, times, crops, views_per_second, of_inference, of_single_views, .. } = images;
    let Times { runs, median_ms, p90_ms, p99_ms, images_per_second, .. } = times;
    let (turn, turns) = if *crops > 1 { ("turn", "turns") } else { ("batch", "batches") };
    writeln!(
        out,
        "files      {median_ms:.1} ms a {turn} (p90 {p90_ms:.1}, p99 {p99_ms:.1}, {runs} {turns} of {pictures} pictures), \
         {images_per_second:.1} images/s from files to labels, {of_inference:.2} of inference alone"
    )?;
    if *crops > 1 {
        writeln!(
            out,
            "           {crops} views a picture, {views_per_second:.1} views/s, {of_single_views:.3} times as long as as many in the \
             network alone"
        )?;
    }
    let Images { decode_ms, network_ms, waited_ms, decode_share, .. } = images;
    let s = if threads == 1 { "" } else { "s" };
    writeln!(
        out,
        "           a picture: {decode_ms:.2} ms of decoding, {:.1} % of the time of {threads} thread{s}; {network_ms:.1} ms in \
         the network, which waited {waited_ms:.2} ms",
        100.0 * decode_share
    )
}
