//! What `cloud` is in a build without that feature: every URL is refused with the way to a build that has it.

use std::convert::Infallible;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::storage::Unreachable;

fn refuse<T>() -> io::Result<T> {
    let problem = "this build reads no URLs, for it has no `cloud` feature: rebuild with `cargo build --release --features cloud`, or give a path";
    Err(io::Error::new(io::ErrorKind::Unsupported, Unreachable(problem.into())))
}

pub(super) fn prepare(_: &Path) -> io::Result<()> {
    refuse()
}

pub(super) fn exists(_: &Path) -> io::Result<bool> {
    refuse()
}

pub(super) fn entries(_: &Path) -> io::Result<Vec<PathBuf>> {
    refuse()
}

pub(super) fn read(_: &Path) -> io::Result<Vec<u8>> {
    refuse()
}

pub(super) fn read_part(_: &Path, _: u64, _: u64) -> io::Result<Vec<u8>> {
    refuse()
}

pub(super) fn is_dir(_: &Path) -> bool {
    false
}

pub(super) fn size(_: &Path) -> Option<u64> {
    None
}

pub(super) fn tag(_: &Path) -> Option<String> {
    None
}

/// There is none.
pub(super) struct Reader(Infallible);

impl Reader {
    pub(super) fn open(_: &Path) -> io::Result<Self> {
        refuse()
    }

    pub(super) fn len(&self) -> u64 {
        match self.0 {}
    }
}

impl Read for Reader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Seek for Reader {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        match self.0 {}
    }
}
