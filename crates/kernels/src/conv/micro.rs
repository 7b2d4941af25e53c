//! What all convolutions share: the micro-kernel, how its right-hand side is packed, and what becomes of a sum.

use std::ops::Range;

use crate::isa::{LANES, Simd};
use crate::view::{Parts, Pixels, piece};
use crate::{Pool, View};

/// Rows whose pointers are made together.
pub(super) const BLOCK: usize = 12;
/// Columns of a full panel.
pub(super) const PANEL: usize = 2 * LANES;
/// Tasks wanted at least, so that a late core is not waited for.
pub(super) const TASKS: usize = 24;

/// `M` rows by `N` vectors of columns: `Σ_tap Σ_k rows[tap][r][k] · b[tap][k]`, the whole depth summed in registers: one
/// order of additions for every value, whatever the batch.
///
/// 6 × 2 vectors of 8 keep 12 accumulators, two vectors of `b` and one broadcast in the 16 registers of AVX2 and hide an
/// FMA's latency.
///
/// # Safety
/// `rows` holds `taps` groups of [`BLOCK`] pointers, the first `M` of each to `k` readable values; `b` leads to
/// `taps · k · N` vectors.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: *const *const f32,
    [taps, k]: [usize; 2],
    mut b: *const f32,
) -> [[S::V; N]; M] {
    let mut acc = [[simd.splat(0.0); N]; M];
    // SAFETY: the caller's promises.
    unsafe {
        for tap in 0..taps {
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
    acc
}

/// Columns in panels of 16, of 8 where no more are left at the end: `[panel][depth][width]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    /// Columns.
    pub(super) n: usize,
    /// Values of a column.
    pub(super) depth: usize,
}

impl Panels {
    pub(super) fn count(self) -> usize {
        self.n.div_ceil(PANEL)
    }
    pub(super) fn width(self, panel: usize) -> usize {
        if self.n - panel * PANEL > LANES { PANEL } else { LANES }
    }
    pub(super) fn packed_len(self) -> usize {
        let last = self.count() - 1;
        self.depth * (last * PANEL + self.width(last))
    }
    pub(super) fn range(self, panel: usize) -> Range<usize> {
        let start = panel * PANEL * self.depth;
        start..start + self.width(panel) * self.depth
    }

    /// Fills `packed` panel by panel: `fill(columns, panel, width)`; columns that do not exist are zero.
    pub(super) fn pack(
        self,
        pool: &Pool,
        packed: &mut [f32],
        fill: impl Fn(Range<usize>, &mut [f32], usize) + Sync,
    ) {
        assert_eq!(packed.len(), self.packed_len());
        let parts = Parts::new(packed);
        pool.run(self.count(), |panel| {
            let (width, columns) = (self.width(panel), piece(panel, PANEL, self.n));
            // SAFETY: panels are disjoint.
            let packed = unsafe { parts.part(self.range(panel)) };
            if columns.len() < width {
                packed.fill(0.0);
            }
            fill(columns, packed, width);
        });
    }
}

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

impl Epilogue<'_> {
    /// # Panics
    /// If the operands do not fit `pixels` pixels of `n` columns.
    pub(super) fn check(&self, pixels: usize, n: usize) {
        assert!(self.bias.is_none_or(|b| b.len() == n));
        assert!(self.residual.is_none_or(|(x, _)| x.channels() == n && x.pixels() == pixels));
    }

    /// Stores one vector of sums: columns `first ..` of `pixel`, of `n` in all.
    ///
    /// # Safety
    /// The epilogue was checked, the pixel belongs to the caller alone, and `first` is one of its columns.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(
        &self,
        simd: S,
        mut value: S::V,
        target: &Pixels,
        pixel: usize,
        first: usize,
        n: usize,
    ) {
        let lanes = LANES.min(n - first);
        let Epilogue { bias, residual, accumulate, relu } = *self;
        // SAFETY: all extents were checked; `lanes` values from `first` on exist.
        unsafe {
            let load = |p: *const f32| if lanes == LANES { simd.load(p) } else { simd.load_part(p, lanes) };
            let at = target.ptr().add(pixel * target.stride + first);
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
