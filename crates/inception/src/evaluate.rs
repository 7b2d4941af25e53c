//! Evaluation of one network on one data set after every epoch of training; `inception eval` counts with the same [`Metrics`], so
//! both print the same digits.

use serde::{Deserialize, Serialize};

use crate::data::Batch;
use crate::metrics::{Metrics, Verdict};

/// Mistakes that are shown.
pub const WORST: usize = 12;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sums over all pictures.
    pub metrics: Metrics,
    /// The wrong answers with the largest losses, the worst first; none to a picture with a logit that is no finite number.
    pub mistakes: Vec<Mistake>,
}

/// A wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Index of the picture in its data set.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The class answered.
    pub answer: usize,
    /// Probability of the answer, 0 to 1.
    pub probability: f64,
    /// Cross-entropy of the label.
    pub loss: f64,
}

/// Adds the mistakes of a batch to the worst so far; the earlier picture comes first among equals.
fn keep_worst(worst: &mut Vec<Mistake>, batch: &Batch, logits: &[f32]) {
    let classes = logits.len() / batch.len().max(1);
    for (i, row) in logits.chunks_exact(classes.max(1)).enumerate() {
        let label = batch.labels[i] as usize;
        let Verdict { answer, probability, loss, .. } = Verdict::of(row, label);
        let Some(answer) = answer.filter(|&answer| answer != label) else { continue };
        keep(worst, Mistake { index: batch.indices[i], label, answer, probability, loss });
    }
}

fn keep(worst: &mut Vec<Mistake>, mistake: Mistake) {
    let place = worst.partition_point(|other| other.loss >= mistake.loss);
    if place < WORST {
        worst.truncate(WORST - 1);
        worst.insert(place, mistake);
    }
}

impl Evaluation {
    /// Of these pictures and of those that come behind them.
    pub fn join(&mut self, other: &Evaluation) {
        self.metrics.join(&other.metrics);
        other.mistakes.iter().for_each(|&mistake| keep(&mut self.mistakes, mistake));
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
    let (mut metrics, mut mistakes) = (Metrics::new(classes), Vec::new());
    for batch in batches {
        let batch = batch?;
        let logits = predict(&batch);
        metrics.add(&logits, &batch.labels);
        keep_worst(&mut mistakes, &batch, &logits);
    }
    Ok(Evaluation { metrics, mistakes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_mistakes_are_kept() {
        // 40 pictures of one pixel; picture i has the value i, and its label's logit is -(i * 7 % 40), so that every seventh is
        // about as bad; picture 0 is right, picture 3 has no finite answer.
        let batch = |from: usize| Batch {
            pixels: (from..from + 10).flat_map(|i| [i as f32; 3]).collect(),
            side: 1,
            labels: vec![1; 10],
            indices: (from..from + 10).collect(),
            ..Batch::default()
        };
        let row = |&i: &usize| match i {
            0 => [0.0, 1.0],
            3 => [f32::NAN, 0.0],
            i => [0.0, -((i * 7 % 40) as f32)],
        };
        let predict = |batch: &Batch| batch.indices.iter().flat_map(row).collect();
        let batches = (0..4).map(|k| Ok::<_, ()>(batch(10 * k)));
        let found = evaluate(2, predict, batches).expect("no batch fails");
        assert_eq!((found.metrics.top1_errors(), found.mistakes.len()), (39, WORST));
        // The same from parts.
        let part = |k: usize| evaluate(2, predict, [Ok::<_, ()>(batch(10 * k))]).expect("no batch fails");
        let mut joined = part(0);
        (1..4).for_each(|k| joined.join(&part(k)));
        assert_eq!(joined.mistakes, found.mistakes);
        assert_eq!(joined.metrics.per_class(), found.metrics.per_class());
        let mut expected: Vec<usize> = (1..40).filter(|&i| i != 3).collect();
        expected.sort_by_key(|i| std::cmp::Reverse(i * 7 % 40));
        for (mistake, &i) in found.mistakes.iter().zip(&expected) {
            let margin = (i * 7 % 40) as f64;
            assert_eq!((mistake.index, mistake.label, mistake.answer), (i, 1, 0));
            assert!((mistake.probability - 1.0 / (1.0 + (-margin).exp())).abs() < 1e-12);
            assert!((mistake.loss - (1.0 + margin.exp()).ln()).abs() < 1e-9);
        }
    }
}
