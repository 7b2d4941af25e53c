//! Pictures with labels.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use inception_pictures::Rgb;
use rand::seq::SliceRandom;

use super::error::DataError;
use super::join::LeftOut;
use super::{list, storage};

/// Where a picture comes from.
#[derive(Clone, Debug)]
pub enum Picture {
    /// A JPEG or PNG file, by its path or URL.
    File(PathBuf),
    /// Bytes of an archive: a member of a tar file, a value of a TFRecord.
    Part {
        /// The archive.
        archive: Arc<Path>,
        /// The member's name in it.
        name: String,
        /// Where its bytes begin.
        start: u64,
        /// How many there are.
        len: u64,
    },
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
            Picture::Part { archive, name, .. } => format!("{}:{name}", archive.display()),
            Picture::Memory { name, .. } => name.clone(),
        }
    }

    /// Its path, that of a member inside its archive, or its name.
    pub fn path(&self) -> &Path {
        match self {
            Picture::File(path) => path,
            Picture::Part { name, .. } | Picture::Memory { name, .. } => Path::new(name),
        }
    }

    /// The bytes of its file, or of its part of an archive: as many as there are, should that have been cut off since. None of a
    /// picture in memory.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        match self {
            Picture::File(path) if storage::is_remote(path) => storage::read(path),
            // A pipe might never end.
            Picture::File(path) => match fs::metadata(path) {
                Ok(metadata) if !metadata.is_file() => Err(io::Error::other("is no regular file")),
                Err(_) if path.is_symlink() => Err(io::Error::other("is a link to nothing: remove it")),
                _ => fs::read(path),
            },
            Picture::Part { archive, start, len, .. } => storage::read_part(archive, *start, *len),
            Picture::Memory { .. } => Ok(Vec::new()),
        }
    }

    /// What identifies the file or the part of one that it is read from; `None` for one in memory.
    pub(super) fn place(&self) -> Option<(&Path, u64)> {
        match self {
            Picture::File(path) => Some((path, 0)),
            Picture::Part { archive, start, .. } => Some((archive, *start)),
            Picture::Memory { .. } => None,
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
    /// The folder or the list that it is, as messages name it.
    pub root: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The pictures, in a fixed order.
    pub samples: Vec<Sample>,
    /// Files that are no pictures by their extension: never read, always reported.
    pub ignored: Vec<PathBuf>,
    /// The group of each picture, of which all stay on one side of a split; empty where there are none.
    pub groups: Vec<u32>,
}

impl Dataset {
    /// Files whose classes do not matter: they have `classes` in turn.
    pub fn of_files(files: &[PathBuf], classes: usize) -> Self {
        let sample = |(i, path): (usize, &PathBuf)| Sample {
            picture: Picture::File(path.clone()),
            label: (i % classes.max(1)) as u32,
        };
        Dataset {
            root: PathBuf::new(),
            classes: (0..classes).map(|class| class.to_string()).collect(),
            samples: files.iter().enumerate().map(sample).collect(),
            ignored: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Pictures under the names of their classes, which are sorted by their bytes, or as numbers where all of them are numbers.
    pub(super) fn named(root: &Path, pictures: Vec<(Picture, String)>, ignored: Vec<PathBuf>) -> Self {
        let mut classes: Vec<String> = pictures.iter().map(|(_, class)| class.clone()).collect();
        classes.sort();
        classes.dedup();
        if let Ok(mut numbers) = classes.iter().map(|class| class.parse()).collect::<Result<Vec<u64>, _>>() {
            numbers.sort();
            classes.sort_by_key(|class| numbers.binary_search(&class.parse().unwrap_or_default()));
        }
        let labels: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let label = |class: &String| labels[class.as_str()];
        let samples =
            pictures.iter().map(|(picture, class)| Sample { picture: picture.clone(), label: label(class) });
        let samples = samples.collect();
        Dataset { root: root.into(), classes, samples, ignored, groups: Vec::new() }
    }

    /// The same with its classes in the order of `names`, if they are the same.
    pub(super) fn in_order(mut self, names: Vec<String>) -> Self {
        let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let labels: Option<Vec<u32>> =
            self.classes.iter().map(|class| places.get(class.as_str()).copied()).collect();
        if let Some(labels) = labels.filter(|labels| labels.len() == names.len()) {
            self.samples.iter_mut().for_each(|sample| sample.label = labels[sample.label as usize]);
            self.classes = names;
        }
        self
    }

    /// What to call a picture: its path below the root, or its name.
    pub fn name(&self, index: usize) -> String {
        match &self.samples[index].picture {
            Picture::File(path) => self.below(path).display().to_string(),
            other => other.name(),
        }
    }

    /// The path of a file below the root, or below the folder of a list; any other as it is.
    pub fn below<'a>(&self, path: &'a Path) -> &'a Path {
        let folder = if list::is(&self.root) { self.root.parent() } else { None };
        path.strip_prefix(folder.unwrap_or(&self.root)).unwrap_or(path)
    }

    /// The pictures for which `keep`, by index.
    pub fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let all = |count: usize| (0..count).filter(|&i| keep(i));
        Dataset {
            root: self.root.clone(),
            classes: self.classes.clone(),
            samples: all(self.samples.len()).map(|i| self.samples[i].clone()).collect(),
            groups: all(self.groups.len()).map(|i| self.groups[i]).collect(),
            ignored: self.ignored.clone(),
        }
    }

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
    /// A text that is another one when a file was written since: of what lies on this machine, when each was.
    pub fn last_changes(&self) -> String {
        let mut hash = Sha256::new();
        for Sample { picture, .. } in &self.samples {
            let path: &Path = match picture {
                Picture::File(path) => path,
                Picture::Part { archive, .. } => archive,
                Picture::Memory { .. } => continue,
            };
            let changed = std::fs::metadata(path).and_then(|about| about.modified()).ok();
            let since = changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            hash.update(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Asks the file system for the size of every file; of what a store has listed, size and ETag are known.
    pub fn fingerprint(&self) -> Fingerprint {
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
                    // A file that cannot be read is found, or left out, when its turn comes.
                    let size = storage::size(path).unwrap_or(u64::MAX);
                    field(self.below(path).as_os_str().as_encoded_bytes());
                    field(&size.to_le_bytes());
                    storage::tag(path).iter().for_each(|tag| field(tag.as_bytes()));
                }
                Picture::Part { archive, name, start, len } => {
                    field(archive.file_name().unwrap_or_default().as_encoded_bytes());
                    field(name.as_bytes());
                    field(&[start.to_le_bytes(), len.to_le_bytes()].concat());
                    storage::tag(archive).iter().for_each(|tag| field(tag.as_bytes()));
                }
                Picture::Memory { name, rgb } => {
                    field(name.as_bytes());
                    field(&rgb.pixels);
                }
            }
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Fingerprint { classes: self.classes.len(), pictures: self.samples.len(), digest }
    }
}

/// A training and a validation set over the same classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Pictures to learn from.
    pub train: Dataset,
    /// Pictures to judge by.
    pub val: Dataset,
    /// Classes of `val` that are not learnt, whose pictures are no longer there.
    pub left_out: Vec<LeftOut>,
}

