//! The gradient of a convolution's weights: `dW[tap, c, :] = Σ_q x[at(q, tap), c] · dy[q, :]`.
//!
//! ```text
//! for each chunk of rows of the batch:
//!     A[ξ][panel of 48 channels in][row]     direct: ξ a tap, a row an output pixel, its values those of x that the tap reads
//!     B[ξ][panel of 16 channels out][row]            and those of dy, the same for all taps
//!                                            Winograd: ξ a point, a row a tile, both transformed
//!     M[ξ][c][o] += Σ_row A[ξ][row][c] · B[ξ][row][o]                     6 × 2 vectors of sums in registers
//! dW = M, or the filter's transform of M, transposed
//! ```
//! A tile of `r` taps that slides over `m` outputs meets `m·r` products; `n = m + r − 1` do, as for the convolution itself:
//! with Winograd's matrices `y = Aᵀ((G w) ⊙ (Bᵀ x))`, hence `dw = Gᵀ((A dy) ⊙ (Bᵀ x))`, summed over tiles before `Gᵀ`.
//!
//! Where the whole window has few values, as that of the picture has, it is one ξ and its values are the channels in.
//!
//! Pixels are copied into panels because in place they lie a power of two apart, where few of them fit the first cache.
//! Where there are few products the rows are split, by size alone, and the partial sums added in order. If M is small, a
//! thread makes and multiplies the rows of a split by itself: two cores that share no cache would pass A and B through memory.

use std::ops::Range;

use super::gather::{Gather, Window};
use super::micro::{PAIR, PANEL, TASKS};
use super::winograd::{Spread, Winograd};
use super::{Algorithm, ConvPlan, ConvShape, Method, Precision};
use crate::isa::{Kernel, Loops, Simd, WIDEST};
use crate::view::{Parts, part, piece};
use crate::{Isa, Pool, View};

/// Channels in of a panel of A: a multiple of the rows of both tiles and of the lanes of every vector.
const A_WIDTH: usize = 48;
/// Values of a window that are one ξ: with what vectors write behind the last of them they fit a panel.
const FLAT: usize = A_WIDTH - WIDEST;
/// Channels out of a panel of B. Rows of two vectors lie one behind the other where a vector is half as wide; where it is
/// as wide two panels are read at a time.
const B_WIDTH: usize = PANEL;
/// Rows that are multiplied together: so many of one panel of B fit the first cache.
const BLOCK: usize = 128;
/// Values of A and B that are made at a time, unless that is less than a block: 2 MB, which stay in the last cache beside all else.
const VALUES: usize = 1 << 19;
/// Rows that are made at a time at most.
const ROWS: usize = 32 * BLOCK;
/// Values that a task makes of A and B at least, so that it takes far longer than to be dealt out.
const FILL: usize = 8 << 10;
/// Values of A and B that a thread makes at a time for itself: half of a second cache of 512 KB.
const OWN: usize = 64 << 10;
/// Rows that it makes at least, so that M is not read and written for too few of them.
const FEW: usize = 16;
/// Parts that are worth it, and by how much the M of all parts are smaller than A and B.
const APART: usize = 6;
const M_SHARE: usize = 4;
/// Values between the panels of one ξ and those of the next, so that they do not all meet in one set of the first cache.
const SKEW: usize = 16;

/// The gradient of the weights, ready to run. Any batch size.
#[derive(Clone, Debug)]
pub struct GradWeight {
    shape: ConvShape,
    source: Source,
    zeros: Vec<f32>,
}

/// How A and B are made.
#[derive(Clone, Debug)]
enum Source {
    /// The second with the taps of a kernel row as one, where they may lie without gaps.
    Direct(Gather, Option<Gather>),
    Winograd(Winograd),
}

/// Whether all taps of `gather` are one ξ.
fn is_flat(gather: &Gather) -> bool {
    gather.taps.len() * gather.k <= FLAT
}

impl GradWeight {
    /// Plans the gradient for the convolution `shape`, by the algorithm that suits it best within `precision`.
    ///
    /// # Panics
    /// If the window does not fit or an extent is zero.
    pub fn choose(shape: ConvShape, precision: Precision) -> Self {
        Self::like(ConvPlan::choose(shape, precision))
    }

