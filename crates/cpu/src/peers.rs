//! Steps that several processes take together, each on its part of the batch.
//!
//! ```text
//! gradient of a batch = Σ over all of the gradients of their parts       statistics, loss, right answers and pictures likewise
//! ```
//! The gradient is summed in buckets, in the order in which the backward pass is done with them, while it goes on.

/// Sums over all who take steps together. All ask for the same sums, of the same lengths, in the same order.
///
/// Where the others are lost, sums come back as they went, and [`Peers::finish`] says so.
pub trait Peers {
    /// Begins the sum of `values`, called `what`, which goes on while other work is done.
    fn begin(&self, what: &str, values: Vec<f32>);
    /// The sum that was begun first of those that have not been finished; waits for it.
    fn finish(&self) -> Result<Vec<f32>, PeersLost>;
    /// `values` become their sums, called `what`, at once.
    fn sum(&self, what: &str, values: &mut [f64]);
}

/// Others do not take steps any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersLost(pub String);

/// Which part of a batch one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Pictures of the batch before its own.
    pub first: usize,
    /// Pictures of the batch, where none is left out.
    pub batch: usize,
}

/// Values of a bucket, at least; the last has what is left.
const BUCKET: usize = 1 << 20;

/// Parameters by `(index, values)` in the order in which their gradients are complete, cut into buckets: indices of the first to
/// that of the last.
pub(crate) fn buckets(params: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let (mut buckets, mut len) = (Vec::new(), BUCKET);
    for (index, values) in params {
        if len >= BUCKET {
            buckets.push(Vec::new());
            len = 0;
        }
        let last = buckets.len() - 1;
        buckets[last].push(index);
        len += values;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cut_where_they_are_full() {
        let half = BUCKET / 2;
        let found = buckets([(9, half), (7, half - 1), (8, 1), (3, BUCKET * 3), (2, 1)].into_iter());
        assert_eq!(found, [vec![9, 7, 8], vec![3], vec![2]]);
        assert!(buckets(std::iter::empty()).is_empty());
    }
}
