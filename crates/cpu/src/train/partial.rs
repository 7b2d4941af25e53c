//! Sums over the groups of a batch, in an order that does not depend on who computes them.
//!
//! ```text
//! Σ of some groups = Σ of their first half + Σ of their second half
//! ```
//! Where ranks have equal numbers of groups, and there are 2, 4, 8, … of them, the sum of a rank's groups is a branch of this tree, and the
//! batch's gradient has the same bits for any such number of ranks.

use std::ops::Range;

use super::Trainer;

/// One step on the way to the sum of all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Computes a group, and adds it to what is there, or begins with it.
    Group { index: usize, adds: bool },
    /// Puts what is there aside.
    Keep,
    /// Adds what was put aside last to what is there.
    Join,
}

/// The way to the sum of `groups`, of which there is one at least.
pub(super) fn way(groups: Range<usize>, to: &mut Vec<Act>) {
    let middle = groups.start + groups.len() / 2;
    if groups.len() == 1 {
        return to.push(Act::Group { index: groups.start, adds: false });
    }
    way(groups.start..middle, to);
    if middle + 1 == groups.end {
        return to.push(Act::Group { index: middle, adds: true });
    }
    to.push(Act::Keep);
    way(middle..groups.end, to);
    to.push(Act::Join);
}

/// The same sum of the vectors of ranks, in their order: the first becomes it.
pub fn sum_of(parts: &mut [&mut [f32]]) {
    if parts.len() > 1 {
        let (first, second) = parts.split_at_mut(parts.len() / 2);
        sum_of(first);
        sum_of(second);
        first[0].iter_mut().zip(second[0].iter()).for_each(|(sum, value)| *sum += value);
    }
}

/// Sums that were put aside.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) gradient: Vec<f32>,
    statistics: Vec<f32>,
}

impl Trainer {
    /// Puts gradient and statistics aside.
    pub(super) fn keep_partial(&mut self) {
        if self.partials.len() == self.kept_partials {
            self.partials.push(Partial::default());
        }
        let Partial { gradient, statistics } = &mut self.partials[self.kept_partials];
        gradient.clear();
        gradient.extend_from_slice(&self.grad.data);
        statistics.clear();
        for kept in &self.nodes {
            statistics.extend(kept.mean.iter().chain(&kept.variance));
        }
        self.kept_partials += 1;
    }

    /// Adds what was put aside last; the gradient stays as it is where others sum it `elsewhere`.
    pub(super) fn join_partial(&mut self, elsewhere: bool) {
        self.kept_partials -= 1;
        let Partial { gradient, statistics } = &self.partials[self.kept_partials];
        if !elsewhere {
            self.grad.data.iter_mut().zip(gradient).for_each(|(sum, first)| *sum += first);
        }
        let own = self.nodes.iter_mut().flat_map(|kept| kept.mean.iter_mut().chain(&mut kept.variance));
        own.zip(statistics).for_each(|(sum, first)| *sum += first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is computed, as a formula.
    fn formula(groups: Range<usize>) -> (String, usize) {
        let (mut acts, mut aside, mut deepest) = (Vec::new(), Vec::new(), 0);
        way(groups, &mut acts);
        let mut sum = String::new();
        for act in acts {
            match act {
                Act::Group { index, adds: true } => sum = format!("({sum}{index})"),
                Act::Group { index, adds: false } => sum = index.to_string(),
                Act::Keep => aside.push(std::mem::take(&mut sum)),
                Act::Join => sum = format!("({}{sum})", aside.pop().expect("kept")),
            }
            deepest = deepest.max(aside.len());
        }
        assert!(aside.is_empty());
        (sum, deepest)
    }

    #[test]
    fn the_sums_of_halves_are_branches_of_the_sum_of_all() {
        assert_eq!(formula(0..1), ("0".into(), 0));
        assert_eq!(formula(0..2), ("(01)".into(), 0));
        assert_eq!(formula(0..8), ("(((01)(23))((45)(67)))".into(), 2));
        for groups in [2, 4, 6, 8, 20] {
            let half = groups / 2;
            let expected = format!("({}{})", formula(0..half).0, formula(half..groups).0);
            assert_eq!(formula(0..groups).0, expected);
        }
    }

    #[test]
    fn vectors_are_summed_in_the_same_order() {
        let mut parts: Vec<Vec<f32>> = (0..4).map(|i| vec![[1e8, 1.0, -1e8, 1.0][i], i as f32]).collect();
        let mut slices: Vec<&mut [f32]> = parts.iter_mut().map(Vec::as_mut_slice).collect();
        sum_of(&mut slices);
        assert_eq!(parts[0], [(1e8f32 + 1.0) + (-1e8 + 1.0), 6.0]);
    }
}
