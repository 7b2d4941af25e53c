//! Data sets of any kind by their root, and class folders: a folder a class, in `train/` and `val/` or all in one.
//!
//! ```text
//! root            train/ and val/, each of any kind below; or files with these words in their names: train.csv, val-000.tar
//! folder          class folders; or shards; or ImageNet's validation pictures
//! file            a list, a tar file, a TFRecord file
//! ```
//! Classes are sorted by the bytes of their names; labels follow the names, never the position in another split. A
//! picture is a file at any depth in a class's folder whose name ends in `.jpg`, `.jpeg` or `.png` in any case; what it
//! really holds is decided by its content. Links are followed. Names that start with a dot are skipped; every other file
//! that is not read is listed in [`Dataset::ignored`].

use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Picture, Sample, Splits};
use super::error::DataError;
use super::files::{entries, is_picture, last_name, walk};
use super::list::{self, List};
use super::{imagenet_val, storage, tar_files, tfrecord};

/// Names of the folder to learn from, in any case.
pub(super) const TRAIN: &[&str] = &["train", "training"];
/// Names of the folder to judge by, in any case; the first that is there is used.
pub(super) const VAL: &[&str] = &["val", "valid", "validation", "test", "testing"];

/// How a data set is divided for training.
#[derive(Clone, Copy, Debug, Default)]
pub struct Division {
    /// Share of each class that is held out, where there is no validation split.
    pub val_split: Option<f64>,
    /// Decides which pictures those are.
    pub seed: u64,
    /// Whether a validation split with other classes is judged by those that it has in common with training.
    pub allow_missing: bool,
}

impl Division {
    /// An error unless the share that is held out is one.
    pub(super) fn check_share(self, root: &Path) -> Result<(), DataError> {
        let Some(share) = self.val_split.filter(|share| !(*share > 0.0 && *share < 1.0)) else {
            return Ok(());
        };
        let problem = format!("--val-split {share} is not a share: expected more than 0 and less than 1");
        Err(DataError::Layout { path: root.into(), problem })
    }

    /// A training split and what it is judged by.
    pub(super) fn join(self, train: Dataset, val: Dataset) -> Result<Splits, DataError> {
        let (val, left_out) = match self.allow_missing {
            true => val.join_by_name(&train.classes)?,
            false => (val.join_train(&train)?, Vec::new()),
        };
        Ok(Splits { train, val, left_out })
    }
}

/// Opens `root` for training: `train/` and `val/` inside, with the same classes, or class folders of which a share `val_split`
/// is held out.
pub fn open_splits(root: &Path, val_split: Option<f64>, seed: u64) -> Result<Splits, DataError> {
    divide(root, Division { val_split, seed, allow_missing: false })
}

/// The same in any division.
pub fn divide(root: &Path, division: Division) -> Result<Splits, DataError> {
    let Division { val_split, seed, .. } = division;
    let layout = |problem: String| Err(DataError::Layout { path: root.into(), problem });
    division.check_share(root)?;
    storage::prepare(root)?;
    if list::is(root) && storage::is_file(root) {
        let splits = List::open(root)?.splits(root, division)?;
        return Ok(Splits { train: with_classes(splits.train)?, ..splits });
    }
    match (split(root, TRAIN)?, split(root, VAL)?) {
        (Some(train), None) => match val_split {
            Some(share) => Splits::stratified(for_training(&train)?, share, seed),
            None => layout(format!(
                "has {} but no val/ folder or val file: add one, or give --val-split 0.1 to hold out a tenth of the training pictures",
                train.name()
            )),
        },
        (Some(train), Some(val)) if val_split.is_some() => layout(format!(
            "has {0} and {1}, so --val-split would be ignored: leave it out, or point at {0} alone",
            train.name(),
            val.name()
        )),
        (Some(train), Some(val)) => {
            let train = for_training(&train)?;
            division.join(train, val.open()?)
        }
        (None, Some(val)) => {
            layout(format!("has {} but no train/ folder or train file: nothing to learn from", val.name()))
        }
        (None, None) => {
            let all = for_training(&Split::One(root.into()))?;
            match val_split {
                Some(share) => Splits::stratified(all, share, seed),
                None => layout(
                    "has class folders but no train/ and val/: give --val-split 0.1 to hold out a tenth, or make the two folders"
                        .into(),
                ),
            }
        }
    }
}

/// Opens `root` for evaluation: its `val/` folder if it has one, else its class folders.
pub fn open_single(root: &Path) -> Result<Dataset, DataError> {
    storage::prepare(root)?;
    if list::is(root) && storage::is_file(root) {
        return List::open(root)?.into_val(root);
    }
    match split(root, VAL)? {
        Some(val) => val.open(),
        None => open(root),
    }
}

