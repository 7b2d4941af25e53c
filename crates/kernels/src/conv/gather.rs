//! `target[q, :] = epilogue(Σ_tap source[at(q, tap), :] · B[tap])`: rows gathered through pointers, `B` packed in panels.
//!
//! ```text
//! for a task = (chunk of rows, group of panels):          m: rows (pixels), n: columns, k: values a tap
//!     rows[tap][r] = pointer to the source pixel, or to zeros outside the picture
//!     for each panel of B (16 columns, 8 at the end):      streams from L2
//!         for each block of 12 rows:                       2 × (6 rows × 16) or 1 × (12 rows × 8): 12 accumulators
//!             acc = Σ_tap Σ_k rows[tap][r][k] · B[tap][k]
//!             epilogue(acc) → target
//! ```

use std::ops::Range;

use super::micro::{Ahead, BLOCK, Epilogue, Operands, PAIR, PANEL, Panels, Strip, TASKS, dot};
use crate::isa::{Kernel, NARROW, Simd};
use crate::view::{Pixels, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Row pointers a task holds at most, on its stack.
const POINTERS: usize = 49 * BLOCK;
/// Bytes of source rows that a task goes through again for each panel; half of a small L2.
const ROW_BYTES: usize = 192 << 10;
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Rows and columns from the row's origin in the source.
    pub(super) offset: [isize; 2],
    /// Which tap of the kernel it is.
    pub(super) index: usize,
}

/// Geometry of one implicit product.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    /// Rows of the product: grid points of one picture.
    pub(super) grid: [usize; 2],
    pub(super) source: [usize; 2],
    pub(super) source_stride: usize,
    pub(super) taps: Vec<Tap>,
    /// Values a tap.
    pub(super) k: usize,
    /// Columns.
    pub(super) n: usize,
    pub(super) target: [usize; 2],
    pub(super) target_stride: usize,
    pub(super) target_offset: [usize; 2],
}

impl Gather {
    fn panels(&self) -> Panels {
        Panels { n: self.n, depth: self.taps.len() * self.k }
    }
    pub(super) fn packed_len(&self) -> usize {
        self.panels().packed_len()
    }
    pub(super) fn rows(&self, batch: usize) -> usize {
        batch * self.grid[0] * self.grid[1]
    }

    /// The same product with every kernel row of `kw` taps read as one tap.
    pub(super) fn merged_rows(&self, kw: usize) -> Gather {
        Gather { taps: self.taps.iter().copied().step_by(kw).collect(), k: self.k * kw, ..self.clone() }
    }

    /// Fills `packed` as `[panel][tap][k][width]`; `fill(tap index, columns, panel of the tap, width)`.
    pub(super) fn pack(
        &self,
        pool: &Pool,
        packed: &mut [f32],
        fill: impl Fn(usize, Range<usize>, &mut [f32], usize) + Sync,
    ) {
        self.panels().pack(pool, packed, |columns, panel, width| {
            for (tap, part) in self.taps.iter().zip(panel.chunks_mut(self.k * width)) {
                fill(tap.index, columns.clone(), part, width);
            }
        });
    }

    /// Pointer to the source pixel of tap `offset` at `row`, `zeros` outside.
    #[inline(always)]
    pub(super) fn at(
        &self,
        source: &View,
        [n, y, x]: [usize; 3],
        offset: [isize; 2],
        zeros: &[f32],
    ) -> *const f32 {
        let sy = (y * self.source_stride).wrapping_add_signed(offset[0]);
        let sx = (x * self.source_stride).wrapping_add_signed(offset[1]);
        if sy < self.source[0] && sx < self.source[1] {
            // In bounds by the check of pixel counts at the safe entry.
            source.as_ptr().wrapping_add(((n * self.source[0] + sy) * self.source[1] + sx) * source.stride())
        } else {
            zeros.as_ptr()
        }
    }

    /// Picture, row, column of grid point `q`.
    #[inline(always)]
    pub(super) fn position(&self, q: usize) -> [usize; 3] {
        let [h, w] = self.grid;
        [q / (h * w), q / w % h, q % w]
    }

