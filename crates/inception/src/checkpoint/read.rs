//! Reading a checkpoint: exactly the network's tensors, or an error that lists every difference.

use std::collections::BTreeSet;
use std::path::Path;

use inception_formats::{Dtype, Tensor, TensorFile};
use inception_graph::{Graph, Param, Role, Weights, build};
use serde_json::{Map, Value};

use super::{
    Checkpoint, CheckpointError, DESCRIPTION, EXTRA, FORMAT, Metadata, PLAIN, TensorProblem, checksum,
};
use crate::weights::{self, Extra};

/// Reads the network, its weights and its metadata from a checkpoint or a file that another program published.
pub fn load(path: &Path) -> Result<(Graph, Weights, Metadata), CheckpointError> {
    let Checkpoint { graph, weights, metadata, doubts, .. } = open(path, None, false)?;
    match doubts.into_iter().next() {
        None => Ok((graph, weights, metadata)),
        Some(doubt) => Err(CheckpointError::Metadata { path: path.into(), reason: doubt.reason }),
    }
}

/// Reads a file of weights, ours or another program's. `net` settles which of several networks with the same tensors is
/// meant; `keep_extras` keeps the tensors that are no part of the network.
pub fn open(path: &Path, net: Option<&str>, keep_extras: bool) -> Result<Checkpoint, CheckpointError> {
    let file = inception_formats::open(path).map_err(CheckpointError::File)?;
    if file.texts().iter().any(|(key, value)| key == "format" && value.starts_with("inception/")) {
        return own(file, net, keep_extras);
    }
    weights::load(file, net, keep_extras)
}

/// Opens a safetensors file that carries a checksum, or not, and checks it.
pub fn open_sealed(path: &Path) -> Result<TensorFile, CheckpointError> {
    let mut file = inception_formats::open(path).map_err(CheckpointError::File)?;
    check(&mut file)?;
    Ok(file)
}

fn check(file: &mut TensorFile) -> Result<(), CheckpointError> {
    match checksum::check(file).map_err(CheckpointError::File)? {
        None => Ok(()),
        Some(reason) => Err(CheckpointError::Metadata { path: file.path().to_path_buf(), reason }),
    }
}

fn own(mut file: TensorFile, net: Option<&str>, keep_extras: bool) -> Result<Checkpoint, CheckpointError> {
    let path = file.path().to_path_buf();
    let metadata = metadata(file.texts().to_vec())
        .map_err(|reason| CheckpointError::Metadata { path: path.clone(), reason })?;
    if let Some(other) = net.filter(|&net| net != metadata.net) {
        let reason = format!("it is of {}, not of the {other} that was asked for", metadata.net);
        return Err(CheckpointError::Metadata { path, reason });
    }
    let graph =
        build(&metadata.spec()).map_err(|source| CheckpointError::Graph { path: path.clone(), source })?;
    let params = graph.params();
    let refused =
        |problems| CheckpointError::Tensors { path: path.clone(), net: metadata.net.clone(), problems };
    let (sources, mut problems) = differences(&params, file.tensors());
    let mut values = Vec::new();
    if !problems.is_empty() {
        for (param, source) in params.iter().zip(sources) {
            let Some(source) = source else { continue };
            file.read_values(source, &mut values).map_err(CheckpointError::File)?;
            problems.extend(impossible(&param.name, param.role, &values));
        }
        return Err(refused(problems));
    }
    // Only now is the network known to be no larger than the file.
    let (mut weights, mut problems) = (Weights::zeros(&graph), Vec::new());
    for (i, source) in sources.into_iter().flatten().enumerate() {
        file.read_values(source, &mut values).map_err(CheckpointError::File)?;
        problems.extend(impossible(&params[i].name, params[i].role, &values));
        weights.get_mut(i).copy_from_slice(&values);
    }
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    check(&mut file)?;
    let mut extras = Vec::new();
    for i in (0..file.tensors().len()).filter(|_| keep_extras) {
        let Tensor { name, dtype, shape } = file.tensors()[i].clone();
        if let Some(name) = name.strip_prefix(EXTRA) {
            let bytes = file.bytes(i).map_err(CheckpointError::File)?.to_vec();
            extras.push(Extra { name: name.into(), dtype, shape, bytes });
        }
    }
    Ok(Checkpoint { graph, weights, metadata, layout: None, report: Vec::new(), doubts: Vec::new(), extras })
}

