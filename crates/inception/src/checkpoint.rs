//! Checkpoints: weights and all that is needed to use them, in one safetensors file.
//!
//! ```text
//! 8 bytes   length n of the header, little endian
//! n bytes   JSON: "__metadata__" (text to text) and dtype, shape, offsets of every tensor
//! the rest  f32 values, little endian, tensor behind tensor in execution order
//! ```
//!
//! Tensors have the graph's canonical names (`mixed_5b/b1/0/weight`). In `__metadata__`, `format` and `net` are plain
//! text and every other value is JSON: `img_size`, `width`, `classes`, `preprocessing`, `background`, `provenance`,
//! `step`, `epoch`, `metrics`. The same weights and metadata give the same bytes, which is why the header is written
//! here and not by the `safetensors` crate, whose metadata are in random order.
//!
//! Saving never leaves half a file: a neighbour is written, synced and renamed. Loading is exact: whatever is missing,
//! too much, misshapen, of another type or no finite number is listed, all of it, and nothing is loaded.

mod error;
mod read;
mod write;

use std::collections::BTreeMap;

use inception_graph::{Graph, Spec};
use serde::{Deserialize, Serialize};

pub use error::{CheckpointError, TensorProblem};
pub use read::load;
pub use write::save;

use crate::data::Eval;

/// Version of the layout described above, the value of the key `format`.
pub const FORMAT: &str = "inception/1";

/// Keys whose values are plain text; all others hold JSON.
const PLAIN: [&str; 2] = ["format", "net"];

/// What a checkpoint knows about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the network.
    pub net: String,
    /// Side of its input in pixels.
    pub img_size: usize,
    /// Width multiplier.
    pub width: f64,
    /// Names of the classes in the order of the logits; empty for a network that ends in an embedding.
    pub classes: Vec<String>,
    /// What happens to a picture before the network sees it.
    pub preprocessing: Preprocessing,
    /// The class that stands for none of the others, where there is one.
    pub background: Option<usize>,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// Optimisation steps taken.
    pub step: u64,
    /// Epochs finished.
    pub epoch: u64,
    /// Results, by the training log's keys: `eval_top1_error`, … Values that are no finite number are not saved.
    pub metrics: BTreeMap<String, f64>,
}

/// What happens to a picture before the network sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Crop and interpolation; the size is the network's.
    #[serde(flatten)]
    pub eval: Eval,
    /// Values of the network's input.
    pub range: Range,
    /// Order of the channels.
    pub channels: Channels,
    /// Whether a picture is turned as its EXIF orientation says.
    pub exif: bool,
}

impl From<Eval> for Preprocessing {
    fn from(eval: Eval) -> Self {
        Preprocessing { eval, range: Range::Signed, channels: Channels::Rgb, exif: true }
    }
}

/// Values of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// `(byte - 127.5) / 127.5`.
    #[serde(rename = "[-1,1]")]
    Signed,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    #[serde(rename = "RGB")]
    Rgb,
}

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Program and version that wrote the file.
    pub tool: String,
    /// Recipe they were trained with.
    pub recipe: Option<String>,
    /// Name of the data set's folder.
    pub data: Option<String>,
}

impl Default for Provenance {
    fn default() -> Self {
        Provenance { tool: concat!("inception ", env!("CARGO_PKG_VERSION")).into(), recipe: None, data: None }
    }
}

impl Metadata {
    /// Metadata of a network that nobody has trained yet.
    pub fn new(graph: &Graph, classes: Vec<String>, eval: Eval) -> Self {
        Metadata {
            net: graph.spec().net.clone(),
            img_size: graph.img_size(),
            width: graph.spec().width,
            classes,
            preprocessing: eval.into(),
            background: None,
            provenance: Provenance::default(),
            step: 0,
            epoch: 0,
            metrics: BTreeMap::new(),
        }
    }

    /// The network that the weights belong to.
    pub fn spec(&self) -> Spec {
        Spec::new(&self.net).img_size(self.img_size).width(self.width).classes(self.classes.len())
    }
}
