//! What all convolutions share: the micro-kernel, how its right-hand side is packed, and what becomes of a sum.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;

use crate::isa::{Loops, NARROW, Simd};
use crate::view::{Parts, Pixels, piece};
use crate::{Isa, Pool, View};

/// Rows whose pointers are made together.
pub(super) const BLOCK: usize = 12;
/// Rows that the micro-kernel computes at least.
pub(super) const UNIT: usize = BLOCK / 2;
/// Columns of a full panel.
pub(super) const PANEL: usize = 16;
/// Panels that are best computed together, whatever the instruction set.
pub(super) const PAIR: usize = 2;
/// Tasks wanted at least, so that a late core is not waited for.
pub(super) const TASKS: usize = 24;

/// Marks that fit the stack.
const MARKS: usize = 512;

/// Calls `f` with `count` marks of nothing, each to hold the number of what a thread has made last. A step of a network
/// asks hundreds of times, so few of them cost no allocation.
pub(super) fn with_marks(count: usize, f: impl FnOnce(&[AtomicUsize])) {
    let nothing = || AtomicUsize::new(usize::MAX);
    if count <= MARKS {
        f(&std::array::from_fn::<_, MARKS, _>(|_| nothing())[..count]);
    } else {
        f(&(0..count).map(|_| nothing()).collect::<Vec<_>>());
    }
}

/// Weights that are read later and fetched from memory meanwhile, a line every few steps of the micro-kernel: for one
/// picture most weights come from memory, and waiting for them costs a fifth of the time.
///
/// Asking for an address that leads to no memory halves the speed of some CPUs (Zen 1 looks it up in the page table each
/// time), so the walk ends at its last line, and where there is nothing to fetch it stays at a line that is there.
pub(super) struct Ahead {
    next: *const f32,
    last: *const f32,
}

impl Ahead {
    /// Steps of the micro-kernel for each line.
    const EVERY: usize = 4;
    /// Values of a line.
    const LINE: usize = 16;
    /// Values that are fetched at most of what comes behind this convolution.
    const MOST: usize = 128 << 10;
    const NOTHING: [f32; Self::LINE] = [0.0; Self::LINE];

    /// Share `i` of `n` of what is read after this: `behind` of the same convolution, or `next` where nothing is.
    pub(super) fn new(behind: &[f32], next: &[f32], [i, n]: [usize; 2]) -> Self {
        let ahead = if behind.is_empty() { &next[..next.len().min(Self::MOST)] } else { behind };
        let share = ahead.len().div_ceil(n).next_multiple_of(Self::LINE);
        let share = &ahead[(i * share).min(ahead.len())..((i + 1) * share).min(ahead.len())];
        let share = if share.is_empty() { &Self::NOTHING } else { share };
        Ahead { next: share.as_ptr(), last: share[(share.len() - 1) / Self::LINE * Self::LINE..].as_ptr() }
    }
}

/// What [`dot`] sums over.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    pub(super) taps: usize,
    /// Values a tap.
    pub(super) k: usize,
    /// Bit `tap` is set where that tap reads zeros in all rows and is left out.
    pub(super) empty: u64,
}

/// `M` rows by `N` vectors of columns: `acc + Σ_tap Σ_k rows[tap][r][k] · b[tap][k]`, the whole depth summed in registers: one
/// order of additions for every value, whatever the batch.
///
/// 6 × 2 vectors keep 12 accumulators, two vectors of `b` and one broadcast in the 16 registers of AVX2 and hide an FMA's
/// latency; the vectors are the halves of a panel, or two panels where a vector is as wide as one.
///
/// # Safety
/// `rows` holds `taps` groups of [`BLOCK`] pointers, the first `M` of each to `k` readable values; each of `b` leads to
/// `taps · k` vectors, `STEP` values apart.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd, const M: usize, const N: usize, const STEP: usize>(
    simd: S,
    mut acc: [[S::V; N]; M],
    rows: *const *const f32,
    Depth { taps, k, empty }: Depth,
    mut b: [*const f32; N],
    ahead: &mut Ahead,
) -> [[S::V; N]; M] {
    let Ahead { mut next, last } = *ahead;
    // SAFETY: the caller's promises.
    unsafe {
        for tap in 0..taps {
            if empty >> tap & 1 != 0 {
                b = b.map(|b| b.add(k * STEP));
                continue;
            }
            let row: [*const f32; M] = std::array::from_fn(|r| *rows.add(tap * BLOCK + r));
            let (mut i, whole) = (0, k - k % Ahead::EVERY);
            while i < whole {
                simd.prefetch(next);
                next = next.wrapping_add(Ahead::LINE).min(last);
                for u in 0..Ahead::EVERY {
                    step(simd, &row, i + u, &mut b, STEP, &mut acc);
                }
                i += Ahead::EVERY;
            }
            while i < k {
                step(simd, &row, i, &mut b, STEP, &mut acc);
                i += 1;
            }
        }
    }
    ahead.next = next;
    acc
}

