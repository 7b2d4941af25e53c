//! Loss and errors of a data set, from logits and labels.
//!
//! ```text
//! loss       = mean over pictures of log(sum_j exp(logit_j)) - logit_label
//! rank       = number of classes ahead of the label: a larger logit, or an equal one with a lower index
//! top-k error = share of pictures with rank >= k
//! ```
//!
//! Sums run in `f64` in the order of the pictures, so the batch size does not change a digit. Ties go to the lower
//! index: a network that answers the same for every class is right on class 0 alone, not on all of them.
//! A picture with a logit that is no finite number is wrong, and makes the loss NaN: a broken network never looks good.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The first answer; none where a logit is no finite number.
    pub answer: Option<usize>,
    /// Its probability, 0 to 1; NaN without an answer.
    pub probability: f64,
    /// Cross-entropy of the label in nats; NaN without an answer.
    pub loss: f64,
    /// Classes ahead of the label, 0 where it is the first answer; `usize::MAX` without an answer.
    pub rank: usize,
}

impl Verdict {
    /// Of a row of logits, one a class, for a picture of the class `label`.
    pub fn of(row: &[f32], label: usize) -> Verdict {
        if row.iter().any(|v| !v.is_finite()) {
            return Verdict { answer: None, probability: f64::NAN, loss: f64::NAN, rank: usize::MAX };
        }
        let ahead = |&j: &usize| row[j] > row[label] || (row[j] == row[label] && j < label);
        let answer = (0..row.len()).reduce(|best, j| if row[j] > row[best] { j } else { best });
        let sum = log_sum_exp(row);
        Verdict {
            answer,
            probability: answer.map_or(f64::NAN, |answer| (f64::from(row[answer]) - sum).exp()),
            loss: sum - f64::from(row[label]),
            rank: (0..row.len()).filter(ahead).count(),
        }
    }

    /// Whether the label is among the first `k` answers.
    pub fn within(&self, k: usize) -> bool {
        self.rank < k
    }
}

/// What is known of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Pictures with this label.
    pub count: u64,
    /// Those of them whose first answer was another class, or none.
    pub errors: u64,
    /// First answers that were wrong: class and how often.
    pub confused: BTreeMap<usize, u64>,
}

impl ClassCounts {
    /// The wrong class answered most often, and how often; the lower class where several are.
    pub fn most_confused(&self) -> Option<(usize, u64)> {
        self.confused
            .iter()
            .map(|(&class, &n)| (class, n))
            .max_by_key(|&(class, n)| (n, std::cmp::Reverse(class)))
    }
}

/// Sums over the pictures seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    count: u64,
    #[serde(with = "bits")]
    loss: f64,
    top1_errors: u64,
    top5_errors: u64,
    per_class: Vec<ClassCounts>,
}

impl Metrics {
    /// No pictures yet, of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Metrics {
            count: 0,
            loss: 0.0,
            top1_errors: 0,
            top5_errors: 0,
            per_class: vec![ClassCounts::default(); classes],
        }
    }

    /// Adds one picture after another: `logits` holds a row for each label.
    ///
    /// # Panics
    /// Where the rows do not match the labels, or a label is no class.
    pub fn add(&mut self, logits: &[f32], labels: &[u32]) {
        let classes = self.per_class.len();
        assert_eq!(
            logits.len(),
            labels.len() * classes,
            "one row of {classes} logits for each of the labels"
        );
        for (row, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            self.add_one(row, label as usize);
        }
    }

    fn add_one(&mut self, row: &[f32], label: usize) {
        let verdict = Verdict::of(row, label);
        self.count += 1;
        self.loss += verdict.loss;
        self.top1_errors += u64::from(!verdict.within(1));
        self.top5_errors += u64::from(!verdict.within(5));
        let class = &mut self.per_class[label];
        class.count += 1;
        class.errors += u64::from(!verdict.within(1));
        if let Some(answer) = verdict.answer.filter(|&answer| answer != label) {
            *class.confused.entry(answer).or_default() += 1;
        }
    }

    /// Adds what was counted of other pictures.
    pub fn join(&mut self, other: &Metrics) {
        self.count += other.count;
        self.loss += other.loss;
        self.top1_errors += other.top1_errors;
        self.top5_errors += other.top5_errors;
        for (class, other) in self.per_class.iter_mut().zip(&other.per_class) {
            class.count += other.count;
            class.errors += other.errors;
            other.confused.iter().for_each(|(&answer, n)| *class.confused.entry(answer).or_default() += n);
        }
    }

    /// Pictures.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Mean cross-entropy in nats; NaN without pictures.
    pub fn loss(&self) -> f64 {
        self.loss / self.count as f64
    }
    /// Share of pictures whose first answer is wrong, 0 to 1; NaN without pictures.
    pub fn top1_error(&self) -> f64 {
        self.top1_errors as f64 / self.count as f64
    }
    /// Share of pictures whose first five answers are all wrong, 0 to 1; NaN without pictures.
    pub fn top5_error(&self) -> f64 {
        self.top5_errors as f64 / self.count as f64
    }
    /// Pictures whose first answer is wrong.
    pub fn top1_errors(&self) -> u64 {
        self.top1_errors
    }
    /// Pictures whose first five answers are all wrong.
    pub fn top5_errors(&self) -> u64 {
        self.top5_errors
    }
    /// Loss and errors by their names in the log, which come behind a word for what was evaluated.
    pub fn named(&self) -> [(&'static str, f64); 3] {
        [("loss", self.loss()), ("top1_error", self.top1_error()), ("top5_error", self.top5_error())]
    }
    /// Loss and errors of an evaluation, to be written.
    pub fn scores(&self) -> Scores {
        let (eval_loss, eval_top1_error, eval_top5_error) =
            (self.loss(), self.top1_error(), self.top5_error());
        Scores { eval_loss, eval_top1_error, eval_top5_error }
    }
    /// Counts of each class, in class order.
    pub fn per_class(&self) -> &[ClassCounts] {
        &self.per_class
    }
}