impl Splits {
    /// Splits one data set: from each class a share `val_share`, at least one picture and never all, goes to `val`; where there
    /// are groups, whole groups, to about that share of all pictures. A pure function of the seed and the order of the pictures.
    pub fn stratified(all: Dataset, val_share: f64, seed: u64) -> Result<Splits, DataError> {
        let chosen = all.held_out(val_share, seed)?;
        let train = all.filtered(|i| !chosen[i]);
        let val = Dataset { ignored: Vec::new(), ..all.filtered(|i| chosen[i]) };
        Ok(Splits { train, val, left_out: Vec::new() })
    }
}

impl Dataset {
    /// For each picture whether it is held out by [`Splits::stratified`].
    pub(super) fn held_out(&self, share: f64, seed: u64) -> Result<Vec<bool>, DataError> {
        match self.groups.is_empty() {
            true => by_class(self, share, seed),
            false => by_group(self, share, seed),
        }
    }
}

/// The share of each class.
fn by_class(all: &Dataset, val_share: f64, seed: u64) -> Result<Vec<bool>, DataError> {
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
            return Err(DataError::Layout { path: all.root.clone(), problem });
        }
        of_class.shuffle(&mut inception_graph::stream(&[seed, SPLIT, class as u64]));
        let count = (of_class.len() as f64 * val_share).round() as usize;
        of_class[..count.clamp(1, of_class.len() - 1)].iter().for_each(|&i| chosen[i] = true);
    }
    Ok(chosen)
}

/// The same by whole groups, in a random order until there are enough; a group that would leave a class without a picture to learn from
/// stays.
fn by_group(all: &Dataset, val_share: f64, seed: u64) -> Result<Vec<bool>, DataError> {
    let groups = all.groups.iter().max().map_or(0, |&group| group as usize + 1);
    let mut members = vec![Vec::new(); groups];
    all.groups.iter().enumerate().for_each(|(i, &group)| members[group as usize].push(i));
    let mut order: Vec<usize> = (0..groups).collect();
    order.shuffle(&mut inception_graph::stream(&[seed, SPLIT]));
    let (mut chosen, mut held) = (vec![false; all.samples.len()], 0);
    let (mut left, wanted) = (all.counts(), (all.samples.len() as f64 * val_share).round() as usize);
    for group in order {
        let mut after = left.clone();
        members[group].iter().for_each(|&i: &usize| after[all.samples[i].label as usize] -= 1);
        if held >= wanted.max(1) || after.contains(&0) {
            continue;
        }
        left = after;
        held += members[group].len();
        members[group].iter().for_each(|&i| chosen[i] = true);
    }
    if held == 0 {
        let problem = format!(
            "its {groups} groups cannot be split: whichever is held out, a class has no other; name the splits in a column `split`"
        );
        return Err(DataError::Layout { path: all.root.clone(), problem });
    }
    Ok(chosen)
}

/// Marks the random stream of splits.
const SPLIT: u64 = 0x0053_504c_4954;
