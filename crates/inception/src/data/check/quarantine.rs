//! Files that training cannot use, put aside.
//!
//! They go to `NAME.quarantine/` beside the data set, under the path that they had in it, and a row of `moved.csv` there
//! says from where. Nothing is deleted, nothing is overwritten, and nothing is moved that lies outside of the data set,
//! behind a link. What a list names stays where it is; the list is written anew without it ([`lists`]). Archives are never changed.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::kind::Severity;
use super::lists::{self, Cleaned};
use super::report::Report;
use super::scan::{self, Place};
use crate::data::error::io_error;
use crate::data::{DataError, storage};

/// A file that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
    /// Why.
    pub reason: String,
}

/// What became of the files with errors.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The folder that they are in; none where nothing was moved.
    pub folder: Option<PathBuf>,
    /// Those that were moved.
    pub moved: Vec<Moved>,
    /// Those that were not, and why.
    pub left: Vec<(PathBuf, String)>,
    /// Lists that were written without them.
    pub lists: Vec<Cleaned>,
    /// Whether training would still stop: at a file that was left, or at a folder, one that is now empty for example.
    pub has_errors: bool,
}

/// An error where nothing could be put right, before hours are spent on finding what.
pub fn can_fix(root: &Path, val_split: Option<f64>, seed: u64) -> Result<(), DataError> {
    if storage::is_remote(root) {
        let problem = format!(
            "--fix changes files of this machine only: `inception data pack {} -o OUT --on-bad skip` writes new ones without the broken pictures",
            root.display()
        );
        return Err(DataError::Layout { path: root.into(), problem });
    }
    let scan = scan::scan(root, val_split, seed)?;
    if let Some(part) = scan.parts.iter().find(|part| part.place == Place::Archives) {
        let problem = format!(
            "--fix does not change archives: `inception data pack {} -o OUT --on-bad skip` writes new ones without the broken pictures",
            root.display()
        );
        return Err(DataError::Layout { path: part.root.clone(), problem });
    }
    lists::can_clean(&scan)
}

/// Moves every file of the report whose content is at fault; `done` hears of each. Of lists it writes new ones.
pub fn fix(
    report: &Report,
    val_split: Option<f64>,
    seed: u64,
    done: impl FnMut(&Moved),
) -> Result<Fixed, DataError> {
    let mut result = Fixed::default();
    move_all(report, &mut result, done)?;
    let scan = scan::scan(&report.root, val_split, seed)?;
    result.lists = lists::clean(&scan, report)?;
    let is_error = |folder: &(PathBuf, super::Remark)| folder.1.kind.severity() == Severity::Error;
    let mut folders = scan.folders;
    if let Some(new) = lists::root_of(&result.lists) {
        folders.extend(scan::scan(new, val_split, seed)?.folders);
    }
    result.has_errors = !result.left.is_empty() || folders.iter().any(is_error);
    Ok(result)
}

/// Moves what is no list's.
fn move_all(report: &Report, result: &mut Fixed, mut done: impl FnMut(&Moved)) -> Result<(), DataError> {
    let root = report.root.canonicalize().map_err(io_error(&report.root))?;
    let folder = quarantine_of(&root)?;
    let (mut list, mut seen) = (None, HashSet::new());
    for file in report.files.iter().filter(|file| file.is_movable) {
        let mut errors = file.remarks.iter().filter(|remark| remark.kind.severity() == Severity::Error);
        let Some(remark) = errors.next() else { continue };
        if !remark.kind.is_fixable() {
            result.left.push((file.path.clone(), format!("{}: {}", remark.kind.title(), remark.detail)));
            continue;
        }
        let real = real_path(&file.path).map_err(io_error(&file.path))?;
        // Found twice, once through a link.
        if !seen.insert(real.clone()) {
            continue;
        }
        let Ok(below) = real.strip_prefix(&root) else {
            let reason = "lies outside of the data set, behind a link".into();
            result.left.push((file.path.clone(), reason));
            continue;
        };
        let list = match &mut list {
            Some(list) => list,
            None => {
                fs::create_dir_all(&folder).map_err(io_error(&folder))?;
                result.folder = Some(folder.clone());
                list.insert(open_list(&folder).map_err(io_error(&folder))?)
            }
        };
        let to = match move_to(&real, &folder.join(below)) {
            Ok(to) => to,
            Err(error) => {
                result.left.push((file.path.clone(), error.to_string()));
                continue;
            }
        };
        let moved = Moved { from: real, to, reason: remark.kind.title().into() };
        write_row(list, &moved).map_err(io_error(&folder))?;
        done(&moved);
        result.moved.push(moved);
    }
    Ok(())
}