/// A number as its bits, which JSON can hold whatever they are.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// Loss and errors of an evaluation, by the training log's keys.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scores {
    /// Mean cross-entropy in nats.
    pub eval_loss: f64,
    /// Share of pictures whose first answer is wrong.
    pub eval_top1_error: f64,
    /// Share of pictures whose first five answers are all wrong.
    pub eval_top5_error: f64,
}

/// `log(sum exp(x))` in `f64`, shifted by the maximum so that nothing overflows.
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
    max + row.iter().map(|&v| (f64::from(v) - max).exp()).sum::<f64>().ln()
}

/// `exp(x) / sum exp(x)` in `f64`.
pub fn softmax(row: &[f32]) -> Vec<f64> {
    let shift = log_sum_exp(row);
    row.iter().map(|&v| (f64::from(v) - shift).exp()).collect()
}

/// A weighted mean of probabilities, `Σ weight · softmax(logits) / Σ weight`, kept as its logarithm: nothing underflows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeanProbability {
    /// Logarithm of the sum of each class.
    logs: Vec<f64>,
    weight: f64,
}

impl MeanProbability {
    /// Adds the softmax of a row of logits. A logit that is no finite number makes the whole mean NaN.
    pub fn add(&mut self, row: &[f32], weight: f64) {
        let shift = log_sum_exp(row) - weight.ln();
        self.logs.resize(row.len(), f64::NEG_INFINITY);
        for (sum, &logit) in self.logs.iter_mut().zip(row) {
            let more = f64::from(logit) - shift;
            let larger = sum.max(more);
            *sum = larger + ((*sum - larger).exp() + (more - larger).exp()).ln();
        }
        self.weight += weight;
    }

    /// The natural logarithm of the mean: a row of logits whose softmax it is.
    pub fn logits(&self) -> Vec<f32> {
        let total = self.weight.ln();
        self.logs.iter().map(|sum| (sum - total).clamp(f64::from(f32::MIN), 0.0) as f32).collect()
    }
}

