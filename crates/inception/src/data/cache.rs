//! Decoded pictures that stay in memory between epochs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use inception_pictures::{Header, Options};

use super::dataset::{Picture, Rgb};
use super::decode::{decode_bytes, read};
use super::error::DataError;

/// Decoded pictures, up to a budget; cheap to clone, shared by all loaders of a run.
///
/// The first pictures that fit stay, and none is thrown out for another: an epoch visits each once, so whatever is
/// evicted would have been as useful as what replaces it.
#[derive(Clone)]
pub struct Cache {
    state: Arc<Mutex<State>>,
    budget: usize,
}

#[derive(Default)]
struct State {
    pictures: HashMap<(PathBuf, u64), (Options, Kept)>,
    bytes: usize,
}

/// A picture that is kept.
#[derive(Clone)]
pub(super) struct Kept {
    /// The pixels.
    pub(super) rgb: Arc<Rgb>,
    /// By how much decoding could have shrunk it ([`Header::shrinks`]).
    pub(super) shrinks: usize,
}

impl Cache {
    /// Keeps up to `budget` bytes; 0 keeps nothing.
    pub fn new(budget: usize) -> Self {
        Cache { state: Arc::default(), budget }
    }

    /// Bytes of pixels it keeps.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// `picture`, decoded now or earlier.
    pub(super) fn decode(&self, picture: &Picture, how: Options) -> Result<Arc<Rgb>, DataError> {
        if let Picture::Memory { rgb, .. } = picture {
            return Ok(rgb.clone());
        }
        match self.kept(picture, how) {
            Some(kept) => Ok(kept.rgb),
            None => self.decode_bytes(picture, &read(picture)?, how),
        }
    }

    /// What was decoded earlier.
    pub(super) fn kept(&self, picture: &Picture, how: Options) -> Option<Kept> {
        let (path, start) = picture.place()?;
        let state = self.lock();
        let (kept_how, kept) = state.pictures.get(&(path.to_path_buf(), start))?;
        (*kept_how == how).then(|| kept.clone())
    }

    /// Decodes the content of a picture's file, and keeps it if there is room.
    pub(super) fn decode_bytes(
        &self,
        picture: &Picture,
        bytes: &[u8],
        how: Options,
    ) -> Result<Arc<Rgb>, DataError> {
        let rgb = decode_bytes(bytes, how)
            .map_err(|e| DataError::Picture { name: picture.name(), problem: e.to_string() })?;
        let rgb = Arc::new(rgb);
        let shrinks = Header::of(bytes).map_or(1, |header| header.shrinks);
        let mut state = self.lock();
        let total = state.bytes + rgb.pixels.len();
        if let Some((path, start)) = picture.place()
            && total <= self.budget
            && let Entry::Vacant(place) = state.pictures.entry((path.to_path_buf(), start))
        {
            place.insert((how, Kept { rgb: rgb.clone(), shrinks }));
            state.bytes = total;
        }
        drop(state);
        Ok(rgb)
    }

    /// Whether `bytes` more would be kept.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.lock().bytes + bytes <= self.budget
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}
