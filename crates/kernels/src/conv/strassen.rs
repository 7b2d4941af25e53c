//! Strassen's product, one level of it, for 1×1 convolutions: 7 products of quarters instead of 8.
//!
//! ```text
//! A = [A11 A12]   rows: pixels of the upper half of a picture     B = [B11 B12]   rows: channels in
//!     [A21 A22]         and the pixels as far down the lower          [B21 B22]   columns: channels out
//!
//! S1 = A21 + A22   S2 = S1 − A11   S3 = A11 − A21   S4 = A12 − S2         per block of pixels, in the thread's own cache
//! T1 = B12 − B11   T2 = B22 − T1   T3 = B22 − B12   T4 = B21 − T2         when weights are packed
//!
//! P1 = A11·B11     C11 = P1 + A12·B21
//! U2 = P1 + S2·T2  U3 = U2 + S3·T3    C21 = U3 + A22·T4
//! P5 = S1·T1       C22 = U3 + P5      C12 = U2 + P5 + S4·B22
//! ```
//! That is Winograd's form with 15 additions. A product goes on where the one before it left its sums, in registers, so
//! the additions of C cost nothing; a picture is paired with itself alone, so no other picture of a batch changes its bits.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::gather::{Part, Split};
use super::micro::{Ahead, Depth, PAIR, PANEL, Pack, Panels, UNIT, dot, with_marks};
use super::{ConvShape, Taps};
use crate::isa::{Kernel, Simd, WIDEST};
use crate::view::Parts;
use crate::{Isa, Pool, View};

/// Products of quarters, in the order in which they are computed.
const PRODUCTS: usize = 7;
/// Sums of quarters of A.
const SUMS: usize = 4;
/// Values of such sums that a task makes at most; half of an L2.
const BLOCK_VALUES: usize = 128 << 10;
/// Units of pairs of a task at most.
const UNITS: usize = 8;

/// Strassen's product for one shape.
#[derive(Clone, Debug)]
pub(super) struct Strassen {
    /// Pixels of a picture.
    pixels: usize,
    /// Values of half a pixel.
    half: usize,
    /// Channels out.
    n: usize,
}

