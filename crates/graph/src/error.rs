//! What can be wrong with a request for a network.

use crate::graph::AUX_LOGITS;

/// Why a network cannot be built. Each message says what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphError {
    /// No network has this name.
    UnknownNet {
        /// What was asked for.
        name: String,
        /// The nearest known name.
        suggestion: Option<&'static str>,
    },
    /// The input is too small for the network's VALID windows.
    TooSmall {
        /// The network.
        net: String,
        /// Input side asked for.
        img_size: usize,
        /// Node at which no window fitted.
        node: String,
        /// Smallest side that works.
        smallest: usize,
    },
    /// A number of the request is out of range.
    OutOfRange {
        /// Name of the parameter.
        what: &'static str,
        /// Value asked for.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GraphError::UnknownNet { name, suggestion } => {
                write!(f, "unknown network `{name}`")?;
                if let Some(s) = suggestion {
                    write!(f, ", did you mean `{s}`?")?;
                }
                write!(f, " (known:")?;
                crate::NETWORKS.iter().try_for_each(|n| write!(f, " {}", n.name))?;
                write!(f, ")")
            }
            GraphError::TooSmall { net, img_size, node, smallest } => {
                let head = if node.starts_with(AUX_LOGITS) { " with its auxiliary head" } else { "" };
                write!(
                    f,
                    "input size {img_size} is too small for {net}{head}: no window fits at `{node}`; the smallest input size is {smallest}"
                )
            }
            GraphError::OutOfRange { what, found, expected } => {
                write!(f, "{what} {found} is out of range: expected {expected}")
            }
        }
    }
}

impl std::error::Error for GraphError {}
