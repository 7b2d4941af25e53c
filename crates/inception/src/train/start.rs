//! Where a training starts from: initial weights, or those of a file.

use inception_graph::{Graph, Weights};

use crate::checkpoint::{Checkpoint, Metadata};
use crate::data::Preprocessing;
use crate::exit::UsageError;

/// The layer that knows the classes.
const HEAD: &str = "logits/";

/// What knows them in training alone; no file of weights has it.
const AUXILIARY: &str = "aux_logits/";

/// What a training starts from.
pub struct Start {
    /// The weights.
    pub weights: Weights,
    /// What happens to pictures before the network sees them, where the weights are bound to that.
    pub preprocessing: Option<Preprocessing>,
    /// Name of the file that the weights are from.
    pub file: Option<String>,
}

impl Start {
    /// Initial weights, by `seed`.
    pub fn new(graph: &Graph, seed: u64) -> Self {
        Start { weights: Weights::init(graph, seed), preprocessing: None, file: None }
    }

    /// The weights of `checkpoint`, called `file`, for `graph`, the same network with any size of pictures. A new head is initialised
    /// by `seed` where it is asked for, an auxiliary head wherever there is one.
    pub fn from(
        checkpoint: &Checkpoint,
        file: &str,
        graph: &Graph,
        new_head: bool,
        seed: u64,
    ) -> Result<Self, UsageError> {
        let mut weights = Weights::init(graph, seed);
        let mut problems = Vec::new();
        for i in 0..weights.params().len() {
            let param = weights.params()[i].clone();
            if new_head && param.name.starts_with(HEAD) || param.name.starts_with(AUXILIARY) {
                continue;
            }
            let from = &checkpoint.weights;
            match from.index(&param.name).filter(|&j| from.params()[j].shape == param.shape) {
                Some(j) => weights.get_mut(i).copy_from_slice(from.get(j)),
                None => problems.push(param.name),
            }
        }
        if let Some(first) = problems.first() {
            let advice = if problems.iter().all(|name| name.starts_with(HEAD)) {
                "; --new-head starts a new classifier"
            } else {
                ""
            };
            return Err(UsageError(format!(
                "-w {file}: it has no {first} as this network needs it{}{advice}",
                if problems.len() > 1 {
                    format!(", nor {} others", problems.len() - 1)
                } else {
                    String::new()
                }
            )));
        }
        let preprocessing = Some(checkpoint.metadata.preprocessing);
        Ok(Start { weights, preprocessing, file: Some(file.into()) })
    }
}

/// Why data of `classes` cannot train the head of a network with `metadata`, if it cannot.
pub fn other_classes(metadata: &Metadata, classes: &[String]) -> Option<String> {
    let known = |class: &String| metadata.classes.contains(class);
    let unknown = classes.iter().filter(|class| !known(class)).count();
    (unknown > 0 || classes.len() != metadata.classes.len()).then(|| {
        format!(
            "the file knows {} classes and this data has {}, {unknown} of them others: --new-head starts a new classifier for them, on top of the file's network",
            metadata.classes.len(),
            classes.len(),
        )
    })
}