    /// The gradient for `shape` by every algorithm that can compute it.
    pub fn all(shape: ConvShape) -> Vec<GradWeight> {
        let plans = ConvPlan::all(shape).into_iter();
        plans.filter(|plan| plan.algorithm() != Algorithm::Strassen).map(Self::like).collect()
    }

    fn like(plan: ConvPlan) -> Self {
        let ConvPlan { shape, method, forward, merged, .. } = plan;
        let zeros = vec![0.0; shape.out_channels.max(shape.in_channels * shape.kernel[1])];
        let source = match method {
            Method::Winograd(winograd) => Source::Winograd(winograd),
            Method::Direct | Method::Strassen(_) => Source::Direct(forward, merged),
        };
        GradWeight { shape, source, zeros }
    }

    /// What computes it.
    pub fn algorithm(&self) -> Algorithm {
        match &self.source {
            Source::Direct(..) => Algorithm::Direct,
            Source::Winograd(winograd) => Algorithm::Winograd(winograd.tile()),
        }
    }

    /// Length of the scratch of [`Self::run`] for `batch` pictures.
    pub fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        let len = |rows: Rows| self.product(rows, batch).scratch_len(threads);
        match &self.source {
            Source::Winograd(winograd) => len(Rows::Tiles(winograd)),
            Source::Direct(gather, merged) => {
                let merged = merged.as_ref().map_or(0, |merged| len(Rows::Pixels(merged)));
                merged.max(len(Rows::Pixels(gather)))
            }
        }
    }

    fn product(&self, rows: Rows, batch: usize) -> Product {
        let ConvShape { in_channels, out_channels, .. } = self.shape;
        match rows {
            Rows::Tiles(winograd) => {
                Product::new([winograd.points(); 2], winograd.rows(batch), [in_channels, out_channels])
            }
            Rows::Pixels(gather) if is_flat(gather) => {
                let window = gather.taps.len() * gather.k;
                let product = Product::new([1; 2], gather.rows(batch), [window, out_channels]);
                Product { widths: [A_WIDTH, B_WIDTH], ..product }
            }
            Rows::Pixels(gather) => {
                Product::new([gather.taps.len(), 1], gather.rows(batch), [gather.k, out_channels])
            }
        }
    }

    /// `dw = ∂loss/∂weights`, `[kh, kw, in, out]`, summed over all pictures of `x` and `dy`; added to what `dw` holds where
    /// `accumulate`.
    #[allow(clippy::too_many_arguments, reason = "the tensors of a gradient and where it runs")]
    pub fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        x: View,
        dy: View,
        accumulate: bool,
        dw: &mut [f32],
        scratch: &mut [f32],
    ) {
        let ConvShape { input: [h, w], in_channels, out_channels, .. } = self.shape;
        let ([oh, ow], batch) = (self.shape.output(), x.pixels() / (h * w));
        assert_eq!(x.pixels(), batch * h * w, "x holds whole pictures");
        assert_eq!(dy.pixels(), batch * oh * ow, "dy holds the same pictures");
        assert!(x.channels() == in_channels && dy.channels() == out_channels);
        assert_eq!(dw.len(), self.shape.weight_len());
        match &self.source {
            Source::Winograd(winograd) => {
                let rows = Rows::Tiles(winograd);
                let m = self.multiply(pool, isa, rows, [x, dy], scratch);
                winograd.finish(pool, isa, m, accumulate, dw);
            }
            Source::Direct(gather, merged) => {
                let merged = merged.as_ref().filter(|_| x.stride() == x.channels());
                let rows = Rows::Pixels(merged.unwrap_or(gather));
                let m = self.multiply(pool, isa, rows, [x, dy], scratch);
                add_up(pool, isa, m, accumulate, dw);
            }
        }
    }

    /// M of `[x, dy]`.
    fn multiply<'a>(
        &self,
        pool: &Pool,
        isa: Isa,
        rows: Rows,
        pixels: [View; 2],
        scratch: &'a mut [f32],
    ) -> Sums<'a> {
        let batch = pixels[0].pixels() / (self.shape.input[0] * self.shape.input[1]);
        let product = self.product(rows, batch);
        let (workers, lens) = (product.workers(pool.threads()), product.lens());
        assert!(scratch.len() >= product.scratch_len(pool.threads()));
        let (panels, rest) = scratch.split_at_mut(workers * (lens[0] + lens[1]));
        let m = &mut rest[..product.m_len()];
        let (panels, sums) = (Parts::new(panels), Parts::new(&mut *m));
        // A and B of a worker.
        let sides = |worker: usize| {
            let start = worker * (lens[0] + lens[1]);
            [(0, lens[0]), (lens[0], lens[1])].map(|(skip, len)| panels.pointer(start + skip..start + skip + len))
        };
        let fill = |worker: usize, side: usize, first: usize, made: Range<usize>| {
            let to = Spread {
                start: sides(worker)[side],
                width: product.widths[side],
                panel: product.panel_len(side),
                point: product.point_len(side),
            };
            isa.run(Fill { rows, side, pixels: &pixels[side], zeros: &self.zeros, first, made, to });
        };
        let multiply = |worker: usize, at: Place, rows: Range<usize>, starts: bool| {
            let Place { split, point, a_panel, b_panels } = at;
            let channels = piece(a_panel, product.widths[0], product.channels[0]);
            let m = (split * product.points[0] + point) * product.m_point();
            let panel = |side: usize, panel: usize| {
                let point = point % product.points[side];
                let skip = point * product.point_len(side) + panel * product.panel_len(side);
                sides(worker)[side].wrapping_add(skip).cast_const()
            };
            isa.run(Multiply {
                product: &product,
                a: panel(0, a_panel),
                b: panel(1, b_panels.start),
                // Nobody else has the channels in, the panels of channels out and the split of a task.
                m: sums.pointer(m + channels.start * product.m_width()..m + product.m_point()),
                channels: channels.len(),
                panels: b_panels,
                rows,
                starts,
            });
        };
        let [a_panels, b_panels] = [0, 1].map(|side| product.panels(side));
        let (points, splits) = (product.points[0], product.splits);
        if product.apart {
            pool.run_on(splits, |worker, split| {
                let Range { start, end } = part(split, splits, product.rows);
                for first in (start..end).step_by(product.chunk) {
                    let count = product.chunk.min(end - first);
                    (0..2).for_each(|side| fill(worker, side, first, 0..count));
                    for (point, a_panel) in (0..points).flat_map(|p| (0..a_panels).map(move |a| (p, a))) {
                        let at = Place { split, point, a_panel, b_panels: 0..b_panels };
                        multiply(worker, at, 0..count, first == start);
                    }
                }
            });
            return Sums { product, values: m };
        }
        let b_pairs = b_panels.div_ceil(PAIR);
        let groups = TASKS.div_ceil(splits * points * a_panels).min(b_pairs);
        for first in (0..product.rows).step_by(product.chunk) {
            let count = product.chunk.min(product.rows - first);
            let some = FILL.div_ceil(product.row_values());
            let fills = count.div_ceil(some);
            pool.run(2 * fills, |task| fill(0, task / fills, first, piece(task % fills, some, count)));
            pool.run(splits * points * groups * a_panels, |task| {
                let (rest, a_panel) = (task / a_panels, task % a_panels);
                let (rest, group) = (rest / groups, rest % groups);
                let (split, point) = (rest / points, rest % points);
                let pairs = part(group, groups, b_pairs);
                let b_panels = pairs.start * PAIR..(pairs.end * PAIR).min(b_panels);
                let rows = part(split, splits, count.div_ceil(BLOCK));
                let rows = rows.start * BLOCK..(rows.end * BLOCK).min(count);
                multiply(0, Place { split, point, a_panel, b_panels }, rows, first == 0);
            });
        }
        Sums { product, values: m }
    }
}

