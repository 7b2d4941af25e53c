//! Files in folders: which are seen, and in what order.
//!
//! Sorted by the bytes of their names. Links are followed. Names that start with a dot are skipped.

use std::io;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::storage;

/// Files and folders as given on the command line: folders stand for the pictures inside them, sorted, at any depth.
pub fn list_pictures(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut pictures = Vec::new();
    for path in paths {
        if storage::is_dir(path) {
            let before = pictures.len();
            walk(path, &mut Vec::new(), &mut |found| {
                pictures.extend(Some(found?).filter(|path| is_picture(path)));
                Ok(())
            })?;
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

/// Gives every visible file in `folder` or below to `found`, sorted, and every folder that cannot be listed as an error,
/// which `found` hands back to end the walk. `above` holds the real paths of the folders that led here, for a link back to
/// one of them would never end.
pub(super) fn walk(
    folder: &Path,
    above: &mut Vec<PathBuf>,
    found: &mut dyn FnMut(Result<PathBuf, DataError>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let (real, listed) = match list_below(folder, above) {
        Ok(both) => both,
        Err(error) => return found(Err(error)),
    };
    above.push(real);
    for path in listed {
        match storage::is_dir(&path) {
            true => walk(&path, above, found)?,
            false => found(Ok(path))?,
        }
    }
    above.pop();
    Ok(())
}

/// The real path of a folder and what is in it.
fn list_below(folder: &Path, above: &[PathBuf]) -> Result<(PathBuf, Vec<PathBuf>), DataError> {
    let real = storage::real(folder).map_err(|source| DataError::Io { path: folder.into(), source })?;
    if above.contains(&real) {
        let problem = "is a link to a folder that it lies in: remove the link".into();
        return Err(DataError::Layout { path: folder.into(), problem });
    }
    Ok((real, entries(folder)?))
}

pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
}

pub(super) fn last_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Visible entries of a folder, sorted by the bytes of their names.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |source: io::Error| {
        let source = match source.kind() {
            kind @ io::ErrorKind::NotFound if !storage::is_remote(folder) => {
                io::Error::new(kind, "no such folder: check how it is spelt")
            }
            _ => source,
        };
        DataError::io(folder, source)
    };
    if storage::is_file(folder) {
        let problem = "is a file: expected a folder with a folder a class, a list (.csv, .tsv, .txt), a .tar or .tfrecord file".into();
        return Err(DataError::Layout { path: folder.into(), problem });
    }
    let mut paths = storage::entries(folder).map_err(io)?;
    paths.retain(|path| !last_name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}
