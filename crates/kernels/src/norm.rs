//! Batch norm over pixels: statistics, normalisation with ReLU, and their gradient.
//!
//! ```text
//! forward    mean, variance of y per channel;   a = relu(scale·y + shift),  scale = γ/√(variance + ε), shift = β − mean·scale
//! backward   g = da where a > 0;   dβ = Σg;   dγ = Σ g·x̂;   dy = scale·(g − dβ/m − x̂·dγ/m)
//! ```
//! Blocks of pixels are summed in `f32` around their own mean and joined in `f64` in order (Chan, Golub and LeVeque), so
//! the variance does not cancel and has one value whatever the number of threads. `a` is not read on the way back: the
//! sign of `scale·y + shift` is recomputed, to the same bits.

use crate::elementwise::pixel_block;
use crate::view::{Parts, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Length of the scratch of [`statistics`], [`grad`] and [`sums`].
pub fn scratch_len(pixels: usize, channels: usize) -> usize {
    pixels.div_ceil(pixel_block(channels)) * 2 * channels
}

/// Mean and biased variance of each channel over all pixels.
pub fn statistics(
    pool: &Pool,
    isa: Isa,
    y: View,
    mean: &mut [f32],
    variance: &mut [f32],
    scratch: &mut [f32],
) {
    let (pixels, c) = (y.pixels(), y.channels());
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
    isa.vectorize(|| {
        let (mut centre, mut squares) = (vec![0.0f64; c], vec![0.0f64; c]);
        let mut count = 0.0;
        for (b, block_sums) in scratch[..blocks * 2 * c].chunks_exact(2 * c).enumerate() {
            let added = piece(b, block, pixels).len() as f64;
            let share = added / (count + added);
            let (means, around) = block_sums.split_at(c);
            for (((centre, squares), &m), &s) in centre.iter_mut().zip(&mut squares).zip(means).zip(around) {
                let distance = f64::from(m) - *centre;
                *centre += distance * share;
                *squares += f64::from(s) + distance * distance * count * share;
            }
            count += added;
        }
        mean.iter_mut().zip(centre).for_each(|(m, v)| *m = v as f32);
        variance.iter_mut().zip(squares).for_each(|(m, v)| *m = (v / count) as f32);
    });
}

/// Sum of each channel over all pixels: blocks in `f32`, joined in `f64` in order.
pub fn sums(pool: &Pool, isa: Isa, x: View, sums: &mut [f32], scratch: &mut [f32]) {
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
    join(isa, &scratch[..blocks * c], sums);
}

/// Sum over rows of `blocks` `[n, totals.len()]`, in order, in `f64`.
fn join(isa: Isa, blocks: &[f32], totals: &mut [f32]) {
    isa.vectorize(|| {
        let mut exact = vec![0.0f64; totals.len()];
        for row in blocks.chunks_exact(totals.len()) {
            exact.iter_mut().zip(row).for_each(|(t, &v)| *t += f64::from(v));
        }
        totals.iter_mut().zip(exact).for_each(|(t, v)| *t = v as f32);
    });
}

/// The affine form of a batch norm, per channel.
#[derive(Clone, Debug, Default)]
pub struct Affine {
    /// `γ / √(variance + ε)`.
    pub scale: Vec<f32>,
    /// `β − mean · scale`.
    pub shift: Vec<f32>,
}

impl Affine {
    /// From parameters and statistics.
    pub fn new(gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32], epsilon: f32) -> Self {
        let scale: Vec<f32> = gamma.iter().zip(variance).map(|(&g, &v)| g / (v + epsilon).sqrt()).collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((&b, &m), &s)| b - m * s).collect();
        Affine { scale, shift }
    }

    /// `a = scale·y + shift`, then ReLU where asked.
    pub fn apply(&self, pool: &Pool, isa: Isa, y: View, relu: bool, a: ViewMut) {
        let (pixels, block) = (y.pixels(), pixel_block(y.channels()));
        assert!(a.pixels() == pixels && a.channels() == y.channels() && self.scale.len() == y.channels());
        let a = a.share();
        pool.run(pixels.div_ceil(block), |b| {
            isa.vectorize(|| {
                for p in piece(b, block, pixels) {
                    // SAFETY: blocks of pixels are disjoint.
                    let a = unsafe { a.pixel(p) };
                    for (((a, &y), &scale), &shift) in
                        a.iter_mut().zip(y.pixel(p)).zip(&self.scale).zip(&self.shift)
                    {
                        let v = y * scale + shift;
                        *a = if relu && v <= 0.0 { 0.0 } else { v };
                    }
                }
            });
        });
    }
}

/// What [`grad`] reads besides the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Normalized<'a> {
    /// Output of the convolution.
    pub y: View<'a>,
    /// Batch mean of `y`.
    pub mean: &'a [f32],
    /// Batch variance of `y`.
    pub variance: &'a [f32],
    /// The affine form that was applied.
    pub affine: &'a Affine,
    /// Whether a ReLU followed.
    pub relu: bool,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Backward: `da` becomes `dy`; `dgamma` and `dbeta` are written.
pub fn grad(
    pool: &Pool,
    isa: Isa,
    forward: &Normalized,
    da: ViewMut,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    scratch: &mut [f32],
) {
    let Normalized { y, mean, variance, affine, relu, epsilon } = *forward;
    let (pixels, c) = (y.pixels(), y.channels());
    assert!(da.pixels() == pixels && da.channels() == c && dgamma.len() == c && dbeta.len() == c);
    let inverse: Vec<f32> = variance.iter().map(|&v| 1.0 / (v + epsilon).sqrt()).collect();
    let block = pixel_block(c);
    let blocks = pixels.div_ceil(block);
    let da = da.share();
    let parts = Parts::new(&mut scratch[..blocks * 2 * c]);
    let masked = move |v: f32, g: f32| if relu && v <= 0.0 { 0.0 } else { g };
    pool.run(blocks, |b| {
        // SAFETY: each block has sums of its own.
        let (dbeta, dgamma) = unsafe { parts.part(b * 2 * c..(b + 1) * 2 * c) }.split_at_mut(c);
        isa.vectorize(|| {
            let (dbeta, dgamma) = (&mut dbeta[..c], &mut dgamma[..c]);
            let (scale, shift, mean, inverse) =
                (&affine.scale[..c], &affine.shift[..c], &mean[..c], &inverse[..c]);
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
    let mut both = vec![0.0; 2 * c];
    join(isa, &scratch[..blocks * 2 * c], &mut both);
    dbeta.copy_from_slice(&both[..c]);
    dgamma.copy_from_slice(&both[c..]);
    // dy = scale·g − constant − y·slope, constant and slope per channel.
    let slope: Vec<f32> = (0..c).map(|j| affine.scale[j] * inverse[j] * dgamma[j] / pixels as f32).collect();
    let constant: Vec<f32> =
        (0..c).map(|j| affine.scale[j] * dbeta[j] / pixels as f32 - mean[j] * slope[j]).collect();
    pool.run(blocks, |b| {
        isa.vectorize(|| {
            let (scale, shift, slope, constant) =
                (&affine.scale[..c], &affine.shift[..c], &slope[..c], &constant[..c]);
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