/// Which sums a task adds to.
struct Place {
    split: usize,
    point: usize,
    a_panel: usize,
    b_panels: Range<usize>,
}

/// Which rows A and B have.
#[derive(Clone, Copy)]
enum Rows<'a> {
    Pixels(&'a Gather),
    Tiles(&'a Winograd),
}

/// Extents of the product; index 0 is of A and the channels in, 1 of B and the channels out.
#[derive(Clone, Copy, Debug)]
struct Product {
    /// How many ξ there are: of A and M, and of B.
    points: [usize; 2],
    rows: usize,
    /// Rows that are made at a time.
    chunk: usize,
    channels: [usize; 2],
    widths: [usize; 2],
    /// Into how many parts the rows are split, each with an M of its own.
    splits: usize,
    /// Whether each part is made and multiplied by one thread, else they are the parts of a chunk that all make together.
    apart: bool,
}

impl Product {
    fn new(points: [usize; 2], rows: usize, channels: [usize; 2]) -> Self {
        let padded = channels.map(|c| c.next_multiple_of(PANEL));
        let widths = [A_WIDTH.min(padded[0]), B_WIDTH];
        let mut product = Product { points, rows, chunk: 0, channels, widths, splits: 1, apart: false };
        let (values, m) = (product.row_values(), product.m_len());
        // Where M is small beside A and B, a thread that has one to itself keeps its part of them in its own cache.
        let splits = (rows * values / (M_SHARE * m.max(1))).min(TASKS);
        if splits >= APART && m <= OWN / 2 && OWN / values >= FEW {
            let chunk = (OWN / values).min(BLOCK);
            return Product { chunk, splits, apart: true, ..product };
        }
        let blocks = (VALUES / values / BLOCK).clamp(1, ROWS / BLOCK).min(rows.div_ceil(BLOCK)).max(1);
        product.chunk = blocks * BLOCK;
        let tasks = points[0] * product.panels(0) * product.panels(1).div_ceil(PAIR);
        product.splits = TASKS.div_ceil(tasks).min(blocks);
        product
    }
    /// Values of a row of all ξ of A and B.
    fn row_values(&self) -> usize {
        [0, 1].iter().map(|&side| self.points[side] * self.panels(side) * self.widths[side]).sum()
    }
    fn panels(&self, side: usize) -> usize {
        self.channels[side].div_ceil(self.widths[side])
    }
    fn panel_len(&self, side: usize) -> usize {
        self.chunk * self.widths[side]
    }
    fn point_len(&self, side: usize) -> usize {
        self.panels(side) * self.panel_len(side) + SKEW
    }
    /// Values of a row of M: whole vectors.
    fn m_width(&self) -> usize {
        self.channels[1].next_multiple_of(PANEL)
    }
    fn m_point(&self) -> usize {
        self.channels[0] * self.m_width()
    }
    fn m_len(&self) -> usize {
        self.splits * self.points[0] * self.m_point()
    }
    /// Values of A and of B.
    fn lens(&self) -> [usize; 2] {
        [0, 1].map(|side| self.points[side] * self.point_len(side))
    }
    /// Threads that have an A and a B of their own.
    fn workers(&self, threads: usize) -> usize {
        if self.apart { threads } else { 1 }
    }
    fn scratch_len(&self, threads: usize) -> usize {
        self.workers(threads) * self.lens().iter().sum::<usize>() + self.m_len()
    }
}

/// M, `[split][ξ][channel in][width]`.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    product: Product,
    values: &'a [f32],
}

