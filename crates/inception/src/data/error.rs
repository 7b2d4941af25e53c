//! What can be wrong with data. Each message names the file or folder, what was found and what to do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::storage;

/// Why data cannot be used. Others are told the texts.
#[derive(Debug, Serialize, Deserialize)]
pub enum DataError {
    /// A path cannot be read at all.
    Io {
        /// The path.
        #[serde(serialize_with = "shown")]
        path: PathBuf,
        /// The system's reason.
        #[serde(serialize_with = "text", deserialize_with = "other")]
        source: std::io::Error,
    },
    /// What may well be there cannot be had: a network or a store does not answer, or refuses. Never a reason to leave something out.
    Unreachable {
        /// The URL.
        #[serde(serialize_with = "shown")]
        path: PathBuf,
        /// What was tried, what came back, what to do.
        #[serde(serialize_with = "text", deserialize_with = "other")]
        source: std::io::Error,
    },
    /// A folder is not laid out as a data set.
    Layout {
        /// The folder.
        #[serde(serialize_with = "shown")]
        path: PathBuf,
        /// What was expected, what was found, what to do.
        problem: String,
    },
    /// Splits or checkpoint disagree about classes.
    Classes {
        /// The folder.
        #[serde(serialize_with = "shown")]
        path: PathBuf,
        /// A table of the classes that disagree.
        table: String,
    },
    /// A picture cannot be decoded.
    Picture {
        /// The picture's file or name.
        name: String,
        /// What was found.
        problem: String,
    },
    /// A threads' worth of work was lost; names what the thread did.
    Worker(String),
}

fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn text<S: Serializer>(source: &std::io::Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(source)
}

fn other<'d, D: Deserializer<'d>>(deserializer: D) -> Result<std::io::Error, D::Error> {
    String::deserialize(deserializer).map(std::io::Error::other)
}

impl DataError {
    /// What reading `path` ended with.
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.into();
        match storage::is_unreachable(&source) {
            true => DataError::Unreachable { path, source },
            false => DataError::Io { path, source },
        }
    }
}

impl DataError {
    /// The same, saying `who` met it, where others may not have.
    pub fn met_by(self, who: &str) -> Self {
        let told =
            |source: std::io::Error| std::io::Error::new(source.kind(), format!("{source} (at {who})"));
        match self {
            DataError::Io { path, source } => DataError::Io { path, source: told(source) },
            DataError::Unreachable { path, source } => DataError::Unreachable { path, source: told(source) },
            other => other,
        }
    }
}

/// What becomes of an error at `path`.
pub(super) fn io_error(path: &Path) -> impl Fn(std::io::Error) -> DataError {
    let path = path.to_path_buf();
    move |source| DataError::io(&path, source)
}

impl std::fmt::Display for DataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DataError::Io { path, source } | DataError::Unreachable { path, source } => {
                write!(f, "{}: {source}", path.display())
            }
            DataError::Layout { path, problem } => write!(f, "{}: {problem}", path.display()),
            DataError::Classes { path, table } => {
                write!(f, "{}: the classes of this data do not match\n{table}", path.display())
            }
            DataError::Picture { name, problem } => write!(f, "{name}: {problem}"),
            DataError::Worker(problem) => write!(f, "a decoding thread stopped: {problem}"),
        }
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DataError::Io { source, .. } | DataError::Unreachable { source, .. } => Some(source),
            _ => None,
        }
    }
}