fn metadata(texts: Vec<(String, String)>) -> Result<Metadata, String> {
    match texts.iter().find(|(key, _)| key == "format").map(|(_, value)| value.as_str()) {
        Some(FORMAT) => {}
        other => {
            let found = other.unwrap_or_default();
            return Err(format!(
                "format is `{found}`, this version reads `{FORMAT}`: use the version that wrote it"
            ));
        }
    }
    let parse = |(key, text): (String, String)| {
        let plain = PLAIN.contains(&key.as_str());
        let value = if plain { Ok(Value::String(text)) } else { serde_json::from_str(&text) };
        value.map(|v| (key.clone(), v)).map_err(|e| format!("`{key}` is not JSON: {e}"))
    };
    let fields = texts.into_iter().map(parse).collect::<Result<Map<_, _>, _>>()?;
    checked(serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?)
}

/// What [`super::description`] wrote among the texts of a file in another program's layout.
pub(crate) fn described(texts: &[(String, String)]) -> Result<Option<Metadata>, String> {
    let Some((_, text)) = texts.iter().find(|(key, _)| key == DESCRIPTION) else { return Ok(None) };
    let metadata = serde_json::from_str(text).map_err(|e| format!("`{DESCRIPTION}`: {e}"))?;
    checked(metadata).map(Some)
}

fn checked(metadata: Metadata) -> Result<Metadata, String> {
    if let Some(background) = metadata.background.filter(|&b| b >= metadata.classes.len()) {
        return Err(format!("background class {background} of {} classes", metadata.classes.len()));
    }
    let crop_pct = metadata.preprocessing.eval.crop_pct;
    if !(crop_pct > 0.0 && crop_pct <= 1.0) {
        return Err(format!("crop_pct {crop_pct} is out of range: expected more than 0 and at most 1"));
    }
    Ok(metadata)
}

/// The problem of `values`, those of a parameter in that `role`, which no network can compute with.
pub(crate) fn impossible(name: &str, role: Role, values: &[f32]) -> Option<TensorProblem> {
    let (name, len) = (name.to_string(), values.len());
    let count = |wrong: fn(&f32) -> bool| Some(values.iter().filter(|v| wrong(v)).count()).filter(|&n| n > 0);
    if let Some(bad) = count(|v| !v.is_finite()) {
        return Some(TensorProblem::NotFinite { name, bad, len });
    }
    let negative = if role == Role::Variance { count(|&v| v < 0.0) } else { None };
    negative.map(|bad| TensorProblem::Negative { name, bad, len })
}

/// The tensor of each of `params` that fits, and every way in which `tensors` differ: the network's order first, then what is too
/// much by name.
fn differences(params: &[Param], tensors: &[Tensor]) -> (Vec<Option<usize>>, Vec<TensorProblem>) {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    let places: std::collections::HashMap<&str, usize> =
        tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    for Param { name, shape, .. } in params {
        let place = places.get(name.as_str()).copied();
        let problem = TensorProblem::of(name, shape, place.map(|i| &tensors[i]), &[Dtype::F32], || None);
        sources.push(place.filter(|_| problem.is_none()));
        problems.extend(problem);
    }
    let known: BTreeSet<&str> = params.iter().map(|p| p.name.as_str()).collect();
    let extra: BTreeSet<&str> =
        places.into_keys().filter(|n| !known.contains(n) && !n.starts_with(EXTRA)).collect();
    problems.extend(extra.into_iter().map(|name| TensorProblem::Extra { name: name.into(), nearest: None }));
    (sources, problems)
}