/// Opens `root` for its training pictures: those in `train/` if it has one, else all.
pub fn open_train(root: &Path) -> Result<Dataset, DataError> {
    storage::prepare(root)?;
    if list::is(root) && storage::is_file(root) {
        return Ok(List::open(root)?.parts(root)?.0);
    }
    match split(root, TRAIN)? {
        Some(train) => train.open(),
        None => open(root),
    }
}

/// The pictures of a folder that has them without classes, all under the same `label` of `classes`; `None` where `root` is anything else.
pub fn open_unlabelled(root: &Path, classes: &[String], label: u32) -> Result<Option<Dataset>, DataError> {
    storage::prepare(root)?;
    if storage::is_file(root) || is_collection(root) {
        return Ok(None);
    }
    let (pictures, ignored): (Vec<_>, Vec<_>) =
        entries(root)?.into_iter().partition(|path| storage::is_file(path) && is_picture(path));
    if pictures.is_empty() || ignored.iter().any(|path| storage::is_dir(path)) {
        return Ok(None);
    }
    let sample = |path| Sample { picture: Picture::File(path), label };
    Ok(Some(Dataset {
        root: root.into(),
        classes: classes.to_vec(),
        samples: pictures.into_iter().map(sample).collect(),
        ignored,
        groups: Vec::new(),
    }))
}

/// A split whose classes are the authority: two at least, none of them empty.
pub(super) fn for_training(split: &Split) -> Result<Dataset, DataError> {
    with_classes(split.open()?)
}

/// The same if it has two classes at least, none of them empty.
pub(super) fn with_classes(data: Dataset) -> Result<Dataset, DataError> {
    let root = data.root.clone();
    let layout = |problem: String| Err(DataError::Layout { path: root, problem });
    let empty = data.empty_classes();
    if !empty.is_empty() {
        return layout(format!(
            "class folders without a picture: {} (fill or remove them)",
            empty.join(", ")
        ));
    }
    match &data.classes[..] {
        [class] => layout(format!(
            "has one class only, `{class}`: a classifier needs pictures of two or more, each in a folder of its own"
        )),
        _ => Ok(data),
    }
}

/// Where a split lies.
pub(super) enum Split {
    /// A folder, a list or an archive.
    One(PathBuf),
    /// Several files of one kind.
    Shards(Vec<PathBuf>),
}

impl Split {
    /// What it is called, for messages.
    fn name(&self) -> String {
        match self {
            Split::One(path) => format!("{}/", last_name(path)),
            Split::Shards(paths) => paths.first().map(|path| last_name(path)).unwrap_or_default(),
        }
    }

    /// The files that it consists of, or the folder.
    pub(super) fn paths(&self) -> &[PathBuf] {
        match self {
            Split::One(path) => std::slice::from_ref(path),
            Split::Shards(paths) => paths,
        }
    }

    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        match self {
            Split::One(path) => open(path),
            Split::Shards(paths) => {
                let root = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
                files(root, paths)
            }
        }
    }
}

/// Whether a file of this name holds pictures of several classes.
pub(super) fn is_collection_file(path: &Path) -> bool {
    list::is(path) || is_archive(path)
}

/// Whether a file of this name holds pictures inside.
pub(super) fn is_archive(path: &Path) -> bool {
    tar_files::is(path) || tfrecord::is(path)
}

/// Whether `path` is such a file, or a folder without class folders that holds shards or ImageNet's validation pictures.
pub fn is_collection(path: &Path) -> bool {
    if storage::is_file(path) {
        return is_collection_file(path);
    }
    let Ok(inside) = entries(path) else { return false };
    let pictures: Vec<PathBuf> = inside.iter().filter(|file| is_picture(file)).cloned().collect();
    let has_folders = inside.iter().any(|path| storage::is_dir(path));
    !has_folders && (inside.iter().any(|file| is_archive(file)) || imagenet_val::is(&pictures))
}

/// The pictures of files of one kind.
fn files(root: &Path, paths: &[PathBuf]) -> Result<Dataset, DataError> {
    if paths.iter().all(|path| tar_files::is(path)) {
        return tar_files::open(root, paths);
    }
    if paths.iter().all(|path| tfrecord::is(path)) {
        return tfrecord::open(root, paths);
    }
    match paths {
        [path] if list::is(path) => List::open(path)?.into_val(path),
        _ => {
            let names: Vec<String> = paths.iter().take(3).map(|path| last_name(path)).collect();
            let problem =
                format!("has files of several kinds for one split: {}; leave those of one", names.join(", "));
            Err(DataError::Layout { path: root.into(), problem })
        }
    }
}

