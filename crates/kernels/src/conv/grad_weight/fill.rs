//! Pixels, or tiles of them transformed, copied into panels.

use std::ops::Range;

use super::super::gather::Gather;
use super::super::window::Window;
use super::super::winograd::{Spread, Winograd};
use super::product::FLAT;
use crate::View;
use crate::isa::{Kernel, Simd};

/// Which rows A and B have.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    Pixels(&'a Gather),
    Tiles(&'a Winograd),
}

/// Whether all taps of `gather` are one ξ.
pub(super) fn is_flat(gather: &Gather) -> bool {
    gather.taps.len() * gather.k <= FLAT
}

/// Some rows of A or B.
pub(super) struct Fill<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) side: usize,
    /// `x` or `dy`.
    pub(super) pixels: &'a View<'a>,
    pub(super) zeros: &'a [f32],
    /// Number of the chunk's first row in the batch.
    pub(super) first: usize,
    /// Rows of the chunk.
    pub(super) made: Range<usize>,
    pub(super) to: Spread,
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
                            copy(
                                simd,
                                pixel,
                                gather.k,
                                to,
                                if flat { [0, tap * gather.k] } else { [tap, 0] },
                            );
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