impl Strassen {
    /// Why not, where it cannot be.
    pub(super) fn new(shape: ConvShape) -> Result<Self, &'static str> {
        let ConvShape { input: [h, w], in_channels, out_channels, kernel, stride, pad } = shape;
        if kernel != [1, 1] || stride != 1 || pad != [0, 0] {
            return Err("Strassen's product is for 1×1 convolutions at stride 1");
        }
        if !in_channels.is_multiple_of(2 * WIDEST) || !out_channels.is_multiple_of(2 * PAIR * PANEL) {
            return Err("Strassen's product needs a multiple of 32 channels in and of 64 out");
        }
        if h * w < 2 {
            return Err("Strassen's product needs two pixels");
        }
        Ok(Strassen { pixels: h * w, half: in_channels / 2, n: out_channels })
    }

    /// Half of the columns, with all products of each.
    pub(super) fn panels(&self) -> Panels {
        Panels { n: self.n / 2, depth: PRODUCTS * self.half }
    }
    /// Length of the packed weights.
    pub(super) fn packed_len(&self) -> usize {
        self.panels().packed_len()
    }
    /// Pairs of pixels of a picture; the last is of one pixel where their number is odd.
    fn pairs(&self) -> usize {
        self.pixels.div_ceil(2)
    }
    /// Pairs of a task at most.
    fn most(&self) -> usize {
        (BLOCK_VALUES / (SUMS * self.half) / UNIT).clamp(1, UNITS) * UNIT
    }
    /// Length of the scratch of [`Self::run`].
    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        threads * self.most() * SUMS * self.half
    }

    /// Packs `weights` as `[panel][product][in / 2][16]`.
    pub(super) fn pack(&self, pool: &Pool, isa: Isa, weights: Taps, packed: &mut [f32]) {
        self.panels().pack(pool, isa, packed, Quarters { strassen: self, weights });
    }

    /// `target = epilogue(source · weights)` for each of `parts`, whose shapes differ in the channels out alone.
    pub(super) fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        source: View,
        parts: &[Part],
        next: &[f32],
        scratch: &mut [f32],
    ) {
        let batch = source.pixels() / self.pixels;
        assert_eq!(source.pixels(), batch * self.pixels, "source holds whole pictures");
        assert_eq!(source.channels(), 2 * self.half);
        for Part { panels, packed, epilogue, target, .. } in parts {
            assert_eq!(target.pixels(), source.pixels(), "target holds the same pictures");
            assert!(panels.depth == PRODUCTS * self.half && packed.len() == panels.packed_len(), "{self:?}");
            assert!(target.channels() == 2 * panels.n && panels.count().is_multiple_of(PAIR), "{self:?}");
            epilogue.check(target.pixels(), target.channels());
        }
        assert!(scratch.len() >= self.scratch_len(pool.threads()));
        let pairs = batch * self.pairs();
        let split = Split::new(pairs.div_ceil(UNIT), self.most() / UNIT, parts);
        let sums_len = self.most() * SUMS * self.half;
        let sums = Parts::new(&mut scratch[..pool.threads() * sums_len]);
        // The chunk whose sums each thread has made.
        with_marks(pool.threads(), |held| {
            pool.run_on(split.tasks(), |worker, task| {
                let (chunk, group) = (task / split.groups, task % split.groups);
                let rows = split.rows(chunk);
                isa.run(Task {
                    strassen: self,
                    source: &source,
                    parts,
                    ahead: split.ahead([chunk, group], parts, next, false),
                    pairs: rows.start..rows.end.min(pairs),
                    panels: split.panels(group),
                    adds: held[worker].swap(chunk, Ordering::Relaxed) != chunk,
                    sums: sums.pointer(worker * sums_len..(worker + 1) * sums_len),
                });
            });
        });
    }
}

/// Weights → sums of their quarters.
#[derive(Clone, Copy)]
struct Quarters<'a> {
    strassen: &'a Strassen,
    weights: Taps<'a>,
}

impl Pack for Quarters<'_> {
    #[inline(always)]
    fn fill(&self, columns: Range<usize>, panel: &mut [f32], width: usize) {
        let &Strassen { half, n, .. } = self.strassen;
        let right = columns.start + n / 2..columns.end + n / 2;
        for k in 0..half {
            let [b11, b12] = [&columns, &right].map(|columns| self.weights.read(0, k, columns));
            let [b21, b22] = [&columns, &right].map(|columns| self.weights.read(0, k + half, columns));
            let mut products = [[0.0; PANEL]; PRODUCTS];
            for j in 0..PANEL {
                let [b11, b12, b21, b22] = [b11[j], b12[j], b21[j], b22[j]].map(f64::from);
                let t1 = b12 - b11;
                let t2 = b22 - t1;
                let sums = [b11, b21, t2, b22 - b12, b21 - t2, t1, b22];
                (0..PRODUCTS).for_each(|i| products[i][j] = sums[i] as f32);
            }
            for (i, product) in products.iter().enumerate() {
                panel[(i * half + k) * width..][..width].copy_from_slice(&product[..width]);
            }
        }
    }
}

