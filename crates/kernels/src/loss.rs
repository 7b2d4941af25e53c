//! Softmax cross-entropy.

use std::ops::Range;

/// Loss of some pictures and how many of them were right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Sum of their cross-entropies with smoothed labels.
    pub sum: f64,
    /// Pictures whose largest logit, the first among equals, is their label's.
    pub correct: usize,
}

impl Loss {
    /// That of these pictures and of others.
    pub fn and(self, other: Loss) -> Loss {
        Loss { sum: self.sum + other.sum, correct: self.correct + other.correct }
    }
}

/// A second class of a picture that was mixed with another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// The other picture's class.
    pub label: u32,
    /// Share of it in the target, 0 to 1.
    pub share: f32,
}

/// What the answers to some pictures should be.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// Class of each picture.
    pub labels: &'a [u32],
    /// What each was mixed with; empty where none was.
    pub mixed: &'a [Mixed],
    /// Factor of each picture's loss; empty where all count alike.
    pub weights: &'a [f32],
}

impl<'a> Targets<'a> {
    /// A class each.
    pub fn new(labels: &'a [u32]) -> Self {
        Targets { labels, mixed: &[], weights: &[] }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Those of some pictures.
    ///
    /// # Panics
    /// If they do not exist.
    pub fn part(&self, pictures: Range<usize>) -> Self {
        let Targets { labels, mixed, weights } = *self;
        Targets {
            labels: &labels[pictures.clone()],
            mixed: if mixed.is_empty() { mixed } else { &mixed[pictures.clone()] },
            weights: if weights.is_empty() { weights } else { &weights[pictures] },
        }
    }
}

/// Cross-entropy of `logits` `[n, classes]` against `(1 − smoothing)·onehot + smoothing/classes`, and its gradient
/// `(softmax − target) / batch` in `grad`: that of the mean over `batch` pictures, these and others. Where pictures are mixed the
/// one-hot vector is that of both classes in their shares; weights are factors of a picture's loss. Sums in `f64`.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy(
    logits: &[f32],
    targets: &Targets,
    smoothing: f32,
    batch: usize,
    grad: &mut [f32],
) -> Loss {
    let n = targets.len();
    let classes = logits.len() / n;
    assert!(logits.len() == n * classes && grad.len() == logits.len());
    let (even, smoothing) = (f64::from(smoothing) / classes as f64, f64::from(smoothing));
    let (mut total, mut correct) = (0.0f64, 0);
    for (i, (row, grad)) in logits.chunks(classes).zip(grad.chunks_mut(classes)).enumerate() {
        let label = targets.labels[i] as usize;
        let weight = targets.weights.get(i).map_or(1.0, |&weight| f64::from(weight));
        let (other, share) =
            targets.mixed.get(i).map_or((label, 0.0), |mixed| (mixed.label as usize, f64::from(mixed.share)));
        let best = (0..classes).fold(0, |best, j| if row[j] > row[best] { j } else { best });
        correct += usize::from(best == label);
        let largest = f64::from(row[best]);
        let sum: f64 = row.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
        let log_sum = largest + sum.ln();
        let mean_logit = row.iter().map(|&v| f64::from(v)).sum::<f64>() / classes as f64;
        let wanted = (1.0 - share) * f64::from(row[label]) + share * f64::from(row[other]);
        total += weight * (log_sum - (1.0 - smoothing) * wanted - smoothing * mean_logit);
        let shares = [(label, (1.0 - smoothing) * (1.0 - share)), (other, (1.0 - smoothing) * share)];
        for (j, (g, &v)) in grad.iter_mut().zip(row).enumerate() {
            let of = |(class, share): (usize, f64)| if j == class { share } else { 0.0 };
            let target = even + shares.map(of).iter().sum::<f64>();
            *g = (weight * ((f64::from(v) - log_sum).exp() - target) / batch as f64) as f32;
        }
    }
    Loss { sum: total, correct }
}
