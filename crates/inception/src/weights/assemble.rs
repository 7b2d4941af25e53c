//! From a recognised file to weights.

use std::collections::{BTreeMap, HashSet};

use inception_formats::{Dtype, TensorFile};
use inception_graph::Weights;

use super::alias::{self, Standard};
use super::describe::{About, Fitted};
use super::recognise::{self, Index, Recognised};
use super::rules::{self, Reason};
use crate::checkpoint::{self, Checkpoint, CheckpointError, SHOWN, TensorProblem, impossible};

/// A tensor that is kept beside the network, so that the file can be made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// Its name in the file.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Extents.
    pub shape: Vec<usize>,
    /// Its values, little endian.
    pub bytes: Vec<u8>,
}

/// Reads the weights of a foreign `file`. `net` settles which of several networks with the same tensors is meant;
/// `keep_extras` keeps what is no part of the network.
pub fn load(
    mut file: TensorFile,
    net: Option<&str>,
    keep_extras: bool,
) -> Result<Checkpoint, CheckpointError> {
    let path = file.path().to_path_buf();
    let described = checkpoint::described(file.texts())
        .map_err(|reason| CheckpointError::Metadata { path: path.clone(), reason })?;
    let net = net.or(described.as_ref().map(|metadata| metadata.net.as_str()));
    let mut standard = alias::standard(&file);
    let found = recognise::recognise(&file, &mut standard.names, net)?;
    let broken = |problems: Vec<TensorProblem>| {
        let net = format!("{} in the layout {}", found.graph.spec().net, found.layout.name());
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CheckpointError::Tensors { path: path.clone(), net, problems })
        }
    };
    let index = recognise::index(&standard.names, &file);
    let (left, problems) = differences(&found, &standard, &index, &file);
    broken(problems)?;
    let sources: Vec<Option<usize>> =
        found.names.iter().map(|f| f.as_ref().map(|f| index[f.name.as_str()].0)).collect();
    let (weights, problems) = read(&found, &sources, &mut file)?;
    broken(problems)?;
    let fitted = Fitted { file: &file, standard: &standard, found: &found, sources: &sources, left: &left };
    let About { graph, metadata, report, doubts } = fitted.about(described)?;
    let mut extras = Vec::new();
    if keep_extras {
        for i in left.into_values().flatten() {
            let tensor = file.tensors()[i].clone();
            let bytes = file.bytes(i).map_err(CheckpointError::File)?.to_vec();
            extras.push(Extra { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes });
        }
    }
    Ok(Checkpoint { graph, weights, metadata, layout: Some(found.layout), report, doubts, extras })
}

/// What is no part of the network by rule; and what is missing, misshapen or not expected.
fn differences(
    found: &Recognised,
    standard: &Standard,
    index: &Index,
    file: &TensorFile,
) -> (BTreeMap<Reason, Vec<usize>>, Vec<TensorProblem>) {
    let (mut left, mut problems, mut taken) = (BTreeMap::<_, Vec<usize>>::new(), Vec::new(), HashSet::new());
    let shown = |problems: &Vec<TensorProblem>| problems.len() < SHOWN;
    for (param, foreign) in found.graph.params().iter().zip(&found.names) {
        let Some(foreign) = foreign else { continue };
        let (name, expected) = (foreign.name.as_str(), foreign.axes.shape(&param.shape));
        let tensor = index.get(name);
        taken.extend(tensor.map(|&(i, _)| i));
        let near = || shown(&problems).then(|| nearest(name, &standard.names)).flatten();
        let problem = TensorProblem::of(name, &expected, tensor.map(|t| t.1), &Dtype::FLOATS, near);
        problems.extend(problem);
    }
    for (i, (name, tensor)) in standard.names.iter().zip(file.tensors()).enumerate() {
        if taken.contains(&i) {
            continue;
        }
        match rules::reason(found.layout, file.format(), name, tensor, standard.outside[i]) {
            Some(reason) => left.entry(reason).or_default().push(i),
            None => {
                let names = found.names.iter().flatten().map(|f| &f.name);
                let nearest = shown(&problems).then(|| nearest(name, names)).flatten();
                problems.push(TensorProblem::Extra { name: tensor.name.clone(), nearest });
            }
        }
    }
    (left, problems)
}

/// Names that are compared with one that does not fit, more than any network has.
const MOST_COMPARED: usize = 4_096;

/// The most similar of `names`, where one is similar at all.
fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let near = names.into_iter().take(MOST_COMPARED);
    let near = near.map(|n| (strsim::jaro_winkler(name, n), n)).max_by(|a, b| a.0.total_cmp(&b.0));
    near.filter(|(similar, n)| *similar > 0.9 && *n != name).map(|(_, n)| n.into())
}

/// All values, tensor by tensor, and those that are no finite numbers.
fn read(
    found: &Recognised,
    sources: &[Option<usize>],
    file: &mut TensorFile,
) -> Result<(Weights, Vec<TensorProblem>), CheckpointError> {
    let mut weights = Weights::zeros(&found.graph);
    let (mut problems, mut values) = (Vec::new(), Vec::new());
    for (i, (source, foreign)) in sources.iter().zip(&found.names).enumerate() {
        let (Some(source), Some(foreign)) = (source, foreign) else {
            weights.get_mut(i).fill(1.0);
            continue;
        };
        file.read_values(*source, &mut values).map_err(CheckpointError::File)?;
        let param = weights.params()[i].clone();
        problems.extend(impossible(&foreign.name, param.role, &values));
        foreign.axes.to_canonical(&param.shape, &values, weights.get_mut(i));
    }
    Ok((weights, problems))
}