struct Task<'a> {
    strassen: &'a Strassen,
    source: &'a View<'a>,
    parts: &'a [Part<'a>],
    ahead: Ahead,
    pairs: Range<usize>,
    panels: Range<usize>,
    /// Whether it begins with the sums of quarters of its pixels.
    adds: bool,
    /// `[pair][sum][half]`, this thread's own.
    sums: *mut f32,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut units =
            [Unit { rows: 0, pixels: [[0; 2]; UNIT], a: [[std::ptr::null(); UNIT]; PRODUCTS] }; UNITS];
        let units = &mut units[..self.pairs.len().div_ceil(UNIT)];
        for (i, unit) in units.iter_mut().enumerate() {
            self.gather(i * UNIT, unit);
        }
        if self.adds {
            for i in 0..self.pairs.len() {
                // SAFETY: pixels have two halves of whole vectors, the sums of a pair have room for four.
                unsafe { self.add(simd, i) };
            }
        }
        let parts = self.parts;
        for part in parts {
            let Range { start: mut panel, end } = part.own(&self.panels);
            while panel < end {
                let (_, count) = part.panels.strip::<S>(panel, end);
                for unit in &*units {
                    // SAFETY: all operands were checked; the target pixels and the sums are this task's alone.
                    unsafe { self.unit(simd, part, unit, panel) };
                }
                panel += count;
            }
        }
    }
}

