//! What the networks are: every network described once, as a list of boxes of the paper's figures.
//!
//! A [`Graph`] is built by [`build`] from a [`Spec`] (network name, input size, width, classes) and answers every
//! question that is about structure alone: shapes, parameters and their names, cost, initial values. Executors
//! (the CPU engine, a GPU engine, writers of other formats) read it with one `match` over [`Op`].
//!
//! ```
//! use inception_graph::{Spec, build};
//! let graph = build(&Spec::new("inception_v4"))?;
//! assert_eq!(graph.shape_of("mixed_6a"), Some([17, 17, 1024].into()));
//! assert_eq!(graph.parameter_count(), 42_679_816);
//! # Ok::<(), inception_graph::GraphError>(())
//! ```

mod block;
mod cost;
mod diagram;
mod dsl;
mod error;
mod graph;
mod inside;
mod label;
mod memory;
mod names;
mod nets;
mod op;
mod param;
mod rng;
mod summary;
mod svg;
mod table;

pub use dsl::{Layer, Net, Tap};
pub use error::GraphError;
pub use graph::{Graph, Node, NodeId, Shape, Spec};
pub use names::{Axes, Foreign, Layout, numbered};
pub use nets::{NETWORKS, NetInfo, build, find};
pub use op::{After, Op, Pad};
pub use param::{BN_EPSILON, Param, Role, Weights};
pub use rng::{Stream, stream};
pub use summary::{EndpointRow, LayerRow, NodeRow, OutputRow, Summary};
pub use table::{Align, Table, thousands};
