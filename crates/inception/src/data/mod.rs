//! Pictures: from files or memory to batches.
//!
//! [`folder`] finds them, [`decode`] reads them, [`transform`] makes squares of them. Ahead of time: [`loader`] for data sets on
//! threads of its own, [`feed`] for lists of pictures on threads of the network.
//! Before any of it: [`check`] finds what would go wrong, [`pack`] makes pictures as small as they may be.

mod cache;
pub mod check;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(not(feature = "cloud"))]
#[path = "no_cloud.rs"]
mod cloud;
mod colour;
mod crop;
pub mod dataset;
pub mod decode;
pub mod digits;
mod error;
pub mod feed;
pub mod folder;
mod imagenet_val;
mod join;
mod list;
pub mod loader;
mod mat_file;
mod mix;
pub mod pack;
mod parallel;
pub mod preprocess;
pub mod rand_augment;
mod sampling;
pub(crate) mod storage;
mod tar_files;
mod tfrecord;
pub mod transform;

pub use cache::Cache;
pub use crop::{CropBox, Source};
pub use dataset::{Dataset, Fingerprint, Picture, Rgb, Sample, Splits};
pub use error::DataError;
pub use imagenet_val::{VALIDATION_PICTURES, devkit_numbers, validation_name, validation_number};
pub use join::LeftOut;
pub use loader::{Loader, OnBad, Request, Skipped, Transform, shuffled};
pub use mix::Mix;
pub use preprocess::{Alpha, Channels, Decoder, Eval, Interpolation, Preprocessing, Range, Resize};
pub use rand_augment::RandAugment;
pub use sampling::{ClassWeights, Sampling};
pub use transform::{Colour, Train};

use crate::engine::Mixed;

/// A batch as the engines take it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `[n, side, side, 3]`, as the network takes them.
    pub pixels: Vec<f32>,
    /// Side of the square pictures.
    pub side: usize,
    /// Class of each picture.
    pub labels: Vec<u32>,
    /// Index of each picture in its data set.
    pub indices: Vec<usize>,
    /// What each picture was mixed with; empty where none was.
    pub mixed: Vec<Mixed>,
    /// How much the loss of each counts; empty where all count alike.
    pub weights: Vec<f32>,
}

impl Batch {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.indices.len()
    }
    /// Takes the pixels of a feed's pictures that could be decoded, in order, and no labels; how many there are.
    pub fn fill(&mut self, pictures: &mut [feed::Decoded]) -> usize {
        let mut n = 0;
        self.pixels.clear();
        for pixels in pictures.iter_mut().filter_map(|picture| picture.pixels.as_mut().ok()) {
            // One alone needs no copy.
            if n == 0 {
                std::mem::swap(&mut self.pixels, pixels)
            } else {
                self.pixels.extend_from_slice(pixels)
            }
            n += 1;
        }
        self.labels = vec![0; n];
        self.indices = (0..n).collect();
        n
    }
    /// Whether it holds no picture.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}