impl Task<'_> {
    /// Both pixels of pair `i` of this task; the first one twice where there is no second.
    #[inline(always)]
    fn pixels(&self, i: usize) -> [usize; 2] {
        let (pairs, pixels) = (self.strassen.pairs(), self.strassen.pixels);
        let q = self.pairs.start + i;
        let (picture, upper) = (q / pairs * pixels, q % pairs);
        let lower = if upper + pairs < pixels { upper + pairs } else { upper };
        [picture + upper, picture + lower]
    }

    #[inline(always)]
    fn source(&self, pixel: usize) -> *const f32 {
        self.source.as_ptr().wrapping_add(pixel * self.source.stride())
    }

    /// Pairs from `first` on. Rows behind the last repeat it and are not stored.
    #[inline(always)]
    fn gather(&self, first: usize, unit: &mut Unit) {
        let (half, last) = (self.strassen.half, self.pairs.len() - 1);
        unit.rows = UNIT.min(self.pairs.len() - first);
        for r in 0..UNIT {
            let i = (first + r).min(last);
            unit.pixels[r] = self.pixels(i);
            let [upper, lower] = unit.pixels[r].map(|pixel| self.source(pixel));
            let sums = self.sums.cast_const().wrapping_add(i * SUMS * half);
            let [s1, s2, s3, s4] = [0, 1, 2, 3].map(|s| sums.wrapping_add(s * half));
            let [a11, a12, a22] = [upper, upper.wrapping_add(half), lower.wrapping_add(half)];
            for (product, row) in [a11, a12, s2, s3, a22, s1, s4].into_iter().enumerate() {
                unit.a[product][r] = row;
            }
        }
    }

    /// The sums S1, S2, S3, S4 of pair `i`.
    ///
    /// # Safety
    /// Half a pixel is of whole vectors; nobody else uses the sums.
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, simd: S, i: usize) {
        let half = self.strassen.half;
        let [upper, lower] = self.pixels(i).map(|pixel| self.source(pixel));
        // SAFETY: the caller's promises.
        unsafe {
            let sums = self.sums.add(i * SUMS * half);
            let minus = simd.splat(-1.0);
            for k in (0..half).step_by(S::LANES) {
                let [a11, a12] = [0, half].map(|right| simd.load(upper.add(right + k)));
                let [a21, a22] = [0, half].map(|right| simd.load(lower.add(right + k)));
                let s1 = simd.add(a21, a22);
                let s2 = simd.mul_add(a11, minus, s1);
                let s3 = simd.mul_add(a21, minus, a11);
                let s4 = simd.mul_add(s2, minus, a12);
                simd.store(sums.add(k), s1);
                simd.store(sums.add(half + k), s2);
                simd.store(sums.add(2 * half + k), s3);
                simd.store(sums.add(3 * half + k), s4);
            }
        }
    }

    /// Six pairs by two vectors of columns from `panel` on, and as many half the columns further.
    ///
    /// # Safety
    /// The extents of all operands were checked; nobody else uses the target pixels and the sums.
    #[inline(always)]
    unsafe fn unit<S: Simd>(&mut self, simd: S, part: &Part, unit: &Unit, panel: usize) {
        let column = panel * PANEL;
        let b = part.packed[part.panels.range(panel).start..].as_ptr();
        let b = [b, b.wrapping_add(part.panels.second::<S>())];
        let right = column + part.panels.n;
        for &pixel in unit.pixels[..unit.rows].as_flattened() {
            part.epilogue.prefetch(simd, &part.target, pixel, column, 2);
            part.epilogue.prefetch(simd, &part.target, pixel, right, 2);
        }
        // SAFETY: the caller's promises.
        unsafe {
            let zero = [[simd.splat(0.0); 2]; UNIT];
            let p1 = self.product(simd, unit, 0, b, zero);
            let c11 = self.product(simd, unit, 1, b, p1);
            self.store(simd, part, unit, &c11, [0, column]);
            let u2 = self.product(simd, unit, 2, b, p1);
            let u3 = self.product(simd, unit, 3, b, u2);
            let c21 = self.product(simd, unit, 4, b, u3);
            self.store(simd, part, unit, &c21, [1, column]);
            let p5 = self.product(simd, unit, 5, b, zero);
            self.store(simd, part, unit, &plus(simd, &u3, &p5), [1, right]);
            let c12 = self.product(simd, unit, 6, b, plus(simd, &u2, &p5));
            self.store(simd, part, unit, &c12, [0, right]);
        }
    }

    /// `acc` and the product of quarters `i`.
    ///
    /// # Safety
    /// As for [`Self::unit`].
    #[inline(always)]
    unsafe fn product<S: Simd>(
        &mut self,
        simd: S,
        unit: &Unit,
        i: usize,
        b: [*const f32; 2],
        acc: Sums<S>,
    ) -> Sums<S> {
        let depth = Depth { taps: 1, k: self.strassen.half, empty: 0 };
        let skip = i * depth.k * PANEL;
        let b = [b[0].wrapping_add(skip), b[1].wrapping_add(skip)];
        // SAFETY: the caller's promises.
        unsafe { dot::<S, UNIT, 2, PANEL>(simd, acc, unit.a[i].as_ptr(), depth, b, &mut self.ahead) }
    }

    /// Stores `sums` of the upper pixels, or the lower ones, from `column` on.
    ///
    /// # Safety
    /// As for [`Self::unit`].
    #[inline(always)]
    unsafe fn store<S: Simd>(
        &self,
        simd: S,
        part: &Part,
        unit: &Unit,
        sums: &Sums<S>,
        [lower, column]: [usize; 2],
    ) {
        for (r, pixels) in unit.pixels[..unit.rows].iter().enumerate() {
            if lower == 1 && pixels[0] == pixels[1] {
                continue;
            }
            for v in 0..2 {
                let (first, n) = (column + v * S::LANES, 2 * part.panels.n);
                // SAFETY: the caller's promises.
                unsafe { part.epilogue.store(simd, sums[r][v], &part.target, pixels[lower], first, n) };
            }
        }
    }
}

/// Sums of one unit, in registers.
type Sums<S> = [[<S as Simd>::V; 2]; UNIT];

/// Pairs of pixels that are computed together.
#[derive(Clone, Copy)]
struct Unit {
    /// Pairs that exist.
    rows: usize,
    /// Upper and lower pixel.
    pixels: [[usize; 2]; UNIT],
    /// Rows of each product.
    a: [[*const f32; UNIT]; PRODUCTS],
}

#[inline(always)]
fn plus<S: Simd>(simd: S, a: &Sums<S>, b: &Sums<S>) -> Sums<S> {
    let mut sums = *a;
    for r in 0..UNIT {
        for v in 0..2 {
            sums[r][v] = simd.add(a[r][v], b[r][v]);
        }
    }
    sums
}
