//! Maximum and average pooling and their gradients.

use crate::isa::{Kernel, Simd};
use crate::view::Pixels;
use crate::{Isa, Pool, View, ViewMut};

/// Cells of the largest window.
const CELLS: usize = 81;

/// What happens to a mean before it is stored: `max(mean + bias, 0)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AvgEpilogue<'a> {
    /// Added for each channel.
    pub bias: Option<&'a [f32]>,
    /// Whether negative values become zero; NaN stays NaN.
    pub relu: bool,
}

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

    /// Pictures of `x` pixels in, `y` out.
    ///
    /// # Panics
    /// If they are not whole pictures, or there is no such window.
    fn batch(&self, x: usize, y: usize) -> usize {
        let PoolShape { input, size, stride, pad } = *self;
        assert!(size.saturating_mul(size) <= CELLS, "windows of at most {CELLS} cells");
        // Every window touches the picture, and no index of a padded pixel overflows.
        let padded = input.map(|n| n.saturating_add(2 * pad));
        let fits = stride > 0 && pad < size && padded.iter().all(|&n| n >= size);
        assert!(fits && padded[0].checked_mul(padded[1]).is_some(), "{self:?}");
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

    fn each_output_row(&self, pool: &Pool, isa: Isa, reduce: Reduce, x: View, y: ViewMut) {
        assert_eq!(x.channels(), y.channels());
        let batch = self.batch(x.pixels(), y.pixels());
        let (oh, y) = (self.output()[0], y.share());
        pool.run(batch * oh, |row| {
            isa.run(Row { shape: self, reduce, x: &x, y: &y, picture: row / oh, row: row % oh })
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
        self.each_output_row(pool, isa, Reduce::Max, x, y);
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

    /// `y =` mean over each window, then the epilogue.
    pub fn avg(
        &self,
        pool: &Pool,
        isa: Isa,
        count_padding: bool,
        x: View,
        epilogue: AvgEpilogue,
        y: ViewMut,
    ) {
        assert!(epilogue.bias.is_none_or(|bias| bias.len() == x.channels()));
        self.each_output_row(pool, isa, Reduce::Mean { count_padding, epilogue }, x, y);
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

/// What becomes of the cells of a window.
#[derive(Clone, Copy)]
enum Reduce<'a> {
    Max,
    Mean { count_padding: bool, epilogue: AvgEpilogue<'a> },
}

/// One row of the output, each vector of channels kept in a register over its window.
struct Row<'a> {
    shape: &'a PoolShape,
    reduce: Reduce<'a>,
    x: &'a View<'a>,
    y: &'a Pixels<'a>,
    picture: usize,
    row: usize,
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.x.channels();
        for column in 0..self.shape.output()[1] {
            let mut cells = [std::ptr::null(); CELLS];
            let mut count = 0;
            for pixel in self.shape.window(self.picture, self.row, column) {
                cells[count] = self.x.pixel(pixel).as_ptr();
                count += 1;
            }
            // SAFETY: each output pixel is written by one task.
            let y = unsafe { self.y.pixel(self.shape.output_pixel(self.picture, self.row, column)) };
            let (cells, y) = (&cells[..count], y.as_mut_ptr());
            let mut c = 0;
            while c < channels {
                let lanes = S::LANES.min(channels - c);
                // SAFETY: every cell and the output have `lanes` channels from `c` on.
                unsafe {
                    let value = self.reduce_vector(simd, cells, c, lanes);
                    simd.store_first(y.add(c), value, lanes);
                }
                c += lanes;
            }
        }
    }
}

impl Row<'_> {
    /// `lanes` channels of a window from `c` on.
    ///
    /// # Safety
    /// All cells, and the bias, have these channels.
    #[inline(always)]
    unsafe fn reduce_vector<S: Simd>(&self, simd: S, cells: &[*const f32], c: usize, lanes: usize) -> S::V {
        // SAFETY: the caller's promise.
        let load = |p: *const f32| unsafe { simd.load_first(p.add(c), lanes) };
        match self.reduce {
            Reduce::Max => {
                let mut max = simd.splat(f32::NEG_INFINITY);
                for &cell in cells {
                    // Where the new value is not a number the old one stays.
                    max = simd.max(load(cell), max);
                }
                max
            }
            Reduce::Mean { count_padding, epilogue } => {
                let mut sum = simd.splat(0.0);
                for &cell in cells {
                    sum = simd.add(sum, load(cell));
                }
                let share = simd.splat(1.0 / self.shape.area(cells.len(), count_padding));
                let bias = epilogue.bias.map_or(simd.splat(0.0), |bias| load(bias.as_ptr()));
                let value = simd.mul_add(sum, share, bias);
                if epilogue.relu { simd.relu(value) } else { value }
            }
        }
    }
}
