//! What is known of each class, and what is taken for what.

use std::cmp::Reverse;

use serde::Serialize;

use crate::metrics::ClassCounts;

/// One class of an evaluation, as it is written to JSON. Shares that there are no pictures for are NaN, `null` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    /// Name of the class.
    pub class: String,
    /// Pictures of this class.
    pub count: u64,
    /// Share of them whose first answer is wrong.
    pub top1_error: f64,
    /// Share of right answers among the pictures that were taken for this class.
    pub precision: f64,
    /// Share of right answers among the pictures of this class.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// The wrong answer given most often.
    pub most_confused_with: Option<String>,
    /// How often it was given.
    pub confusions: u64,
}

/// The classes in order, by name.
pub fn per_class(counts: &[ClassCounts], names: &[String]) -> Vec<ClassReport> {
    let mut answered: Vec<u64> = counts.iter().map(|c| c.count - c.errors).collect();
    counts.iter().flat_map(|c| &c.confused).for_each(|(&answer, &n)| answered[answer] += n);
    let report = |((class, c), answered): ((&String, &ClassCounts), u64)| {
        let (worst, right) = (c.most_confused(), (c.count - c.errors) as f64);
        ClassReport {
            class: class.clone(),
            count: c.count,
            top1_error: c.errors as f64 / c.count as f64,
            precision: right / answered as f64,
            recall: right / c.count as f64,
            f1: 2.0 * right / (c.count + answered) as f64,
            most_confused_with: worst.map(|(other, _)| names[other].clone()),
            confusions: worst.map_or(0, |(_, n)| n),
        }
    };
    names.iter().zip(counts).zip(answered).map(report).collect()
}

/// Positions of the classes: those with the largest errors first, of equal ones those with more pictures; those without any last.
pub fn worst_first(classes: &[ClassReport]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let error = |class: &ClassReport| if class.count == 0 { -1.0 } else { class.top1_error };
    order.sort_by(|&a, &b| {
        let (a, b) = (&classes[a], &classes[b]);
        error(b).total_cmp(&error(a)).then(b.count.cmp(&a.count))
    });
    order
}

/// Pictures of one class that were taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Their class.
    pub label: usize,
    /// What they were taken for.
    pub answer: usize,
    /// How many.
    pub count: u64,
}

/// All of them, the most frequent first, equal ones in the order of the classes.
pub fn confusions(counts: &[ClassCounts]) -> Vec<Confusion> {
    let of_class = |(label, class): (usize, &ClassCounts)| -> Vec<Confusion> {
        class.confused.iter().map(|(&answer, &count)| Confusion { label, answer, count }).collect()
    };
    let mut all: Vec<Confusion> = counts.iter().enumerate().flat_map(of_class).collect();
    all.sort_by_key(|confusion| Reverse(confusion.count));
    all
}

/// Pictures of a class that were given no answer, where a logit was no finite number.
pub fn unanswered(class: &ClassCounts) -> u64 {
    class.errors - class.confused.values().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// Answers to pictures of four classes, nobody's picture is of class 3 and no answer is class 2.
    #[test]
    fn shares_of_known_counts() {
        let mut metrics = Metrics::new(4);
        let row = |answer: usize| (0..4).map(|j| f32::from(u8::from(j == answer))).collect::<Vec<_>>();
        for (label, answer) in [(0, 0), (0, 0), (0, 1), (1, 1), (2, 1), (2, 0), (1, 3)] {
            metrics.add(&row(answer), &[label]);
        }
        let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).into();
        let found = per_class(metrics.per_class(), &names);
        let shares = |c: &ClassReport| [c.precision, c.recall, c.f1];
        let close = |a: [f64; 3], b: [f64; 3]| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12 || a.is_nan() && b.is_nan())
        };
        assert!(close(shares(&found[0]), [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]));
        assert!(close(shares(&found[1]), [1.0 / 3.0, 0.5, 0.4]));
        assert!(close(shares(&found[2]), [f64::NAN, 0.0, 0.0]));
        assert!(close(shares(&found[3]), [0.0, f64::NAN, 0.0]));
        assert_eq!(worst_first(&found), [2, 1, 0, 3]);
        let all = confusions(metrics.per_class());
        assert_eq!(
            all.iter().map(|c| (c.label, c.answer)).collect::<Vec<_>>(),
            [(0, 1), (1, 3), (2, 0), (2, 1)]
        );
    }
}
