//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use inception_graph::GraphError;

/// Why a checkpoint was not read or written. Every message names the file.
#[derive(Debug)]
pub enum CheckpointError {
    /// The file system refused.
    Io {
        /// What was to be done: `read`, `write`, …
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is something else, or damaged.
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        reason: String,
    },
    /// A sound safetensors file without the metadata that this tool needs, or with values it does not know.
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The metadata ask for a network that cannot be built.
    Graph {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: GraphError,
    },
    /// The tensors are not the network's.
    Tensors {
        /// The file.
        path: PathBuf,
        /// The network.
        net: String,
        /// Every one that is wrong.
        problems: Vec<TensorProblem>,
    },
}

/// What is wrong with one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorProblem {
    /// The network has it, the file does not.
    Missing {
        /// Its name.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
    },
    /// The file has it, the network does not.
    Extra {
        /// Its name.
        name: String,
    },
    /// It has another shape.
    Shape {
        /// Its name.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// It holds other numbers than `F32`.
    Type {
        /// Its name.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// Some of its values are infinite or not a number.
    NotFinite {
        /// Its name.
        name: String,
        /// How many.
        bad: usize,
        /// Of how many.
        len: usize,
    },
}

impl std::fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TensorProblem::Missing { name, expected } => write!(f, "`{name}` {expected:?} is missing"),
            TensorProblem::Extra { name } => write!(f, "`{name}` is not a tensor of the network"),
            TensorProblem::Shape { name, expected, found } => {
                write!(f, "`{name}` has shape {found:?}, expected {expected:?}")
            }
            TensorProblem::Type { name, found } => write!(f, "`{name}` has type {found}, expected F32"),
            TensorProblem::NotFinite { name, bad, len } => {
                write!(f, "`{name}` has {bad} values of {len} that are infinite or not a number")
            }
        }
    }
}

impl std::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CheckpointError::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
            CheckpointError::NotACheckpoint { path, reason } => {
                write!(f, "{} is not a checkpoint: {reason}", path.display())
            }
            CheckpointError::Metadata { path, reason } => {
                write!(f, "metadata of {}: {reason}", path.display())
            }
            CheckpointError::Graph { path, .. } => {
                write!(f, "{} asks for a network that cannot be built", path.display())
            }
            CheckpointError::Tensors { path, net, problems } => {
                let (n, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
                write!(f, "{} does not fit {net}, nothing was loaded ({n} problem{s}):", path.display())?;
                problems.iter().try_for_each(|p| write!(f, "\n  {p}"))
            }
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CheckpointError::Io { source, .. } => Some(source),
            CheckpointError::Graph { source, .. } => Some(source),
            CheckpointError::NotACheckpoint { .. }
            | CheckpointError::Metadata { .. }
            | CheckpointError::Tensors { .. } => None,
        }
    }
}
