//! Every file of a data set, in order, whatever else is wrong.
//!
//! The rules are those of [`folder`]: class folders, lists, archives or ImageNet's validation pictures, in `train/` and `val/` or
//! all in one. But where opening for training stops at the first problem, this notes it and goes on; of shards with those
//! that can be read.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kind::{Kind, Remark};
use crate::data::files::{entries, is_picture, last_name, walk};
use crate::data::folder::{self, Division, TRAIN, VAL};
use crate::data::list::{self, List};
use crate::data::{DataError, Dataset, Picture, Sample, storage};

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

/// A file, or a picture inside one.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) picture: Picture,
    pub(super) split: Split,
    /// Index into the classes of its part.
    pub(super) class: usize,
    pub(super) role: Role,
    /// Whether no list and no archive names it.
    pub(super) is_movable: bool,
}

impl Entry {
    /// Where it is; of a picture inside an archive `archive:member`.
    pub(super) fn path(&self) -> PathBuf {
        match &self.picture {
            Picture::File(path) => path.clone(),
            Picture::Part { archive, name, .. } => {
                let mut path = archive.as_os_str().to_os_string();
                path.push(":");
                path.push(name);
                path.into()
            }
            Picture::Memory { name, .. } => name.into(),
        }
    }
}

/// What says of which class the pictures of a part are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Their folders, or a file about a folder.
    Folder,
    /// A list.
    List(PathBuf),
    /// The archives that they are in.
    Archives,
}

/// Pictures that lie together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) split: Split,
    pub(super) root: PathBuf,
    pub(super) place: Place,
    /// Names of the classes, sorted; that of a folder that is not UTF-8 has marks in place of what is not.
    pub(super) classes: Vec<String>,
    /// Pictures and other files.
    pub(super) entries: Vec<Entry>,
    /// The group of each picture; empty where there are none.
    pub(super) groups: Vec<u32>,
}

/// What is there.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// What is wrong with folders, lists and archives.
    pub(super) folders: Vec<(PathBuf, Remark)>,
}

impl Part {
    fn new(split: Split, root: PathBuf, place: Place) -> Part {
        Part { split, root, place, classes: Vec::new(), entries: Vec::new(), groups: Vec::new() }
    }

    fn of(data: Dataset, split: Split, place: Place) -> Part {
        let is_movable = place == Place::Folder;
        let picture = |Sample { picture, label }: Sample| Entry {
            picture,
            split,
            class: label as usize,
            role: Role::Picture,
            is_movable,
        };
        let other =
            |path| Entry { picture: Picture::File(path), split, class: 0, role: Role::Ignored, is_movable };
        let entries = data.samples.into_iter().map(picture).chain(data.ignored.into_iter().map(other));
        let entries = entries.collect();
        Part { classes: data.classes, entries, groups: data.groups, ..Part::new(split, data.root, place) }
    }

    fn pictures(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.role == Role::Picture)
    }

    /// The same as training has it; labels are indices into the classes.
    pub(super) fn dataset(&self) -> Dataset {
        let sample = |entry: &Entry| Sample { picture: entry.picture.clone(), label: entry.class as u32 };
        Dataset {
            root: self.root.clone(),
            classes: self.classes.clone(),
            samples: self.pictures().map(sample).collect(),
            ignored: Vec::new(),
            groups: self.groups.clone(),
        }
    }
}

/// Lists `root`; an error only if it cannot be listed at all.
pub(super) fn scan(root: &Path, val_split: Option<f64>, seed: u64) -> Result<Scan, DataError> {
    storage::prepare(root)?;
    let mut folders = Vec::new();
    let found = [(Split::Train, folder::split(root, TRAIN)?), (Split::Val, folder::split(root, VAL)?)];
    let mut parts: Vec<Part> = found
        .into_iter()
        .filter_map(|(split, place)| Some(named_part(split, place?, &mut folders)))
        .collect();
    if parts.is_empty() {
        parts = match list::is(root) && storage::is_file(root) {
            true => list_parts(root, &mut folders),
            false => vec![named_part(Split::Train, folder::Split::One(root.into()), &mut folders)],
        };
    }
    if let ([Part { split: Split::Train, .. }], Some(share)) = (&parts[..], val_split) {
        hold_out(&mut parts, share, seed);
    }
    would_stop(root, &parts, val_split, seed, &mut folders);
    Ok(Scan { parts, folders })
}

/// One split.
fn named_part(split: Split, place: folder::Split, folders: &mut Vec<(PathBuf, Remark)>) -> Part {
    let paths = place.paths();
    let first = paths.first().cloned().unwrap_or_default();
    if !folder::is_collection(&first) {
        return part(split, first, folders);
    }
    let archives: Vec<PathBuf> = match storage::is_dir(&first) {
        true => {
            entries(&first).unwrap_or_default().into_iter().filter(|file| folder::is_archive(file)).collect()
        }
        false => paths.iter().filter(|file| folder::is_archive(file)).cloned().collect(),
    };
    let kind = match archives.is_empty() {
        false => Place::Archives,
        true if storage::is_file(&first) => Place::List(first.clone()),
        true => Place::Folder,
    };
    match place.open() {
        Ok(data) => Part::of(data, split, kind),
        Err(error) if archives.len() < 2 => {
            folders.push(at_fault(&first, error));
            Part::new(split, first, kind)
        }
        Err(_) => Part::of(readable(&first, &archives, folders), split, kind),
    }
}

