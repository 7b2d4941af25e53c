//! From a recognised file to weights, metadata and a report.

use std::collections::BTreeMap;

use inception_formats::{Dtype, Format, TensorFile};
use inception_graph::{Role, Spec, Weights, build};

use super::alias;
use super::imagenet;
use super::preset;
use super::recognise::{self, Index, Recognised};
use super::rules::{self, Reason};
use super::timm_config;
use crate::checkpoint::{Checkpoint, CheckpointError, Metadata, TensorProblem, not_finite};

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
    let mut standard = alias::standard(&file);
    let found = recognise::recognise(&file, &mut standard.names, net)?;
    let names = &standard.names;
    let (layout, format) = (found.layout, file.format());
    let index = recognise::index(names, &file);

    let taken = found.names.iter().flatten().filter_map(|f| index.get(f.name.as_str())).map(|&(i, _)| i);
    let taken: std::collections::HashSet<usize> = taken.collect();
    let mut left: BTreeMap<Reason, Vec<usize>> = BTreeMap::new();
    let mut unexpected = Vec::new();
    for (i, (name, tensor)) in
        names.iter().zip(file.tensors()).enumerate().filter(|(i, _)| !taken.contains(i))
    {
        match rules::reason(layout, format, name, tensor, standard.outside[i]) {
            Some(reason) => left.entry(reason).or_default().push(i),
            None => unexpected.push(i),
        }
    }
    let mut problems = differences(&found, &index);
    problems.extend(unexpected.iter().map(|&i| TensorProblem::Extra {
        name: file.tensors()[i].name.clone(),
        nearest: nearest(&names[i], found.names.iter().flatten().map(|f| f.name.as_str())),
    }));
    let path = file.path().to_path_buf();
    let broken = |problems| CheckpointError::Tensors {
        path: path.clone(),
        net: format!("{} in the layout {}", found.graph.spec().net, layout.name()),
        problems,
    };
    if !problems.is_empty() {
        return Err(broken(problems));
    }
    let sources: Vec<Option<usize>> =
        found.names.iter().map(|f| f.as_ref().map(|f| index[f.name.as_str()].0)).collect();
    let (weights, problems) = read(&found, &sources, &mut file)?;
    if !problems.is_empty() {
        return Err(broken(problems));
    }

    let auxiliary = left.contains_key(&Reason::AuxiliaryHead);
    let net = found.graph.spec().net.clone();
    let mut preprocessing = preset::preprocessing(layout, &net, auxiliary);
    let (mut graph, mut classes, mut doubts) = (found.graph, None, Vec::new());
    let mut report = vec![];
    match timm_config::beside(&path) {
        Some(config) if config.describes(layout, &net) => {
            let mut img_size = graph.img_size();
            doubts = config.apply(&mut preprocessing, &mut img_size);
            graph = build(&Spec { img_size: Some(img_size), ..graph.spec().clone() })
                .map_err(|source| CheckpointError::Graph { path: path.clone(), source })?;
            classes = config.classes(graph.classes());
            report.push(format!("preprocessing of {}, from the config.json beside it", config.name()));
            report.extend(doubts.iter().map(|doubt| doubt.reason.clone()));
        }
        Some(config) => report.push(format!("the config.json beside it is of {}: not used", config.name())),
        None => {}
    }
    if format == Format::Pytorch {
        let text = |key: &str| file.texts().iter().find(|(k, _)| k == key).map(|(_, text)| text.as_str());
        report.extend(text("taken").map(|taken| format!("weights of `{taken}` taken")));
        report.extend(text("left").map(|left| format!("left in the checkpoint: {left}")));
    }
    if let Some(prefix) = standard.prefix {
        report.push(format!("`{prefix}` taken off the names"));
    }
    if standard.averages > 0 {
        report.push(format!("{} moving averages taken in place of the weights", standard.averages));
    }
    let narrow = sources.iter().flatten().map(|&i| file.tensors()[i].dtype).filter(|&d| d != Dtype::F32);
    let narrow: Vec<Dtype> = narrow.collect();
    if let Some(first) = narrow.first() {
        report.push(format!("{} tensors of {} and the like turned into F32", narrow.len(), first.name()));
    }
    report.extend(left.iter().map(|(reason, tensors)| {
        let names: Vec<&str> = tensors.iter().map(|&i| file.tensors()[i].name.as_str()).collect();
        reason.describe(&names)
    }));
    let gammas = found
        .names
        .iter()
        .zip(weights.params())
        .filter(|(f, p)| f.is_none() && p.role == Role::Gamma)
        .count();
    if gammas > 0 {
        report.push(format!("{gammas} batch norms without a scale: ones"));
    }
    let count = graph.classes();
    if count == 1001 {
        report.push("1001 classes: class 0 is the background, the others are ImageNet's".into());
    }
    let mut extras = Vec::new();
    if keep_extras {
        for i in left.into_values().flatten() {
            let tensor = file.tensors()[i].clone();
            let bytes = file.bytes(i).map_err(CheckpointError::File)?.to_vec();
            extras.push(Extra { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes });
        }
    }
    let mut metadata =
        Metadata::new(&graph, classes.unwrap_or_else(|| imagenet::names(count)), preprocessing);
    metadata.background = (count == 1001).then_some(0);
    metadata.provenance.source = Some(format!(
        "{} ({}, layout {})",
        path.file_name().unwrap_or_default().to_string_lossy(),
        format.name(),
        layout.name()
    ));
    metadata.provenance.layout = Some(layout.name().into());
    Ok(Checkpoint { graph, weights, metadata, layout: Some(layout), report, doubts, extras })
}

/// What is missing or misshapen.
fn differences(found: &Recognised, index: &Index) -> Vec<TensorProblem> {
    let params = found.graph.params();
    let mut problems = Vec::new();
    for (param, foreign) in params.iter().zip(&found.names) {
        let Some(foreign) = foreign else { continue };
        let (name, expected) = (foreign.name.as_str(), foreign.axes.shape(&param.shape));
        let tensor = index.get(name).map(|&(_, tensor)| tensor);
        let near = || nearest(name, index.keys().copied());
        problems.extend(TensorProblem::of(name, &expected, tensor, Dtype::is_float, near));
    }
    problems
}

/// The most similar of `names`, where one is similar at all.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = names.map(|n| (strsim::jaro_winkler(name, n), n)).max_by(|a, b| a.0.total_cmp(&b.0));
    near.filter(|(similar, n)| *similar > 0.9 && *n != name).map(|(_, n)| n.into())
}

/// All values, tensor by tensor, and those that are no finite numbers.
fn read(
    found: &Recognised,
    sources: &[Option<usize>],
    file: &mut TensorFile,
) -> Result<(Weights, Vec<TensorProblem>), CheckpointError> {
    let mut weights = Weights::zeros(&found.graph);
    let mut problems = Vec::new();
    for (i, (source, foreign)) in sources.iter().zip(&found.names).enumerate() {
        let (Some(source), Some(foreign)) = (source, foreign) else {
            weights.get_mut(i).fill(1.0);
            continue;
        };
        let values = file.values(*source).map_err(CheckpointError::File)?;
        problems.extend(not_finite(&foreign.name, &values));
        let shape = weights.params()[i].shape.clone();
        weights.get_mut(i).copy_from_slice(&foreign.axes.to_canonical(&shape, &values));
    }
    Ok((weights, problems))
}
