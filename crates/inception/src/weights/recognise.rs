//! Which network, in which layout: decided by the names and shapes of the tensors.

use std::collections::HashMap;

use inception_formats::{Tensor, TensorFile};
use inception_graph::{Foreign, Graph, Layout, Param, Spec, build};

use super::alias;
use crate::checkpoint::CheckpointError;

/// What a file was recognised as.
#[derive(Debug)]
pub struct Recognised {
    /// How it names things.
    pub layout: Layout,
    /// The network, with the classes of the file.
    pub graph: Graph,
    /// The name and axes of each of its parameters, `None` for a γ that is one.
    pub(super) names: Vec<Option<Foreign>>,
    /// Share of the network's tensors that are there by name.
    share: f64,
    /// How many are there with their shape, too.
    fitting: usize,
    /// Classes of the file's classifier, `None` where it has none.
    classes: Option<usize>,
}

/// Below this share of matching names a file is not of a network but of another one.
const ALIKE: f64 = 0.5;

/// Names to tensors of a file.
pub(super) type Index<'a> = HashMap<&'a str, (usize, &'a Tensor)>;

pub(super) fn index<'a>(names: &'a [String], file: &'a TensorFile) -> Index<'a> {
    names.iter().map(String::as_str).zip(file.tensors().iter().enumerate()).collect()
}

/// The network and layout whose names the file has; `wanted` settles which of several networks with the same tensors.
pub(super) fn recognise(
    file: &TensorFile,
    names: &mut Vec<String>,
    wanted: Option<&str>,
) -> Result<Recognised, CheckpointError> {
    if let Some(net) = wanted {
        let known = inception_graph::find(net);
        known.map_err(|source| CheckpointError::Graph { path: file.path().into(), source })?;
    }
    let found = best(file, names, wanted, &Layout::ALL);
    if alias::is_keras(names) && found.as_ref().is_none_or(|r| r.share < 1.0) {
        let positions = alias::by_position(names, file.tensors());
        let placed = best(file, &positions, wanted, &[Layout::Keras3]);
        let more = |placed: &Recognised| found.as_ref().is_none_or(|f| placed.fitting > f.fitting);
        if let Some(placed) = placed.filter(|p| p.share == 1.0 && more(p)) {
            *names = positions;
            return Ok(placed);
        }
    }
    match found {
        Some(found) if found.share >= ALIKE || wanted.is_some() => Ok(found),
        found => Err(CheckpointError::UnknownNetwork {
            path: file.path().into(),
            tensors: file.tensors().len(),
            first: file.tensors().iter().take(3).map(|t| t.name.clone()).collect(),
            nearest: found
                .filter(|f| f.share > 0.05)
                .map(|f| (f.graph.spec().net.clone(), f.layout.name(), (100.0 * f.share).round() as usize)),
        }),
    }
}

fn best(file: &TensorFile, names: &[String], wanted: Option<&str>, layouts: &[Layout]) -> Option<Recognised> {
    let index = index(names, file);
    let mut best: Option<Recognised> = None;
    for &layout in layouts {
        for (place, &net) in layout.nets().iter().enumerate() {
            // Several networks have torchvision's tensors; without a word from the user the first is meant.
            let asked = wanted.map_or(layout != Layout::Torchvision || place == 0, |wanted| wanted == net);
            if !asked {
                continue;
            }
            let Some(found) = candidate(layout, net, &index) else { continue };
            // A small network's names may all be in the file of a large one: what fits more of it is meant.
            let more = |b: &Recognised| {
                found.fitting > b.fitting || found.fitting == b.fitting && found.is_better(b, &index)
            };
            if best.as_ref().is_none_or(more) {
                best = Some(found);
            }
        }
    }
    best
}

fn candidate(layout: Layout, net: &str, index: &Index) -> Option<Recognised> {
    // Keras publishes networks without their classifier, too. One of any name would be a matrix.
    let keras = matches!(layout, Layout::Keras | Layout::Keras3);
    let headless = keras && index.values().all(|(_, tensor)| tensor.shape.len() != 2);
    let graph = build(&Spec { classes: headless.then_some(0), ..Spec::new(net) }).ok()?;
    // Names do not depend on the numbers of classes and of values.
    let names = layout.names(&graph);
    let classes = outputs(&names, &graph, index, "logits/weight");
    // Only a number that is not the network's own is a part of what is asked for.
    let own = graph.params().iter().find(|p| p.name == BOTTLENECK).and_then(|p| p.shape.last().copied());
    let embedding = outputs(&names, &graph, index, BOTTLENECK).filter(|&found| Some(found) != own);
    let spec = Spec { classes: classes.or(graph.spec().classes), embedding, ..graph.spec().clone() };
    let graph = if spec == *graph.spec() { graph } else { build(&spec).ok()? };
    let wanted: Vec<&Foreign> = names.iter().flatten().collect();
    let there = wanted.iter().filter(|f| index.contains_key(f.name.as_str())).count();
    let share = there as f64 / wanted.len().max(1) as f64;
    let fits = |(foreign, param): &(&Option<Foreign>, Param)| {
        let Some(foreign) = foreign else { return false };
        index.get(foreign.name.as_str()).is_some_and(|(_, t)| t.shape == foreign.axes.shape(&param.shape))
    };
    let fitting = names.iter().zip(graph.params()).filter(fits).count();
    Some(Recognised { layout, graph, names, share, fitting, classes })
}

/// The layer before FaceNet's embedding.
const BOTTLENECK: &str = "bottleneck/weight";

/// Outputs that the file has of the layer with the parameter `weight`, `None` where it has no such layer.
fn outputs(names: &[Option<Foreign>], graph: &Graph, index: &Index, weight: &str) -> Option<usize> {
    let params = graph.params();
    let (param, foreign) = params.iter().zip(names).find(|(p, _)| p.name == weight)?;
    let foreign = foreign.as_ref()?;
    let (_, tensor) = index.get(foreign.name.as_str())?;
    let shape = foreign.axes.shape(&param.shape);
    // The extent that is ours, whichever place it has; whether the others agree is seen later.
    let out = shape
        .iter()
        .position(|extent| Some(extent) == param.shape.last())
        .filter(|_| tensor.shape.len() == shape.len())?;
    Some(tensor.shape[out])
}

impl Recognised {
    /// Of two that match equally well: pytorch-fid has torchvision's names, 1008 classes and no auxiliary head.
    fn is_better(&self, other: &Recognised, index: &Index) -> bool {
        let fid = self.classes == Some(1008) && !index.keys().any(|name| name.starts_with("AuxLogits."));
        other.layout == Layout::Torchvision && self.layout == Layout::PytorchFid && fid
    }
}
