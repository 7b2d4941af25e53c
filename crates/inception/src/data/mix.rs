//! Pictures of a batch mixed with each other: mixup and CutMix.
//!
//! ```text
//! mixup    x = (1 − s)·x_i + s·x_j                              arXiv:1710.09412
//! CutMix   a rectangle of share s of x_i is that of x_j         arXiv:1905.04899
//! target   (1 − s)·class_i + s·class_j
//! ```
//! `j` is the picture as far from the end of the batch as `i` is from its start, and a batch has one `s`, as timm has them.

use std::ops::Range;

use inception_graph::{Stream, stream};
use rand::RngExt;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use super::Batch;
use crate::engine::Mixed;

/// How pictures of a batch are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// α of the Beta distribution of mixup's shares; 0 for none.
    pub mixup: f32,
    /// Likewise for CutMix. Where both are on, a batch is mixed by one or the other with equal chance.
    pub cutmix: f32,
    /// Probability that a batch is mixed at all.
    pub prob: f64,
}

/// Marks the random stream of mixing.
const MIX: u64 = 0x004d_4958;

impl Mix {
    /// Mixes `batch` by the random numbers of `key`, for example `[seed, step]`.
    pub fn apply(&self, batch: &mut Batch, [seed, step]: [u64; 2]) {
        let random = &mut stream(&[seed, MIX, step]);
        if batch.len() < 2 || self.mixup + self.cutmix == 0.0 || !random.random_bool(self.prob) {
            return;
        }
        let cut = if self.mixup == 0.0 { true } else { self.cutmix > 0.0 && random.random_bool(0.5) };
        let alpha = if cut { self.cutmix } else { self.mixup };
        let Ok(beta) = Beta::new(alpha, alpha) else { return };
        let share: f32 = beta.sample(random);
        let share = if cut { paste(batch, share, random) } else { blend(batch, share) };
        let others = batch.labels.iter().rev();
        batch.mixed = others.map(|&label| Mixed { label, share }).collect();
    }
}

/// Calls `with(a, b)` for every picture `a` of the first half and its partner `b`.
fn pairs(batch: &mut Batch, mut with: impl FnMut(&mut [f32], &mut [f32])) {
    let (n, len) = (batch.len(), batch.side * batch.side * 3);
    let (first, second) = batch.pixels.split_at_mut(n.div_ceil(2) * len);
    let partners = second.chunks_exact_mut(len).rev();
    first.chunks_exact_mut(len).zip(partners).for_each(|(a, b)| with(a, b));
}

fn blend(batch: &mut Batch, share: f32) -> f32 {
    pairs(batch, |a, b| {
        for (a, b) in a.iter_mut().zip(b) {
            (*a, *b) = (*a + share * (*b - *a), *b + share * (*a - *b));
        }
    });
    share
}

/// Exchanges a rectangle of about `share` of the area; its true share.
fn paste(batch: &mut Batch, share: f32, random: &mut Stream) -> f32 {
    let side = batch.side;
    let extent = ((side as f32) * share.sqrt()) as usize;
    // A centre anywhere: what lies outside is cut off.
    let mut span = || -> Range<usize> {
        let centre = random.random_range(0..side);
        centre.saturating_sub(extent / 2)..(centre + extent.div_ceil(2)).min(side)
    };
    let (rows, columns) = (span(), span());
    pairs(batch, |a, b| {
        for y in rows.clone() {
            let row = (y * side + columns.start) * 3..(y * side + columns.end) * 3;
            a[row.clone()].swap_with_slice(&mut b[row]);
        }
    });
    (rows.len() * columns.len()) as f32 / (side * side) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of one value each, 1 to `n`, of the classes 0 to `n − 1`.
    fn batch(n: usize, side: usize) -> Batch {
        let pixels = (0..n).flat_map(|i| std::iter::repeat_n((i + 1) as f32, side * side * 3)).collect();
        Batch { pixels, side, labels: (0..n as u32).collect(), indices: (0..n).collect(), ..Batch::default() }
    }

    #[test]
    fn a_picture_has_as_much_of_another_as_its_target_says() {
        for (mixup, cutmix, n) in [(0.4, 0.0, 5), (0.0, 1.0, 6), (0.4, 1.0, 2)] {
            let mut shares = Vec::new();
            for step in 0..40 {
                let mut mixed = batch(n, 12);
                Mix { mixup, cutmix, prob: 1.0 }.apply(&mut mixed, [1, step]);
                for i in 0..n {
                    let Mixed { label, share } = mixed.mixed[i];
                    assert_eq!(label as usize, n - 1 - i);
                    let mean = mixed.pixels[i * 432..][..432].iter().sum::<f32>() / 432.0;
                    let expected = (1.0 - share) * (i + 1) as f32 + share * (n - i) as f32;
                    assert!((mean - expected).abs() < 1e-4, "{mean} {expected}");
                    shares.push(share);
                }
            }
            let (low, high) = shares.iter().fold((1.0f32, 0.0f32), |(l, h), &s| (l.min(s), h.max(s)));
            assert!(low < 0.1 && high > 0.6, "{low} {high}");
        }
    }

    #[test]
    fn batches_are_mixed_as_often_as_asked() {
        let mix = Mix { mixup: 1.0, cutmix: 0.0, prob: 0.25 };
        let count = (0..400).filter(|&step| {
            let mut mixed = batch(2, 1);
            mix.apply(&mut mixed, [3, step]);
            !mixed.mixed.is_empty()
        });
        assert!((70..130).contains(&count.count()));
        let mut whole = batch(3, 2);
        Mix { mixup: 0.0, cutmix: 0.0, prob: 1.0 }.apply(&mut whole, [1, 1]);
        assert_eq!(whole, batch(3, 2));
    }
}
