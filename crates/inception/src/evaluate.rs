//! Evaluation of one network on one data set: the same code after every epoch of training and in `inception eval`,
//! so both print the same digits.

use serde::Serialize;

use crate::data::Batch;
use crate::metrics::Metrics;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Sums over all pictures.
    pub metrics: Metrics,
}

/// One class of an [`Evaluation`], as it is written to JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    /// Name of the class.
    pub class: String,
    /// Pictures of this class.
    pub count: u64,
    /// Share of them whose first answer is wrong; `null` without pictures.
    pub top1_error: f64,
    /// The wrong answer given most often.
    pub most_confused_with: Option<String>,
    /// How often it was given.
    pub confusions: u64,
}

impl Evaluation {
    /// The classes in order, by name.
    pub fn per_class(&self, names: &[String]) -> Vec<ClassReport> {
        let report = |(class, c): (&String, &crate::metrics::ClassCounts)| {
            let worst = c.most_confused();
            ClassReport {
                class: class.clone(),
                count: c.count,
                top1_error: c.errors as f64 / c.count as f64,
                most_confused_with: worst.map(|(other, _)| names[other].clone()),
                confusions: worst.map_or(0, |(_, n)| n),
            }
        };
        names.iter().zip(self.metrics.per_class()).map(report).collect()
    }
}

/// Sums up what `predict`, a network of so many `classes`, answers to every batch. The first error of `batches` ends it.
///
/// # Panics
/// Where the network has no classifier.
pub fn evaluate<E>(
    classes: usize,
    mut predict: impl FnMut(&Batch) -> Vec<f32>,
    batches: impl IntoIterator<Item = Result<Batch, E>>,
) -> Result<Evaluation, E> {
    assert!(classes > 0, "no classifier to be judged by labels");
    let mut metrics = Metrics::new(classes);
    for batch in batches {
        let batch = batch?;
        metrics.add(&predict(&batch), &batch.labels);
    }
    Ok(Evaluation { metrics })
}