/// One `k` of [`dot`]; moves `b` on.
///
/// # Safety
/// As for [`dot`].
#[inline(always)]
unsafe fn step<S: Simd, const M: usize, const N: usize>(
    simd: S,
    row: &[*const f32; M],
    k: usize,
    b: &mut [*const f32; N],
    by: usize,
    acc: &mut [[S::V; N]; M],
) {
    // SAFETY: the caller's promises.
    unsafe {
        let mut columns = [simd.splat(0.0); N];
        for v in 0..N {
            columns[v] = simd.load(b[v]);
            b[v] = b[v].add(by);
        }
        for r in 0..M {
            let a = simd.splat(*row[r].add(k));
            for v in 0..N {
                acc[r][v] = simd.mul_add(a, columns[v], acc[r][v]);
            }
        }
    }
}

/// Panels that the micro-kernel computes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strip {
    /// Two vectors: a panel's halves, or two panels.
    Double,
    /// One vector as wide as a panel.
    Single,
    /// One narrow vector: what is left at the end.
    Narrow,
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
        if self.n - panel * PANEL > NARROW { PANEL } else { NARROW }
    }
    /// How `panel` is computed, before the panels from `end` on; how many panels that are.
    #[inline(always)]
    pub(super) fn strip<S: Simd>(self, panel: usize, end: usize) -> (Strip, usize) {
        if self.width(panel) == NARROW {
            (Strip::Narrow, 1)
        } else if S::LANES < PANEL {
            (Strip::Double, 1)
        } else if panel + 1 < end && self.width(panel + 1) == PANEL {
            (Strip::Double, 2)
        } else {
            (Strip::Single, 1)
        }
    }
    /// Values from the first vector of a [`Strip::Double`] to its second.
    #[inline(always)]
    pub(super) fn second<S: Simd>(self) -> usize {
        if S::LANES < PANEL { S::LANES } else { PANEL * self.depth }
    }
    pub(super) fn packed_len(self) -> usize {
        let last = self.count() - 1;
        self.depth * (last * PANEL + self.width(last))
    }
    pub(super) fn range(self, panel: usize) -> Range<usize> {
        let start = panel * PANEL * self.depth;
        start..start + self.width(panel) * self.depth
    }

    /// Values of some panels, one at least.
    pub(super) fn span(self, panels: Range<usize>) -> Range<usize> {
        self.range(panels.start).start..self.range(panels.end - 1).end
    }

    /// Fills `packed` panel by panel; columns that do not exist are zero.
    pub(super) fn pack(self, pool: &Pool, isa: Isa, packed: &mut [f32], pack: impl Pack + Copy + Sync) {
        assert_eq!(packed.len(), self.packed_len());
        let parts = Parts::new(packed);
        pool.run(self.count(), |panel| {
            let (width, columns) = (self.width(panel), piece(panel, PANEL, self.n));
            // SAFETY: panels are disjoint.
            let packed = unsafe { parts.part(self.range(panel)) };
            if columns.len() < width {
                packed.fill(0.0);
            }
            isa.run_loops(Panel { pack, columns, packed, width });
        });
    }
}

/// How an algorithm packs weights; `fill` must be `#[inline(always)]`.
pub(super) trait Pack {
    /// Fills `panel`, rows of `width` values, with the weights to the outputs `columns`.
    fn fill(&self, columns: Range<usize>, panel: &mut [f32], width: usize);
}