impl Sums<'_> {
    /// The sums of `ξ` from channel `c` to the channels out from `first` on, all splits added in order; zeros behind the last.
    #[inline(always)]
    pub(super) fn read(&self, point: usize, c: usize, first: usize) -> [f32; PANEL] {
        let Product { points, splits, .. } = self.product;
        let (width, len) = (self.product.m_width(), self.product.m_point());
        let mut sum = [0.0; PANEL];
        for split in 0..splits {
            let values = &self.values[(split * points[0] + point) * len + c * width + first..][..PANEL];
            (0..PANEL).for_each(|i| sum[i] += values[i]);
        }
        sum
    }
}

/// `dw = M` for taps.
fn add_up(pool: &Pool, isa: Isa, m: Sums, accumulate: bool, dw: &mut [f32]) {
    let Product { points, channels: [k, n], .. } = m.product;
    let (rows, dw) = (points[0] * k, Parts::new(dw));
    pool.run(rows.div_ceil(PANEL), |task| {
        let rows = piece(task, PANEL, rows);
        // SAFETY: rows are disjoint.
        let dw = unsafe { dw.part(rows.start * n..rows.end * n) };
        isa.run_loops(AddUp { m, first: rows.start, accumulate, dw });
    });
}

/// Rows of `dw` from `first` on.
struct AddUp<'a> {
    m: Sums<'a>,
    first: usize,
    accumulate: bool,
    dw: &'a mut [f32],
}

