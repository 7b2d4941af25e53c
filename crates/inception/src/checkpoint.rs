//! Checkpoints: weights and all that is needed to use them, in one safetensors file.
//!
//! ```text
//! 8 bytes   length n of the header, little endian
//! n bytes   JSON: "__metadata__" (text to text) and dtype, shape, offsets of every tensor
//! the rest  f32 values, little endian, tensor behind tensor in execution order
//! ```
//!
//! Tensors have the graph's canonical names (`mixed_5b/b1/0/weight`). In `__metadata__`, `format` and `net` are plain
//! text and every other value is JSON: `img_size`, `width`, `embedding`, `residual_scale`, `classes`, `preprocessing`, `background`, `provenance`,
//! `step`, `epoch`, `metrics`. The same weights and metadata give the same bytes, which is why the header is written
//! here and not by the `safetensors` crate, whose metadata are in random order. Tensors under `extra/` are no part of the
//! network: what a published file held beside it, kept so that the file can be made again.
//!
//! Saving never leaves half a file: a neighbour is written, synced and renamed. Loading is exact: whatever is missing,
//! too much, misshapen, of another type or no finite number is listed, all of it, and nothing is loaded. A `checksum` over
//! all texts and tensors finds what a disk or a copy has changed.

mod checksum;
mod error;
mod read;
mod write;

use std::collections::BTreeMap;

use inception_graph::{Graph, Layout, Spec, Weights};
use serde::{Deserialize, Serialize};

pub(crate) use error::SHOWN;
pub use error::{CheckpointError, TensorProblem};
pub(crate) use read::{described, impossible};
pub use read::{load, open, open_sealed};
pub use write::{Out, Values, description, save, save_with, seal_and_write, write};

use crate::data::Preprocessing;
use crate::weights::Extra;

/// Version of the layout described above, the value of the key `format`.
pub const FORMAT: &str = "inception/1";

/// What the names of tensors begin with that are no part of the network.
const EXTRA: &str = "extra/";

/// Key of the metadata in a file with another program's names, as one JSON text.
const DESCRIPTION: &str = "inception";

/// Keys whose values are plain text; all others hold JSON.
const PLAIN: [&str; 3] = ["format", "net", checksum::KEY];

/// What a checkpoint knows about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the network.
    pub net: String,
    /// Side of its input in pixels.
    pub img_size: usize,
    /// Width multiplier.
    pub width: f64,
    /// Values of its embedding where that is not the network's own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,
    /// Scale of the residual branches where that is not the network's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f32>,
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

/// A file of weights, read.
pub struct Checkpoint {
    /// The network.
    pub graph: Graph,
    /// Its weights.
    pub weights: Weights,
    /// What is needed to use them.
    pub metadata: Metadata,
    /// How the file names things, `None` for our own.
    pub layout: Option<Layout>,
    /// What was done by rule when a foreign file was read, a sentence each.
    pub report: Vec<String>,
    /// Settings of its preprocessing that are not known.
    pub doubts: Vec<Doubt>,
    /// Tensors that are no part of the network, where they were asked for.
    pub extras: Vec<Extra>,
}

impl Checkpoint {
    /// The layout of the published file that this is or was converted from.
    pub fn origin(&self) -> Option<Layout> {
        self.layout.or_else(|| Layout::find(self.metadata.provenance.layout.as_deref()?))
    }
}

/// A setting of the preprocessing that a file describes in a way that is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which.
    pub setting: Setting,
    /// What the file says, and what was expected.
    pub reason: String,
}

/// A setting of the preprocessing that a flag can overrule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the flags")]
pub enum Setting {
    ImgSize,
    CropPct,
    Interpolation,
    Resize,
    Range,
}

impl Setting {
    /// The flag.
    pub fn flag(self) -> &'static str {
        match self {
            Setting::ImgSize => "--img-size",
            Setting::CropPct => "--crop-pct",
            Setting::Interpolation => "--interpolation",
            Setting::Resize => "--resize",
            Setting::Range => "--range",
        }
    }
}

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Program and version that wrote the file.
    pub tool: String,
    /// Recipe they were trained with.
    pub recipe: Option<String>,
    /// Name of the data set's folder.
    pub data: Option<String>,
    /// Name of the file that their training started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The checkpoints that they are the mean of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean_of: Vec<Share>,
    /// Pictures that their running statistics were measured on, where that was not in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<String>,
    /// The published file that they were converted from, its format and layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Layout of that file, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// How that file had the network's tensors where its layout says otherwise, by our names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, Original>,
}

/// A checkpoint's part of a mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Name of its file.
    pub file: String,
    /// Between 0 and 1; those of all checkpoints are 1 together.
    pub share: f64,
}

/// A tensor of a published file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Its name there.
    pub name: String,
    /// Type of its values there.
    pub dtype: String,
}

impl Default for Provenance {
    fn default() -> Self {
        let tool = concat!("inception ", env!("CARGO_PKG_VERSION")).into();
        Provenance {
            tool,
            recipe: None,
            data: None,
            start: None,
            mean_of: Vec::new(),
            statistics: None,
            source: None,
            layout: None,
            tensors: BTreeMap::new(),
        }
    }
}

impl Metadata {
    /// Metadata of a network that nobody has trained yet.
    pub fn new(graph: &Graph, classes: Vec<String>, preprocessing: impl Into<Preprocessing>) -> Self {
        Metadata {
            net: graph.spec().net.clone(),
            img_size: graph.img_size(),
            width: graph.spec().width,
            embedding: graph.spec().embedding,
            residual_scale: graph.spec().residual_scale,
            classes,
            preprocessing: preprocessing.into(),
            background: None,
            provenance: Provenance::default(),
            step: 0,
            epoch: 0,
            metrics: BTreeMap::new(),
        }
    }

    /// The network that the weights belong to.
    pub fn spec(&self) -> Spec {
        let spec = Spec::new(&self.net).img_size(self.img_size).width(self.width).classes(self.classes.len());
        Spec { embedding: self.embedding, residual_scale: self.residual_scale, ..spec }
    }
}
