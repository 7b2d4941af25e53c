//! Pictures with labels.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

/// Which pictures a data set has: two with the same fingerprint have the same classes, and under each the same names and sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many classes.
    pub classes: usize,
    /// How many pictures.
    pub pictures: usize,
    /// SHA-256 over the names of the classes, and over path below the root, label and bytes of every picture, in order.
    pub digest: String,
}

impl Fingerprint {
    /// What is different in `other`, in a few words; `None` where nothing is.
    pub fn difference(&self, other: &Fingerprint) -> Option<String> {
        if self == other {
            return None;
        }
        Some(if self.pictures != other.pictures {
            format!("they were {} and are {}", self.pictures, other.pictures)
        } else if self.classes != other.classes {
            format!("they had {} classes and have {}", self.classes, other.classes)
        } else {
            "a name, a size or a class is another".into()
        })
    }
}

impl Dataset {
    /// Asks the file system for the size of every file.
    pub fn fingerprint(&self) -> Result<Fingerprint, DataError> {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        self.classes.iter().for_each(|class| field(class.as_bytes()));
        for Sample { picture, label } in &self.samples {
            field(&label.to_le_bytes());
            match picture {
                Picture::File(path) => {
                    let size = std::fs::metadata(path)
                        .map_err(|source| DataError::Io { path: path.clone(), source })?
                        .len();
                    field(path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes());
                    field(&size.to_le_bytes());
                }
                Picture::Memory { name, rgb } => {
                    field(name.as_bytes());
                    field(&rgb.pixels);
                }
            }
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Fingerprint { classes: self.classes.len(), pictures: self.samples.len(), digest })
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
