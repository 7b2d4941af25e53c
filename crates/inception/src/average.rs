//! The mean of the weights of several checkpoints of one network: averages along one training (Izmailov et al., 2018,
//! arXiv:1803.05407), soups of several fine-tunings of one start (Wortsman et al., 2022, arXiv:2203.05482).
//!
//! ```text
//! weight = Σ share · weight of a checkpoint / Σ share            in f64, rounded once
//! ```
//! What a batch norm meets behind averaged weights is not the average of what it met behind each, so its running statistics have to
//! be measured anew on training pictures.

use anyhow::Result;
use inception_cpu::Device;
use inception_graph::{Align, Graph, Table, Weights};
use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::{Metadata, SHOWN};
use crate::data::{Batch, DataError, Loader, Request};
use crate::engine::{Cpu, Engine, Predictor, Use};
use crate::evaluate::evaluate;
use crate::metrics::Metrics;
use crate::progress::{Progress, Style};

/// The mean of checkpoints by their `shares`, any numbers not below zero; `open` reads the one of an index, and is asked for those
/// with a share alone, one after the other. `None` where no share is above zero.
pub fn mean<E>(
    shares: &[f64],
    mut open: impl FnMut(usize) -> Result<Weights, E>,
) -> Result<Option<Weights>, E> {
    let (mut sums, mut last) = (Vec::new(), None);
    for (i, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let weights = open(i)?;
        sums.resize(weights.data.len(), 0.0);
        sums.iter_mut().zip(&weights.data).for_each(|(sum, &value)| *sum += share * f64::from(value));
        last = Some(weights);
    }
    let total: f64 = shares.iter().sum();
    if let Some(weights) = &mut last {
        weights.data.iter_mut().zip(sums).for_each(|(value, sum)| *value = (sum / total) as f32);
    }
    Ok(last)
}

/// What was tried for a greedy soup.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Index of the checkpoint.
    pub checkpoint: usize,
    /// Its error.
    pub alone: f64,
    /// Error of the mean of it and those added before.
    pub mean: f64,
    /// Whether it was added, as that error did not grow.
    pub added: bool,
}

/// A greedy soup: of checkpoints with the errors `alone`, the least first and the first among equals, each is added if `error_of` the
/// mean by these shares does not grow. The shares, 1 or 0; `tell` hears of each.
pub fn greedy<E>(
    alone: &[f64],
    mut error_of: impl FnMut(&[f64]) -> Result<f64, E>,
    mut tell: impl FnMut(Tried),
) -> Result<Vec<f64>, E> {
    let mut order: Vec<usize> = (0..alone.len()).collect();
    order.sort_by(|&a, &b| alone[a].total_cmp(&alone[b]));
    let (mut shares, mut least) = (vec![0.0; alone.len()], f64::INFINITY);
    for checkpoint in order {
        shares[checkpoint] = 1.0;
        let mean = error_of(&shares)?;
        let added = mean <= least;
        if added {
            least = mean;
        } else {
            shares[checkpoint] = 0.0;
        }
        tell(Tried { checkpoint, alone: alone[checkpoint], mean, added });
    }
    Ok(shares)
}

/// Loss and errors on the pictures of `request`; `what` is judged, as progress calls it.
pub fn judge(
    request: &Request,
    graph: &Graph,
    weights: Weights,
    device: &Device,
    what: &str,
) -> Result<Metrics, DataError> {
    let mut predictor = Predictor::new(graph, weights, device);
    let found = evaluate(graph.classes(), |batch| predictor.predict(&batch.pixels), batches(request, what))?;
    Ok(found.metrics)
}

/// The weights with running statistics of all pictures of `request`.
pub fn recalibrate(
    request: &Request,
    graph: &Graph,
    weights: Weights,
    device: &Device,
) -> Result<Weights, DataError> {
    let mut engine = Cpu::new(graph.clone(), weights, device.clone());
    engine.recalibrate(&mut batches(request, "running statistics"), None)?;
    Ok(engine.weights(Use::Average))
}

/// The batches, with progress.
fn batches(request: &Request, what: &str) -> impl Iterator<Item = Result<Batch, DataError>> {
    let mut progress = Progress::new(Style::Auto, request.order.len() as u64);
    Loader::new(request.clone()).inspect(move |batch| {
        if let Ok(batch) = batch {
            progress.advance(batch.len(), what);
        }
    })
}

/// Settings whose values must be the same in all checkpoints.
const SETTINGS: [&str; 6] = ["net", "img_size", "width", "embedding", "residual_scale", "background"];

