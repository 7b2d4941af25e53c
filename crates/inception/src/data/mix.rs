//! Pictures of a group mixed with each other: mixup and CutMix.
//!
//! ```text
//! mixup    x = (1 − s)·x_i + s·x_j                              arXiv:1710.09412
//! CutMix   a rectangle of share s of x_i is that of x_j         arXiv:1905.04899
//! target   (1 − s)·class_i + s·class_j
//! ```
//! `j` is the picture as far from the end of the group as `i` is from its start, and a group has one `s`, as timm has them for batches. A group
//! is what is computed at a time, so that several ranks mix the pictures that one rank would.

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
    /// Likewise for CutMix. Where both are on, a group is mixed by one or the other with equal chance.
    pub cutmix: f32,
    /// Probability that a group is mixed at all.
    pub prob: f64,
}

/// Marks the random stream of mixing.
const MIX: u64 = 0x004d_4958;

impl Mix {
    /// Mixes each group of `size` pictures of `batch`, the part of a larger one that has so many pictures before it, by the random numbers of
    /// `[seed, step, before]`.
    pub fn apply(&self, batch: &mut Batch, size: usize, [seed, step, before]: [u64; 3]) {
        if self.mixup + self.cutmix == 0.0 {
            return;
        }
        let (n, side) = (batch.len(), batch.side);
        let mut mixed = Vec::with_capacity(n);
        for start in (0..n).step_by(size.max(1)) {
            let group = start..(start + size.max(1)).min(n);
            let pixels = &mut batch.pixels[group.start * side * side * 3..group.end * side * side * 3];
            let share = self.mix(pixels, side, &mut stream(&[seed, MIX, step, before + start as u64]));
            mixed.extend(batch.labels[group].iter().rev().map(|&label| Mixed { label, share }));
        }
        if mixed.iter().any(|mixed| mixed.share > 0.0) {
            batch.mixed = mixed;
        }
    }

    /// Mixes the pictures of a group; the share of the others in each.
    fn mix(&self, pixels: &mut [f32], side: usize, random: &mut Stream) -> f32 {
        if pixels.len() < 2 * side * side * 3 || !random.random_bool(self.prob) {
            return 0.0;
        }
        let cut = if self.mixup == 0.0 { true } else { self.cutmix > 0.0 && random.random_bool(0.5) };
        let alpha = if cut { self.cutmix } else { self.mixup };
        let Ok(beta) = Beta::new(alpha, alpha) else { return 0.0 };
        let share: f32 = beta.sample(random);
        if cut { paste(pixels, side, share, random) } else { blend(pixels, side, share) }
    }
}

/// Calls `with(a, b)` for every picture `a` of the first half and its partner `b`.
fn pairs(pixels: &mut [f32], side: usize, mut with: impl FnMut(&mut [f32], &mut [f32])) {
    let len = side * side * 3;
    let n = pixels.len() / len;
    let (first, second) = pixels.split_at_mut(n.div_ceil(2) * len);
    let partners = second.chunks_exact_mut(len).rev();
    first.chunks_exact_mut(len).zip(partners).for_each(|(a, b)| with(a, b));
}

fn blend(pixels: &mut [f32], side: usize, share: f32) -> f32 {
    pairs(pixels, side, |a, b| {
        for (a, b) in a.iter_mut().zip(b) {
            (*a, *b) = (*a + share * (*b - *a), *b + share * (*a - *b));
        }
    });
    share
}

/// Exchanges a rectangle of about `share` of the area; its true share.
fn paste(pixels: &mut [f32], side: usize, share: f32, random: &mut Stream) -> f32 {
    let extent = ((side as f32) * share.sqrt()) as usize;
    // A centre anywhere: what lies outside is cut off.
    let mut span = || -> Range<usize> {
        let centre = random.random_range(0..side);
        centre.saturating_sub(extent / 2)..(centre + extent.div_ceil(2)).min(side)
    };
    let (rows, columns) = (span(), span());
    pairs(pixels, side, |a, b| {
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
                Mix { mixup, cutmix, prob: 1.0 }.apply(&mut mixed, n, [1, step, 0]);
                for i in 0..n {
                    // None where what was cut out is nothing.
                    let Some(&Mixed { label, share }) = mixed.mixed.get(i) else { continue };
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
            mix.apply(&mut mixed, 2, [3, step, 0]);
            !mixed.mixed.is_empty()
        });
        assert!((70..130).contains(&count.count()));
        let mut whole = batch(3, 2);
        Mix { mixup: 0.0, cutmix: 0.0, prob: 1.0 }.apply(&mut whole, 3, [1, 1, 0]);
        assert_eq!(whole, batch(3, 2));
    }

    /// Two ranks mix as one does.
    #[test]
    fn groups_are_mixed_by_their_place_in_the_batch() {
        let mix = Mix { mixup: 0.4, cutmix: 1.0, prob: 0.5 };
        for step in 0..20 {
            let mut whole = batch(8, 6);
            mix.apply(&mut whole, 2, [1, step, 0]);
            for (before, len) in [(0, 4), (4, 4)] {
                let mut part = batch(8, 6);
                part.pixels = part.pixels[before * 108..][..len * 108].to_vec();
                part.labels = part.labels[before..][..len].to_vec();
                part.indices = part.indices[before..][..len].to_vec();
                mix.apply(&mut part, 2, [1, step, before as u64]);
                assert_eq!(part.pixels, whole.pixels[before * 108..][..len * 108]);
                for (i, mixed) in part.mixed.iter().enumerate() {
                    assert_eq!(*mixed, whole.mixed[before + i]);
                }
            }
        }
    }
}
