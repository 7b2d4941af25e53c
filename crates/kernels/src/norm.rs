//! Batch norm over pixels: statistics, normalisation with ReLU, and their gradient.
//!
//! ```text
//! forward    mean, variance of y per channel;   a = relu(scale·y + shift),  scale = γ/√(variance + ε), shift = β − mean·scale
//! backward   g = da where a > 0;   dβ = Σg;   dγ = Σ g·x̂;   dy = scale·(g − dβ/m − x̂·dγ/m), scale·g where mean and variance are fixed
//! ```
//! Blocks of pixels are summed in `f32` around their own mean and joined in `f64` in order (Chan, Golub and LeVeque), so
//! the variance does not cancel and has one value whatever the number of threads. `a` is not read on the way back: the
//! sign of `scale·y + shift` is recomputed, to the same bits.

use std::ops::Range;

use crate::elementwise::pixel_block;
use crate::isa::{Kernel, Simd};
use crate::view::{Parts, Pixels, piece};
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
    /// Whether mean and variance are constants, not the batch's.
    fixed: bool,
    /// Sums over pixels: in [`BatchNorm::statistics`] their number, values, squares; in [`BatchNorm::grad_sums`] `dβ` and `dγ`.
    sums: Vec<f64>,
    /// Pixels that mean and variance are of.
    count: f64,
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
            fixed: false,
            sums: Vec::with_capacity(2 * c + 1),
            count: 0.0,
        }
    }

    /// Normalises with a mean and a variance that do not depend on the batch.
    pub fn fix(&mut self, [mean, variance]: [&[f32]; 2], [gamma, beta]: [&[f32]; 2], epsilon: f32) {
        self.fixed = true;
        self.mean.copy_from_slice(mean);
        self.variance.copy_from_slice(variance);
        (0..mean.len()).for_each(|j| self.derive(j, [gamma[j], beta[j]], epsilon));
    }

    /// The affine form of channel `j` from its mean and variance.
    #[inline(always)]
    fn derive(&mut self, j: usize, parameters: [f32; 2], epsilon: f32) {
        [self.scale[j], self.shift[j]] = affine(parameters, self.mean[j], self.variance[j], epsilon);
        self.inverse[j] = 1.0 / (self.variance[j] + epsilon).sqrt();
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
        self.fixed = false;
        self.count = pixels as f64;
        let block = pixel_block(c);
        let blocks = pixels.div_ceil(block);
        let parts = Parts::new(&mut scratch[..blocks * 2 * c]);
        pool.run(blocks, |b| {
            // SAFETY: each block has sums of its own.
            let (mean, squares) = unsafe { parts.part(b * 2 * c..(b + 1) * 2 * c) }.split_at_mut(c);
            isa.run(Statistics { y, pixels: piece(b, block, pixels), mean, squares });
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
                self.derive(j, [gamma[j], beta[j]], epsilon);
            }
        });
    }

    /// What [`BatchNorm::statistics`] found, as sums: pixels, values, squares. They add up to those of more pixels, which
    /// [`BatchNorm::join`] takes.
    pub fn moments(&mut self) -> &mut [f64] {
        let (c, count) = (self.mean.len(), self.count);
        self.sums.clear();
        self.sums.push(count);
        self.sums.extend(self.mean.iter().map(|&mean| count * f64::from(mean)));
        let square = |(mean, variance): (&f32, &f32)| f64::from(*variance) + f64::from(*mean).powi(2);
        self.sums.extend(self.mean.iter().zip(&self.variance).map(|both| count * square(both)));
        debug_assert_eq!(self.sums.len(), 2 * c + 1);
        &mut self.sums
    }

    /// The moments of no pixels, of as many channels.
    pub fn no_moments(&mut self) -> &mut [f64] {
        self.sums.clear();
        self.sums.resize(2 * self.mean.len() + 1, 0.0);
        &mut self.sums
    }

    /// Mean and variance are those of the pixels that the moments are of now.
    pub fn join(&mut self, [gamma, beta]: [&[f32]; 2], epsilon: f32) {
        let c = self.mean.len();
        self.count = self.sums[0];
        for j in 0..c {
            let (mean, square) = (self.sums[1 + j] / self.count, self.sums[1 + c + j] / self.count);
            (self.mean[j], self.variance[j]) = (mean as f32, (square - mean * mean).max(0.0) as f32);
            self.derive(j, [gamma[j], beta[j]], epsilon);
        }
    }

    /// `a = scale·y + shift`, then ReLU where asked.
    pub fn apply(&self, pool: &Pool, isa: Isa, y: View, relu: bool, a: ViewMut) {
        let (pixels, c) = (y.pixels(), y.channels());
        let block = pixel_block(c);
        assert!(a.pixels() == pixels && a.channels() == c && self.scale.len() == c);
        let a = a.share();
        pool.run(pixels.div_ceil(block), |b| {
            isa.run(Apply { norm: self, y, pixels: piece(b, block, pixels), relu, a });
        });
    }

    /// The first half of the way back: the gradients of γ and β are written, or added where `accumulate`. `relu` as it was
    /// applied. Their sums over these pixels come back; where mean and variance are of more, they have to become the sums over all of
    /// those before [`BatchNorm::grad`].
    #[allow(clippy::too_many_arguments, reason = "the tensors of a gradient and where it runs")]
    pub fn grad_sums(
        &mut self,
        pool: &Pool,
        isa: Isa,
        y: View,
        relu: bool,
        da: ViewMut,
        accumulate: bool,
        [dgamma, dbeta]: [&mut [f32]; 2],
        scratch: &mut [f32],
    ) -> &mut [f64] {
        let (pixels, c) = (y.pixels(), y.channels());
        assert!(da.pixels() == pixels && da.channels() == c && dgamma.len() == c && dbeta.len() == c);
        self.sums.clear();
        self.sums.resize(2 * c, 0.0);
        let block = pixel_block(c);
        let blocks = pixels.div_ceil(block);
        let da = da.share();
        let parts = Parts::new(&mut scratch[..blocks * 2 * c]);
        pool.run(blocks, |b| {
            // SAFETY: each block has sums of its own.
            let sums = unsafe { parts.part(b * 2 * c..(b + 1) * 2 * c) }.split_at_mut(c);
            isa.run(GradSums { norm: self, y, pixels: piece(b, block, pixels), relu, da, sums });
        });
        for_channels(isa, c, |channels| {
            let end = channels.end - channels.start;
            let blocks = &scratch[..blocks * 2 * c];
            let dbeta_sums = join(blocks, 2 * c, channels.clone());
            let dgamma_sums = join(blocks, 2 * c, c + channels.start..c + channels.end);
            store(&mut dbeta[channels.clone()], &dbeta_sums[..end], accumulate);
            store(&mut dgamma[channels.clone()], &dgamma_sums[..end], accumulate);
            self.sums[channels.clone()].copy_from_slice(&dbeta_sums[..end]);
            self.sums[c + channels.start..c + channels.end].copy_from_slice(&dgamma_sums[..end]);
        });
        &mut self.sums
    }

    /// The second half: `da` becomes `dy`.
    pub fn grad(&mut self, pool: &Pool, isa: Isa, y: View, relu: bool, da: ViewMut) {
        let (pixels, c) = (y.pixels(), y.channels());
        assert!(da.pixels() == pixels && da.channels() == c && self.sums.len() == 2 * c);
        for j in 0..c {
            // Constants have no gradient.
            let share = if self.fixed { 0.0 } else { self.scale[j] / self.count as f32 };
            self.slope[j] = share * self.inverse[j] * self.sums[c + j] as f32;
            self.constant[j] = share * self.sums[j] as f32 - self.mean[j] * self.slope[j];
        }
        let block = pixel_block(c);
        let da = da.share();
        pool.run(pixels.div_ceil(block), |b| {
            isa.run(Grad { norm: self, y, pixels: piece(b, block, pixels), relu, da });
        });
    }
}

