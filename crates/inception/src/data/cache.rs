//! Decoded pictures that stay in memory between epochs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use inception_pictures::Options;

use super::dataset::{Picture, Rgb};
use super::decode::decode;
use super::error::DataError;

/// Decoded pictures, up to a budget; cheap to clone, shared by all loaders of a run.
///
/// The first pictures that fit stay, and none is thrown out for another: an epoch visits each once, so whatever is
/// evicted would have been as useful as what replaces it.
#[derive(Clone)]
pub struct Cache {
    kept: Arc<Mutex<Kept>>,
    budget: usize,
}

#[derive(Default)]
struct Kept {
    pictures: HashMap<(PathBuf, u64), (Options, Arc<Rgb>)>,
    bytes: usize,
}

impl Cache {
    /// Keeps up to `budget` bytes; 0 keeps nothing.
    pub fn new(budget: usize) -> Self {
        Cache { kept: Arc::default(), budget }
    }

    /// Bytes of pixels it keeps.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// `picture`, decoded now or earlier.
    pub(super) fn decode(&self, picture: &Picture, how: Options) -> Result<Arc<Rgb>, DataError> {
        let Some((path, start)) = picture.place() else { return decode(picture, how) };
        let key = (path.to_path_buf(), start);
        if let Some((_, rgb)) = self.lock().pictures.get(&key).filter(|(kept, _)| *kept == how) {
            return Ok(rgb.clone());
        }
        let rgb = decode(picture, how)?;
        let mut kept = self.lock();
        let bytes = kept.bytes + rgb.pixels.len();
        if bytes <= self.budget
            && let Entry::Vacant(place) = kept.pictures.entry(key)
        {
            place.insert((how, rgb.clone()));
            kept.bytes = bytes;
        }
        Ok(rgb)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}