/// The `k` classes with the largest logits, best first, the lower index first among equals; all of them where `k` is more.
pub fn top_k(row: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    let best_first = |&a: &usize, &b: &usize| row[b].total_cmp(&row[a]).then(a.cmp(&b));
    let k = k.min(order.len());
    if k < order.len() {
        order.select_nth_unstable_by(k, best_first);
        order.truncate(k);
    }
    order.sort_unstable_by(best_first);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_ranks_of_known_rows() {
        let mut m = Metrics::new(8);
        // Eight equal logits: loss ln 8, label 0 first, label 7 eighth, label 4 fifth.
        m.add(&[0.0; 24], &[0, 7, 4]);
        assert_eq!((m.count(), m.top1_errors(), m.top5_errors()), (3, 2, 1));
        assert!((m.loss() - 8f64.ln()).abs() < 1e-15);
        assert_eq!(m.top1_error(), 2.0 / 3.0);
        assert_eq!(m.per_class()[7].most_confused(), Some((0, 1)));
        assert_eq!(m.per_class()[0], ClassCounts { count: 1, ..Default::default() });
    }

    #[test]
    fn a_verdict_has_the_first_answer_and_the_rank_of_the_label() {
        let row = [0.0, 3f32.ln(), -0.0, 3f32.ln()];
        let verdict = Verdict::of(&row, 3);
        assert_eq!((verdict.answer, verdict.rank), (Some(1), 1));
        assert!(
            (verdict.probability - 3.0 / 8.0).abs() < 1e-7 && (verdict.loss - (8f64 / 3.0).ln()).abs() < 1e-7
        );
        assert_eq!([0, 1, 2].map(|label| Verdict::of(&row, label).rank), [2, 0, 3]);
        assert!(verdict.within(2) && !verdict.within(1));
        let none = Verdict::of(&[f32::INFINITY, 0.0], 0);
        assert!(none.answer.is_none() && none.loss.is_nan() && none.probability.is_nan() && !none.within(5));
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut m = Metrics::new(2);
        m.add(&[1e30, -1e30], &[0]);
        assert_eq!(m.loss(), 0.0);
        m.add(&[-3e38, 3e38], &[0]);
        assert!(m.loss().is_finite() && m.loss() > 1e37);
    }

    #[test]
    fn the_batch_size_does_not_change_a_bit() {
        let classes = 7;
        let rows: Vec<f32> = (0..classes * 100).map(|i| ((i * 7919 % 1009) as f32).sin() * 9.0).collect();
        let labels: Vec<u32> = (0..100).map(|i| i * 31 % classes as u32).collect();
        let in_batches = |n: usize| {
            let mut m = Metrics::new(classes);
            rows.chunks(n * classes).zip(labels.chunks(n)).for_each(|(r, l)| m.add(r, l));
            m
        };
        let whole = in_batches(100);
        assert!([1, 3, 64].iter().all(|&n| in_batches(n) == whole));
        assert_eq!(whole.loss().to_bits(), in_batches(7).loss().to_bits());
    }

    #[test]
    fn a_row_with_a_nan_is_wrong_whatever_the_label() {
        for label in 0..3 {
            let mut m = Metrics::new(3);
            m.add(&[f32::NAN, 1.0, 0.0], &[label]);
            assert_eq!((m.top1_errors(), m.top5_errors()), (1, 1));
            assert!(m.loss().is_nan());
            assert_eq!(m.per_class()[label as usize].most_confused(), None);
        }
    }

    #[test]
    fn the_lower_class_wins_among_equal_confusions() {
        let confused = BTreeMap::from([(4, 2), (1, 2), (9, 1)]);
        assert_eq!(ClassCounts { confused, ..Default::default() }.most_confused(), Some((1, 2)));
    }

    #[test]
    fn means_of_probabilities() {
        let mean = |rows: &[(&[f32], f64)]| {
            let mut mean = MeanProbability::default();
            rows.iter().for_each(|(row, weight)| mean.add(row, *weight));
            mean.logits()
        };
        // Softmaxes (1/4, 3/4) and (1/2, 1/2), the second twice.
        let found = mean(&[(&[0.0, 3f32.ln()], 1.0), (&[7.0, 7.0], 2.0)]);
        let expected = [(0.25f64 + 1.0) / 3.0, (0.75 + 1.0) / 3.0];
        assert!(found.iter().zip(expected).all(|(l, p)| (f64::from(*l) - p.ln()).abs() < 1e-7), "{found:?}");
        // e^-2000 is nothing in f64, and its logarithm still something.
        let found = mean(&[(&[-2000.0, 0.0], 1.0), (&[-2001.0, 0.0], 1.0)]);
        let expected = -2000.0 + ((1.0 + (-1f64).exp()) / 2.0).ln();
        assert!((f64::from(found[0]) - expected).abs() < 1e-3 && found[1] == 0.0, "{found:?}");
        assert!(mean(&[(&[-3e38, 3e38], 1.0)]).iter().all(|v| v.is_finite()));
        assert!(mean(&[(&[0.0, 1.0], 1.0), (&[f32::NAN, 1.0], 1.0)]).iter().all(|v| v.is_nan()));
        assert!(mean(&[(&[f32::INFINITY, 1.0], 1.0)]).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn top_k_and_softmax() {
        let row = [1.0, 3.0, 3.0, -2.0, 2.0];
        assert_eq!(top_k(&row, 3), [1, 2, 4]);
        assert_eq!(top_k(&row, 9), [1, 2, 4, 0, 3]);
        assert_eq!(top_k(&row, 0), [0usize; 0]);
        let p = softmax(&[0.0, 3f32.ln()]);
        assert!((p[0] - 0.25).abs() < 1e-7 && (p[1] - 0.75).abs() < 1e-7);
        assert!((softmax(&row).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
