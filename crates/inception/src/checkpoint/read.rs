//! Reading a checkpoint: exactly the network's tensors, or an error that lists every difference.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use inception_graph::{Graph, Param, Weights, build};
use safetensors::tensor::{SafeTensorError, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

use super::{CheckpointError, FORMAT, Metadata, PLAIN, TensorProblem};

/// The format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Beginnings of files that people take for checkpoints.
const LOOK_ALIKES: [(&[u8], &str); 7] = [
    (b"<", "it is a web page; was the download refused?"),
    (b"version https://git-lfs", "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"PK", "it is a zip archive or a PyTorch file, not safetensors"),
    (b"\x80", "it is a Python pickle or an old PyTorch file, not safetensors"),
    (b"\x89HDF", "it is an HDF5 file (Keras), not safetensors"),
    (b"\x1f\x8b", "it is compressed with gzip"),
    (b"{", "it is JSON, not safetensors"),
];

/// Reads a checkpoint: the network it is for, its weights, its metadata.
pub fn load(path: &Path) -> Result<(Graph, Weights, Metadata), CheckpointError> {
    let bytes = read(path)?;
    let broken = |reason: String| CheckpointError::NotACheckpoint { path: path.into(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(explain(&e)))?;
    // The crate parses the header twice to give its metadata; it is small.
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(explain(&e)))?;
    let texts = header.metadata().clone().unwrap_or_default();
    let metadata = metadata(texts.into_iter().collect())
        .map_err(|reason| CheckpointError::Metadata { path: path.into(), reason })?;
    let graph =
        build(&metadata.spec()).map_err(|source| CheckpointError::Graph { path: path.into(), source })?;

    let problems = differences(&graph.params(), &tensors);
    if !problems.is_empty() {
        return Err(CheckpointError::Tensors { path: path.into(), net: metadata.net, problems });
    }
    // Only now is the network known to be no larger than the file.
    let mut weights = Weights::zeros(&graph);
    for i in 0..weights.params().len() {
        let view = tensors.tensor(&weights.params()[i].name).map_err(|e| broken(explain(&e)))?;
        weights.get_mut(i).iter_mut().zip(values(&view)).for_each(|(to, from)| *to = from);
    }
    Ok((graph, weights, metadata))
}

/// All bytes of the file, once its first eight cannot be refused.
fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "read", path: path.into(), source };
    let broken = |reason: String| CheckpointError::NotACheckpoint { path: path.into(), reason };
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "is a folder")));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(64).read_to_end(&mut bytes).map_err(failed)?;
    let Some(length) = bytes.first_chunk::<8>().map(|&first| u64::from_le_bytes(first)) else {
        return Err(broken(format!("it has only {} bytes", bytes.len())));
    };
    if length > LONGEST_HEADER {
        let known = LOOK_ALIKES.iter().find(|(start, _)| bytes.starts_with(start));
        return Err(broken(known.map_or("it is not a safetensors file".into(), |&(_, what)| what.into())));
    }
    if about.is_file() && about.len() < length.saturating_add(8) {
        return Err(broken(format!("it ends inside its header: {} bytes of {}", about.len(), length + 8)));
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn explain(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            "its length is not what its header says; the file is cut off or something was appended".into()
        }
        SafeTensorError::InvalidHeaderDeserialization(e) => format!("its header is damaged: {e}"),
        other => format!("its header is damaged: {other}"),
    }
}

fn metadata(texts: Vec<(String, String)>) -> Result<Metadata, String> {
    let format = texts.iter().find(|(key, _)| key == "format").map(|(_, value)| value.as_str());
    match format {
        Some(FORMAT) => {}
        Some(other) if other.starts_with("inception/") => {
            return Err(format!("format is `{other}`, this version reads `{FORMAT}`"));
        }
        _ => return Err(format!("there is no `format: {FORMAT}`; another program wrote these weights")),
    }
    let parse = |(key, text): (String, String)| {
        let plain = PLAIN.contains(&key.as_str());
        let value = if plain { Ok(Value::String(text)) } else { serde_json::from_str(&text) };
        value.map(|v| (key.clone(), v)).map_err(|e| format!("`{key}` is not JSON: {e}"))
    };
    let fields = texts.into_iter().map(parse).collect::<Result<Map<_, _>, _>>()?;
    let metadata: Metadata = serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
    if let Some(background) = metadata.background.filter(|&b| b >= metadata.classes.len()) {
        return Err(format!("background class {background} of {} classes", metadata.classes.len()));
    }
    let crop_pct = metadata.preprocessing.eval.crop_pct;
    if !(crop_pct > 0.0 && crop_pct <= 1.0) {
        return Err(format!("crop_pct {crop_pct} is out of range: expected more than 0 and at most 1"));
    }
    Ok(metadata)
}

/// Every way in which the file's tensors are not `params`, the network's order first, then what is too much by name.
fn differences(params: &[Param], tensors: &SafeTensors) -> Vec<TensorProblem> {
    let mut problems: Vec<_> = params.iter().flat_map(|param| difference(param, tensors)).collect();
    let known: BTreeSet<&str> = params.iter().map(|p| p.name.as_str()).collect();
    let extra: BTreeSet<&str> = tensors.names().into_iter().filter(|name| !known.contains(name)).collect();
    problems.extend(extra.into_iter().map(|name| TensorProblem::Extra { name: name.into() }));
    problems
}

fn difference(param: &Param, tensors: &SafeTensors) -> Option<TensorProblem> {
    let (name, expected) = (param.name.clone(), param.shape.clone());
    let Ok(view) = tensors.tensor(&name) else {
        return Some(TensorProblem::Missing { name, expected });
    };
    if view.shape() != expected {
        return Some(TensorProblem::Shape { name, expected, found: view.shape().to_vec() });
    }
    if view.dtype() != Dtype::F32 {
        return Some(TensorProblem::Type { name, found: format!("{:?}", view.dtype()) });
    }
    let bad = values(&view).filter(|v| !v.is_finite()).count();
    (bad > 0).then(|| TensorProblem::NotFinite { name, bad, len: param.len() })
}

fn values<'a>(view: &TensorView<'a>) -> impl Iterator<Item = f32> + use<'a> {
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
