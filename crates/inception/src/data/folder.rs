//! Class folders: a folder a class, in `train/` and `val/` or all in one.
//!
//! Classes are sorted by the bytes of their names; labels follow the names, never the position in another split. A
//! picture is a file whose name ends in `.jpg`, `.jpeg` or `.png` in any case; what it really holds is decided by its
//! content. Names that start with a dot are skipped.

use std::fs;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Picture, Sample, Splits};
use super::error::DataError;

const TRAIN: &[&str] = &["train", "training"];
const VAL: &[&str] = &["val", "valid", "validation", "test"];

/// Opens `root` for training: `train/` and `val/` inside, or class folders of which a share `val_split` is held out.
pub fn open_splits(root: &Path, val_split: Option<f64>, seed: u64) -> Result<Splits, DataError> {
    let layout = |problem: String| Err(DataError::Layout { path: root.into(), problem });
    if let Some(share) = val_split.filter(|share| !(*share > 0.0 && *share < 1.0)) {
        return layout(format!("--val-split {share} is not a share: expected more than 0 and less than 1"));
    }
    match (subfolder(root, TRAIN)?, subfolder(root, VAL)?) {
        (Some(train), None) if val_split.is_some() => {
            Splits::stratified(several_classes(open(&train)?)?, val_split.unwrap_or_default(), seed)
        }
        (Some(train), None) => layout(format!(
            "has {} but no val/ folder: add one, or give --val-split 0.1 to hold out a tenth of the training pictures",
            last_name(&train)
        )),
        (Some(_), Some(_)) if val_split.is_some() => layout(
            "has train/ and val/ folders, so --val-split would be ignored: leave it out, or point at train/ alone".into(),
        ),
        (Some(train), Some(val)) => {
            let train = several_classes(open(&train)?)?;
            let val = open(&val)?.join(&train.classes, false)?;
            Ok(Splits { train, val })
        }
        (None, Some(_)) => layout("has a val/ folder but no train/ folder: nothing to learn from".into()),
        (None, None) => {
            let all = several_classes(open(root)?)?;
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
    match subfolder(root, VAL)? {
        Some(val) => open(&val),
        None => open(root),
    }
}

/// Files and folders as given on the command line: folders stand for the pictures inside them, sorted, at any depth.
pub fn list_pictures(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut pictures = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = pictures.len();
            walk(path, &mut pictures)?;
            if pictures.len() == before {
                let problem = "no .jpg, .jpeg or .png file in this folder or below".into();
                return Err(DataError::Layout { path: path.clone(), problem });
            }
        } else {
            // A missing file is reported with the picture it stands for, not here.
            pictures.push(path.clone());
        }
    }
    Ok(pictures)
}

fn walk(folder: &Path, pictures: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for path in entries(folder)? {
        if path.is_dir() {
            walk(&path, pictures)?;
        } else if is_picture(&path) {
            pictures.push(path);
        }
    }
    Ok(())
}

fn several_classes(data: Dataset) -> Result<Dataset, DataError> {
    if data.classes.len() < 2 {
        let problem = format!(
            "has one class only, `{}`: a classifier needs pictures of two or more, each in a folder of its own",
            data.classes[0]
        );
        return Err(DataError::Layout { path: data.root, problem });
    }
    Ok(data)
}

/// One split: class folders with pictures at any depth inside them.
fn open(root: &Path) -> Result<Dataset, DataError> {
    let layout = |problem: String| Err(DataError::Layout { path: root.into(), problem });
    let all = entries(root)?;
    let (folders, files): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| path.is_dir());
    if folders.is_empty() {
        let pictures = files.iter().filter(|f| is_picture(f)).count();
        return layout(match (files.len(), pictures) {
            (0, _) => "is empty: expected a folder a class, with pictures inside".into(),
            (_, 0) => "has no class folders and no pictures: expected a folder a class".into(),
            _ => format!("has {pictures} pictures but no class folders: move each picture into a folder named after its class"),
        });
    }
    let mut data = Dataset { root: root.into(), classes: Vec::new(), samples: Vec::new(), ignored: files };
    let mut empty = Vec::new();
    for (label, folder) in folders.iter().enumerate() {
        let Some(name) = folder.file_name().and_then(|n| n.to_str()) else {
            let problem = "the folder's name is not UTF-8, so it cannot name a class: rename it".into();
            return Err(DataError::Layout { path: folder.clone(), problem });
        };
        let before = data.samples.len();
        collect(folder, label as u32, &mut data)?;
        if data.samples.len() == before {
            empty.push(name.to_string());
        }
        data.classes.push(name.into());
    }
    if empty.len() == folders.len() {
        return layout("no class folder holds a .jpg, .jpeg or .png file".into());
    }
    if !empty.is_empty() {
        return layout(format!("class folders without a picture: {} (fill or remove them)", empty.join(", ")));
    }
    Ok(data)
}

fn collect(folder: &Path, label: u32, data: &mut Dataset) -> Result<(), DataError> {
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, label, data)?;
        } else if is_picture(&path) {
            data.samples.push(Sample { picture: Picture::File(path), label });
        } else {
            data.ignored.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
}

fn subfolder(root: &Path, names: &[&str]) -> Result<Option<PathBuf>, DataError> {
    let folders = entries(root)?;
    Ok(names.iter().find_map(|name| folders.iter().find(|f| last_name(f) == *name && f.is_dir()).cloned()))
}

fn last_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Visible entries of a folder, sorted by the bytes of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |source| DataError::Io { path: folder.into(), source };
    if folder.is_file() {
        let problem = "is a file: expected a folder with a folder a class".into();
        return Err(DataError::Layout { path: folder.into(), problem });
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if !last_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