/// Vectors of channels that are handled together: so many sums hide the latency of an addition.
const GROUP: usize = 4;

/// Calls `$self.$group::<S, G, U>(simd, first, lanes)` for all channels, `G` vectors of them from `first` on at a time, the
/// last of which has `lanes` channels; `U` pixels make up for what `G` lacks.
macro_rules! by_groups {
    ($self:ident . $group:ident, $simd:expr, $channels:expr) => {{
        let (mut first, channels) = (0, $channels);
        while first < channels {
            let left = (channels - first).div_ceil(S::LANES);
            let lanes = |vectors: usize| S::LANES.min(channels - first - (vectors - 1) * S::LANES);
            // SAFETY: all views have these channels.
            unsafe {
                first += S::LANES
                    * match left {
                        GROUP.. => $self.$group::<S, 4, 1>($simd, first, lanes(4)),
                        2.. => $self.$group::<S, 2, 2>($simd, first, lanes(2)),
                        _ => $self.$group::<S, 1, 4>($simd, first, lanes(1)),
                    };
            }
        }
    }};
}

/// `$body` for pixels `$i` from 0 to `$count`, `$u` being which of `U` sums each is added to.
macro_rules! for_pixels {
    ($count:expr, $U:ident, |$u:ident, $i:ident| $body:block) => {{
        let whole = $count - $count % $U;
        for first in (0..whole).step_by($U) {
            for $u in 0..$U {
                let $i = first + $u;
                $body
            }
        }
        for $i in whole..$count {
            let $u = 0;
            $body
        }
    }};
}

