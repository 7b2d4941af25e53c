//! Files in the layouts of other programs, made here and changed at will.

// Every test file uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use inception::checkpoint::{self, Checkpoint, CheckpointError, Out, Values};
use inception::weights::formula;
use inception_formats::Dtype;
use inception_graph::{Graph, Layout, Role, Spec, Weights, build};
use tempfile::TempDir;

/// Names, shapes and values in the order of a file.
pub(crate) type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// A file of the formula's weights in `layout`, changed by `edit`.
pub(crate) fn file(path: &Path, layout: Layout, graph: &Graph, edit: impl FnOnce(&mut Tensors)) -> Weights {
    let weights = formula::weights(graph, layout, 5);
    write(path, layout, graph, &weights, edit);
    weights
}

/// A file of `weights` in `layout`, changed by `edit`.
pub(crate) fn write(
    path: &Path,
    layout: Layout,
    graph: &Graph,
    weights: &Weights,
    edit: impl FnOnce(&mut Tensors),
) {
    let names = layout.names(graph);
    let mut tensors: Tensors = names
        .iter()
        .enumerate()
        .filter_map(|(i, foreign)| {
            let (foreign, shape) = (foreign.as_ref()?, &weights.params()[i].shape);
            Some((
                foreign.name.clone(),
                foreign.axes.shape(shape),
                foreign.axes.to_foreign(shape, weights.get(i)),
            ))
        })
        .collect();
    edit(&mut tensors);
    let out = tensors.iter().map(|(name, shape, values)| Out {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape.clone(),
        values: Values::F32(values),
    });
    checkpoint::write(path, serde_json::Map::new(), out.collect()).unwrap();
}

/// A folder with one file of weights, zeros and ones, for what does not depend on the values.
pub(crate) struct Plain {
    pub(crate) folder: TempDir,
}

impl Plain {
    /// `net` with `classes` in `layout`, changed by `edit`.
    pub(crate) fn new(layout: Layout, net: &str, classes: usize, edit: impl FnOnce(&mut Tensors)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let graph = build(&Spec::new(net).classes(classes)).unwrap();
        let mut weights = Weights::zeros(&graph);
        for i in 0..weights.params().len() {
            let one = matches!(weights.params()[i].role, Role::Gamma | Role::Variance);
            weights.get_mut(i).fill(f32::from(u8::from(one)));
        }
        write(&folder.path().join("x.safetensors"), layout, &graph, &weights, edit);
        Plain { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("x.safetensors")
    }

    /// How it is received.
    pub(crate) fn open(&self) -> Result<Checkpoint, CheckpointError> {
        checkpoint::open(&self.path(), None, true)
    }

    /// The message with which it is refused.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        self.open().err().expect("refused").to_string()
    }
}
