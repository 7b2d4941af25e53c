//! What can be wrong with a file.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file that cannot be read, and why.
#[derive(Debug)]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// The system refuses to read it.
    Io(io::Error),
    /// It is of a known format and damaged or cut off.
    Damaged(String),
    /// It is sound and holds what this crate does not read, for example code.
    Refused(String),
    /// It is of none of the known formats.
    Unknown(String),
}

/// Beginnings of files that people take for weights.
const LOOK_ALIKES: [(&[u8], &str); 8] = [
    (b"<", "it is a web page: was the download refused?"),
    (b"version https://git-lfs", "it is a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it first, for example with `tar xzf`"),
    (b"BZh", "it is compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "it is compressed with xz: unpack it first"),
    (b"{", "it is JSON, without any weights"),
    (b"\xff\xd8\xff", "it is a JPEG picture"),
    (b"\x89PNG", "it is a PNG picture"),
];

impl Problem {
    /// A damaged file.
    pub(crate) fn damaged(text: impl Into<String>) -> Self {
        Problem::Damaged(text.into())
    }

    /// A file that starts with `start` and is of no format that is read here.
    pub(crate) fn unknown(start: &[u8]) -> Self {
        let trimmed = start.trim_ascii_start();
        let known = LOOK_ALIKES.iter().find(|(magic, _)| trimmed.starts_with(magic));
        Problem::Unknown(match known {
            Some((_, what)) => (*what).into(),
            None if start.is_empty() => "it is empty".into(),
            None => "it is no file of weights that is known here".into(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Io(error) => write!(f, "cannot read {path}: {error}"),
            Problem::Damaged(what) => write!(f, "{path} is damaged: {what}"),
            Problem::Refused(what) => write!(f, "{path} is refused: {what}"),
            Problem::Unknown(what) => write!(f, "{path} cannot be read: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            Problem::Damaged(_) | Problem::Refused(_) | Problem::Unknown(_) => None,
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::damaged("it ends too early: is the download complete?"),
            _ => Problem::Io(error),
        }
    }
}