/// A table of what differs in the metadata of checkpoints, each with the name of its file, from those of the first: network, size,
/// width, classes and their order, preprocessing. `None` where nothing does.
pub fn differences(all: &[(String, Metadata)]) -> Result<Option<String>> {
    let Some(((first, metadata), others)) = all.split_first() else { return Ok(None) };
    let expected = settings(metadata)?;
    let mut rows = Vec::new();
    for (file, other) in others {
        for ((what, expected), (_, found)) in expected.iter().zip(settings(other)?) {
            if *expected != found {
                rows.push([file.clone(), what.clone(), found, expected.clone()]);
            }
        }
        for i in 0..metadata.classes.len().max(other.classes.len()) {
            let [found, expected] = [other, metadata].map(|m| m.classes.get(i).map_or("–", String::as_str));
            if found != expected {
                rows.push([file.clone(), format!("class {i}"), found.into(), expected.into()]);
            }
        }
    }
    let mut table = Table::new([Align::Left; 4]);
    table.head(["file", "what", "has", &format!("{first} has")]);
    let count = rows.len();
    rows.into_iter().take(SHOWN).for_each(|row| table.row(row));
    let more = if count > SHOWN { format!("… and {} more", count - SHOWN) } else { String::new() };
    Ok((count > 0).then(|| format!("{table}{more}").trim_end().into()))
}

/// What but the classes must be the same, in words.
fn settings(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let all = serde_json::to_value(metadata)?;
    let words = |value: &Value| match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let own = SETTINGS.iter().map(|&name| (name.to_string(), words(&all[name])));
    let preprocessing = all["preprocessing"].as_object().into_iter().flatten();
    Ok(own.chain(preprocessing.map(|(name, value)| (name.clone(), words(value)))).collect())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use inception_graph::{Spec, build};

    use super::*;

    fn small() -> Graph {
        build(&Spec::new("inception_resnet_v1").img_size(75).width(0.05).classes(3)).expect("a small network")
    }

    /// In f64 and rounded once: the nearest f32 to the mean, in any order.
    #[test]
    fn the_mean_is_the_nearest_number_in_any_order() {
        let graph = small();
        let all: Vec<Weights> = (0..3).map(|seed| Weights::init(&graph, seed)).collect();
        let of = |shares: &[f64], order: [usize; 3]| {
            let Ok(found) = mean(shares, |i| Ok::<_, Infallible>(all[order[i]].clone()));
            found.expect("shares above zero").data
        };
        let uniform = of(&[1.0; 3], [0, 1, 2]);
        let weighted = of(&[0.5, 0.3, 0.2], [0, 1, 2]);
        for (i, (uniform, weighted)) in uniform.iter().zip(&weighted).enumerate() {
            let [a, b, c] = [0, 1, 2].map(|k| f64::from(all[k].data[i]));
            assert_eq!(*uniform, ((a + b + c) / 3.0) as f32);
            assert!((f64::from(*weighted) - (0.5 * a + 0.3 * b + 0.2 * c)).abs() < 1e-7);
        }
        for order in [[1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            assert!(of(&[1.0; 3], order) == uniform);
        }
        assert!(of(&[0.0, 7.0, 0.0], [0, 1, 2]) == all[1].data, "one alone stays as it is");
        let Ok(none) = mean(&[0.0], |_| Ok::<_, Infallible>(all[0].clone()));
        assert!(none.is_none());
    }

    /// Checkpoints are numbers here, and the error of a mean is its distance from 10.
    #[test]
    fn a_greedy_soup_takes_what_does_no_harm() {
        let values: [f64; 5] = [9.0, 50.0, 9.5, 9.5, 11.0];
        let alone = values.map(|value| (value - 10.0).abs());
        let error_of = |shares: &[f64]| {
            let sum: f64 = shares.iter().zip(values).map(|(share, value)| share * value).sum();
            Ok::<_, Infallible>((sum / shares.iter().sum::<f64>() - 10.0).abs())
        };
        let mut told = Vec::new();
        let Ok(shares) = greedy(&alone, error_of, |tried| told.push(tried));
        assert_eq!(shares, [0.0, 0.0, 1.0, 1.0, 1.0]);
        let order: Vec<_> = told.iter().map(|tried| (tried.checkpoint, tried.added)).collect();
        assert_eq!(order, [(2, true), (3, true), (0, false), (4, true), (1, false)]);
        assert_eq!((told[1].alone, told[1].mean, told[3].mean), (0.5, 0.5, 0.0));
    }
}
