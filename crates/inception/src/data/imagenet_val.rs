//! ImageNet's validation set as it is distributed: one folder of pictures, their classes in a file somewhere above.
//!
//! | file | a line |
//! |---|---|
//! | `LOC_val_solution.csv` (Kaggle) | `ILSVRC2012_val_00048981,n03995372 85 1 499 272` |
//! | `imagenet_2012_validation_synset_labels.txt` (TensorFlow) | the synset of picture 1, of picture 2, … |
//! | `val.txt` (Caffe) | `ILSVRC2012_val_00000001.JPEG 65`, the class by ascending synset from 0 |
//!
//! Classes are called like their synsets, as the folders of the training set are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Picture};
use super::error::DataError;
use crate::weights::imagenet;

/// How many folders above the pictures are looked into.
const ABOVE: usize = 4;

/// The synset of a picture by its line in a file.
type Parse = fn(&str, usize) -> Option<(String, String)>;

/// Files of classes, the first that is there is used.
const FILES: [(&str, Parse); 3] = [
    ("LOC_val_solution.csv", |line, _| {
        let (name, boxes) = line.split_once(',')?;
        Some((name.into(), boxes.split_whitespace().next()?.into()))
    }),
    ("imagenet_2012_validation_synset_labels.txt", |line, number| {
        Some((format!("ILSVRC2012_val_{number:08}"), line.trim().into()))
    }),
    ("val.txt", |line, _| {
        let (name, class) = line.trim().split_once(' ')?;
        let synset = imagenet::classes().nth(class.trim().parse().ok()?)?.0;
        Some((name.split('.').next()?.into(), synset.into()))
    }),
];

/// What the devkit calls its file.
const DEVKIT: &str = "ILSVRC2012_validation_ground_truth.txt";

/// Whether `pictures` are called like those of the set.
pub(super) fn is(pictures: &[PathBuf]) -> bool {
    pictures.first().is_some_and(|path| stem(path).starts_with("ILSVRC2012_val_"))
}

/// The pictures of `root` under their synsets.
pub(super) fn open(root: &Path, pictures: Vec<PathBuf>, ignored: Vec<PathBuf>) -> Result<Dataset, DataError> {
    let layout = |problem: String| Err(DataError::Layout { path: root.into(), problem });
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.into());
    let folders: Vec<&Path> = absolute.ancestors().take(ABOVE).collect();
    let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    let Some((file, parse)) = FILES.iter().find_map(|(name, parse)| Some((find(name)?, parse))) else {
        let names = FILES.map(|(name, _)| name).join(", ");
        let devkit = match find(DEVKIT) {
            Some(_) => {
                format!("; {DEVKIT} alone does not do, for its numbers are not in the order of the synsets")
            }
            None => String::new(),
        };
        return layout(format!(
            "has ImageNet's validation pictures in one folder: put a file with their classes beside it ({names}){devkit}"
        ));
    };
    let text =
        std::fs::read_to_string(&file).map_err(|source| DataError::Io { path: file.clone(), source })?;
    let classes: HashMap<String, String> =
        (1..).zip(text.lines()).filter_map(|(number, line)| parse(line, number)).collect();
    let mut named = Vec::with_capacity(pictures.len());
    for path in pictures {
        let Some(class) = classes.get(&stem(&path)) else {
            let problem = format!("has no class for {}", path.display());
            return Err(DataError::Layout { path: file, problem });
        };
        named.push((Picture::File(path), class.clone()));
    }
    let mut data = Dataset::named(root, named, ignored);
    if let Some(class) = data.classes.iter().find(|class| !imagenet::classes().any(|(id, _)| id == *class)) {
        let problem = format!("has the class `{class}`, which is none of ImageNet's 1000 synsets");
        return Err(DataError::Layout { path: file, problem });
    }
    data.ignored.retain(|path| *path != file);
    Ok(data)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
