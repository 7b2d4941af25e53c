//! Kernels whose values do not mix: bytes to numbers, residual sums, global pooling, pieces of flat vectors.

use std::ops::Range;

use crate::view::{Parts, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Values of a piece of a flat vector: small enough to balance, large enough to be worth a task.
pub const PIECE: usize = 16 << 10;

/// Calls `f(i, parts)` for each of the ascending, disjoint `ranges` with that part of every vector of `data`; an empty vector
/// has empty parts.
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
        let parts = std::array::from_fn(|n| unsafe {
            data[n].part(if data[n].is_empty() { 0..0 } else { ranges[i].clone() })
        });
        isa.vectorize(|| f(i, parts));
    });
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

/// Backward of `out = relu(x + scale · f)`: `g` becomes zero where `out` is not positive (nowhere where there was no ReLU and
/// hence no `out`), which is the gradient of `x`, and `df = scale · g`.
pub fn residual_grad(pool: &Pool, isa: Isa, scale: f32, out: Option<View>, g: ViewMut, df: ViewMut) {
    let (pixels, block) = (g.pixels(), pixel_block(g.channels()));
    assert!(df.pixels() == pixels && out.is_none_or(|out| out.pixels() == pixels));
    let (g, df) = (g.share(), df.share());
    pool.run(pixels.div_ceil(block), |task| {
        isa.vectorize(|| {
            for p in piece(task, block, pixels) {
                // SAFETY: blocks of pixels are disjoint.
                let (g, df) = unsafe { (g.pixel(p), df.pixel(p)) };
                if let Some(out) = out {
                    g.iter_mut().zip(out.pixel(p)).for_each(|(g, &o)| *g = if o > 0.0 { *g } else { 0.0 });
                }
                df.iter_mut().zip(&*g).for_each(|(df, &g)| *df = scale * g);
            }
        });
    });
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