/// One split: a list, an archive, or class folders with pictures at any depth inside them, in one of them at the least. A folder
/// without class folders may hold shards, or ImageNet's validation pictures.
pub(super) fn open(root: &Path) -> Result<Dataset, DataError> {
    storage::prepare(root)?;
    let layout = |problem: String| Err(DataError::Layout { path: root.into(), problem });
    if storage::is_file(root) && is_collection_file(root) {
        return files(root, &[root.to_path_buf()]);
    }
    let (folders, files): (Vec<_>, Vec<_>) = entries(root)?.into_iter().partition(|p| storage::is_dir(p));
    if folders.is_empty() {
        let shards =
            |is: fn(&Path) -> bool| files.iter().filter(|file| is(file)).cloned().collect::<Vec<_>>();
        for (is, open) in [
            (tar_files::is as fn(&Path) -> bool, tar_files::open as fn(&Path, &[PathBuf]) -> _),
            (tfrecord::is, tfrecord::open),
        ] {
            let shards = shards(is);
            if !shards.is_empty() {
                let others = files.into_iter().filter(|file| !is(file)).collect::<Vec<_>>();
                let mut data = open(root, &shards)?;
                data.ignored.extend(others);
                return Ok(data);
            }
        }
        let (flat, others): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| is_picture(file));
        if imagenet_val::is(&flat) {
            return imagenet_val::open(root, flat, others);
        }
        let pictures = files.iter().filter(|f| is_picture(f)).count();
        return layout(match (files.len(), pictures) {
            (0, _) => "is empty: expected a folder a class, with pictures inside".into(),
            (_, 0) => "has no class folders and no pictures: expected a folder a class".into(),
            _ => format!(
                "has {pictures} pictures but no class folders: move each picture into a folder named after its class"
            ),
        });
    }
    let mut data = Dataset {
        root: root.into(),
        classes: Vec::new(),
        samples: Vec::new(),
        ignored: files,
        groups: Vec::new(),
    };
    for (label, folder) in (0..).zip(&folders) {
        let Some(name) = folder.file_name().and_then(|n| n.to_str()) else {
            let problem = "the folder's name is not UTF-8, so it cannot name a class: rename it".into();
            return Err(DataError::Layout { path: folder.clone(), problem });
        };
        data.classes.push(name.into());
        walk(folder, &mut Vec::new(), &mut |found| {
            let path = found?;
            match is_picture(&path) {
                true => data.samples.push(Sample { picture: Picture::File(path), label }),
                false => data.ignored.push(path),
            }
            Ok(())
        })?;
    }
    match data.samples.is_empty() {
        true => layout("no class folder holds a .jpg, .jpeg or .png file".into()),
        false => Ok(data),
    }
}

/// The folder of `root` with the first of `names`. One that holds pictures itself, alone among folders of other names,
/// is no split but a class: trains beside cars.
pub(super) fn split(root: &Path, names: &[&str]) -> Result<Option<Split>, DataError> {
    if storage::is_file(root) {
        return Ok(None);
    }
    let (folders, files): (Vec<_>, Vec<_>) = entries(root)?.into_iter().partition(|p| storage::is_dir(p));
    let named = |names: &[&str], path: &Path| names.contains(&last_name(path).to_lowercase().as_str());
    let Some(split) = names.iter().find_map(|name| folders.iter().find(|f| named(&[name], f))) else {
        // Lists and shards are told by a word of their names: train.csv, imagenet-train-000.tar, validation-00000-of-00128.
        let words = |path: &Path| -> Vec<String> {
            let name = last_name(path).to_lowercase();
            name.split(['.', '-', '_']).map(str::to_string).collect()
        };
        let shards = |name: &&str| {
            let named =
                |path: &&PathBuf| is_collection_file(path) && words(path).iter().any(|word| word == name);
            let found: Vec<PathBuf> = files.iter().filter(named).cloned().collect();
            (!found.is_empty()).then_some(Split::Shards(found))
        };
        // Beside class folders a file called so may be about anything, unless there is one to learn from.
        // Beside pictures it is about these.
        let flat = files.iter().any(|file| is_picture(file));
        let meant = !flat && folders.is_empty() || TRAIN.iter().any(|name| shards(name).is_some());
        return Ok(if meant { names.iter().find_map(shards) } else { None });
    };
    let splits = folders.iter().filter(|f| named(TRAIN, f) || named(VAL, f)).count();
    let is_class = splits == 1
        && folders.len() > 1
        && entries(split)?.iter().any(|f| storage::is_file(f) && is_picture(f));
    Ok((!is_class).then(|| Split::One(split.clone())))
}