impl Loops for AddUp<'_> {
    #[inline(always)]
    fn run(self) {
        let [k, n] = self.m.product.channels;
        for (row, dw) in self.dw.chunks_exact_mut(n).enumerate() {
            let row = self.first + row;
            for (panel, dw) in dw.chunks_mut(PANEL).enumerate() {
                let sums = self.m.read(row / k, row % k, panel * PANEL);
                store(dw, sums, self.accumulate);
            }
        }
    }
}

/// `dw = sums`, or `dw += sums`.
#[inline(always)]
pub(super) fn store(dw: &mut [f32], sums: [f32; PANEL], accumulate: bool) {
    for (dw, sum) in dw.iter_mut().zip(sums) {
        *dw = if accumulate { *dw + sum } else { sum };
    }
}

/// Some rows of A or B.
struct Fill<'a> {
    rows: Rows<'a>,
    side: usize,
    /// `x` or `dy`.
    pixels: &'a View<'a>,
    zeros: &'a [f32],
    /// Number of the chunk's first row in the batch.
    first: usize,
    /// Rows of the chunk.
    made: Range<usize>,
    to: Spread,
}

impl Kernel for Fill<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let first = self.first + self.made.start;
        // SAFETY: pixels have the channels of their side, and the chunk has room for these rows.
        unsafe {
            match (self.rows, self.side) {
                (Rows::Pixels(gather), 0) => {
                    let (flat, window) = (is_flat(gather), Window::new(gather, self.pixels));
                    for (row, position) in self.made.zip(gather.points(first)) {
                        let to = self.to.row(row);
                        window.taps(position, self.zeros, |tap, pixel, _| {
                            copy(simd, pixel, gather.k, to, if flat { [0, tap * gather.k] } else { [tap, 0] });
                        });
                    }
                }
                (Rows::Pixels(gather), _) => {
                    for (i, row) in self.made.enumerate() {
                        let pixel = self.pixels.pixel(first + i).as_ptr();
                        copy(simd, pixel, gather.n, self.to.row(row), [0, 0]);
                    }
                }
                (Rows::Tiles(winograd), side) => {
                    for (i, row) in self.made.enumerate() {
                        let (tile, to) = (first + i, self.to.row(row));
                        if side == 0 {
                            winograd.transform_input(simd, self.pixels, self.zeros, tile, to);
                        } else {
                            winograd.transform_gradient(simd, self.pixels, self.zeros, tile, to);
                        }
                    }
                }
            }
        }
    }
}

/// `count` values from `from` on to a point and from a channel on, with zeros to the end of the last vector.
///
/// # Safety
/// They can be read, and `to` has room for the vectors.
#[inline(always)]
unsafe fn copy<S: Simd>(simd: S, from: *const f32, count: usize, to: Spread, [point, first]: [usize; 2]) {
    for c in (0..count).step_by(S::LANES) {
        // SAFETY: the caller's promises.
        unsafe { simd.store(to.at(point, first + c), simd.load_first(from.add(c), S::LANES.min(count - c))) };
    }
}

