//! Whether answers are right as often as their probabilities say.
//!
//! ```text
//! bin b      pictures whose first answer has a probability in (b / 15, (b + 1) / 15]
//! error      sum over bins of (pictures of the bin / pictures) * |share of right answers - mean probability|
//! ```
//! The expected calibration error of C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017,
//! section 2, with its 15 bins. Of few pictures it comes out too large, for the two means of a bin differ by chance as well.

use serde::Serialize;

use crate::metrics::Verdict;

/// How many bins of equal width there are.
pub const BINS: usize = 15;

/// Pictures whose first answers have about the same probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Smallest probability, itself outside.
    pub from: f64,
    /// Largest probability.
    pub to: f64,
    /// Pictures.
    pub count: u64,
    /// Mean probability of their first answers; NaN, `null` in JSON, without pictures.
    pub confidence: f64,
    /// Share of right answers; likewise.
    pub accuracy: f64,
}

/// The bin of a probability.
pub(super) fn bin(probability: f64) -> usize {
    // Of what is no number the first.
    ((probability * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// What lies in each bin, of the pictures that have an answer.
pub fn bins(verdicts: &[Verdict]) -> Vec<Bin> {
    let mut sums = [(0u64, 0.0, 0u64); BINS];
    for verdict in verdicts.iter().filter(|verdict| verdict.answer.is_some()) {
        let (count, probability, right) = &mut sums[bin(verdict.probability)];
        *count += 1;
        *probability += verdict.probability;
        *right += u64::from(verdict.within(1));
    }
    let edge = |bin: usize| bin as f64 / BINS as f64;
    let bin = |(i, &(count, probability, right)): (usize, &(u64, f64, u64))| Bin {
        from: edge(i),
        to: edge(i + 1),
        count,
        confidence: probability / count as f64,
        accuracy: right as f64 / count as f64,
    };
    sums.iter().enumerate().map(bin).collect()
}

/// The expected calibration error, 0 to 1; NaN where a picture has no answer, and without pictures.
pub fn error(verdicts: &[Verdict]) -> f64 {
    gap(verdicts.len(), verdicts.iter().map(Point::of))
}

/// The same of points, of which there are `count`.
pub(super) fn gap(count: usize, points: impl Iterator<Item = Point>) -> f64 {
    let mut gaps = [0.0; BINS];
    points.for_each(|point| gaps[point.bin] += point.gap);
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / count as f64
}

/// What a picture adds to its bin.
#[derive(Clone, Copy)]
pub(super) struct Point {
    bin: usize,
    /// 1 where the answer is right, less its probability.
    gap: f64,
}

impl Point {
    pub(super) fn of(verdict: &Verdict) -> Point {
        let right = f64::from(u8::from(verdict.within(1)));
        Point { bin: bin(verdict.probability), gap: right - verdict.probability }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(probability: f64, right: bool) -> Verdict {
        Verdict { answer: Some(0), probability, loss: 0.0, rank: usize::from(!right) }
    }

    #[test]
    fn an_edge_belongs_to_the_bin_below() {
        assert_eq!([0.0, 1e-9, 1.0 / 15.0, 0.0667, 0.2, 0.999, 1.0].map(bin), [0, 0, 0, 1, 2, 14, 14]);
    }

    #[test]
    fn a_known_error() {
        // Bin 8, (0.533, 0.6]: 0.55 and 0.59, one right: |1 - 1.14| = 0.14. Bin 13, (0.867, 0.933]: 0.9 thrice, all right: 0.3.
        let verdicts = [(0.55, true), (0.59, false), (0.9, true), (0.9, true), (0.9, true)];
        let verdicts = verdicts.map(|(p, right)| verdict(p, right));
        assert!((error(&verdicts) - 0.44 / 5.0).abs() < 1e-12);
        let bins = bins(&verdicts);
        assert_eq!((bins[8].count, bins[8].accuracy, bins[13].count, bins[13].accuracy), (2, 0.5, 3, 1.0));
        assert!((bins[8].confidence - 0.57).abs() < 1e-12 && bins[0].confidence.is_nan());
        assert_eq!((bins[8].from, bins[8].to), (8.0 / 15.0, 0.6));
    }

    #[test]
    fn a_picture_without_an_answer_leaves_no_number() {
        let none = Verdict::of(&[f32::NAN, 0.0], 0);
        assert!(error(&[none, verdict(0.5, true)]).is_nan() && error(&[]).is_nan());
        assert_eq!(bins(&[none]).iter().map(|bin| bin.count).sum::<u64>(), 0);
    }
}
