//! Pictures with labels.

use std::path::PathBuf;
use std::sync::Arc;

pub use inception_pictures::Rgb;

use super::error::DataError;

/// Where a picture comes from.
#[derive(Clone, Debug)]
pub enum Picture {
    /// A JPEG or PNG file.
    File(PathBuf),
    /// A picture inside the program.
    Memory {
        /// What to call it in messages.
        name: String,
        /// The picture.
        rgb: Arc<Rgb>,
    },
}

impl Picture {
    /// Its path or name.
    pub fn name(&self) -> String {
        match self {
            Picture::File(path) => path.display().to_string(),
            Picture::Memory { name, .. } => name.clone(),
        }
    }
}

/// A picture with its class.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The picture.
    pub picture: Picture,
    /// Index into the data set's classes.
    pub label: u32,
}

/// Pictures of several classes.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it comes from, for messages.
    pub root: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The pictures, in a fixed order.
    pub samples: Vec<Sample>,
    /// Files that are no pictures by their extension: never read, always reported.
    pub ignored: Vec<PathBuf>,
}

impl Dataset {
    /// Pictures of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.samples.iter().for_each(|s| counts[s.label as usize] += 1);
        counts
    }
}

/// A training and a validation set over the same classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Pictures to learn from.
    pub train: Dataset,
    /// Pictures to judge by.
    pub val: Dataset,
}

impl Splits {
    /// Splits one data set: from each class a share `val_share`, at least one picture and never all, goes to `val`.
    /// A pure function of the seed, the class and the order of its pictures.
    pub fn stratified(all: Dataset, val_share: f64, seed: u64) -> Result<Splits, DataError> {
        use rand::seq::SliceRandom;
        let mut chosen = vec![false; all.samples.len()];
        for class in 0..all.classes.len() {
            let mut of_class: Vec<usize> =
                (0..all.samples.len()).filter(|&i| all.samples[i].label as usize == class).collect();
            if of_class.len() < 2 {
                let problem = format!(
                    "class `{}` has {} picture, too few to split: give it at least 2, or make a val/ folder",
                    all.classes[class],
                    of_class.len()
                );
                return Err(DataError::Layout { path: all.root, problem });
            }
            of_class.shuffle(&mut inception_graph::stream(&[seed, SPLIT, class as u64]));
            let count = (of_class.len() as f64 * val_share).round() as usize;
            of_class[..count.clamp(1, of_class.len() - 1)].iter().for_each(|&i| chosen[i] = true);
        }
        let part = |val: bool, ignored: Vec<PathBuf>| Dataset {
            root: all.root.clone(),
            classes: all.classes.clone(),
            samples: (0..chosen.len())
                .filter(|&i| chosen[i] == val)
                .map(|i| all.samples[i].clone())
                .collect(),
            ignored,
        };
        Ok(Splits { train: part(false, all.ignored.clone()), val: part(true, Vec::new()) })
    }
}

/// Marks the random stream of splits.
const SPLIT: u64 = 0x0053_504c_4954;
