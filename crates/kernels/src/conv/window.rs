//! Where the taps of a grid point lie.

use super::gather::{Gather, Tap};
use crate::View;

/// Taps of the largest kernel.
pub(super) const TAPS: usize = 49;

/// What a [`Gather`] sees of its source from a grid point.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    gather: &'a Gather,
    pixels: &'a View<'a>,
    /// Least and largest offset of a tap along each axis.
    reach: [[isize; 2]; 2],
    /// Values from the grid point's pixel to that of each tap.
    steps: [isize; TAPS],
}

impl<'a> Window<'a> {
    #[inline(always)]
    pub(super) fn new(gather: &'a Gather, pixels: &'a View<'a>) -> Self {
        let reach = [0, 1].map(|d| {
            let offsets = gather.taps.iter().map(|tap| tap.offset[d]);
            offsets.fold([0, 0], |[least, most], offset| [offset.min(least), offset.max(most)])
        });
        let (width, stride) = (gather.source[1] as isize, pixels.stride() as isize);
        let mut steps = [0; TAPS];
        for (step, Tap { offset: [dy, dx], .. }) in steps.iter_mut().zip(&gather.taps) {
            *step = (dy * width + dx) * stride;
        }
        Window { gather, pixels, reach, steps }
    }

    /// Calls `found(tap, pointer, whether it is inside)` for the source pixel of each tap at a grid point; `zeros` outside.
    #[inline(always)]
    pub(super) fn taps(
        &self,
        [n, y, x]: [usize; 3],
        zeros: &[f32],
        mut found: impl FnMut(usize, *const f32, bool),
    ) {
        let Gather { source: [h, w], source_stride, taps, .. } = self.gather;
        let place = [y * source_stride, x * source_stride];
        let first = ((n * h + place[0]) * w + place[1]) * self.pixels.stride();
        let first = self.pixels.as_ptr().wrapping_add(first);
        let inside = |d: usize, offset: isize| place[d].wrapping_add_signed(offset) < [*h, *w][d];
        // In bounds by the check of pixel counts at the safe entry.
        if (0..2).all(|d| self.reach[d].iter().all(|&offset| inside(d, offset))) {
            for (i, &step) in self.steps[..taps.len()].iter().enumerate() {
                found(i, first.wrapping_offset(step), true);
            }
        } else {
            for (i, tap) in taps.iter().enumerate() {
                let inside = inside(0, tap.offset[0]) && inside(1, tap.offset[1]);
                let pointer = if inside { first.wrapping_offset(self.steps[i]) } else { zeros.as_ptr() };
                found(i, pointer, inside);
            }
        }
    }
}
