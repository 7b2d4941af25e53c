//! Pictures: from files or memory to batches.
//!
//! [`folder`] and [`files`] find them, [`decode`] reads them, [`transform`] makes squares of them. Ahead of time: [`loader`] for data sets on
//! threads of its own, [`feed`] for lists of pictures on threads of the network. [`crops`] says which parts of a picture are
//! shown where several are.
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
pub mod crops;
pub mod dataset;
pub mod decode;
pub mod digits;
mod error;
pub mod feed;
pub mod files;
pub mod folder;
mod imagenet_val;
mod join;
mod list;
pub mod loader;
mod mat_file;
mod mix;
pub mod pack;
mod parallel;
mod pixels;
pub mod preprocess;
pub mod rand_augment;
mod sampling;
pub(crate) mod storage;
mod tar_files;
mod tfrecord;
pub mod transform;
pub mod views;

pub use cache::Cache;
pub use crop::{CropBox, Source};
pub use crops::Crops;
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
pub use views::{Sight, Views};

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
    /// Whether it holds no picture.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}
