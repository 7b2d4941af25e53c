//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use inception_formats::{Dtype, Tensor};
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
    /// The file is no file of weights, or damaged.
    File(inception_formats::Error),
    /// Its tensors are of no network of the family.
    UnknownNetwork {
        /// The file.
        path: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// Names of the first of them.
        first: Vec<String>,
        /// The most similar network, its layout, and the share of its names that are there in percent.
        nearest: Option<(String, &'static str, usize)>,
    },
    /// Metadata with values that this version does not know.
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
        /// The most similar name in the file.
        nearest: Option<String>,
    },
    /// The file has it, the network does not.
    Extra {
        /// Its name.
        name: String,
        /// The most similar name in the network.
        nearest: Option<String>,
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
    /// It holds numbers of another type.
    Type {
        /// Its name.
        name: String,
        /// Types that are read.
        expected: Vec<Dtype>,
        /// Type in the file.
        found: Dtype,
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
    /// Some of its variances are below zero.
    Negative {
        /// Its name.
        name: String,
        /// How many.
        bad: usize,
        /// Of how many.
        len: usize,
    },
}

impl TensorProblem {
    /// How the tensor that was `found` under `name` differs from one of the `expected` shape and one of `types`;
    /// `nearest` looks for another name where there is none.
    pub(crate) fn of(
        name: &str,
        expected: &[usize],
        found: Option<&Tensor>,
        types: &[Dtype],
        nearest: impl FnOnce() -> Option<String>,
    ) -> Option<Self> {
        let (name, expected) = (name.to_string(), expected.to_vec());
        match found {
            None => Some(TensorProblem::Missing { name, expected, nearest: nearest() }),
            Some(tensor) if tensor.shape != expected => {
                Some(TensorProblem::Shape { name, expected, found: tensor.shape.clone() })
            }
            Some(tensor) if !types.contains(&tensor.dtype) => {
                Some(TensorProblem::Type { name, expected: types.to_vec(), found: tensor.dtype })
            }
            Some(_) => None,
        }
    }
}

/// Problems that a message lists.
pub(crate) const SHOWN: usize = 40;

/// `; is it …?`
struct Near<'a>(&'a Option<String>);

impl std::fmt::Display for Near<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, "; the nearest is `{name}`"))
    }
}

impl std::fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TensorProblem::Missing { name, expected, nearest } => {
                write!(f, "`{name}` {expected:?} is missing{}", Near(nearest))
            }
            TensorProblem::Extra { name, nearest } => {
                write!(f, "`{name}` is not a tensor of the network{}", Near(nearest))
            }
            TensorProblem::Shape { name, expected, found } => {
                write!(f, "`{name}` has shape {found:?}, expected {expected:?}")
            }
            TensorProblem::Type { name, expected, found } => {
                let expected: Vec<&str> = expected.iter().map(|dtype| dtype.name()).collect();
                write!(f, "`{name}` has type {}, expected {}", found.name(), expected.join(" or "))
            }
            TensorProblem::Negative { name, bad, len } => {
                write!(f, "`{name}` has {bad} values of {len} below zero, which no variance is")
            }
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
            CheckpointError::File(error) => error.fmt(f),
            CheckpointError::UnknownNetwork { path, tensors, first, nearest } => {
                write!(f, "{} has {tensors} tensors of no network that is known here", path.display())?;
                if !first.is_empty() {
                    write!(f, "; the first are `{}`", first.join("`, `"))?;
                }
                if first.iter().any(|name| name.ends_with("/.ATTRIBUTES/VARIABLE_VALUE")) {
                    return f.write_str(
                        "; it is a checkpoint of objects, which have no names of layers: save it with model.save_weights(\"NAME.weights.h5\")",
                    );
                }
                match nearest {
                    Some((net, layout, percent)) => write!(
                        f,
                        "; the nearest is {net} in the layout {layout} with {percent} % of its names (-m {net} lists what differs)"
                    ),
                    None => write!(f, " (`inception info` lists the networks)"),
                }
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
                problems.iter().take(SHOWN).try_for_each(|p| write!(f, "\n  {p}"))?;
                if n > SHOWN {
                    write!(f, "\n  … and {} more", n - SHOWN)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CheckpointError::Io { source, .. } => Some(source),
            CheckpointError::Graph { source, .. } => Some(source),
            CheckpointError::File(error) => std::error::Error::source(error),
            CheckpointError::UnknownNetwork { .. }
            | CheckpointError::Metadata { .. }
            | CheckpointError::Tensors { .. } => None,
        }
    }
}