/// The folder for what is moved out of `root`.
fn quarantine_of(root: &Path) -> Result<PathBuf, DataError> {
    let (Some(name), Some(parent)) = (root.file_name(), root.parent()) else {
        let problem = "has no folder beside which files could be put: give a folder with a name".into();
        return Err(DataError::Layout { path: root.into(), problem });
    };
    let mut folder = name.to_os_string();
    folder.push(".quarantine");
    Ok(parent.join(folder))
}

/// The path without links, but for the file itself: a link is moved, not what it points to.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(".")).canonicalize()?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Moves a file to `to`, or to the first free name after it; says where it is.
fn move_to(from: &Path, to: &Path) -> io::Result<PathBuf> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let to = reserve(to)?;
    let result = match fs::rename(from, &to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices && !from.is_symlink() => {
            fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all()).and_then(|()| fs::remove_file(from))
        }
        other => other,
    };
    match result {
        Ok(()) => Ok(to),
        Err(error) => {
            // Takes back the empty file that held the place, unless the source is gone.
            if from.symlink_metadata().is_ok() {
                let _ = fs::remove_file(&to);
            }
            Err(error)
        }
    }
}

/// Creates an empty file under a name that is free: `a.jpg`, `a-1.jpg`, `a-2.jpg`, …
fn reserve(to: &Path) -> io::Result<PathBuf> {
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    let mut name = to.to_path_buf();
    for number in 1u32.. {
        match create(&name) {
            Ok(_) => return Ok(name),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {
                let mut next = to.file_stem().unwrap_or_default().to_os_string();
                next.push(format!("-{number}"));
                if let Some(extension) = to.extension() {
                    next.push(".");
                    next.push(extension);
                }
                name = to.with_file_name(next);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The list of what was moved, which goes on from run to run.
fn open_list(folder: &Path) -> io::Result<csv::Writer<File>> {
    let list = OpenOptions::new().append(true).create(true).open(folder.join("moved.csv"))?;
    let is_new = list.metadata()?.len() == 0;
    let mut list = csv::Writer::from_writer(list);
    if is_new {
        list.write_record(["from", "to", "reason"])?;
        list.flush()?;
    }
    Ok(list)
}

/// Paths as their bytes, so that one that is not UTF-8 can be moved back, too.
fn write_row(list: &mut csv::Writer<File>, Moved { from, to, reason }: &Moved) -> io::Result<()> {
    list.write_record([
        from.as_os_str().as_encoded_bytes(),
        to.as_os_str().as_encoded_bytes(),
        reason.as_bytes(),
    ])?;
    list.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (content, expected) in [("one", "q/a.jpg"), ("two", "q/a-1.jpg"), ("three", "q/a-2.jpg")] {
            fs::write(path("a.jpg"), content).unwrap();
            assert_eq!(move_to(&path("a.jpg"), &path("q/a.jpg")).unwrap(), path(expected));
            assert!(!path("a.jpg").exists());
        }
        let contents = ["q/a.jpg", "q/a-1.jpg", "q/a-2.jpg"].map(|name| fs::read(path(name)).unwrap());
        assert_eq!(contents, [&b"one"[..], b"two", b"three"]);
        assert!(move_to(&path("none.jpg"), &path("q/none.jpg")).is_err());
    }
}
