//! Batches, decoded by threads of their own ahead of whoever uses them.
//!
//! ```text
//! order (a pure function of seed and epoch) ─▶ workers take positions in turn ─▶ results, put back in order ─▶ batches
//! ```
//! What a batch holds depends on seed, epoch and position alone, never on the number of workers or who was first. Batch
//! `k` is made of the positions `k · batch_size ..`; a picture that is skipped leaves its batch smaller and moves no
//! other, so an epoch has the same steps however many pictures are bad. A bounded number of pictures is ahead; dropping
//! the loader stops the workers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use inception_pictures::{Header, PictureError};
use serde::{Deserialize, Serialize};

use super::Batch;
use super::cache::{Cache, Kept};
use super::crop::{Source, shrink_of_whole};
use super::dataset::{Dataset, Picture, Rgb};
use super::decode::read;
use super::error::DataError;
use super::pixels::Pixels;
use super::preprocess::Preprocessing;
use super::transform::Train;

/// What happens at a picture that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnBad {
    /// Stop, with its name.
    #[default]
    Error,
    /// Leave it out, count it and report it; nothing takes its place.
    Skip,
}

impl OnBad {
    /// What becomes of a picture that ended in `error`: it is left out, or the error stays one.
    pub fn judge(self, error: DataError) -> Result<Skipped> {
        match error {
            DataError::Picture { name, problem } if self == OnBad::Skip => {
                Ok(Skipped { name, reason: problem })
            }
            DataError::Io { path, source } if self == OnBad::Skip => {
                Ok(Skipped { name: path.display().to_string(), reason: source.to_string() })
            }
            error => Err(error),
        }
    }
}

/// How pictures become squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// Random distortions; `[seed, epoch]` and the picture's index decide them.
    Train(Train, [u64; 2]),
    /// The geometry of evaluation.
    Eval,
}

/// What to load.
#[derive(Clone)]
pub struct Request {
    /// The pictures.
    pub dataset: Arc<Dataset>,
    /// Indices into the data set, in the order wanted.
    pub order: Vec<usize>,
    /// How they become squares.
    pub transform: Transform,
    /// How they are decoded and what values the network takes.
    pub preprocessing: Preprocessing,
    /// Side of the squares.
    pub side: usize,
    /// Pictures a batch.
    pub batch_size: usize,
    /// Whether a last, smaller batch is left out.
    pub drop_last: bool,
    /// Whether a batch of which no picture can be read comes all the same, without any.
    pub keep_empty: bool,
    /// What happens at a bad picture.
    pub on_bad: OnBad,
    /// Decoding threads.
    pub workers: usize,
    /// Decoded pictures kept between epochs.
    pub cache: Cache,
}

/// A picture that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path or name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The order of an epoch: all indices, shuffled by `[seed, epoch]`.
pub fn shuffled(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut inception_graph::stream(&[seed, ORDER, epoch]));
    order
}

/// Marks the random stream of orders.
const ORDER: u64 = 0x004f_5244_4552;

type Result<T> = std::result::Result<T, DataError>;

/// An iterator of batches.
pub struct Loader {
    shared: Arc<Shared>,
    /// Positions whose square the consumer has.
    next: usize,
    /// Memory for the next batch's pixels.
    spare: Vec<f32>,
    skipped: Vec<Skipped>,
    waited: Duration,
    failed: bool,
    workers: Vec<JoinHandle<()>>,
}

/// What the consumer and the workers share.
struct Shared {
    request: Request,
    state: Mutex<State>,
    /// A square has come.
    ready: Condvar,
    /// A worker may take a position, or must stop.
    room: Condvar,
}

#[derive(Default)]
struct State {
    /// Positions given to workers.
    taken: usize,
    /// Positions whose square the consumer has; `taken` stays at most `AHEAD` batches in front of it.
    consumed: usize,
    /// Squares that wait for their turn.
    squares: HashMap<usize, Result<Pixels>>,
    stop: bool,
}

/// Batches that workers may be ahead.
const AHEAD: usize = 3;

