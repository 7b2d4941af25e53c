//! Files in the layouts of other programs, made here and changed at will.

// Every test file uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use inception::checkpoint::{self, Checkpoint, CheckpointError, Out, Values};
use inception::weights::formula;
use inception_formats::Dtype;
use inception_graph::{Foreign, Graph, Layout, Role, Spec, Weights, build};
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
    let mut tensors = tensors(layout, graph, weights);
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

/// `torch.save(entries, path)` in the form before 1.6: each entry a dictionary of tensors or, without any, `"text"`.
pub(crate) fn pth(path: &Path, entries: &[(&str, &Tensors)]) {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let number = |n: usize| [b"J", &(n as u32).to_le_bytes()[..]].concat();
    let tuple = |items: &[usize]| {
        [b"(".to_vec(), items.iter().flat_map(|&n| number(n)).collect(), b"t".to_vec()].concat()
    };
    let (mut object, mut keys, mut storages) = (b"\x80\x02}".to_vec(), Vec::new(), Vec::new());
    for (entry, tensors) in entries {
        object.extend(text(entry));
        object.extend(if tensors.is_empty() { text("text") } else { b"}".to_vec() });
        for (name, shape, values) in *tensors {
            let key = keys.len().to_string();
            let strides: Vec<usize> = (1..=shape.len()).map(|i| shape[i..].iter().product()).collect();
            for part in [
                text(name),
                b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
                text("storage"),
                b"ctorch\nFloatStorage\n".to_vec(),
                text(&key),
                text("cpu"),
                number(values.len()),
                b"tQ".to_vec(),
                number(0),
                tuple(shape),
                tuple(&strides),
                b"\x89}tRs".to_vec(),
            ] {
                object.extend(part);
            }
            storages.extend((values.len() as u64).to_le_bytes());
            storages.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            keys.push(text(&key));
        }
        object.extend(b"s");
    }
    let start =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    let keys = [b"\x80\x02](".to_vec(), keys.concat(), b"e.".to_vec()].concat();
    std::fs::write(path, [start, object, b".".to_vec(), keys, storages].concat()).unwrap();
}

/// Names, shapes and values of all of `graph`'s `weights` as `layout` has them.
pub(crate) fn tensors(layout: Layout, graph: &Graph, weights: &Weights) -> Tensors {
    let named = |(i, foreign): (usize, &Option<Foreign>)| {
        let (foreign, shape) = (foreign.as_ref()?, &weights.params()[i].shape);
        let values = foreign.axes.to_foreign(shape, weights.get(i));
        Some((foreign.name.clone(), foreign.axes.shape(shape), values))
    };
    layout.names(graph).iter().enumerate().filter_map(named).collect()
}
