//! Pictures of a list, decoded ahead and given in order.
//!
//! ```text
//! a thread lists ─▶ paths ─▶ errands of a pool: decode, resize ─▶ results, put back in order ─▶ batches
//! ```
//! The pool may be the network's own: its threads decode the next batch between two steps of this one, so that no thread
//! takes a core from another. A bounded number of pictures is ahead, however long the list.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use inception_kernels::Pool;

use super::decode::decode;
use super::{Picture, Preprocessing};

/// A picture to be decoded, or a name and what is wrong in its place.
pub type Listed = Result<PathBuf, (String, String)>;

/// A picture as the network takes it, or why there is none.
pub struct Decoded {
    /// Its path.
    pub name: String,
    /// `[side, side, 3]`.
    pub pixels: Result<Vec<f32>, String>,
    /// What reading, decoding and resizing took.
    pub took: Duration,
}

/// What pictures become.
#[derive(Clone, Copy, Debug)]
pub struct Squares {
    /// How they are decoded, resized and scaled.
    pub how: Preprocessing,
    /// Side of the squares.
    pub side: usize,
    /// Pictures a batch.
    pub batch: usize,
}

/// Batches of decoded pictures.
pub struct Feed {
    paths: Receiver<Listed>,
    pool: Arc<Pool>,
    squares: Squares,
    done: Arc<Done>,
    /// Pictures given to the pool, pictures that the consumer has.
    given: usize,
    taken: usize,
    ended: bool,
    waited: Duration,
}

#[derive(Default)]
struct Done {
    pictures: Mutex<HashMap<usize, Decoded>>,
    came: Condvar,
}

impl Done {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Decoded>> {
        self.pictures.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Paths that wait in the channel; they are short.
const PATHS: usize = 256;

impl Feed {
    /// Starts to list `paths`; `pool` decodes them.
    pub fn new(
        paths: impl Iterator<Item = Listed> + Send + 'static,
        squares: Squares,
        pool: Arc<Pool>,
    ) -> io::Result<Self> {
        let (send, receive) = sync_channel(PATHS);
        let list = move || {
            // An error means that nobody listens any more.
            let _ = paths.into_iter().try_for_each(|path| send.send(path));
        };
        std::thread::Builder::new().name("list".into()).spawn(list)?;
        let (done, waited) = (Arc::default(), Duration::ZERO);
        let mut feed = Feed { paths: receive, pool, squares, done, given: 0, taken: 0, ended: false, waited };
        feed.give_ahead();
        Ok(feed)
    }

