//! Panels of A by panels of B, row by row, the sums in registers.

use std::ops::Range;

use super::product::{B_WIDTH, BLOCK, Product};
use crate::isa::{Kernel, Simd};

/// One panel of A by some panels of B.
pub(super) struct Multiply<'a> {
    pub(super) product: &'a Product,
    pub(super) a: *const f32,
    pub(super) b: *const f32,
    /// The first of its channels in, channel out 0.
    pub(super) m: *mut f32,
    /// Channels in of the panel.
    pub(super) channels: usize,
    /// Panels of B; `b` is the first.
    pub(super) panels: Range<usize>,
    /// Rows of the chunk.
    pub(super) rows: Range<usize>,
    /// Whether M holds nothing yet.
    pub(super) starts: bool,
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
