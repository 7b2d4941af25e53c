//! Maximum and average pooling and their gradients.

use crate::view::Pixels;
use crate::{Isa, Pool, View, ViewMut};

/// A square window over pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Side of the window.
    pub size: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Cells added on each side; they are never read.
    pub pad: usize,
}

/// Channels that are handled together where a window needs memory of its own.
const CHANNELS: usize = 64;

impl PoolShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.input.map(|n| (n + 2 * self.pad - self.size) / self.stride + 1)
    }

    fn batch(&self, x: usize, y: usize) -> usize {
        let (pixels, [oh, ow]) = (self.input[0] * self.input[1], self.output());
        let batch = x / pixels;
        assert!(x == batch * pixels && y == batch * oh * ow, "{self:?}: {x} pixels in, {y} out");
        batch
    }

    /// Input pixels of picture `n` inside the window of output row `oy`, column `ox`, row by row.
    #[inline(always)]
    fn window(&self, n: usize, oy: usize, ox: usize) -> impl Iterator<Item = usize> + Clone {
        let [h, w] = self.input;
        let span = |o: usize, limit: usize| {
            let first = o * self.stride;
            first.saturating_sub(self.pad)..(first + self.size - self.pad).min(limit)
        };
        let columns = span(ox, w);
        span(oy, h).flat_map(move |y| columns.clone().map(move |x| (n * h + y) * w + x))
    }

    /// Cells of a window, padding included or not.
    fn area(&self, cells: usize, count_padding: bool) -> f32 {
        if count_padding { (self.size * self.size) as f32 } else { cells as f32 }
    }

    fn each_output_row(&self, pool: &Pool, isa: Isa, batch: usize, f: impl Fn(usize, usize, usize) + Sync) {
        let [oh, ow] = self.output();
        pool.run(batch * oh, |row| {
            isa.vectorize(|| (0..ow).for_each(|ox| f(row / oh, row % oh, ox)));
        });
    }

    fn each_picture(&self, pool: &Pool, isa: Isa, batch: usize, f: impl Fn(usize, usize, usize) + Sync) {
        let [oh, ow] = self.output();
        pool.run(batch, |n| {
            isa.vectorize(|| (0..oh).for_each(|oy| (0..ow).for_each(|ox| f(n, oy, ox))));
        });
    }

    fn output_pixel(&self, n: usize, oy: usize, ox: usize) -> usize {
        let [oh, ow] = self.output();
        (n * oh + oy) * ow + ox
    }

    /// `y =` maximum over each window.
    pub fn max(&self, pool: &Pool, isa: Isa, x: View, y: ViewMut) {
        let batch = self.batch(x.pixels(), y.pixels());
        let y = y.share();
        self.each_output_row(pool, isa, batch, |n, oy, ox| {
            // SAFETY: each output pixel is written by one task.
            let y = unsafe { y.pixel(self.output_pixel(n, oy, ox)) };
            y.fill(f32::NEG_INFINITY);
            for p in self.window(n, oy, ox) {
                y.iter_mut().zip(x.pixel(p)).for_each(|(y, &x)| *y = if x > *y { x } else { *y });
            }
        });
    }

    /// Backward of [`Self::max`]: all of `dy` goes to the first largest cell of its window.
    #[allow(clippy::too_many_arguments, reason = "the three tensors of a gradient and where it runs")]
    pub fn max_grad(&self, pool: &Pool, isa: Isa, x: View, y: View, dy: View, accumulate: bool, dx: ViewMut) {
        let batch = self.batch(x.pixels(), y.pixels());
        let dx = self.start_gradient(pool, batch, accumulate, dx);
        self.each_picture(pool, isa, batch, |n, oy, ox| {
            let o = self.output_pixel(n, oy, ox);
            for c in (0..y.channels()).step_by(CHANNELS) {
                let channels = c..(c + CHANNELS).min(y.channels());
                let mut left = [0.0; CHANNELS];
                let left = &mut left[..channels.len()];
                left.copy_from_slice(&dy.pixel(o)[channels.clone()]);
                let largest = &y.pixel(o)[channels.clone()];
                for p in self.window(n, oy, ox) {
                    // SAFETY: pixels of a picture belong to its task.
                    let dx = unsafe { &mut dx.pixel(p)[channels.clone()] };
                    let x = &x.pixel(p)[channels.clone()];
                    for (((dx, &x), &m), left) in dx.iter_mut().zip(x).zip(largest).zip(left.iter_mut()) {
                        let (hit, rest) = if x == m { (*left, 0.0) } else { (0.0, *left) };
                        *dx += hit;
                        *left = rest;
                    }
                }
            }
        });
    }

    /// `y =` mean over each window.
    pub fn avg(&self, pool: &Pool, isa: Isa, count_padding: bool, x: View, y: ViewMut) {
        let batch = self.batch(x.pixels(), y.pixels());
        let y = y.share();
        self.each_output_row(pool, isa, batch, |n, oy, ox| {
            // SAFETY: each output pixel is written by one task.
            let y = unsafe { y.pixel(self.output_pixel(n, oy, ox)) };
            y.fill(0.0);
            let window = self.window(n, oy, ox);
            let area = self.area(window.clone().count(), count_padding);
            for p in window {
                y.iter_mut().zip(x.pixel(p)).for_each(|(y, &x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y /= area);
        });
    }

    /// Backward of [`Self::avg`].
    pub fn avg_grad(
        &self,
        pool: &Pool,
        isa: Isa,
        count_padding: bool,
        dy: View,
        accumulate: bool,
        dx: ViewMut,
    ) {
        let batch = self.batch(dx.pixels(), dy.pixels());
        let dx = self.start_gradient(pool, batch, accumulate, dx);
        self.each_picture(pool, isa, batch, |n, oy, ox| {
            let dy = dy.pixel(self.output_pixel(n, oy, ox));
            let window = self.window(n, oy, ox);
            let share = 1.0 / self.area(window.clone().count(), count_padding);
            for p in window {
                // SAFETY: pixels of a picture belong to its task.
                let dx = unsafe { dx.pixel(p) };
                dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * share);
            }
        });
    }

    /// Zeros the gradient unless it is added to.
    fn start_gradient<'a>(&self, pool: &Pool, batch: usize, accumulate: bool, dx: ViewMut<'a>) -> Pixels<'a> {
        let area = self.input[0] * self.input[1];
        let dx = dx.share();
        if !accumulate {
            // SAFETY: pixels of a picture belong to its task.
            pool.run(batch, |n| (n * area..(n + 1) * area).for_each(|p| unsafe { dx.pixel(p) }.fill(0.0)));
        }
        dx
    }
}
