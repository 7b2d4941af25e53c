//! Batches, decoded by threads of their own ahead of whoever uses them.
//!
//! ```text
//! order (a pure function of seed and epoch) ─▶ workers take positions in turn ─▶ results, put back in order ─▶ batches
//! ```
//! What a batch holds depends on seed, epoch and position alone, never on the number of workers or who was first. A
//! bounded number of pictures is ahead; dropping the loader stops the workers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Batch;
use super::dataset::{Dataset, Picture, Rgb};
use super::decode::decode;
use super::error::DataError;
use super::transform::{Eval, Train};

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

/// How pictures become squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// Random distortions; `[seed, epoch]` and the picture's index decide them.
    Train(Train, [u64; 2]),
    /// The centre.
    Eval(Eval),
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
    /// Side of the squares.
    pub side: usize,
    /// Pictures a batch.
    pub batch_size: usize,
    /// Whether a last, smaller batch is left out.
    pub drop_last: bool,
    /// What happens at a bad picture.
    pub on_bad: OnBad,
    /// Decoding threads.
    pub workers: usize,
    /// Decoded pictures kept between epochs.
    pub cache: Cache,
}

/// A picture that was left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// Its path or name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Decoded pictures that stay in memory, up to a budget; cheap to clone, shared by all loaders of a run.
#[derive(Clone)]
pub struct Cache {
    pictures: Arc<Mutex<HashMap<PathBuf, Arc<Rgb>>>>,
    bytes: Arc<AtomicUsize>,
    budget: usize,
}

impl Cache {
    /// Keeps up to `budget` bytes; 0 keeps nothing.
    pub fn new(budget: usize) -> Self {
        Cache { pictures: Arc::default(), bytes: Arc::default(), budget }
    }

    fn decode(&self, picture: &Picture) -> Result<Arc<Rgb>, DataError> {
        let path = match picture {
            Picture::Memory { rgb, .. } => return Ok(rgb.clone()),
            Picture::File(path) => path,
        };
        if let Some(rgb) = self.lock().get(path) {
            return Ok(rgb.clone());
        }
        let rgb = Arc::new(decode(picture)?);
        let size = rgb.pixels.len();
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size <= self.budget {
            self.lock().insert(path.clone(), rgb.clone());
        } else {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(rgb)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<Rgb>>> {
        self.pictures.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The order of an epoch: all indices, shuffled by `[seed, epoch]`.
pub fn shuffled(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut inception_graph::stream(&[seed, ORDER, epoch]));
    order
}

/// Marks the random stream of orders.
const ORDER: u64 = 0x4f52_4445_52;

type Square = Result<Vec<u8>, DataError>;

/// An iterator of batches.
pub struct Loader {
    request: Arc<Request>,
    results: Option<Receiver<(usize, Square)>>,
    /// Results that came before their turn.
    early: HashMap<usize, Square>,
    next: usize,
    skipped: Vec<Skipped>,
    waited: Duration,
    failed: bool,
    stop: Arc<AtomicBool>,
    /// How far the consumer is; workers stay at most `AHEAD` batches in front of it.
    consumed: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<()>>,
}

/// Batches that workers may be ahead.
const AHEAD: usize = 3;

impl Loader {
    /// Starts decoding.
    pub fn new(request: Request) -> Self {
        let workers = request.workers.clamp(1, request.order.len().max(1));
        let request = Arc::new(request);
        let (sender, results) = sync_channel(request.batch_size * AHEAD);
        let (taken, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let consumed = Arc::new(AtomicUsize::new(0));
        let workers = (0..workers)
            .map_while(|i| {
                let (request, sender, taken) = (request.clone(), sender.clone(), taken.clone());
                let (stop, consumed) = (stop.clone(), consumed.clone());
                let work = move || work(&request, &sender, &taken, &consumed, &stop);
                std::thread::Builder::new().name(format!("decode-{i}")).spawn(work).ok()
            })
            .collect();
        Loader {
            request,
            results: Some(results),
            early: HashMap::new(),
            next: 0,
            skipped: Vec::new(),
            waited: Duration::ZERO,
            failed: false,
            stop,
            consumed,
            workers,
        }
    }

    /// Pictures left out so far.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How long the consumer has waited for pictures.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The square of the position `self.next`.
    fn take(&mut self) -> Square {
        let start = Instant::now();
        let square = loop {
            if let Some(square) = self.early.remove(&self.next) {
                break square;
            }
            match self.results.as_ref().map(Receiver::recv) {
                Some(Ok((position, square))) => {
                    self.early.insert(position, square);
                }
                _ => {
                    let name = self.request.dataset.samples[self.request.order[self.next]].picture.name();
                    break Err(DataError::Worker(format!("no result for {name}")));
                }
            }
        };
        self.waited += start.elapsed();
        self.next += 1;
        self.consumed.store(self.next, Ordering::Relaxed);
        square
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.request.clone();
        let mut batch = Batch { side: request.side, ..Batch::default() };
        while batch.len() < request.batch_size && self.next < request.order.len() && !self.failed {
            let index = request.order[self.next];
            match self.take() {
                Ok(square) => {
                    batch.pixels.extend(square);
                    batch.labels.push(request.dataset.samples[index].label);
                    batch.indices.push(index);
                }
                Err(DataError::Worker(problem)) => {
                    self.failed = true;
                    return Some(Err(DataError::Worker(problem)));
                }
                Err(error) if request.on_bad == OnBad::Skip => {
                    let name = request.dataset.samples[index].picture.name();
                    let reason = match error {
                        DataError::Picture { problem, .. } => problem,
                        other => other.to_string(),
                    };
                    self.skipped.push(Skipped { name, reason });
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let wanted = if request.drop_last { request.batch_size } else { 1 };
        (batch.len() >= wanted && !self.failed).then_some(Ok(batch))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closing the channel wakes workers that wait to send.
        self.results = None;
        for worker in self.workers.drain(..) {
            // Its panic, if any, has been reported as a missing result.
            let _ = worker.join();
        }
    }
}

fn work(
    request: &Request,
    sender: &SyncSender<(usize, Square)>,
    taken: &AtomicUsize,
    consumed: &AtomicUsize,
    stop: &AtomicBool,
) {
    loop {
        let position = taken.fetch_add(1, Ordering::Relaxed);
        if position >= request.order.len() {
            return;
        }
        // The channel bounds results in flight; this bounds those that wait for a slow picture before them.
        while position > consumed.load(Ordering::Relaxed) + request.batch_size * AHEAD {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let square = square(request, request.order[position]);
        if stop.load(Ordering::Relaxed) || sender.send((position, square)).is_err() {
            return;
        }
    }
}

fn square(request: &Request, index: usize) -> Square {
    let rgb = request.cache.decode(&request.dataset.samples[index].picture)?;
    Ok(match request.transform {
        Transform::Train(train, [seed, epoch]) => train.apply(&rgb, request.side, &[seed, epoch, index as u64]),
        Transform::Eval(eval) => eval.apply(&rgb, request.side),
    })
}
