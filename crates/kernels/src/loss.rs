//! Softmax cross-entropy.

/// Loss of some pictures and how many of them were right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Sum of their cross-entropies with smoothed labels.
    pub sum: f64,
    /// Pictures whose largest logit, the first among equals, is their label's.
    pub correct: usize,
}

/// Cross-entropy of `logits` `[n, classes]` against `(1 − smoothing)·onehot + smoothing/classes`, and its gradient
/// `(softmax − target) / batch` in `grad`: that of the mean over `batch` pictures, these and others. Sums in `f64`.
///
/// # Panics
/// If a label is not below `classes`.
pub fn cross_entropy(logits: &[f32], labels: &[u32], smoothing: f32, batch: usize, grad: &mut [f32]) -> Loss {
    let n = labels.len();
    let classes = logits.len() / n;
    assert!(logits.len() == n * classes && grad.len() == logits.len());
    let (even, smoothing) = (f64::from(smoothing) / classes as f64, f64::from(smoothing));
    let (mut total, mut correct) = (0.0f64, 0);
    for ((row, grad), &label) in logits.chunks(classes).zip(grad.chunks_mut(classes)).zip(labels) {
        let label = label as usize;
        let best = (0..classes).fold(0, |best, j| if row[j] > row[best] { j } else { best });
        correct += usize::from(best == label);
        let largest = f64::from(row[best]);
        let sum: f64 = row.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
        let log_sum = largest + sum.ln();
        let mean_logit = row.iter().map(|&v| f64::from(v)).sum::<f64>() / classes as f64;
        total += log_sum - (1.0 - smoothing) * f64::from(row[label]) - smoothing * mean_logit;
        for (j, (g, &v)) in grad.iter_mut().zip(row).enumerate() {
            let target = even + if j == label { 1.0 - smoothing } else { 0.0 };
            *g = (((f64::from(v) - log_sum).exp() - target) / batch as f64) as f32;
        }
    }
    Loss { sum: total, correct }
}
