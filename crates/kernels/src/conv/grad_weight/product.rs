//! Extents of the product that is the gradient of weights, and its sums.

use super::super::micro::{PAIR, PANEL, TASKS};
use crate::isa::{Loops, WIDEST};
use crate::view::{Parts, piece};
use crate::{Isa, Pool};

/// Channels in of a panel of A: a multiple of the rows of both tiles and of the lanes of every vector.
pub(super) const A_WIDTH: usize = 48;
/// Values of a window that are one ξ: with what vectors write behind the last of them they fit a panel.
pub(super) const FLAT: usize = A_WIDTH - WIDEST;
/// Channels out of a panel of B. Rows of two vectors lie one behind the other where a vector is half as wide; where it is
/// as wide two panels are read at a time.
pub(super) const B_WIDTH: usize = PANEL;
/// Rows that are multiplied together: so many of one panel of B fit the first cache.
pub(super) const BLOCK: usize = 128;
/// Values of A and B that are made at a time, unless that is less than a block: 2 MB, which stay in the last cache beside
/// all else.
const VALUES: usize = 1 << 19;
/// Rows that are made at a time at most.
const ROWS: usize = 32 * BLOCK;
/// Values of A and B that a thread makes at a time for itself: half of a second cache of 512 KB.
const OWN: usize = 64 << 10;
/// Rows that it makes at least, so that M is not read and written for too few of them.
const FEW: usize = 16;
/// Parts that are worth it, and by how much the M of all parts are smaller than A and B.
const APART: usize = 6;
const M_SHARE: usize = 4;
/// Values between the panels of one ξ and those of the next, so that they do not all meet in one set of the first cache.
const SKEW: usize = 16;

/// Extents of the product; index 0 is of A and the channels in, 1 of B and the channels out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// How many ξ there are: of A and M, and of B.
    pub(super) points: [usize; 2],
    pub(super) rows: usize,
    /// Rows that are made at a time.
    pub(super) chunk: usize,
    pub(super) channels: [usize; 2],
    pub(super) widths: [usize; 2],
    /// Into how many parts the rows are split, each with an M of its own.
    pub(super) splits: usize,
    /// Whether each part is made and multiplied by one thread, else they are the parts of a chunk that all make together.
    pub(super) apart: bool,
}

impl Product {
    pub(super) fn new(points: [usize; 2], rows: usize, channels: [usize; 2]) -> Self {
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
    pub(super) fn row_values(&self) -> usize {
        [0, 1].iter().map(|&side| self.points[side] * self.panels(side) * self.widths[side]).sum()
    }
    pub(super) fn panels(&self, side: usize) -> usize {
        self.channels[side].div_ceil(self.widths[side])
    }
    pub(super) fn panel_len(&self, side: usize) -> usize {
        self.chunk * self.widths[side]
    }
    pub(super) fn point_len(&self, side: usize) -> usize {
        self.panels(side) * self.panel_len(side) + SKEW
    }
    /// Values of a row of M: whole vectors.
    pub(super) fn m_width(&self) -> usize {
        self.channels[1].next_multiple_of(PANEL)
    }
    pub(super) fn m_point(&self) -> usize {
        self.channels[0] * self.m_width()
    }
    pub(super) fn m_len(&self) -> usize {
        self.splits * self.points[0] * self.m_point()
    }
    /// Values of A and of B.
    pub(super) fn lens(&self) -> [usize; 2] {
        [0, 1].map(|side| self.points[side] * self.point_len(side))
    }
    /// Threads that have an A and a B of their own.
    pub(super) fn workers(&self, threads: usize) -> usize {
        if self.apart { threads } else { 1 }
    }
    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        self.workers(threads) * self.lens().iter().sum::<usize>() + self.m_len()
    }
}

/// M, `[split][ξ][channel in][width]`.
#[derive(Clone, Copy)]
pub(in super::super) struct Sums<'a> {
    pub(super) product: Product,
    pub(super) values: &'a [f32],
}

impl Sums<'_> {
    /// The sums of `ξ` from channel `c` to the channels out from `first` on, all splits added in order; zeros behind the last.
    #[inline(always)]
    pub(in super::super) fn read(&self, point: usize, c: usize, first: usize) -> [f32; PANEL] {
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
pub(super) fn add_up(pool: &Pool, isa: Isa, m: Sums, accumulate: bool, dw: &mut [f32]) {
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
pub(in super::super) fn store(dw: &mut [f32], sums: [f32; PANEL], accumulate: bool) {
    for (dw, sum) in dw.iter_mut().zip(sums) {
        *dw = if accumulate { *dw + sum } else { sum };
    }
}
