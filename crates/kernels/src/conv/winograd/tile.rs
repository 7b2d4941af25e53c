//! One tile transformed: the input's, and the output's gradient for the gradient of the weights.

use super::super::ConvShape;
use super::task::by_size;
use super::{Winograd, transform};
use crate::View;
use crate::isa::Simd;

/// Products of the largest tile.
const POINTS: usize = 64;

/// Where the transformed values of one tile go: ξ by ξ, and panel by panel of so many channels.
#[derive(Clone, Copy)]
pub(in super::super) struct Spread {
    pub(in super::super) start: *mut f32,
    /// Channels of a panel: a multiple of every vector's lanes.
    pub(in super::super) width: usize,
    /// Values from one panel to the next.
    pub(in super::super) panel: usize,
    /// Values from one ξ to the next.
    pub(in super::super) point: usize,
}

impl Spread {
    /// The same for a tile `row` rows further down.
    #[inline(always)]
    pub(in super::super) fn row(self, row: usize) -> Self {
        Spread { start: self.start.wrapping_add(row * self.width), ..self }
    }
    /// Where the values of `point` from channel `c` on go.
    #[inline(always)]
    pub(in super::super) fn at(self, point: usize, c: usize) -> *mut f32 {
        let panel = c / self.width;
        self.start.wrapping_add(point * self.point + panel * self.panel + c - panel * self.width)
    }
}

impl Winograd {
    /// Picture, row and column of a tile.
    #[inline(always)]
    pub(super) fn position(&self, tile: usize) -> [usize; 3] {
        let [h, w] = self.tiles;
        [tile / (h * w), tile / w % h, tile % w]
    }

    /// Pixels of `tile` → `Bᵀ x`.
    ///
    /// # Safety
    /// `source` holds the pictures of `tile`, `zeros` as many values as a pixel has, `to` has room for whole vectors.
    #[inline(always)]
    pub(in super::super) unsafe fn transform_input<S: Simd>(
        &self,
        simd: S,
        source: &View,
        zeros: &[f32],
        tile: usize,
        to: Spread,
    ) {
        // SAFETY: the caller's promises.
        unsafe { by_size!(self, self.input_of_size(simd, source, zeros, tile, to)) }
    }

    /// Pixels of `tile` of the output's gradient → `A dy`.
    ///
    /// # Safety
    /// As for [`Self::transform_input`].
    #[inline(always)]
    pub(in super::super) unsafe fn transform_gradient<S: Simd>(
        &self,
        simd: S,
        source: &View,
        zeros: &[f32],
        tile: usize,
        to: Spread,
    ) {
        // SAFETY: the caller's promises.
        unsafe { by_size!(self, self.gradient_of_size(simd, source, zeros, tile, to)) }
    }

    /// [`Self::transform_input`] for one size.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(super) unsafe fn input_of_size<
        S: Simd,
        const NY: usize,
        const MY: usize,
        const NX: usize,
        const MX: usize,
    >(
        &self,
        simd: S,
        source: &View,
        zeros: &[f32],
        tile: usize,
        to: Spread,
    ) {
        let ConvShape { input: [h, w], in_channels, stride: step, pad, .. } = self.shape;
        let [n, ty, tx] = self.position(tile);
        let mut pixels = [zeros.as_ptr(); POINTS];
        for y in 0..NY {
            let sy = (step * ty * MY + y).wrapping_sub(pad[0]);
            for x in 0..NX {
                let sx = (step * tx * MX + x).wrapping_sub(pad[1]);
                if sy < h && sx < w {
                    pixels[y * NX + x] =
                        source.as_ptr().wrapping_add(((n * h + sy) * w + sx) * source.stride());
                }
            }
        }
        let to_next = step * MX * source.stride();
        for c in (0..in_channels).step_by(S::LANES) {
            let lanes = S::LANES.min(in_channels - c);
            // SAFETY: pixels have `in_channels` values, `to` has room.
            unsafe {
                // The columns that the next tile reads and this one does not.
                for y in 0..NY {
                    for x in NX - MX..NX {
                        simd.prefetch(pixels[y * NX + x].wrapping_add(c + to_next));
                    }
                }
                let load = |p: *const f32| simd.load_first(p.add(c), lanes);
                let mut rows = [[simd.splat(0.0); NX]; NY];
                for x in 0..NX {
                    let column =
                        transform::input::<S, NY>(simd, std::array::from_fn(|y| load(pixels[y * NX + x])));
                    for y in 0..NY {
                        rows[y][x] = column[y];
                    }
                }
                let start = to.at(0, c);
                for (y, row) in rows.into_iter().enumerate() {
                    let row = transform::input::<S, NX>(simd, row);
                    for (x, value) in row.into_iter().enumerate() {
                        simd.store(start.add((y * NX + x) * to.point), value);
                    }
                }
            }
        }
    }

    /// [`Self::transform_gradient`] for one size.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn gradient_of_size<
        S: Simd,
        const NY: usize,
        const MY: usize,
        const NX: usize,
        const MX: usize,
    >(
        &self,
        simd: S,
        source: &View,
        zeros: &[f32],
        tile: usize,
        to: Spread,
    ) {
        let ([oh, ow], channels) = (self.shape.output(), self.shape.out_channels);
        let [n, ty, tx] = self.position(tile);
        let mut pixels = [[zeros.as_ptr(); MX]; MY];
        for y in 0..MY.min(oh - ty * MY) {
            for x in 0..MX.min(ow - tx * MX) {
                let pixel = (n * oh + ty * MY + y) * ow + tx * MX + x;
                pixels[y][x] = source.as_ptr().wrapping_add(pixel * source.stride());
            }
        }
        for c in (0..channels).step_by(S::LANES) {
            let lanes = S::LANES.min(channels - c);
            // SAFETY: pixels have `out_channels` values, `to` has room.
            unsafe {
                let mut rows = [[simd.splat(0.0); MX]; NY];
                for x in 0..MX {
                    let mut column = [simd.splat(0.0); MY];
                    for y in 0..MY {
                        column[y] = simd.load_first(pixels[y][x].add(c), lanes);
                    }
                    let column = transform::output_transposed::<S, NY, MY>(simd, column);
                    for y in 0..NY {
                        rows[y][x] = column[y];
                    }
                }
                let start = to.at(0, c);
                for (y, row) in rows.into_iter().enumerate() {
                    let row = transform::output_transposed::<S, NX, MX>(simd, row);
                    for (x, value) in row.into_iter().enumerate() {
                        simd.store(start.add((y * NX + x) * to.point), value);
                    }
                }
            }
        }
    }
}
