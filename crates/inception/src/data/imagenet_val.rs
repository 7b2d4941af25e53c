//! ImageNet's validation set as it is distributed: one folder of pictures, their classes in a file somewhere above.
//!
//! | file | a line |
//! |---|---|
//! | `LOC_val_solution.csv` (Kaggle) | `ILSVRC2012_val_00048981,n03995372 85 1 499 272` |
//! | `imagenet_2012_validation_synset_labels.txt` (TensorFlow) | the synset of picture 1, of picture 2, … |
//! | `val.txt` (Caffe) | `ILSVRC2012_val_00000001.JPEG 65`, the class by ascending synset from 0 |
//! | `ILSVRC2012_validation_ground_truth.txt` (devkit) | the number of picture 1, of picture 2, … by the devkit's `meta.mat` |
//!
//! Classes are called like their synsets, as the folders of the training set are.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Picture};
use super::error::DataError;
use super::mat_file::{self, Value};
use super::storage;
use crate::weights::imagenet;

/// What the names of its pictures begin with.
const VAL: &str = "ILSVRC2012_val_";
/// How many there are.
pub const VALIDATION_PICTURES: usize = 50_000;

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
        Some((validation_name(number), line.trim().into()))
    }),
    ("val.txt", |line, _| {
        let (name, class) = line.trim().split_once(' ')?;
        let synset = imagenet::classes().nth(class.trim().parse().ok()?)?.0;
        Some((name.split('.').next()?.into(), synset.into()))
    }),
];

/// What the devkit calls its files, and where it has them.
const DEVKIT: &str = "ILSVRC2012_validation_ground_truth.txt";
const DEVKIT_META: &str = "meta.mat";
const DEVKIT_FOLDER: &str = "ILSVRC2012_devkit_t12/data";

/// Whether `pictures` are called like those of the set.
pub(super) fn is(pictures: &[PathBuf]) -> bool {
    pictures.first().is_some_and(|path| stem(path).starts_with(VAL))
}

/// What the file of a validation picture is called, without its extension.
pub fn validation_name(number: usize) -> String {
    format!("{VAL}{number:08}")
}

/// The number of a validation picture, from 1, by its name: 12 of `ILSVRC2012_val_00000012.JPEG`.
pub fn validation_number(path: &Path) -> Option<usize> {
    stem(path).strip_prefix(VAL)?.parse().ok().filter(|number| (1..=VALIDATION_PICTURES).contains(number))
}

/// The pictures of `root` under their synsets.
pub(super) fn open(root: &Path, pictures: Vec<PathBuf>, ignored: Vec<PathBuf>) -> Result<Dataset, DataError> {
    let absolute = storage::absolute(root);
    // Above a bucket there is nothing.
    let is_place = |folder: &&Path| storage::is_remote(folder) == storage::is_remote(root);
    let folders: Vec<&Path> = absolute.ancestors().take_while(is_place).take(ABOVE).collect();
    let (file, classes) = classes(root, &folders)?;
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

/// The first file of classes that lies in one of `folders`, and the class of each picture by its name.
fn classes(root: &Path, folders: &[&Path]) -> Result<(PathBuf, HashMap<String, String>), DataError> {
    for (name, parse) in FILES {
        let Some(file) = find(folders, name)? else { continue };
        let text = read(&file)?;
        let classes = (1..).zip(text.lines()).filter_map(|(number, line)| parse(line, number)).collect();
        return Ok((file, classes));
    }
    let find = |name: &str| match find(folders, name)? {
        None => find(folders, &format!("{DEVKIT_FOLDER}/{name}")),
        found => Ok(found),
    };
    let layout = |path: &Path, problem: String| Err(DataError::Layout { path: path.into(), problem });
    match (find(DEVKIT)?, find(DEVKIT_META)?) {
        (Some(truth), Some(meta)) => {
            let classes = devkit_classes(&truth, &meta)?;
            Ok((truth, classes))
        }
        (Some(truth), None) => layout(
            &truth,
            format!(
                "has numbers, and {DEVKIT_META} of the same devkit says of which synsets: put it beside this file"
            ),
        ),
        (None, _) => {
            let names = FILES.map(|(name, _)| name).join(", ");
            let problem = format!(
                "has ImageNet's validation pictures in one folder: put a file with their classes beside it ({names}, or {DEVKIT} with {DEVKIT_META})"
            );
            layout(root, problem)
        }
    }
}

/// The file of this name in the first of `folders` that has one.
fn find(folders: &[&Path], name: &str) -> Result<Option<PathBuf>, DataError> {
    for folder in folders {
        let file = folder.join(name);
        if storage::exists(&file)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn read(file: &Path) -> Result<String, DataError> {
    let text = storage::read(file).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    text.map_err(|source| DataError::io(file, source))
}

/// The synset of each picture from the devkit's numbers, one a line.
fn devkit_classes(truth: &Path, meta: &Path) -> Result<HashMap<String, String>, DataError> {
    let synsets = devkit_synsets(meta)?;
    let mut classes = HashMap::new();
    for (number, line) in (1..).zip(read(truth)?.lines()) {
        let Some(synset) = line.trim().parse().ok().and_then(|class: u32| synsets.get(&class)) else {
            let problem = format!(
                "line {number} is `{}`: expected the number of one of the {} classes of {}",
                line.trim(),
                synsets.len(),
                meta.display()
            );
            return Err(DataError::Layout { path: truth.into(), problem });
        };
        classes.insert(validation_name(number), synset.clone());
    }
    Ok(classes)
}

/// The number of each class by its synset, `ILSVRC2012_ID`, from the devkit unpacked in `folder`, or from a folder inside it.
pub fn devkit_numbers(folder: &Path) -> Result<HashMap<String, u32>, DataError> {
    let inside = ["", "data", DEVKIT_FOLDER].map(|inside| folder.join(inside));
    let inside: Vec<&Path> = inside.iter().map(PathBuf::as_path).collect();
    let Some(meta) = find(&inside, DEVKIT_META)? else {
        let problem = format!(
            "holds no {DEVKIT_META}: expected the folder that ILSVRC2012_devkit_t12.tar.gz unpacks to"
        );
        return Err(DataError::Layout { path: folder.into(), problem });
    };
    Ok(devkit_synsets(&meta)?.into_iter().map(|(number, synset)| (synset, number)).collect())
}

/// The synset of each number. Those with children are no classes, but nodes of the tree above them.
fn devkit_synsets(meta: &Path) -> Result<HashMap<u32, String>, DataError> {
    let io = |source| DataError::io(meta, source);
    let problem = |problem: String| DataError::Layout {
        path: meta.into(),
        problem: format!("{problem}; expected that of ILSVRC2012_devkit_t12.tar.gz"),
    };
    let mut bytes = Vec::new();
    let file = storage::open(meta).map_err(io)?;
    file.take(mat_file::LIMIT as u64).read_to_end(&mut bytes).map_err(io)?;
    let rows =
        mat_file::structs(&bytes, "synsets", ["ILSVRC2012_ID", "WNID", "num_children"]).map_err(problem)?;
    let mut synsets = HashMap::new();
    for (row, fields) in (1..).zip(rows) {
        let [Value::Number(number), Value::Text(synset), Value::Number(children)] = fields else {
            return Err(problem(format!("has no number, synset and number of children in row {row}")));
        };
        let is_class = children == 0.0 && (1.0..=1000.0).contains(&number);
        if is_class && synsets.insert(number as u32, synset).is_some() {
            return Err(problem(format!("has the number {number} twice")));
        }
    }
    Ok(synsets)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
