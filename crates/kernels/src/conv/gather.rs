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
//! 6 × 16 keeps 12 accumulators, two vectors of `B` and one broadcast in the 16 registers of AVX2 and hides an FMA's
//! latency. The whole depth is summed in registers: one order of additions for every value, whatever the batch.

use std::ops::Range;

use crate::isa::{Kernel, LANES, Simd};
use crate::view::{Parts, Pixels, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Rows whose pointers are made together.
const BLOCK: usize = 12;
/// Columns of a full panel.
const PANEL: usize = 2 * LANES;
/// Row pointers a task holds at most, on its stack.
const POINTERS: usize = 49 * BLOCK;
/// Bytes of source rows that a task goes through again for each panel; half of a small L2.
const ROW_BYTES: usize = 192 << 10;
/// Tasks wanted at least, so that a late core is not waited for.
const TASKS: usize = 24;

/// What happens to a sum before it is stored: `v·scale + x` etc., in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added for each column.
    pub bias: Option<&'a [f32]>,
    /// `(x, scale)`: `v ← x + scale · v`.
    pub residual: Option<(View<'a>, f32)>,
    /// `v ← target + v`.
    pub accumulate: bool,
    /// `v ← max(v, 0)`; NaN stays NaN.
    pub relu: bool,
}

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
    fn depth(&self) -> usize {
        self.taps.len() * self.k
    }
    fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }
    fn width(&self, panel: usize) -> usize {
        if self.n - panel * PANEL > LANES { PANEL } else { LANES }
    }
    pub(super) fn packed_len(&self) -> usize {
        let last = self.panels() - 1;
        self.depth() * (last * PANEL + self.width(last))
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
        assert_eq!(packed.len(), self.packed_len());
        let (depth, parts) = (self.depth(), Parts::new(packed));
        pool.run(self.panels(), |panel| {
            let (width, columns) = (self.width(panel), piece(panel, PANEL, self.n));
            let start = panel * PANEL * depth;
            // SAFETY: panels are disjoint.
            let packed = unsafe { parts.part(start..start + width * depth) };
            if columns.len() < width {
                packed.fill(0.0);
            }
            for (t, tap) in self.taps.iter().enumerate() {
                fill(
                    tap.index,
                    columns.clone(),
                    &mut packed[t * self.k * width..(t + 1) * self.k * width],
                    width,
                );
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

    #[allow(clippy::too_many_arguments, reason = "one internal entry; its callers name every part")]
    pub(super) fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        source: View,
        packed: &[f32],
        zeros: &[f32],
        epilogue: Epilogue,
        target: ViewMut,
    ) {
        let pixels = self.source[0] * self.source[1];
        let batch = source.pixels() / pixels;
        let target_pixels = batch * self.target[0] * self.target[1];
        assert_eq!(source.pixels(), batch * pixels, "source holds whole pictures");
        assert_eq!(target.pixels(), target_pixels, "target holds the same pictures");
        assert!(self.k.is_multiple_of(source.channels()) && target.channels() == self.n, "{self:?}");
        assert!(packed.len() == self.packed_len() && zeros.len() >= self.k, "{self:?}");
        assert!(self.taps.len() * BLOCK <= POINTERS, "kernels of at most 49 taps");
        assert!(epilogue.bias.is_none_or(|b| b.len() == self.n));
        assert!(epilogue.residual.is_none_or(|(x, _)| x.channels() == self.n && x.pixels() == target_pixels));
        if self.taps.is_empty() && epilogue.accumulate {
            return;
        }
        let rows = self.rows(batch);
        let most = (POINTERS / self.taps.len().max(1)).min(ROW_BYTES / (4 * self.k)).min(8 * BLOCK);
        // Enough tasks even for few rows, whole blocks, within what a task can hold.
        let chunk = (rows.div_ceil(TASKS).min(most) / BLOCK).max(1) * BLOCK;
        let chunks = rows.div_ceil(chunk);
        let group = self.panels().div_ceil(TASKS.div_ceil(chunks).min(self.panels()));
        let groups = self.panels().div_ceil(group);
        let target = target.share();
        pool.run(chunks * groups, |task| {
            isa.run(Task {
                gather: self,
                source: &source,
                packed,
                zeros,
                epilogue: &epilogue,
                target: &target,
                rows: piece(task / groups, chunk, rows),
                panels: piece(task % groups, group, self.panels()),
            });
        });
    }
}

struct Task<'a> {
    gather: &'a Gather,
    source: &'a View<'a>,
    packed: &'a [f32],
    zeros: &'a [f32],
    epilogue: &'a Epilogue<'a>,
    target: &'a Pixels<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let gather = self.gather;
        let taps = gather.taps.len();
        let depth = gather.depth();
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
        for panel in self.panels.clone() {
            let (width, column) = (gather.width(panel), panel * PANEL);
            let b = self.packed[column * depth..][..width * depth].as_ptr();
            for (block, pixels) in pixels[..self.rows.len()].chunks(BLOCK).enumerate() {
                let rows = pointers[block * taps * BLOCK..][..taps * BLOCK].as_ptr();
                // SAFETY: every pointer leads to `k` readable values (a source pixel, merged pixels of one row inside
                // the picture, or zeros), `b` to `taps·k·width`; the target pixels belong to this task alone.
                unsafe {
                    if width == PANEL {
                        self.tile::<S, 6, 2>(simd, rows, b, &pixels[..pixels.len().min(6)], column);
                        if pixels.len() > 6 {
                            self.tile::<S, 6, 2>(simd, rows.add(6), b, &pixels[6..], column);
                        }
                    } else if pixels.len() > 6 {
                        self.tile::<S, 12, 1>(simd, rows, b, pixels, column);
                    } else {
                        self.tile::<S, 6, 1>(simd, rows, b, pixels, column);
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// `M` rows by `N` vectors.
    ///
    /// # Safety
    /// As stated where it is called.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        rows: *const *const f32,
        mut b: *const f32,
        pixels: &[usize],
        column: usize,
    ) {
        let k = self.gather.k;
        let mut acc = [[simd.splat(0.0); N]; M];
        // SAFETY: the caller's promises.
        unsafe {
            for tap in 0..self.gather.taps.len() {
                let row: [*const f32; M] = std::array::from_fn(|r| *rows.add(tap * BLOCK + r));
                for i in 0..k {
                    let columns: [S::V; N] = std::array::from_fn(|v| simd.load(b.add(v * LANES)));
                    for r in 0..M {
                        let a = simd.splat(*row[r].add(i));
                        for v in 0..N {
                            acc[r][v] = simd.mul_add(a, columns[v], acc[r][v]);
                        }
                    }
                    b = b.add(N * LANES);
                }
            }
        }
        for (r, &pixel) in pixels.iter().enumerate() {
            for v in 0..N {
                let first = column + v * LANES;
                if first < self.gather.n {
                    // SAFETY: the pixel is this task's, the columns exist.
                    unsafe { self.finish(simd, acc[r][v], pixel, first) };
                }
            }
        }
    }

    /// Epilogue of one vector: columns `first ..` of `pixel`.
    ///
    /// # Safety
    /// The pixel belongs to this task alone and `first` is one of its columns.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, simd: S, mut value: S::V, pixel: usize, first: usize) {
        let lanes = LANES.min(self.gather.n - first);
        let Epilogue { bias, residual, accumulate, relu } = *self.epilogue;
        // SAFETY: all extents were checked at the safe entry; `lanes` values from `first` on exist.
        unsafe {
            let load = |p: *const f32| if lanes == LANES { simd.load(p) } else { simd.load_part(p, lanes) };
            let at = self.target.ptr().add(pixel * self.target.stride + first);
            if let Some(bias) = bias {
                value = simd.add(value, load(bias.as_ptr().add(first)));
            }
            if let Some((x, scale)) = residual {
                value =
                    simd.mul_add(value, simd.splat(scale), load(x.as_ptr().add(pixel * x.stride() + first)));
            }
            if accumulate {
                value = simd.add(load(at), value);
            }
            if relu {
                value = simd.max(simd.splat(0.0), value);
            }
            if lanes == LANES { simd.store(at, value) } else { simd.store_part(at, value, lanes) }
        }
    }
}
