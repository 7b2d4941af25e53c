//! What one thread does with one block of tiles.

use std::ops::Range;

use super::super::micro::{Ahead, Depth, Epilogue, PAIR, PANEL, Strip, UNIT, dot};
use super::{Blocks, Spread, Winograd, transform};
use crate::View;
use crate::isa::{Kernel, NARROW, Simd};
use crate::view::Pixels;

/// Tiles from the one that is stored to the one whose pixels are asked for.
const AHEAD: usize = 2;

/// One block of tiles by one pair of panels.
pub(super) struct Task<'a> {
    pub(super) winograd: &'a Winograd,
    pub(super) blocks: &'a Blocks,
    pub(super) source: &'a View<'a>,
    pub(super) packed: &'a [f32],
    pub(super) ahead: Ahead,
    pub(super) zeros: &'a [f32],
    pub(super) epilogue: &'a Epilogue<'a>,
    pub(super) target: &'a Pixels<'a>,
    pub(super) tiles: Range<usize>,
    /// Whether it begins with the input's transform.
    pub(super) transforms: bool,
    /// The pair of panels that are multiplied.
    pub(super) panels: Range<usize>,
    pub(super) v: *mut f32,
    pub(super) m: *mut f32,
}

/// `$call::<S, NY, MY, NX, MX>($args)` for the sizes of `$winograd`.
macro_rules! by_size {
    ($winograd:expr, $on:ident . $call:ident ($($args:expr),*)) => {{
        let ([ny, nx], [my, mx]) = ($winograd.n, $winograd.m);
        match [[ny, my], [nx, mx]] {
            [[7, 3], [7, 3]] => $on.$call::<S, 7, 3, 7, 3>($($args),*),
            [[4, 2], [4, 2]] => $on.$call::<S, 4, 2, 4, 2>($($args),*),
            [[6, 4], [6, 4]] => $on.$call::<S, 6, 4, 6, 4>($($args),*),
            [[8, 6], [8, 6]] => $on.$call::<S, 8, 6, 8, 6>($($args),*),
            [[6, 2], [6, 2]] => $on.$call::<S, 6, 2, 6, 2>($($args),*),
            [[8, 4], [8, 4]] => $on.$call::<S, 8, 4, 8, 4>($($args),*),
            [[1, 1], [4, 2]] => $on.$call::<S, 1, 1, 4, 2>($($args),*),
            [[1, 1], [6, 4]] => $on.$call::<S, 1, 1, 6, 4>($($args),*),
            [[1, 1], [8, 2]] => $on.$call::<S, 1, 1, 8, 2>($($args),*),
            [[1, 1], [10, 4]] => $on.$call::<S, 1, 1, 10, 4>($($args),*),
            [[1, 1], [10, 8]] => $on.$call::<S, 1, 1, 10, 8>($($args),*),
            [[1, 1], [12, 6]] => $on.$call::<S, 1, 1, 12, 6>($($args),*),
            [[4, 2], [1, 1]] => $on.$call::<S, 4, 2, 1, 1>($($args),*),
            [[6, 4], [1, 1]] => $on.$call::<S, 6, 4, 1, 1>($($args),*),
            [[8, 2], [1, 1]] => $on.$call::<S, 8, 2, 1, 1>($($args),*),
            [[10, 4], [1, 1]] => $on.$call::<S, 10, 4, 1, 1>($($args),*),
            [[10, 8], [1, 1]] => $on.$call::<S, 10, 8, 1, 1>($($args),*),
            [[12, 6], [1, 1]] => $on.$call::<S, 12, 6, 1, 1>($($args),*),
            _ => unreachable!("refused when it was planned"),
        }
    }};
}
pub(super) use by_size;

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        // SAFETY: the extents of all operands were checked, and V and M are this task's (see `Winograd::run`).
        unsafe { by_size!(self.winograd, self.go(simd)) }
    }
}