/// `G` vectors, the last of `lanes` values.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load<S: Simd, const G: usize>(simd: S, from: *const f32, lanes: usize) -> [S::V; G] {
    let mut values = [simd.splat(0.0); G];
    for v in 0..G {
        let lanes = if v + 1 == G { lanes } else { S::LANES };
        // SAFETY: the caller's promise.
        values[v] = unsafe { simd.load_first(from.add(v * S::LANES), lanes) };
    }
    values
}

/// Stores `G` vectors, the last of `lanes` values.
///
/// # Safety
/// They can be written.
#[inline(always)]
unsafe fn store_group<S: Simd, const G: usize>(simd: S, to: *mut f32, values: [S::V; G], lanes: usize) {
    for v in 0..G {
        let lanes = if v + 1 == G { lanes } else { S::LANES };
        // SAFETY: the caller's promise.
        unsafe { simd.store_first(to.add(v * S::LANES), values[v], lanes) };
    }
}

/// Sum of the sums of `U` pixels.
#[inline(always)]
fn add_up<S: Simd, const G: usize, const U: usize>(simd: S, sums: [[S::V; G]; U]) -> [S::V; G] {
    let mut total = sums[0];
    for u in 1..U {
        for v in 0..G {
            total[v] = simd.add(total[v], sums[u][v]);
        }
    }
    total
}

/// Mean of a block of pixels, and the sum of the squared distances from it.
struct Statistics<'a> {
    y: View<'a>,
    pixels: Range<usize>,
    mean: &'a mut [f32],
    squares: &'a mut [f32],
}

impl Kernel for Statistics<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        by_groups!(self.group, simd, self.y.channels());
    }
}

impl Statistics<'_> {
    /// # Safety
    /// `y` and the sums have the channels; as for the other kernels.
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize, const U: usize>(
        &mut self,
        simd: S,
        first: usize,
        lanes: usize,
    ) -> usize {
        let (zero, count) = (simd.splat(0.0), self.pixels.len());
        let (mut mean, mut squares) = ([[zero; G]; U], [[zero; G]; U]);
        let pixel =
            |i: usize| self.y.as_ptr().wrapping_add((self.pixels.start + i) * self.y.stride() + first);
        // SAFETY: the caller's promises.
        unsafe {
            for_pixels!(count, U, |u, i| {
                let y: [S::V; G] = load(simd, pixel(i), lanes);
                for v in 0..G {
                    mean[u][v] = simd.add(mean[u][v], y[v]);
                }
            });
            let share = simd.splat(1.0 / count as f32);
            let mean = add_up(simd, mean).map(|sum| simd.mul_add(sum, share, zero));
            let negative = mean.map(|mean| simd.mul_add(mean, simd.splat(-1.0), zero));
            for_pixels!(count, U, |u, i| {
                let y: [S::V; G] = load(simd, pixel(i), lanes);
                for v in 0..G {
                    let distance = simd.add(y[v], negative[v]);
                    squares[u][v] = simd.mul_add(distance, distance, squares[u][v]);
                }
            });
            store_group(simd, self.mean.as_mut_ptr().add(first), mean, lanes);
            store_group(simd, self.squares.as_mut_ptr().add(first), add_up(simd, squares), lanes);
        }
        G
    }
}

/// `a` for a block of pixels.
struct Apply<'a> {
    norm: &'a BatchNorm,
    y: View<'a>,
    pixels: Range<usize>,
    relu: bool,
    a: Pixels<'a>,
}

impl Kernel for Apply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        by_groups!(self.group, simd, self.y.channels());
    }
}

impl Apply<'_> {
    /// # Safety
    /// As for [`Statistics::group`]; the pixels of `a` are this task's.
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize, const U: usize>(
        &self,
        simd: S,
        first: usize,
        lanes: usize,
    ) -> usize {
        // SAFETY: the caller's promises.
        unsafe {
            let scale: [S::V; G] = load(simd, self.norm.scale.as_ptr().add(first), lanes);
            let shift: [S::V; G] = load(simd, self.norm.shift.as_ptr().add(first), lanes);
            for p in self.pixels.clone() {
                let mut a: [S::V; G] = load(simd, self.y.as_ptr().add(p * self.y.stride() + first), lanes);
                for v in 0..G {
                    a[v] = simd.mul_add(a[v], scale[v], shift[v]);
                    a[v] = if self.relu { simd.relu(a[v]) } else { a[v] };
                }
                store_group(simd, self.a.ptr().add(p * self.a.stride + first), a, lanes);
            }
        }
        G
    }
}