impl Loader {
    /// Starts decoding.
    pub fn new(mut request: Request) -> Self {
        request.batch_size = request.batch_size.max(1);
        if request.drop_last {
            request.order.truncate(request.order.len() / request.batch_size * request.batch_size);
        }
        let count = request.workers.max(1).min(request.order.len());
        let (state, ready, room) = Default::default();
        let shared = Arc::new(Shared { request, state, ready, room });
        let start = |i| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("decode-{i}")).spawn(move || shared.work()).ok()
        };
        let workers = (0..count).map_while(start).collect();
        Loader {
            shared,
            next: 0,
            spare: Vec::new(),
            skipped: Vec::new(),
            waited: Duration::ZERO,
            failed: false,
            workers,
        }
    }

    /// Pictures left out so far.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Takes back a batch whose pixels are no longer needed: the next one goes into its memory, for fresh memory costs as much time as
    /// filling it.
    pub fn reuse(&mut self, batch: Batch) {
        self.spare = batch.pixels;
    }

    /// Positions of the order that have had their turn.
    pub fn position(&self) -> usize {
        self.next
    }

    /// How long the consumer has waited for pictures.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The square of the position `self.next`.
    fn take(&mut self) -> Result<Pixels> {
        let start = Instant::now();
        let position = self.next;
        self.next += 1;
        let square = match self.workers.is_empty() {
            // The system had no thread for us.
            true => self.shared.square(position),
            false => self.shared.wait_for(position),
        };
        self.waited += start.elapsed();
        square
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = self.shared.clone();
        let Request { order, dataset, preprocessing, side, batch_size, on_bad, keep_empty, .. } =
            &shared.request;
        let mut is_kept = false;
        let mut batch = Batch { side: *side, pixels: std::mem::take(&mut self.spare), ..Batch::default() };
        batch.pixels.clear();
        while batch.is_empty() && !is_kept && self.next < order.len() && !self.failed {
            is_kept = *keep_empty;
            let end = (self.next + batch_size).min(order.len());
            batch.pixels.reserve((end - self.next) * side * side * 3);
            while self.next < end {
                let index = order[self.next];
                match self.take() {
                    Ok(square) => {
                        square.append(preprocessing.range, &mut batch.pixels);
                        batch.labels.push(dataset.samples[index].label);
                        batch.indices.push(index);
                    }
                    Err(error) => match on_bad.judge(error) {
                        Ok(skipped) => self.skipped.push(skipped),
                        Err(error) => {
                            self.failed = true;
                            return Some(Err(error));
                        }
                    },
                }
            }
        }
        (!batch.is_empty() || is_kept).then_some(Ok(batch))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // It cannot panic: what it runs for a picture is caught.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// No code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A worker's life: the next position, its square, until there is none.
    fn work(&self) {
        while let Some(position) = self.next_position() {
            let square = self.square(position);
            self.lock().squares.insert(position, square);
            self.ready.notify_one();
        }
    }

    fn next_position(&self) -> Option<usize> {
        let Request { order, batch_size, .. } = &self.request;
        let full =
            |s: &mut State| !s.stop && s.taken < order.len() && s.taken >= s.consumed + batch_size * AHEAD;
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(|e| e.into_inner());
        if state.stop || state.taken == order.len() {
            return None;
        }
        state.taken += 1;
        Some(state.taken - 1)
    }

    fn wait_for(&self, position: usize) -> Result<Pixels> {
        let mut state = self.lock();
        loop {
            if let Some(square) = state.squares.remove(&position) {
                state.consumed = position + 1;
                self.room.notify_one();
                return square;
            }
            state = self.ready.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// A panic becomes an error: a worker that died without a word would leave the consumer waiting for ever.
    fn square(&self, position: usize) -> Result<Pixels> {
        let Request { dataset, order, transform, preprocessing, side, cache, .. } = &self.request;
        let index = order[position];
        let picture = &dataset.samples[index].picture;
        let broken = |e: PictureError| DataError::Picture { name: picture.name(), problem: e.to_string() };
        let make = || match transform {
            Transform::Train(train, [seed, epoch]) => {
                let distort = |source: &Source<'_>| {
                    train.apply(source, *side, &[*seed, *epoch, index as u64]).map_err(broken)
                };
                let pixels = self.source(picture, distort)?;
                Ok(Pixels::Bytes(Rgb { width: *side, height: *side, pixels }))
            }
            Transform::Eval => {
                let rgb = cache.decode(picture, preprocessing.decoding())?;
                preprocessing.eval.square(&rgb, *side).map_err(broken)
            }
        };
        catch_unwind(AssertUnwindSafe(make))
            .unwrap_or_else(|_| Err(DataError::Worker(format!("panic at {}", picture.name()))))
    }

    /// Gives a picture to `then`: decoded whole where that was done before or will be of use again, else as its file is. Which of
    /// the two makes no difference to a crop, for a picture of which any crop is shrunk is never taken as a whole.
    fn source<T>(&self, picture: &Picture, then: impl FnOnce(&Source<'_>) -> Result<T>) -> Result<T> {
        let Request { preprocessing, side, cache, .. } = &self.request;
        let how = preprocessing.decoding();
        let is_whole = |(width, height), shrinks| shrink_of_whole((width, height), *side, shrinks) == 1;
        if let Picture::Memory { rgb, .. } = picture {
            return then(&Source::Decoded(rgb));
        }
        if let Some(Kept { rgb, shrinks }) = cache.kept(picture, how)
            && is_whole((rgb.width, rgb.height), shrinks)
        {
            return then(&Source::Decoded(&rgb));
        }
        let bytes = read(picture)?;
        if let Some(header) = Header::of(&bytes) {
            let source = Source::Encoded { bytes: &bytes, how, header };
            let (width, height) = source.size();
            if !is_whole((width, height), header.shrinks) || !cache.has_room(width * height * 3) {
                return then(&source);
            }
        }
        then(&Source::Decoded(&*cache.decode_bytes(picture, &bytes, how)?))
    }
}