struct Panel<'a, P> {
    pack: P,
    columns: Range<usize>,
    packed: &'a mut [f32],
    width: usize,
}

impl<P: Pack> Loops for Panel<'_, P> {
    #[inline(always)]
    fn run(self) {
        self.pack.fill(self.columns, self.packed, self.width);
    }
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// Whole pictures.
    pub x: View<'a>,
    /// Packed weights.
    pub packed: &'a [f32],
    /// Weights that are read after this convolution's; they are fetched from memory meanwhile.
    pub next: &'a [f32],
    /// What becomes of the sums.
    pub epilogue: Epilogue<'a>,
}

/// What a residual sum adds its branch to.
#[derive(Clone, Copy, Debug)]
pub enum Shortcut<'a> {
    /// These pixels.
    Of(View<'a>),
    /// What the target holds.
    InPlace,
}

/// What happens to a sum before it is stored, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added for each column.
    pub bias: Option<&'a [f32]>,
    /// `(x, scale)`: `v ← x + scale · v`.
    pub residual: Option<(Shortcut<'a>, f32)>,
    /// `v ← max(v, 0)`, 0 too where `v` is subnormal; NaN stays NaN.
    pub relu: bool,
}

impl Epilogue<'_> {
    /// # Panics
    /// If the operands do not fit `pixels` pixels of `n` columns.
    pub(super) fn check(&self, pixels: usize, n: usize) {
        assert!(self.bias.is_none_or(|b| b.len() == n));
        if let Some((Shortcut::Of(x), _)) = self.residual {
            assert!(x.channels() == n && x.pixels() == pixels);
        }
    }

    /// Where column `first` of what is added to `pixel` lies.
    #[inline(always)]
    fn shortcut(x: Shortcut, target: &Pixels, pixel: usize, first: usize) -> *const f32 {
        match x {
            Shortcut::Of(x) => x.as_ptr().wrapping_add(pixel * x.stride() + first),
            Shortcut::InPlace => target.ptr().wrapping_add(pixel * target.stride + first),
        }
    }

    /// Asks for what [`Self::store`] reads and writes for `count` vectors from column `first` of `pixel` on: pixels lie far
    /// apart, and the sums would wait for them.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(
        &self,
        simd: S,
        target: &Pixels,
        pixel: usize,
        first: usize,
        count: usize,
    ) {
        for v in 0..count {
            let first = first + v * S::LANES;
            if let Some((Shortcut::Of(x), _)) = self.residual {
                simd.prefetch(x.as_ptr().wrapping_add(pixel * x.stride() + first));
            }
            simd.prefetch(Self::shortcut(Shortcut::InPlace, target, pixel, first));
        }
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
        let lanes = S::LANES.min(n - first);
        let Epilogue { bias, residual, relu } = *self;
        // SAFETY: all extents were checked; `lanes` values from `first` on exist.
        unsafe {
            if let Some(bias) = bias {
                value = simd.add(value, simd.load_first(bias.as_ptr().add(first), lanes));
            }
            if let Some((x, scale)) = residual {
                let x = simd.load_first(Self::shortcut(x, target, pixel, first), lanes);
                value = simd.mul_add(value, simd.splat(scale), x);
            }
            if relu {
                value = simd.relu(value);
            }
            simd.store_first(target.ptr().add(pixel * target.stride + first), value, lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing was to be fetched, or less than was walked through, the address led to no memory: at half the speed.
    #[test]
    fn what_is_fetched_ahead_is_always_there() {
        let weights = vec![1.0f32; 100];
        for (behind, next) in
            [(&weights[..], &[][..]), (&[], &weights), (&[], &[]), (&weights[..5], &weights)]
        {
            for share in [[0, 1], [0, 3], [2, 3], [9, 10]] {
                let Ahead { next: first, last } = Ahead::new(behind, next, share);
                // SAFETY: this is what is claimed, and what AddressSanitizer would see.
                let values = unsafe { [*first, *last] };
                let whole = values == [1.0; 2] && weights.as_ptr_range().contains(&first) && first <= last;
                assert!(whole || values == [0.0; 2] && first == last, "{behind:?}, {next:?}, {share:?}");
            }
        }
    }
}