/// The pictures of those archives that can be opened.
fn readable(root: &Path, archives: &[PathBuf], folders: &mut Vec<(PathBuf, Remark)>) -> Dataset {
    let (mut pictures, mut ignored) = (Vec::new(), Vec::new());
    for path in archives {
        match folder::open(path) {
            Ok(data) => {
                let named = |sample: Sample| (sample.picture, data.classes[sample.label as usize].clone());
                pictures.extend(data.samples.into_iter().map(named));
                ignored.extend(data.ignored);
            }
            Err(error) => folders.push(at_fault(path, error)),
        }
    }
    Dataset::named(root, pictures, ignored)
}

/// A list, with the splits that it tells apart.
fn list_parts(path: &Path, folders: &mut Vec<(PathBuf, Remark)>) -> Vec<Part> {
    let place = || Place::List(path.into());
    match List::open(path).and_then(|list| list.parts(path)) {
        Ok((train, val)) => {
            let val = val.map(|val| Part::of(val, Split::Val, place()));
            std::iter::once(Part::of(train, Split::Train, place())).chain(val).collect()
        }
        Err(error) => {
            folders.push(at_fault(path, error));
            vec![Part::new(Split::Train, path.into(), place())]
        }
    }
}

/// What opening for training says.
fn at_fault(path: &Path, error: DataError) -> (PathBuf, Remark) {
    match error {
        DataError::Layout { path, problem } => (path, Remark::new(Kind::Layout, problem)),
        other => (path.into(), Remark::new(Kind::Layout, other.to_string())),
    }
}

/// One folder of class folders.
fn part(split: Split, root: PathBuf, folders: &mut Vec<(PathBuf, Remark)>) -> Part {
    let mut part = Part::new(split, root, Place::Folder);
    let listed = match entries(&part.root) {
        Ok(listed) => listed,
        Err(error) => {
            folders.push(unlisted(error));
            return part;
        }
    };
    for path in listed {
        if !storage::is_dir(&path) {
            let role = if is_picture(&path) { Role::Stray } else { Role::Ignored };
            part.entries.push(Entry {
                picture: Picture::File(path),
                split,
                class: 0,
                role,
                is_movable: true,
            });
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
        let mut found = |found: Result<PathBuf, DataError>| {
            match found {
                Ok(path) => {
                    let role = if is_picture(&path) { Role::Picture } else { Role::Ignored };
                    pictures += usize::from(role == Role::Picture);
                    part.entries.push(Entry {
                        picture: Picture::File(path),
                        split,
                        class,
                        role,
                        is_movable: true,
                    });
                }
                Err(error) => folders.push(unlisted(error)),
            }
            Ok(())
        };
        if let Err(error) = walk(&path, &mut Vec::new(), &mut found) {
            folders.push(unlisted(error));
        }
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

/// Why a folder is not listed.
fn unlisted(error: DataError) -> (PathBuf, Remark) {
    match error {
        DataError::Io { path, source } => (path, Remark::new(Kind::FolderUnreadable, source.to_string())),
        // The walk has come back to where it was.
        DataError::Layout { path, .. } => (path, Remark::new(Kind::Loop, "remove the link")),
        other => (PathBuf::new(), Remark::new(Kind::FolderUnreadable, other.to_string())),
    }
}

/// Marks the pictures that training would hold out.
fn hold_out(parts: &mut [Part], share: f64, seed: u64) {
    // What keeps it from doing so is found by opening for training.
    let part = &mut parts[0];
    let valid = share > 0.0 && share < 1.0;
    let Some(held_out) = valid.then(|| part.dataset().held_out(share, seed)).and_then(Result::ok) else {
        return;
    };
    let pictures = part.entries.iter_mut().filter(|entry| entry.role == Role::Picture);
    for (entry, _) in pictures.zip(held_out).filter(|(_, is_held_out)| *is_held_out) {
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
    if !folders.is_empty() && parts.iter().any(|part| part.place != Place::Folder) {
        // Of a list or a shard that cannot be read, nothing is known about its classes.
        return;
    }
    if let [train, val] = parts
        && let Err(DataError::Classes { table, .. }) = val.dataset().join_train(&train.dataset())
    {
        folders.push((val.root.clone(), Remark::new(Kind::ClassesDiffer, table)));
    }
    if !folders.is_empty() {
        return;
    }
    let opened = match parts {
        [Part { split: Split::Val, place: Place::Folder, root, .. }] if val_split.is_none() => {
            folder::open(root).map(drop)
        }
        [Part { split: Split::Val, .. }] if val_split.is_none() => Ok(()),
        [Part { split: Split::Train, place: Place::Folder, root, .. }] if val_split.is_none() => {
            folder::for_training(&folder::Split::One(root.clone())).map(drop)
        }
        // Archives are not listed again.
        [train @ Part { split: Split::Train, place: Place::Archives, .. }] => {
            Division { val_split, seed, allow_missing: false }.check_share(root).and_then(|()| {
                let data = folder::with_classes(train.dataset())?;
                val_split.map_or(Ok(()), |share| data.held_out(share, seed).map(drop))
            })
        }
        [train @ Part { split: Split::Train, .. }] if val_split.is_none() => {
            folder::with_classes(train.dataset()).map(drop)
        }
        [train, _] if val_split.is_none() => folder::with_classes(train.dataset()).map(drop),
        _ => folder::open_splits(root, val_split, seed).map(drop),
    };
    if let Err(error) = opened {
        folders.push(at_fault(root, error));
    }
}
