//! Every file of a data set, in order, whatever else is wrong.
//!
//! The rules are those of [`folder`]: class folders in `train/` and `val/` or all in one, pictures
//! at any depth, names that start with a dot left out, links followed. But where opening for training stops at the first
//! problem, this notes it and goes on.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kind::{Kind, Remark};
use crate::data::folder::{self, TRAIN, VAL, entries, is_picture, last_name};
use crate::data::{DataError, Dataset, Picture, Sample, Splits};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from; also all of a data set without splits.
    Train,
    /// To judge by.
    Val,
}

/// What a file is to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A picture of a class.
    Picture,
    /// Named as a picture, but in no class folder.
    Stray,
    /// No picture by its name.
    Ignored,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) split: Split,
    /// Index into the classes of its part.
    pub(super) class: usize,
    pub(super) role: Role,
}

/// A folder with class folders.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) split: Split,
    pub(super) root: PathBuf,
    /// Names of the class folders, sorted; one that is not UTF-8 has marks in place of what is not.
    pub(super) classes: Vec<String>,
    pub(super) entries: Vec<Entry>,
}

/// What is there.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// What is wrong with folders.
    pub(super) folders: Vec<(PathBuf, Remark)>,
}

impl Part {
    /// The same as training has it; labels are indices into the classes.
    pub(super) fn dataset(&self) -> Dataset {
        let pictures = self.entries.iter().filter(|entry| entry.role == Role::Picture);
        let sample =
            |entry: &Entry| Sample { picture: Picture::File(entry.path.clone()), label: entry.class as u32 };
        Dataset {
            root: self.root.clone(),
            classes: self.classes.clone(),
            samples: pictures.map(sample).collect(),
            ignored: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// Lists `root`; an error only if it cannot be listed at all.
pub(super) fn scan(root: &Path, val_split: Option<f64>, seed: u64) -> Result<Scan, DataError> {
    let other = |path: &Path| {
        let problem = "is a list, an archive or a folder of them: class folders are checked alone so far; training names the first \
                       picture that it cannot read, or counts them with --on-bad skip";
        Err(DataError::Layout { path: path.into(), problem: problem.into() })
    };
    let found = [(Split::Train, folder::split(root, TRAIN)?), (Split::Val, folder::split(root, VAL)?)];
    let mut roots: Vec<(Split, PathBuf)> = Vec::new();
    for (split, found) in found {
        match found {
            Some(folder::Split::One(path)) => roots.push((split, path)),
            Some(folder::Split::Shards(_)) => return other(root),
            None => {}
        }
    }
    if roots.is_empty() {
        roots.push((Split::Train, root.into()));
    }
    if let Some((_, path)) = roots.iter().find(|(_, path)| folder::is_collection(path)) {
        return other(path);
    }
    let mut folders = Vec::new();
    let mut parts: Vec<Part> =
        roots.into_iter().map(|(split, folder)| part(split, folder, &mut folders)).collect();
    if let ([Part { split: Split::Train, .. }], Some(share)) = (&parts[..], val_split) {
        hold_out(&mut parts, share, seed);
    }
    would_stop(root, &parts, val_split, seed, &mut folders);
    Ok(Scan { parts, folders })
}

/// One folder of class folders.
fn part(split: Split, root: PathBuf, folders: &mut Vec<(PathBuf, Remark)>) -> Part {
    let mut part = Part { split, root, classes: Vec::new(), entries: Vec::new() };
    let listed = match entries(&part.root) {
        Ok(listed) => listed,
        Err(error) => {
            folders.push((part.root.clone(), unreadable(&error)));
            return part;
        }
    };
    for path in listed {
        if !path.is_dir() {
            let role = if is_picture(&path) { Role::Stray } else { Role::Ignored };
            part.entries.push(Entry { path, split, class: 0, role });
            continue;
        }
        let class = part.classes.len();
        part.classes.push(last_name(&path));
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            let detail = format!("{:?}: rename it", path.file_name().unwrap_or_default());
            folders.push((path.clone(), Remark::new(Kind::FolderName, detail)));
        }
        let before = part.entries.len();
        let (problems, mut pictures) = (folders.len(), 0);
        walk(&path, &mut Vec::new(), folders, &mut |path| {
            let role = if is_picture(&path) { Role::Picture } else { Role::Ignored };
            pictures += usize::from(role == Role::Picture);
            part.entries.push(Entry { path, split, class, role });
        });
        // A folder that could not be read may hold pictures.
        if pictures == 0 && folders.len() == problems {
            let detail = match part.entries.len() - before {
                0 => String::new(),
                _ => "has files, but no .jpg, .jpeg or .png".into(),
            };
            folders.push((path, Remark::new(Kind::EmptyClass, detail)));
        }
    }
    part
}

/// Gives every visible file in `folder` or below to `found`, sorted, as training lists them.
fn walk(
    folder: &Path,
    above: &mut Vec<PathBuf>,
    problems: &mut Vec<(PathBuf, Remark)>,
    found: &mut dyn FnMut(PathBuf),
) {
    let listed = folder
        .canonicalize()
        .map_err(|source| DataError::Io { path: folder.into(), source })
        .and_then(|real| Ok((real, entries(folder)?)));
    match listed {
        Ok((real, _)) if above.contains(&real) => {
            problems.push((folder.into(), Remark::new(Kind::Loop, "remove the link")));
        }
        Ok((real, listed)) => {
            above.push(real);
            for path in listed {
                match path.is_dir() {
                    true => walk(&path, above, problems, found),
                    false => found(path),
                }
            }
            above.pop();
        }
        Err(error) => problems.push((folder.into(), unreadable(&error))),
    }
}

fn unreadable(error: &DataError) -> Remark {
    let detail = match error {
        DataError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    Remark::new(Kind::FolderUnreadable, detail)
}

/// Marks the pictures that training would hold out.
fn hold_out(parts: &mut [Part], share: f64, seed: u64) {
    // What keeps it from doing so is found by opening for training.
    let part = &mut parts[0];
    let valid = share > 0.0 && share < 1.0;
    let Some(splits) = valid.then(|| Splits::stratified(part.dataset(), share, seed)).and_then(Result::ok)
    else {
        return;
    };
    let path = |sample: Sample| match sample.picture {
        Picture::File(path) => Some(path),
        Picture::Part { .. } | Picture::Memory { .. } => None,
    };
    let held_out: std::collections::HashSet<PathBuf> =
        splits.val.samples.into_iter().filter_map(path).collect();
    for entry in part.entries.iter_mut().filter(|entry| held_out.contains(&entry.path)) {
        entry.split = Split::Val;
    }
}

/// Adds what would stop training as a whole: classes that differ, and, if no folder is at fault so far, whatever opening
/// says. Splits that are not there are no fault: evaluation needs `val/` alone, and training takes `--val-split`.
fn would_stop(
    root: &Path,
    parts: &[Part],
    val_split: Option<f64>,
    seed: u64,
    folders: &mut Vec<(PathBuf, Remark)>,
) {
    if let [train, val] = parts
        && let Err(DataError::Classes { table, .. }) = val.dataset().join_train(&train.dataset())
    {
        folders.push((val.root.clone(), Remark::new(Kind::ClassesDiffer, table)));
    }
    if !folders.is_empty() {
        return;
    }
    let opened = match parts {
        [Part { split: Split::Train, root, .. }] if val_split.is_none() => {
            folder::for_training(&folder::Split::One(root.clone())).map(drop)
        }
        [Part { split: Split::Val, root, .. }] if val_split.is_none() => folder::open(root).map(drop),
        _ => folder::open_splits(root, val_split, seed).map(drop),
    };
    let problem = match opened {
        Ok(()) => return,
        Err(DataError::Layout { path, problem }) => (path, Remark::new(Kind::Layout, problem)),
        Err(other) => (root.into(), Remark::new(Kind::Layout, other.to_string())),
    };
    folders.push(problem);
}
