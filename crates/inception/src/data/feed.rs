//! Pictures of a list, decoded ahead and given in order.
//!
//! ```text
//! a thread lists ─▶ pictures ─▶ errands of a pool: decode, resize ─▶ views, put back in order
//! ```
//! The pool may be the network's own: its threads decode the next pictures between two steps of these, so that no thread
//! takes a core from another. A bounded number of pictures is ahead, however long the list.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use inception_kernels::Pool;

use super::decode::decode;
use super::views::{Sight, Views};
use super::{DataError, Picture};

/// A picture to be decoded, or a name and what is wrong in its place.
pub type Listed = Result<Picture, (String, DataError)>;

/// A picture as networks take it, or why there is none.
pub struct Decoded {
    /// Its path or name.
    pub name: String,
    /// What each network sees of it.
    pub views: Result<Vec<Views>, DataError>,
    /// What reading, decoding and resizing took.
    pub took: Duration,
}

/// Decoded pictures, in the order in which they were listed.
pub struct Feed {
    listed: Receiver<Listed>,
    pool: Arc<Pool>,
    sights: Arc<[Sight]>,
    /// Pictures that may be decoded ahead.
    ahead: usize,
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

/// Pictures that wait in the channel, not yet read.
const LISTED: usize = 256;

impl Feed {
    /// Starts to list `pictures`; `pool` decodes them for networks with these `sights`, which take `batch` views at a time.
    pub fn new(
        pictures: impl Iterator<Item = Listed> + Send + 'static,
        sights: &[Sight],
        batch: usize,
        pool: Arc<Pool>,
    ) -> io::Result<Self> {
        let (send, receive) = sync_channel(LISTED);
        let list = move || {
            // An error means that nobody listens any more.
            let _ = pictures.into_iter().try_for_each(|picture| send.send(picture));
        };
        std::thread::Builder::new().name("list".into()).spawn(list)?;
        // A batch, and one for each thread to begin with while another waits to be taken.
        let views = sights.iter().map(|sight| sight.crops.views()).max().unwrap_or(1);
        let ahead = batch.max(2 * pool.threads()).div_ceil(views).max(2);
        let mut feed = Feed {
            listed: receive,
            pool,
            sights: sights.into(),
            ahead,
            done: Arc::default(),
            given: 0,
            taken: 0,
            ended: false,
            waited: Duration::ZERO,
        };
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

    /// Gives the pool what is listed already.
    fn give_ahead(&mut self) {
        while !self.ended && self.given - self.taken < self.ahead {
            match self.listed.try_recv() {
                Ok(listed) => self.give(listed),
                Err(TryRecvError::Disconnected) => self.ended = true,
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn give(&mut self, listed: Listed) {
        let (place, done, sights) = (self.given, self.done.clone(), self.sights.clone());
        self.given += 1;
        self.pool.spawn(move || {
            let decoded = decoded(listed, &sights);
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
    type Item = Decoded;

    fn next(&mut self) -> Option<Decoded> {
        let start = Instant::now();
        if !self.ended && self.given == self.taken {
            match self.listed.recv() {
                Ok(listed) => self.give(listed),
                Err(_) => self.ended = true,
            }
        }
        self.give_ahead();
        let decoded = (self.given > self.taken).then(|| self.take());
        self.waited += start.elapsed();
        self.give_ahead();
        decoded
    }
}

fn decoded(listed: Listed, sights: &[Sight]) -> Decoded {
    let start = Instant::now();
    let (name, views) = match listed {
        Ok(picture) => {
            let name = picture.name();
            // A defect costs one picture, not the run.
            let views = catch_unwind(AssertUnwindSafe(|| views(&picture, sights)));
            let panicked = |_| Err(DataError::Worker(format!("panic at {name}: report it")));
            let views = views.unwrap_or_else(panicked);
            (name, views)
        }
        Err((name, error)) => (name, Err(error)),
    };
    Decoded { name, views, took: start.elapsed() }
}

/// A picture is decoded once for all networks that want the same pixels.
fn views(picture: &Picture, sights: &[Sight]) -> Result<Vec<Views>, DataError> {
    let mut last = None;
    let views = sights.iter().map(|sight| {
        let how = sight.how.decoding();
        let rgb = match last.take() {
            Some((decoded, rgb)) if decoded == how => rgb,
            _ => decode(picture, how)?,
        };
        let views = sight.of(&rgb);
        last = Some((how, rgb));
        views.map_err(|e| DataError::Picture { name: picture.name(), problem: e.to_string() })
    });
    views.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Crops, Preprocessing};
    use super::*;

    fn sight() -> Sight {
        let how: Preprocessing = serde_json::from_value(serde_json::json!({
            "crop_pct": 1.0, "range": "[-1,1]", "channels": "RGB", "exif": true
        }))
        .unwrap();
        Sight { how, side: 8, crops: Crops::Single }
    }

    fn missing(name: String) -> Listed {
        let problem = "no such list".into();
        Err((name.clone(), DataError::Picture { name, problem }))
    }

    /// One of three is a picture, of a grey that tells its place.
    fn list(folder: &std::path::Path, count: u8) -> Vec<Listed> {
        let one = |i: u8| match i % 3 {
            0 => {
                let path = folder.join(format!("{i}.png"));
                image::RgbImage::from_pixel(20, 10, image::Rgb([i; 3])).save(&path).unwrap();
                Ok(Picture::File(path))
            }
            1 => Ok(Picture::File(folder.join(format!("{i}.png")))),
            _ => missing(i.to_string()),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn pictures_keep_their_order_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        for (threads, batch) in [(1, 1), (1, 4), (2, 1), (2, 5), (4, 100)] {
            let listed = list(folder.path(), 50).into_iter();
            let feed = Feed::new(listed, &[sight()], batch, Arc::new(Pool::new(threads))).unwrap();
            let all: Vec<_> = feed.collect();
            assert_eq!(all.len(), 50);
            for (i, Decoded { name, views, .. }) in all.iter().enumerate() {
                match (i % 3, views) {
                    (0, Ok(views)) => {
                        let mut pixels = Vec::new();
                        views[0].append(0, &mut pixels);
                        assert_eq!(pixels, [(i as f32 - 127.5) / 127.5; 8 * 8 * 3]);
                    }
                    (1, Err(error)) => assert!(error.to_string().contains(&format!("{i}.png")), "{error}"),
                    (2, Err(error)) => {
                        assert_eq!((name, error.to_string()), (&i.to_string(), format!("{i}: no such list")))
                    }
                    (_, other) => panic!("{i}: {:?}", other.as_ref().err()),
                }
            }
        }
    }

    /// However long the list, and however slow the network.
    #[test]
    fn no_more_than_a_few_pictures_are_ahead() {
        let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = seen.clone();
        let listed = (0..10_000).map(move |i: usize| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            missing(i.to_string())
        });
        let mut feed = Feed::new(listed, &[sight()], 4, Arc::new(Pool::new(2))).unwrap();
        feed.next().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(feed.given <= 1 + feed.ahead && feed.ahead == 4);
        assert!(seen.load(std::sync::atomic::Ordering::Relaxed) <= LISTED + 10);
        assert_eq!(feed.count(), 9_999);
    }
}
