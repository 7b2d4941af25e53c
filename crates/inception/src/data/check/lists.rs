//! Lists without the pictures that training cannot use.
//!
//! A list is never changed: a new one goes to the folder `cleaned/` beside it, with its name and the columns `path`, `label` and,
//! where it had them, `split` and `group`. Where there are several, all go there, so that the folder is a data set as before.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::kind::Severity;
use super::report::Report;
use super::scan::{Part, Place, Role, Scan, Split};
use crate::data::DataError;
use crate::data::error::io_error;

/// A list that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// Where it is.
    pub path: PathBuf,
    /// Pictures that are in it.
    pub kept: usize,
    /// Pictures of the old one that are not.
    pub removed: usize,
}

/// The folder of new lists, by the old ones.
const FOLDER: &str = "cleaned";

/// Where the new list goes.
fn place(list: &Path) -> PathBuf {
    let name = list.with_extension("csv");
    list.parent().unwrap_or(Path::new("")).join(FOLDER).join(name.file_name().unwrap_or_default())
}

/// What new lists are as a data set.
pub(super) fn root_of(new: &[Cleaned]) -> Option<&Path> {
    match new {
        [one] => Some(&one.path),
        several => several.first()?.path.parent(),
    }
}

/// The lists of a data set, each once.
fn lists(scan: &Scan) -> Vec<&Path> {
    let mut lists: Vec<&Path> = Vec::new();
    for part in &scan.parts {
        if let Place::List(path) = &part.place
            && !lists.contains(&path.as_path())
        {
            lists.push(path);
        }
    }
    lists
}

/// An error where a new list would take the place of a file.
pub(super) fn can_clean(scan: &Scan) -> Result<(), DataError> {
    match lists(scan).into_iter().map(place).find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => {
            let problem =
                "is there already, and nothing is overwritten: move it away, or train with it".into();
            Err(DataError::Layout { path, problem })
        }
    }
}

/// Writes the new lists, if anything is to be left out of one.
pub(super) fn clean(scan: &Scan, report: &Report) -> Result<Vec<Cleaned>, DataError> {
    let has_error = report.files.iter().filter(|file| file.severity() == Some(Severity::Error));
    let bad: HashSet<&Path> =
        has_error.filter(|file| !file.is_movable).map(|file| file.path.as_path()).collect();
    if bad.is_empty() {
        return Ok(Vec::new());
    }
    lists(scan).into_iter().map(|list| write(list, scan, &bad)).collect()
}

fn write(list: &Path, scan: &Scan, bad: &HashSet<&Path>) -> Result<Cleaned, DataError> {
    let is_of = |part: &&Part| part.place == Place::List(list.into());
    let parts: Vec<&Part> = scan.parts.iter().filter(is_of).collect();
    let has_groups = parts.iter().any(|part| !part.groups.is_empty());
    let columns = [("path", true), ("label", true), ("split", parts.len() > 1), ("group", has_groups)];
    let row = |cells: [String; 4]| -> Vec<String> {
        cells.into_iter().zip(columns).filter(|(_, (_, is_there))| *is_there).map(|(cell, _)| cell).collect()
    };
    let mut rows = vec![row(columns.map(|(name, _)| name.to_string()))];
    let mut removed = 0;
    for part in parts {
        let pictures = part.entries.iter().filter(|entry| entry.role == Role::Picture);
        for (i, entry) in pictures.enumerate() {
            let path = entry.path();
            if bad.contains(path.as_path()) {
                removed += 1;
                continue;
            }
            let split = if entry.split == Split::Train { "train" } else { "val" };
            let group = part.groups.get(i).map(u32::to_string).unwrap_or_default();
            let label = part.classes.get(entry.class).cloned().unwrap_or_default();
            rows.push(row([from_below(list, &path), label, split.into(), group]));
        }
    }
    let path = place(list);
    save(&path, &rows).map_err(io_error(&path))?;
    Ok(Cleaned { path, kept: rows.len() - 1, removed })
}

/// A path as a list in the folder below has it; an absolute one stays. A list is UTF-8, so its paths are.
fn from_below(list: &Path, path: &Path) -> String {
    let folder = list.parent().unwrap_or(Path::new(""));
    let path = path.strip_prefix(folder).map_or(path.to_path_buf(), |below| Path::new("..").join(below));
    path.to_string_lossy().into_owned()
}

fn save(path: &Path, rows: &[Vec<String>]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut list = csv::Writer::from_writer(OpenOptions::new().write(true).create_new(true).open(path)?);
    rows.iter().try_for_each(|row| list.write_record(row))?;
    list.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_new_list_to_the_same_pictures() {
        let from = |list: &str, path: &str| from_below(Path::new(list), Path::new(path));
        assert_eq!(from("data/all.csv", "data/a/1.png"), "../a/1.png");
        assert_eq!(from("all.csv", "a/1.png"), "../a/1.png");
        assert_eq!(from("/data/all.csv", "/data/../a/1.png"), "../../a/1.png");
        assert_eq!(from("all.csv", "/elsewhere/1.png"), "/elsewhere/1.png");
        assert_eq!(from("data/all.csv", "/elsewhere/1.png"), "/elsewhere/1.png");
        assert_eq!(place(Path::new("data/all.txt")), Path::new("data/cleaned/all.csv"));
    }
}
