//! What a check found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::below;
use super::kind::{Kind, Remark, Severity};
use super::scan::Split;

/// A file that was seen.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it would be learnt from or judged by.
    pub split: Split,
    /// Index into the report's classes; none for a file that no class has.
    pub class: Option<usize>,
    /// Whether its folder says of which class it is, so that it can be moved; a list would name a file that is not there.
    pub is_movable: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// Columns and rows, upright, if it could be decoded.
    pub size: Option<[usize; 2]>,
    /// What is to be said against it.
    pub remarks: Vec<Remark>,
}

impl File {
    /// That of the remark that counts most; none where there is none.
    pub fn severity(&self) -> Option<Severity> {
        self.remarks.iter().map(|remark| remark.kind.severity()).min()
    }
}

/// A folder that is at fault.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What is to be said against it.
    pub remark: Remark,
}

/// Pictures of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub class: String,
    /// To learn from.
    pub train: usize,
    /// To judge by.
    pub val: usize,
}

/// Files by their worst remark; the last four add up to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files seen.
    pub files: usize,
    /// Nothing to be said against them.
    pub ok: usize,
    /// Training would stop at them or leave them out.
    pub errors: usize,
    /// Warnings and no error.
    pub warnings: usize,
    /// Notes only.
    pub notes: usize,
}

/// What training needs, from what was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Forecast {
    /// Bytes of the pictures' files.
    pub disk_bytes: u64,
    /// Bytes of all pictures decoded.
    pub decoded_bytes: u64,
    /// Bytes of decoded pictures that training keeps between epochs.
    pub cache_bytes: u64,
    /// Side of the network's input.
    pub img_size: usize,
    /// Threads of the measurement.
    pub threads: usize,
    /// Reading and decoding a picture, on one of the threads.
    pub decode_ms: f64,
    /// Cropping, resizing and distorting it.
    pub distort_ms: f64,
    /// What the threads give together.
    pub images_per_second: f64,
    /// The same from decoded pictures that were kept.
    pub cached_images_per_second: f64,
}

/// All remarks of a kind.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    /// The kind.
    pub kind: Kind,
    /// Where, and the remark.
    pub at: Vec<(&'a Path, &'a Remark)>,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The data set.
    pub root: PathBuf,
    /// Whether pictures of it lie in archives.
    pub has_archives: bool,
    /// Every file that was seen, sorted.
    pub files: Vec<File>,
    /// Folders at fault.
    pub folders: Vec<Folder>,
    /// Every class of either split.
    pub classes: Vec<ClassCount>,
    /// What training needs.
    pub forecast: Forecast,
}

impl Report {
    /// Files by their worst remark.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { files: self.files.len(), ..Counts::default() };
        for file in &self.files {
            let count = match file.severity() {
                None => &mut counts.ok,
                Some(Severity::Error) => &mut counts.errors,
                Some(Severity::Warning) => &mut counts.warnings,
                Some(Severity::Note) => &mut counts.notes,
            };
            *count += 1;
        }
        counts
    }

    /// Whether training would stop at a file or folder.
    pub fn has_errors(&self) -> bool {
        let folder = |folder: &Folder| folder.remark.kind.severity() == Severity::Error;
        self.folders.iter().any(folder) || self.files.iter().any(|f| f.severity() == Some(Severity::Error))
    }

    /// The remarks by kind, those that count most first.
    pub fn findings(&self) -> Vec<Finding<'_>> {
        let folders = self.folders.iter().map(|folder| (folder.path.as_path(), &folder.remark));
        let files = self.files.iter().flat_map(|f| f.remarks.iter().map(|remark| (f.path.as_path(), remark)));
        let mut by_kind: BTreeMap<Kind, Vec<(&Path, &Remark)>> = BTreeMap::new();
        for (path, remark) in folders.chain(files) {
            by_kind.entry(remark.kind).or_default().push((path, remark));
        }
        by_kind.into_iter().map(|(kind, at)| Finding { kind, at }).collect()
    }

    /// How many remarks of one of `kinds` there are.
    pub fn number_of(&self, kinds: &[Kind]) -> usize {
        let files = self.files.iter().flat_map(|file| &file.remarks);
        let all = files.chain(self.folders.iter().map(|folder| &folder.remark));
        all.filter(|remark| kinds.contains(&remark.kind)).count()
    }

    /// How many times the pictures of the smallest class the largest has, and both names.
    pub fn imbalance(&self) -> Option<(f64, &str, &str)> {
        imbalance(&self.classes)
    }

    /// A path of the report below its root.
    pub fn below(&self, path: &Path) -> PathBuf {
        below(&self.root, path)
    }
}

/// Of the training pictures, or of the validation pictures where there are no others; empty classes aside.
pub(super) fn imbalance(classes: &[ClassCount]) -> Option<(f64, &str, &str)> {
    let no_train = classes.iter().all(|class| class.train == 0);
    let count = |class: &ClassCount| if no_train { class.val } else { class.train };
    let filled = || classes.iter().filter(|class| count(class) > 0);
    // The first of equals, for both.
    let largest = filled().rev().max_by_key(|class| count(class))?;
    let smallest = filled().min_by_key(|class| count(class))?;
    let ratio = count(largest) as f64 / count(smallest) as f64;
    Some((ratio, &largest.class, &smallest.class))
}