/// `[dβ, dγ]` of a block of pixels.
struct GradSums<'a> {
    norm: &'a BatchNorm,
    y: View<'a>,
    pixels: Range<usize>,
    relu: bool,
    da: Pixels<'a>,
    sums: (&'a mut [f32], &'a mut [f32]),
}

impl Kernel for GradSums<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        by_groups!(self.group, simd, self.y.channels());
    }
}

impl GradSums<'_> {
    /// # Safety
    /// As for [`Statistics::group`]; the pixels of `da` are this task's.
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize, const U: usize>(
        &mut self,
        simd: S,
        first: usize,
        lanes: usize,
    ) -> usize {
        let (zero, count) = (simd.splat(0.0), self.pixels.len());
        let (mut dbeta, mut dgamma) = ([[zero; G]; U], [[zero; G]; U]);
        // SAFETY: the caller's promises.
        unsafe {
            let of = |values: &[f32]| load::<S, G>(simd, values.as_ptr().add(first), lanes);
            let BatchNorm { scale, shift, mean, inverse, .. } = self.norm;
            let [scale, shift, mean, inverse] = [of(scale), of(shift), of(mean), of(inverse)];
            let negative = mean.map(|mean| simd.mul_add(mean, simd.splat(-1.0), zero));
            for_pixels!(count, U, |u, i| {
                let p = self.pixels.start + i;
                let y: [S::V; G] = load(simd, self.y.as_ptr().add(p * self.y.stride() + first), lanes);
                let da: [S::V; G] = load(simd, self.da.ptr().add(p * self.da.stride + first), lanes);
                for v in 0..G {
                    let a = simd.mul_add(y[v], scale[v], shift[v]);
                    let g = if self.relu { simd.gate(a, da[v]) } else { da[v] };
                    dbeta[u][v] = simd.add(dbeta[u][v], g);
                    dgamma[u][v] = simd.mul_add(g, simd.add(y[v], negative[v]), dgamma[u][v]);
                }
            });
            let mut dgamma = add_up(simd, dgamma);
            for v in 0..G {
                dgamma[v] = simd.mul_add(dgamma[v], inverse[v], zero);
            }
            store_group(simd, self.sums.0.as_mut_ptr().add(first), add_up(simd, dbeta), lanes);
            store_group(simd, self.sums.1.as_mut_ptr().add(first), dgamma, lanes);
        }
        G
    }
}

/// `dy` in place of `da` for a block of pixels.
struct Grad<'a> {
    norm: &'a BatchNorm,
    y: View<'a>,
    pixels: Range<usize>,
    relu: bool,
    da: Pixels<'a>,
}

impl Kernel for Grad<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        by_groups!(self.group, simd, self.y.channels());
    }
}

impl Grad<'_> {
    /// # Safety
    /// As for [`GradSums::group`].
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize, const U: usize>(
        &self,
        simd: S,
        first: usize,
        lanes: usize,
    ) -> usize {
        // SAFETY: the caller's promises.
        unsafe {
            let of = |values: &[f32]| load::<S, G>(simd, values.as_ptr().add(first), lanes);
            let BatchNorm { scale, shift, slope, constant, .. } = self.norm;
            let [scale, shift, slope, constant] = [of(scale), of(shift), of(slope), of(constant)];
            let minus = simd.splat(-1.0);
            for p in self.pixels.clone() {
                let y: [S::V; G] = load(simd, self.y.as_ptr().add(p * self.y.stride() + first), lanes);
                let da = self.da.ptr().add(p * self.da.stride + first);
                let mut g: [S::V; G] = load(simd, da, lanes);
                for v in 0..G {
                    let a = simd.mul_add(y[v], scale[v], shift[v]);
                    g[v] = if self.relu { simd.gate(a, g[v]) } else { g[v] };
                    let taken = simd.mul_add(y[v], slope[v], constant[v]);
                    g[v] = simd.mul_add(g[v], scale[v], simd.mul_add(taken, minus, simd.splat(0.0)));
                }
                store_group(simd, da, g, lanes);
            }
        }
        G
    }
}
