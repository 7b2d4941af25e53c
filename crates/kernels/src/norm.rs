//! Batch norm over pixels: statistics, normalisation with ReLU, and their gradient.
//!
//! ```text
//! forward    mean, variance of y per channel;   a = relu(scale·y + shift),  scale = γ/√(variance + ε), shift = β − mean·scale
//! backward   g = da where a > 0;   dβ = Σg;   dγ = Σ g·x̂;   dy = scale·(g − dβ/m − x̂·dγ/m)
//! ```
//! Blocks of pixels are summed in `f32` around their own mean and joined in `f64` in order (Chan, Golub and LeVeque), so
//! the variance does not cancel and has one value whatever the number of threads. `a` is not read on the way back: the
//! sign of `scale·y + shift` is recomputed, to the same bits.

use std::ops::Range;

use crate::elementwise::pixel_block;
use crate::view::{Parts, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Length of the scratch of [`BatchNorm::statistics`], [`BatchNorm::grad`] and [`sums`].
pub fn scratch_len(pixels: usize, channels: usize) -> usize {
    pixels.div_ceil(pixel_block(channels)) * 2 * channels
}

/// Channels that are joined together.
const JOINED: usize = 64;

/// Calls `join(channels)` for all channels, some at a time.
fn for_channels(isa: Isa, channels: usize, mut join: impl FnMut(Range<usize>)) {
    isa.vectorize(|| (0..channels.div_ceil(JOINED)).for_each(|i| join(piece(i, JOINED, channels))));
}

/// Sum of each channel over all pixels: blocks in `f32`, joined in `f64` in order; added to `sums` where `accumulate`.
pub fn sums(pool: &Pool, isa: Isa, x: View, accumulate: bool, sums: &mut [f32], scratch: &mut [f32]) {
    let (pixels, c) = (x.pixels(), x.channels());
    let block = pixel_block(c);
    let blocks = pixels.div_ceil(block);
    let parts = Parts::new(&mut scratch[..blocks * c]);
    pool.run(blocks, |b| {
        // SAFETY: each block has sums of its own.
        let sums = unsafe { parts.part(b * c..(b + 1) * c) };
        isa.vectorize(|| {
            sums.fill(0.0);
            for p in piece(b, block, pixels) {
                sums.iter_mut().zip(x.pixel(p)).for_each(|(s, &v)| *s += v);
            }
        });
    });
    for_channels(isa, c, |channels| {
        let totals = join(&scratch[..blocks * c], c, channels.clone());
        store(&mut sums[channels], &totals, accumulate);
    });
}

/// Sums of some `channels` over rows of `blocks` `[n, width]`, in order, in `f64`.
#[inline(always)]
fn join(blocks: &[f32], width: usize, channels: Range<usize>) -> [f64; JOINED] {
    let mut totals = [0.0f64; JOINED];
    for row in blocks.chunks_exact(width) {
        totals.iter_mut().zip(&row[channels.clone()]).for_each(|(t, &v)| *t += f64::from(v));
    }
    totals
}

/// `to = values`, or `to += values`.
#[inline(always)]
fn store(to: &mut [f32], values: &[f64], accumulate: bool) {
    for (to, &value) in to.iter_mut().zip(values) {
        *to = if accumulate { *to + value as f32 } else { value as f32 };
    }
}

/// `[scale, shift]` of a channel's batch norm: `γ/√(variance + ε)`, `β − mean·scale`.
#[inline(always)]
pub fn affine([gamma, beta]: [f32; 2], mean: f32, variance: f32, epsilon: f32) -> [f32; 2] {
    let scale = gamma / (variance + epsilon).sqrt();
    [scale, beta - mean * scale]
}

/// What a batch norm knows between forward and backward, per channel.
#[derive(Clone, Debug, Default)]
pub struct BatchNorm {
    /// Mean of the batch.
    pub mean: Vec<f32>,
    /// Biased variance of the batch.
    pub variance: Vec<f32>,
    /// `γ / √(variance + ε)`.
    pub scale: Vec<f32>,
    /// `β − mean · scale`.
    pub shift: Vec<f32>,
    /// `1 / √(variance + ε)`.
    inverse: Vec<f32>,
    /// `dy = scale·g − (constant + slope·y)`.
    slope: Vec<f32>,
    constant: Vec<f32>,
}

impl BatchNorm {
    /// For `c` channels.
    pub fn new(c: usize) -> Self {
        let zeros = || vec![0.0; c];
        BatchNorm {
            mean: zeros(),
            variance: zeros(),
            scale: zeros(),
            shift: zeros(),
            inverse: zeros(),
            slope: zeros(),
            constant: zeros(),
        }
    }

    /// Mean and variance of each channel of `y` over all pixels, and the affine form with `γ`, `β` and `ε`.
    pub fn statistics(
        &mut self,
        pool: &Pool,
        isa: Isa,
        y: View,
        [gamma, beta]: [&[f32]; 2],
        epsilon: f32,
        scratch: &mut [f32],
    ) {
        let (pixels, c) = (y.pixels(), y.channels());
        assert!(self.mean.len() == c && gamma.len() == c && beta.len() == c);
        let block = pixel_block(c);
        let blocks = pixels.div_ceil(block);
        let parts = Parts::new(&mut scratch[..blocks * 2 * c]);
        pool.run(blocks, |b| {
            // SAFETY: each block has sums of its own.
            let (mean, squares) = unsafe { parts.part(b * 2 * c..(b + 1) * 2 * c) }.split_at_mut(c);
            let range = piece(b, block, pixels);
            isa.vectorize(|| {
                mean.fill(0.0);
                squares.fill(0.0);
                for p in range.clone() {
                    mean.iter_mut().zip(y.pixel(p)).for_each(|(m, &v)| *m += v);
                }
                let share = 1.0 / range.len() as f32;
                mean.iter_mut().for_each(|m| *m *= share);
                for p in range.clone() {
                    for ((s, &m), &v) in squares.iter_mut().zip(&*mean).zip(y.pixel(p)) {
                        *s += (v - m) * (v - m);
                    }
                }
            });
        });
        for_channels(isa, c, |channels| {
            let ([mut centre, mut squares], mut count) = ([[0.0f64; JOINED]; 2], 0.0);
            for (b, block_sums) in scratch[..blocks * 2 * c].chunks_exact(2 * c).enumerate() {
                let added = piece(b, block, pixels).len() as f64;
                let share = added / (count + added);
                let (means, around) = block_sums.split_at(c);
                let of_block = means[channels.clone()].iter().zip(&around[channels.clone()]);
                for (j, (&m, &s)) in of_block.enumerate() {
                    let distance = f64::from(m) - centre[j];
                    centre[j] += distance * share;
                    squares[j] += f64::from(s) + distance * distance * count * share;
                }
                count += added;
            }
            for (i, j) in channels.enumerate() {
                (self.mean[j], self.variance[j]) = (centre[i] as f32, (squares[i] / count) as f32);
                [self.scale[j], self.shift[j]] =
                    affine([gamma[j], beta[j]], self.mean[j], self.variance[j], epsilon);
                self.inverse[j] = 1.0 / (self.variance[j] + epsilon).sqrt();
            }
        });
    }

    /// `a = scale·y + shift`, then ReLU where asked.
    pub fn apply(&self, pool: &Pool, isa: Isa, y: View, relu: bool, a: ViewMut) {
        let (pixels, c) = (y.pixels(), y.channels());
        let block = pixel_block(c);
        assert!(a.pixels() == pixels && a.channels() == c && self.scale.len() == c);
        let a = a.share();
        pool.run(pixels.div_ceil(block), |b| {
            isa.vectorize(|| {
                let (scale, shift) = (&self.scale[..c], &self.shift[..c]);
                for p in piece(b, block, pixels) {
                    // SAFETY: blocks of pixels are disjoint.
                    let (a, y) = (unsafe { &mut a.pixel(p)[..c] }, &y.pixel(p)[..c]);
                    for j in 0..c {
                        let v = y[j] * scale[j] + shift[j];
                        a[j] = if relu && v <= 0.0 { 0.0 } else { v };
                    }
                }
            });
        });
    }

    /// Backward: `da` becomes `dy`; the gradients of γ and β are written, or added where `accumulate`. `relu` as it was
    /// applied.
    #[allow(clippy::too_many_arguments, reason = "the tensors of a gradient and where it runs")]
    pub fn grad(
        &mut self,
        pool: &Pool,
        isa: Isa,
        y: View,
        relu: bool,
        da: ViewMut,
        accumulate: bool,
        [dgamma, dbeta]: [&mut [f32]; 2],
        scratch: &mut [f32],
    ) {
        let (pixels, c) = (y.pixels(), y.channels());
        assert!(da.pixels() == pixels && da.channels() == c && dgamma.len() == c && dbeta.len() == c);
        let block = pixel_block(c);
        let blocks = pixels.div_ceil(block);
        let da = da.share();
        let parts = Parts::new(&mut scratch[..blocks * 2 * c]);
        let BatchNorm { mean, scale, shift, inverse, slope, constant, .. } = self;
        let (mean, scale, shift, inverse) = (&mean[..c], &scale[..c], &shift[..c], &inverse[..c]);
        let masked = move |v: f32, g: f32| if relu && v <= 0.0 { 0.0 } else { g };
        pool.run(blocks, |b| {
            // SAFETY: each block has sums of its own.
            let (dbeta, dgamma) = unsafe { parts.part(b * 2 * c..(b + 1) * 2 * c) }.split_at_mut(c);
            isa.vectorize(|| {
                let (dbeta, dgamma) = (&mut dbeta[..c], &mut dgamma[..c]);
                dbeta.fill(0.0);
                dgamma.fill(0.0);
                for p in piece(b, block, pixels) {
                    // SAFETY: blocks of pixels are disjoint.
                    let (da, y) = (unsafe { &da.pixel(p)[..c] }, &y.pixel(p)[..c]);
                    for j in 0..c {
                        let g = masked(y[j] * scale[j] + shift[j], da[j]);
                        dbeta[j] += g;
                        dgamma[j] += g * ((y[j] - mean[j]) * inverse[j]);
                    }
                }
            });
        });
        for_channels(isa, c, |channels| {
            let end = channels.end - channels.start;
            let blocks = &scratch[..blocks * 2 * c];
            let dbeta_sums = join(blocks, 2 * c, channels.clone());
            let dgamma_sums = join(blocks, 2 * c, c + channels.start..c + channels.end);
            store(&mut dbeta[channels.clone()], &dbeta_sums[..end], accumulate);
            store(&mut dgamma[channels.clone()], &dgamma_sums[..end], accumulate);
            for (i, j) in channels.enumerate() {
                let share = scale[j] / pixels as f32;
                slope[j] = share * inverse[j] * dgamma_sums[i] as f32;
                constant[j] = share * dbeta_sums[i] as f32 - mean[j] * slope[j];
            }
        });
        let (slope, constant) = (&slope[..c], &constant[..c]);
        pool.run(blocks, |b| {
            isa.vectorize(|| {
                for p in piece(b, block, pixels) {
                    // SAFETY: blocks of pixels are disjoint.
                    let (da, y) = (unsafe { &mut da.pixel(p)[..c] }, &y.pixel(p)[..c]);
                    for j in 0..c {
                        let g = masked(y[j] * scale[j] + shift[j], da[j]);
                        da[j] = scale[j] * g - (constant[j] + y[j] * slope[j]);
                    }
                }
            });
        });
    }
}