impl Task<'_> {
    /// # Safety
    /// The extents of all operands were checked; nobody else uses this task's V, M and target pixels.
    #[inline(always)]
    unsafe fn go<S: Simd, const NY: usize, const MY: usize, const NX: usize, const MX: usize>(
        &mut self,
        simd: S,
    ) {
        // SAFETY: the caller's promises.
        unsafe {
            if self.transforms {
                for (i, tile) in self.tiles.clone().enumerate() {
                    // One panel: all channels of a tile.
                    let to = Spread {
                        start: self.v.add(i * self.blocks.depth),
                        width: usize::MAX,
                        panel: 0,
                        point: self.blocks.v_stride,
                    };
                    let (source, zeros) = (self.source, self.zeros);
                    self.winograd.input_of_size::<S, NY, MY, NX, MX>(simd, source, zeros, tile, to);
                }
            }
            self.multiply(simd, NY * NX);
            for (i, tile) in self.tiles.clone().enumerate() {
                self.prefetch::<S, MY, MX>(simd, tile + AHEAD);
                self.finish::<S, NY, MY, NX, MX>(simd, tile, i);
            }
        }
    }

    /// V · U → M for the pair of panels.
    ///
    /// # Safety
    /// As for [`Self::go`].
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, simd: S, points: usize) {
        let group = self.panels.clone();
        let k = self.winograd.shape.in_channels;
        let (tiles, columns) = (self.tiles.len(), PAIR * PANEL);
        for xi in 0..points {
            let mut panel = group.start;
            while panel < group.end {
                let panels = self.winograd.panels;
                let (strip, count) = panels.strip::<S>(panel, group.end);
                // SAFETY: U holds `[panel][ξ][k][width]`; V and M hold `size` tiles, a multiple of 6, for each ξ.
                unsafe {
                    let offset = panels.range(panel).start + xi * k * panels.width(panel);
                    let b = self.packed.as_ptr().add(offset);
                    let pair = [b, b.wrapping_add(panels.second::<S>())];
                    let v = self.v.add(xi * self.blocks.v_stride).cast_const();
                    let m = self.m.add(xi * self.blocks.m_stride + (panel - group.start) * PANEL);
                    for tile in (0..tiles).step_by(UNIT) {
                        // Rows behind the last tile repeat it; their products are not read.
                        let row = |r: usize| v.add((tile + r).min(tiles - 1) * self.blocks.depth);
                        let rows: [*const f32; UNIT] = std::array::from_fn(row);
                        let (rows, m) = (rows.as_ptr(), m.add(tile * columns));
                        match strip {
                            Strip::Double => self.product::<S, 2, PANEL>(simd, rows, k, pair, m, columns),
                            Strip::Single => self.product::<S, 1, PANEL>(simd, rows, k, [b], m, columns),
                            Strip::Narrow => {
                                self.product::<S::Half, 1, NARROW>(simd.half(), rows, k, [b], m, columns);
                            }
                        }
                    }
                }
                panel += count;
            }
        }
    }

    /// Six tiles by `N` vectors of columns, for one ξ.
    ///
    /// # Safety
    /// As for [`dot`] with one tap; `m` has room for six rows of `columns` values.
    #[inline(always)]
    unsafe fn product<S: Simd, const N: usize, const STEP: usize>(
        &mut self,
        simd: S,
        rows: *const *const f32,
        k: usize,
        b: [*const f32; N],
        m: *mut f32,
        columns: usize,
    ) {
        // SAFETY: the caller's promises.
        unsafe {
            let zero = [[simd.splat(0.0); N]; UNIT];
            let depth = Depth { taps: 1, k, empty: 0 };
            let acc = dot::<S, UNIT, N, STEP>(simd, zero, rows, depth, b, &mut self.ahead);
            for (r, acc) in acc.into_iter().enumerate() {
                for (v, acc) in acc.into_iter().enumerate() {
                    simd.store(m.add(r * columns + v * S::LANES), acc);
                }
            }
        }
    }

    /// Asks for the pixels of `tile`, which need not exist, for the pair of panels.
    #[inline(always)]
    fn prefetch<S: Simd, const MY: usize, const MX: usize>(&self, simd: S, tile: usize) {
        let [oh, ow] = self.winograd.shape.output();
        let [n, ty, tx] = self.winograd.position(tile);
        let first = self.panels.start * PANEL;
        let vectors = (self.winograd.shape.out_channels - first).min(PAIR * PANEL).div_ceil(S::LANES);
        for y in ty * MY..oh.min((ty + 1) * MY) {
            for x in tx * MX..ow.min((tx + 1) * MX) {
                self.epilogue.prefetch(simd, self.target, (n * oh + y) * ow + x, first, vectors);
            }
        }
    }

    /// M → pixels of `tile`, tile `i` of the block, for the pair of panels.
    ///
    /// # Safety
    /// As for [`Self::go`].
    #[inline(always)]
    unsafe fn finish<S: Simd, const NY: usize, const MY: usize, const NX: usize, const MX: usize>(
        &self,
        simd: S,
        tile: usize,
        i: usize,
    ) {
        let [oh, ow] = self.winograd.shape.output();
        let channels = self.winograd.shape.out_channels;
        let [n, ty, tx] = self.winograd.position(tile);
        let (stride, columns) = (self.blocks.m_stride, PAIR * PANEL);
        let first = self.panels.start * PANEL;
        for column in (first..channels.min(self.panels.end * PANEL)).step_by(S::LANES) {
            // SAFETY: M holds `columns` values for each tile and ξ; output pixels inside the picture are this task's.
            unsafe {
                let m = self.m.add(i * columns + column - first).cast_const();
                let mut rows = [[simd.splat(0.0); NX]; MY];
                for x in 0..NX {
                    let sums = std::array::from_fn(|y| simd.load(m.add((y * NX + x) * stride)));
                    let column = transform::output::<S, NY, MY>(simd, sums);
                    for y in 0..MY {
                        rows[y][x] = column[y];
                    }
                }
                for (y, row) in rows.into_iter().enumerate() {
                    let row = transform::output::<S, NX, MX>(simd, row);
                    for (x, value) in row.into_iter().enumerate() {
                        let (y, x) = (ty * MY + y, tx * MX + x);
                        if y < oh && x < ow {
                            let pixel = (n * oh + y) * ow + x;
                            self.epilogue.store(simd, value, self.target, pixel, column, channels);
                        }
                    }
                }
            }
        }
    }
}