    /// How long the consumer has waited for pictures, or decoded them itself.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns when the pool has done all that it was given.
    pub fn settle(&self) {
        while self.pool.help() {}
        let mut pictures = self.done.lock();
        while pictures.len() < self.given - self.taken {
            pictures = self.done.came.wait(pictures).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// Pictures that may be decoded ahead: a batch, and one for each thread to begin with while another waits to be taken.
    fn ahead(&self) -> usize {
        self.squares.batch.max(2 * self.pool.threads())
    }

    /// Gives the pool what is listed already.
    fn give_ahead(&mut self) {
        while !self.ended && self.given - self.taken < self.ahead() {
            match self.paths.try_recv() {
                Ok(path) => self.give(path),
                Err(TryRecvError::Disconnected) => self.ended = true,
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn give(&mut self, path: Listed) {
        let (place, done, squares) = (self.given, self.done.clone(), self.squares);
        self.given += 1;
        self.pool.spawn(move || {
            let decoded = decoded(path, &squares);
            done.lock().insert(place, decoded);
            done.came.notify_one();
        });
    }

    /// The next picture, which the pool has been given.
    fn take(&mut self) -> Decoded {
        let place = self.taken;
        self.taken += 1;
        loop {
            let mut pictures = self.done.lock();
            if let Some(decoded) = pictures.remove(&place) {
                return decoded;
            }
            drop(pictures);
            if self.pool.help() {
                continue;
            }
            // Nothing is left to begin, so another thread is at it.
            pictures = self.done.lock();
            while !pictures.contains_key(&place) {
                pictures = self.done.came.wait(pictures).unwrap_or_else(|e| e.into_inner());
            }
        }
    }
}

impl Iterator for Feed {
    type Item = Vec<Decoded>;

    fn next(&mut self) -> Option<Vec<Decoded>> {
        let start = Instant::now();
        while !self.ended && self.given - self.taken < self.squares.batch {
            match self.paths.recv() {
                Ok(path) => self.give(path),
                Err(_) => self.ended = true,
            }
        }
        let size = (self.given - self.taken).min(self.squares.batch);
        let batch: Vec<_> = (0..size).map(|_| self.take()).collect();
        self.waited += start.elapsed();
        self.give_ahead();
        Some(batch).filter(|batch| !batch.is_empty())
    }
}

fn decoded(path: Listed, Squares { how, side, .. }: &Squares) -> Decoded {
    let start = Instant::now();
    let (name, pixels) = match path {
        Ok(path) => {
            let picture = Picture::File(path);
            let square = || {
                let rgb = decode(&picture, how.decoding()).map_err(|e| e.to_string())?;
                how.apply(&rgb, *side).map_err(|e| e.to_string())
            };
            // A defect costs one picture, not the run.
            let pixels = catch_unwind(AssertUnwindSafe(square));
            (picture.name(), pixels.unwrap_or_else(|_| Err("its preprocessing panicked: report it".into())))
        }
        Err((name, error)) => (name, Err(error)),
    };
    Decoded { name, pixels, took: start.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(batch: usize) -> Squares {
        let how: Preprocessing = serde_json::from_value(serde_json::json!({
            "crop_pct": 1.0, "range": "[-1,1]", "channels": "RGB", "exif": true
        }))
        .unwrap();
        Squares { how, side: 8, batch }
    }

    /// One of three is a picture, of a grey that tells its place.
    fn list(folder: &std::path::Path, count: u8) -> Vec<Listed> {
        let one = |i: u8| match i % 3 {
            0 => {
                let path = folder.join(format!("{i}.png"));
                image::RgbImage::from_pixel(20, 10, image::Rgb([i; 3])).save(&path).unwrap();
                Ok(path)
            }
            1 => Ok(folder.join(format!("{i}.png"))),
            _ => Err((i.to_string(), "no such list".into())),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn pictures_keep_their_order_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        for (threads, batch) in [(1, 1), (1, 4), (2, 1), (2, 5), (4, 100)] {
            let paths = list(folder.path(), 50).into_iter();
            let feed = Feed::new(paths, squares(batch), Arc::new(Pool::new(threads))).unwrap();
            let batches: Vec<_> = feed.collect();
            assert!(batches.iter().rev().skip(1).all(|b| b.len() == batch), "{threads} {batch}");
            let all: Vec<_> = batches.into_iter().flatten().collect();
            assert_eq!(all.len(), 50);
            for (i, Decoded { name, pixels, .. }) in all.iter().enumerate() {
                match (i % 3, pixels) {
                    (0, Ok(pixels)) => assert_eq!(pixels[..], [(i as f32 - 127.5) / 127.5; 8 * 8 * 3]),
                    (1, Err(error)) => assert!(error.contains(&format!("{i}.png")), "{error}"),
                    (2, Err(error)) => assert_eq!((name, &error[..]), (&i.to_string(), "no such list")),
                    other => panic!("{i}: {:?}", other.1),
                }
            }
        }
    }

    /// However long the list, and however slow the network.
    #[test]
    fn no_more_than_a_few_pictures_are_ahead() {
        let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = seen.clone();
        let paths = (0..10_000).map(move |i: usize| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err((i.to_string(), String::new()))
        });
        let mut feed = Feed::new(paths, squares(4), Arc::new(Pool::new(2))).unwrap();
        feed.next().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(feed.given <= 4 + feed.ahead() && feed.ahead() == 4);
        assert!(seen.load(std::sync::atomic::Ordering::Relaxed) <= PATHS + 10);
        assert_eq!(feed.map(|batch| batch.len()).sum::<usize>(), 9_996);
    }
}
