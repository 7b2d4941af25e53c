//! Kernels whose values do not mix: bytes to numbers, residual sums, global pooling, pieces of flat vectors.

use std::ops::Range;

use crate::view::{Parts, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Values of a piece of a flat vector: small enough to balance, large enough to be worth a task.
pub const PIECE: usize = 16 << 10;

/// Calls `f(i, parts)` for each of the ascending, disjoint `ranges` with that part of every vector of `data`.
pub fn for_pieces<const N: usize>(
    pool: &Pool,
    isa: Isa,
    ranges: &[Range<usize>],
    data: [&mut [f32]; N],
    f: impl Fn(usize, [&mut [f32]; N]) + Sync,
) {
    let ascends =
        ranges.iter().all(|r| r.start <= r.end) && ranges.windows(2).all(|w| w[0].end <= w[1].start);
    assert!(ascends, "ranges ascend without overlap");
    let data = data.map(Parts::new);
    pool.run(ranges.len(), |i| {
        // SAFETY: the ranges are disjoint.
        let parts = std::array::from_fn(|n| unsafe { data[n].part(ranges[i].clone()) });
        isa.vectorize(|| f(i, parts));
    });
}

/// Sum of squares in `f64`, pieces added in order.
pub fn sum_of_squares(pool: &Pool, isa: Isa, x: &[f32]) -> f64 {
    let mut sums = vec![0.0f64; x.len().div_ceil(PIECE)];
    let parts = Parts::new(&mut sums);
    pool.run(x.len().div_ceil(PIECE), |i| {
        let x = &x[piece(i, PIECE, x.len())];
        // SAFETY: each task has a sum of its own.
        let sum = unsafe { parts.part(i..i + 1) };
        isa.vectorize(|| {
            // Eight lanes, so that the compiler may use vectors without reordering.
            let mut lanes = [0.0f64; 8];
            let chunks = x.chunks_exact(8);
            let rest = chunks.remainder();
            for chunk in chunks {
                (0..8).for_each(|l| lanes[l] += f64::from(chunk[l]) * f64::from(chunk[l]));
            }
            sum[0] =
                lanes.iter().sum::<f64>() + rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
        });
    });
    sums.iter().sum()
}

/// Pixels of a task that touches `channels` values each.
pub(crate) fn pixel_block(channels: usize) -> usize {
    (PIECE / channels).clamp(16, 2048)
}

/// `y = x`.
pub fn copy(pool: &Pool, x: View, y: ViewMut) {
    assert!(
        x.pixels() == y.pixels() && x.channels() == y.channels(),
        "{} pixels to {}",
        x.pixels(),
        y.pixels()
    );
    let (block, pixels, y) = (pixel_block(x.channels()), x.pixels(), y.share());
    pool.run(pixels.div_ceil(block), |i| {
        for p in piece(i, block, pixels) {
            // SAFETY: each pixel belongs to one task.
            unsafe { y.pixel(p) }.copy_from_slice(x.pixel(p));
        }
    });
}

/// Backward of `out = relu(x + scale · f)`: with `g = dout` where `out > 0` (everywhere without ReLU),
/// `dx = g` or `dx += g`, and `df = scale · g`.
#[derive(Clone, Copy, Debug)]
pub struct ResidualGrad {
    /// Scale of the branch.
    pub scale: f32,
    /// Whether a ReLU followed the sum.
    pub relu: bool,
    /// Whether `dx` already holds a gradient.
    pub accumulate: bool,
}

impl ResidualGrad {
    /// Runs it over all pixels.
    pub fn run(&self, pool: &Pool, isa: Isa, out: View, dout: View, dx: ViewMut, df: ViewMut) {
        let (pixels, block) = (out.pixels(), pixel_block(out.channels()));
        assert!([dout.pixels(), dx.pixels(), df.pixels()].iter().all(|&p| p == pixels));
        let (dx, df) = (dx.share(), df.share());
        let Self { scale, relu, accumulate } = *self;
        pool.run(pixels.div_ceil(block), |task| {
            isa.vectorize(|| {
                for p in piece(task, block, pixels) {
                    // SAFETY: blocks of pixels are disjoint.
                    let (dx, df) = unsafe { (dx.pixel(p), df.pixel(p)) };
                    for (((&o, &d), dx), df) in out.pixel(p).iter().zip(dout.pixel(p)).zip(dx).zip(df) {
                        let g = if !relu || o > 0.0 { d } else { 0.0 };
                        *dx = if accumulate { *dx + g } else { g };
                        *df = scale * g;
                    }
                }
            });
        });
    }
}

/// Mean of each channel over the pixels of each picture: `y` has one pixel a picture.
pub fn global_avg_pool(pool: &Pool, isa: Isa, x: View, y: ViewMut) {
    let pictures = y.pixels();
    let area = x.pixels() / pictures;
    assert!(x.pixels() == pictures * area && x.channels() == y.channels());
    let y = y.share();
    pool.run(pictures, |n| {
        // SAFETY: each picture has a pixel of its own.
        let y = unsafe { y.pixel(n) };
        isa.vectorize(|| {
            y.fill(0.0);
            for p in n * area..(n + 1) * area {
                y.iter_mut().zip(x.pixel(p)).for_each(|(y, &x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y /= area as f32);
        });
    });
}

/// Backward of [`global_avg_pool`]: `dx = dy / area`, or added where `accumulate`.
pub fn global_avg_pool_grad(pool: &Pool, isa: Isa, dy: View, accumulate: bool, dx: ViewMut) {
    let pictures = dy.pixels();
    let area = dx.pixels() / pictures;
    assert!(dx.pixels() == pictures * area && dx.channels() == dy.channels());
    let dx = dx.share();
    pool.run(pictures, |n| {
        isa.vectorize(|| {
            for p in n * area..(n + 1) * area {
                // SAFETY: each picture has pixels of its own.
                let dx = unsafe { dx.pixel(p) };
                for (dx, &dy) in dx.iter_mut().zip(dy.pixel(n)) {
                    let g = dy / area as f32;
                    *dx = if accumulate { *dx + g } else { g };
                }
            }
        });
    });
}

/// Divides every pixel by its Euclidean norm: `y = x / sqrt(max(Σx², 1e-10))`.
pub fn l2_norm(pool: &Pool, x: View, y: ViewMut) {
    let y = y.share();
    pool.run(x.pixels(), |p| {
        // SAFETY: each task has a pixel of its own.
        let y = unsafe { y.pixel(p) };
        let squares: f64 = x.pixel(p).iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let norm = squares.max(1e-10).sqrt();
        y.iter_mut().zip(x.pixel(p)).for_each(|(y, &x)| *y = (f64::from(x) / norm) as f32);
    });
}