/// One panel of A by some panels of B.
struct Multiply<'a> {
    product: &'a Product,
    a: *const f32,
    b: *const f32,
    /// The first of its channels in, channel out 0.
    m: *mut f32,
    /// Channels in of the panel.
    channels: usize,
    /// Panels of B; `b` is the first.
    panels: Range<usize>,
    /// Rows of the chunk.
    rows: Range<usize>,
    /// Whether M holds nothing yet.
    starts: bool,
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Product { channels: [_, n], widths, .. } = *self.product;
        // Panels that two vectors fill.
        let most = (2 * S::LANES / B_WIDTH).max(1);
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let together = most.min(self.panels.end - panel);
            let columns = panel * B_WIDTH..n.min((panel + together) * B_WIDTH);
            let mut first = self.rows.start;
            // Once where there are no rows: M becomes zero.
            loop {
                let count = BLOCK.min(self.rows.end.saturating_sub(first));
                // SAFETY: panels hold the rows of the chunk, M whole vectors for all channels.
                unsafe {
                    let b = self.b.add((panel - self.panels.start) * self.product.panel_len(1));
                    let b = b.add(first * widths[1]);
                    // The second vector: of the next panel, or the other half of this one.
                    let second = if together == 2 { self.product.panel_len(1) } else { S::LANES };
                    let block = Block {
                        a: self.a.add(first * widths[0]),
                        b: [b, b.wrapping_add(second)],
                        strides: widths,
                        count,
                        m: self.m.add(columns.start),
                        m_width: self.product.m_width(),
                        starts: self.starts && first == self.rows.start,
                    };
                    if columns.len() > S::LANES {
                        block.channels::<S, 2>(simd, self.channels);
                    } else {
                        block.channels::<S, 1>(simd, self.channels);
                    }
                }
                first += count;
                if first >= self.rows.end {
                    break;
                }
            }
            panel += together;
        }
    }
}

/// A block of rows of both panels.
struct Block {
    a: *const f32,
    /// Where each vector of columns begins.
    b: [*const f32; 2],
    /// Values of a row of A, of B.
    strides: [usize; 2],
    count: usize,
    m: *mut f32,
    m_width: usize,
    starts: bool,
}

impl Block {
    /// `N` vectors of columns for all channels, as many at a time as make twelve vectors of sums.
    ///
    /// # Safety
    /// The rows of both panels and of M exist.
    #[inline(always)]
    unsafe fn channels<S: Simd, const N: usize>(&self, simd: S, channels: usize) {
        let mut c = 0;
        while c < channels {
            // SAFETY: the caller's promises.
            c += unsafe {
                match channels - c {
                    12.. if N == 1 => self.tile::<S, 12, N>(simd, c),
                    6.. => self.tile::<S, 6, N>(simd, c),
                    4.. => self.tile::<S, 4, N>(simd, c),
                    2.. => self.tile::<S, 2, N>(simd, c),
                    _ => self.tile::<S, 1, N>(simd, c),
                }
            };
        }
    }

    /// `M` channels in from `c` on by `N` vectors; returns `M`.
    ///
    /// # Safety
    /// As for [`Self::channels`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(&self, simd: S, c: usize) -> usize {
        let mut acc = [[simd.splat(0.0); N]; M];
        // SAFETY: the caller's promises.
        unsafe {
            let m = self.m.add(c * self.m_width);
            if !self.starts {
                for r in 0..M {
                    for v in 0..N {
                        acc[r][v] = simd.load(m.add(r * self.m_width + v * S::LANES));
                    }
                }
            }
            let (mut a, mut b) = (self.a.add(c), self.b);
            for _ in 0..self.count {
                let mut columns = [simd.splat(0.0); N];
                for v in 0..N {
                    columns[v] = simd.load(b[v]);
                    b[v] = b[v].wrapping_add(self.strides[1]);
                }
                for r in 0..M {
                    let value = simd.splat(*a.add(r));
                    for v in 0..N {
                        acc[r][v] = simd.mul_add(value, columns[v], acc[r][v]);
                    }
                }
                a = a.wrapping_add(self.strides[0]);
            }
            for r in 0..M {
                for v in 0..N {
                    simd.store(m.add(r * self.m_width + v * S::LANES), acc[r][v]);
                }
            }
        }
        M
    }
}
