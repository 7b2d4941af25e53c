//! Where data lie: in the file system or, by their URL, in an object store or on a web server.
//!
//! ```text
//! photos/, train.tar                                 the file system
//! s3://, gs://, az://, abfs[s]://BUCKET/KEY          an object store: keys with a common start are a folder
//! http[s]://HOST/PATH                                a web server, which has no listing: single files
//! ```
//! A URL is a path like any other to those who read data: joined, cut and shown as paths are. What may take a while or fail at
//! a network says so: [`prepare`] asks what a root is and lists it once, after which [`is_dir`] and [`is_file`] know.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::cloud;
use super::error::DataError;

/// Beginnings of the URLs that are read.
const SCHEMES: [&str; 7] = ["s3", "gs", "az", "abfs", "abfss", "http", "https"];

/// Whether `path` is the URL of something that is not in the file system.
pub(crate) fn is_remote(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| SCHEMES.contains(&scheme))
}

/// The same path from everywhere; a URL is already.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    match is_remote(path) {
        true => path.into(),
        false => std::path::absolute(path).unwrap_or_else(|_| path.into()),
    }
}

/// Finds out what a root is, before anything is asked about it or what is below it.
pub(crate) fn prepare(root: &Path) -> Result<(), DataError> {
    match is_remote(root) {
        true => cloud::prepare(root).map_err(|source| DataError::io(root, source)),
        false => Ok(()),
    }
}

/// Whether it is a file; of a URL whether it is known as one.
pub(crate) fn is_file(path: &Path) -> bool {
    if is_remote(path) { cloud::size(path).is_some() } else { path.is_file() }
}

/// Whether it is a folder; of a URL whether it is known as one.
pub(super) fn is_dir(path: &Path) -> bool {
    if is_remote(path) { cloud::is_dir(path) } else { path.is_dir() }
}

/// Whether there is such a file.
pub(super) fn exists(path: &Path) -> Result<bool, DataError> {
    match is_remote(path) {
        true => cloud::exists(path).map_err(|source| DataError::io(path, source)),
        false => Ok(path.exists()),
    }
}

/// Where a folder really lies, behind links; a store has none.
pub(super) fn real(folder: &Path) -> io::Result<PathBuf> {
    if is_remote(folder) { Ok(folder.into()) } else { folder.canonicalize() }
}

/// What is in a folder, in any order.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match is_remote(folder) {
        true => cloud::entries(folder),
        false => fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// The size of a file; of a URL only where that is known without asking for it.
pub(super) fn size(path: &Path) -> Option<u64> {
    if is_remote(path) { cloud::size(path) } else { Some(fs::metadata(path).ok()?.len()) }
}

/// What changes with a file's content (its ETag), where a store says so.
pub(super) fn tag(path: &Path) -> Option<String> {
    if is_remote(path) { cloud::tag(path) } else { None }
}

/// All of a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if is_remote(path) { cloud::read(path) } else { fs::read(path) }
}

/// `len` bytes of a file from `start` on: as many as there are, should it have been cut off.
pub(super) fn read_part(path: &Path, start: u64, len: u64) -> io::Result<Vec<u8>> {
    if is_remote(path) {
        return cloud::read_part(path, start, len);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text that may lie beside the data: empty where it does not. Some stores and servers forbid what is not there.
pub(super) fn read_beside(path: &Path) -> Result<String, DataError> {
    match read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if is_remote(path) && !is_absence(&e) => Err(DataError::io(path, e)),
        Err(_) => Ok(String::new()),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Opens a file to be read in any place.
pub(super) fn open(path: &Path) -> io::Result<Reader> {
    match is_remote(path) {
        true => cloud::Reader::open(path).map(Reader::Remote),
        false => File::open(path).map(Reader::Local),
    }
}

/// An open file.
pub(super) enum Reader {
    /// Of the file system.
    Local(File),
    /// Read in blocks over the network.
    Remote(cloud::Reader),
}

impl Reader {
    /// How long it is.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Reader::Local(file) => Ok(file.metadata()?.len()),
            Reader::Remote(remote) => Ok(remote.len()),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Local(file) => file.read(to),
            Reader::Remote(remote) => remote.read(to),
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Reader::Local(file) => file.seek(to),
            Reader::Remote(remote) => remote.seek(to),
        }
    }
}

/// Why something that may well be there cannot be had: no answer, no permission, an answer that is none. Never a reason to do
/// without it.
#[derive(Debug)]
pub(super) struct Unreachable(pub(super) String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// Whether that is what `error` is about, however deep inside.
pub(super) fn is_unreachable(error: &io::Error) -> bool {
    fn is_it(error: &(dyn std::error::Error + 'static)) -> bool {
        // An `io::Error` passes over what it holds: its source is that one's source.
        error.is::<Unreachable>()
            || error.downcast_ref().is_some_and(is_unreachable)
            || error.source().is_some_and(is_it)
    }
    error.get_ref().is_some_and(|inside| is_it(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://b", "gs://b/k", "az://c/k", "abfss://c@a.dfs.core.windows.net/k", "https://h/a.tar"]
        {
            assert!(is_remote(Path::new(url)), "{url}");
            assert_eq!(absolute(Path::new(url)), Path::new(url));
        }
        for path in ["photos", "s3:/b", "/a/s3://b", "file:///a", "c:/a", ""] {
            assert!(!is_remote(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_seen_through_other_errors() {
        let error = io::Error::other(io::Error::other(Unreachable("no answer".into())));
        assert!(is_unreachable(&error));
        assert!(!is_unreachable(&io::Error::other("no answer")));
        assert!(!is_unreachable(&io::Error::from(io::ErrorKind::NotFound)));
    }
}