    pub(super) fn run(&self, pool: &Pool, isa: Isa, operands: Operands, zeros: &[f32], target: ViewMut) {
        let Operands { x: source, packed, next, epilogue } = operands;
        let pixels = self.source[0] * self.source[1];
        let batch = source.pixels() / pixels;
        let target_pixels = batch * self.target[0] * self.target[1];
        assert_eq!(source.pixels(), batch * pixels, "source holds whole pictures");
        assert_eq!(target.pixels(), target_pixels, "target holds the same pictures");
        assert!(self.k.is_multiple_of(source.channels()) && target.channels() == self.n, "{self:?}");
        assert!(packed.len() == self.packed_len() && zeros.len() >= self.k, "{self:?}");
        assert!(self.taps.len() * BLOCK <= POINTERS, "kernels of at most 49 taps");
        epilogue.check(target_pixels, self.n);
        if self.taps.is_empty() && epilogue.accumulate {
            return;
        }
        let (rows, panels) = (self.rows(batch), self.panels().count());
        let most = (POINTERS / self.taps.len().max(1)).min(ROW_BYTES / (4 * self.k)).min(8 * BLOCK);
        // Chunks of equal size within what a task can hold; where they are few, groups of panels make enough tasks.
        let most = (most / BLOCK).max(1) * BLOCK;
        let chunk = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(BLOCK / 2);
        let chunks = rows.div_ceil(chunk);
        let group = panels.div_ceil(TASKS.div_ceil(chunks).min(panels)).next_multiple_of(PAIR);
        let groups = panels.div_ceil(group);
        let target = target.share();
        pool.run(chunks * groups, |task| {
            // All chunks by one group after the other, so that the cores share the weights of a group.
            let (group, i) = (piece(task / chunks, group, panels), task % chunks);
            let now = self.panels().range(group.start).start..self.panels().range(group.end - 1).end;
            isa.run(Task {
                gather: self,
                source: &source,
                packed,
                ahead: Ahead::new(packed, now, next, [i, chunks]),
                zeros,
                epilogue: &epilogue,
                target: &target,
                rows: piece(i, chunk, rows),
                panels: group,
            });
        });
    }
}

struct Task<'a> {
    gather: &'a Gather,
    source: &'a View<'a>,
    packed: &'a [f32],
    ahead: Ahead,
    zeros: &'a [f32],
    epilogue: &'a Epilogue<'a>,
    target: &'a Pixels<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let gather = self.gather;
        let taps = gather.taps.len();
        let panels = gather.panels();
        // [block][tap][row]; rows behind the last read zeros and are not stored.
        let mut pointers = [self.zeros.as_ptr(); POINTERS];
        let mut pixels = [0usize; 8 * BLOCK];
        for (i, q) in self.rows.clone().enumerate() {
            let position = gather.position(q);
            let (block, row) = (i / BLOCK, i % BLOCK);
            for (t, tap) in gather.taps.iter().enumerate() {
                pointers[(block * taps + t) * BLOCK + row] =
                    gather.at(self.source, position, tap.offset, self.zeros);
            }
            let [n, y, x] = position;
            let [ty, tx] = [(y, 0), (x, 1)].map(|(v, d)| v * gather.target_stride + gather.target_offset[d]);
            pixels[i] = (n * gather.target[0] + ty) * gather.target[1] + tx;
        }
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let (strip, count) = panels.strip::<S>(panel, self.panels.end);
            // Not of this panel alone: a pair reads the next one too.
            let b = self.packed[panels.range(panel).start..].as_ptr();
            let pair = [b, b.wrapping_add(panels.second::<S>())];
            let column = panel * PANEL;
            for (block, pixels) in pixels[..self.rows.len()].chunks(BLOCK).enumerate() {
                let rows = pointers[block * taps * BLOCK..][..taps * BLOCK].as_ptr();
                let (low, high) = pixels.split_at(pixels.len().min(BLOCK / 2));
                // SAFETY: every pointer leads to `k` readable values (a source pixel, merged pixels of one row inside
                // the picture, or zeros), `b` to the panels of the strip; the target pixels belong to this task alone.
                unsafe {
                    match strip {
                        Strip::Double => {
                            self.tile::<S, 6, 2, PANEL>(simd, rows, pair, low, column);
                            if !high.is_empty() {
                                let rows = rows.add(BLOCK / 2);
                                self.tile::<S, 6, 2, PANEL>(simd, rows, pair, high, column);
                            }
                        }
                        Strip::Single => self.tile::<S, 12, 1, PANEL>(simd, rows, [b], pixels, column),
                        Strip::Narrow if high.is_empty() => {
                            self.tile::<S::Half, 6, 1, NARROW>(simd.half(), rows, [b], low, column);
                        }
                        Strip::Narrow => {
                            self.tile::<S::Half, 12, 1, NARROW>(simd.half(), rows, [b], pixels, column);
                        }
                    }
                }
            }
            panel += count;
        }
    }
}

impl Task<'_> {
    /// `M` rows by `N` vectors.
    ///
    /// # Safety
    /// As stated where it is called.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize, const STEP: usize>(
        &mut self,
        simd: S,
        rows: *const *const f32,
        b: [*const f32; N],
        pixels: &[usize],
        column: usize,
    ) {
        let gather = self.gather;
        let depth = [gather.taps.len(), gather.k];
        // SAFETY: the caller's promises.
        let acc = unsafe { dot::<S, M, N, STEP>(simd, rows, depth, b, &mut self.ahead) };
        for (r, &pixel) in pixels.iter().enumerate() {
            for v in 0..N {
                let first = column + v * S::LANES;
                if first < gather.n {
                    // SAFETY: the pixel is this task's, the columns exist.
                    unsafe { self.epilogue.store(simd, acc[r][v], self.target, pixel, first, gather.n) };
                }
            }
        }
    }
}
