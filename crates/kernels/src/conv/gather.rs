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

use super::Taps;
use super::micro::{
    Ahead, BLOCK, Depth, Epilogue, Operands, PAIR, PANEL, Pack, Panels, Shortcut, Strip, TASKS, UNIT, dot,
};
use super::window::{TAPS, Window};
use crate::isa::{Kernel, NARROW, Simd};
use crate::view::{Pixels, part};
use crate::{Isa, Pool, View, ViewMut};

/// Row pointers a task holds at most, on its stack.
const POINTERS: usize = TAPS * BLOCK;
/// Blocks of rows of a task at most.
const BLOCKS: usize = 8;
/// Bytes of source rows that a task goes through again for each panel; they stay in L2 beside the panels.
const ROW_BYTES: usize = 400 << 10;

fn scaled(range: Range<usize>, by: usize) -> Range<usize> {
    range.start * by..range.end * by
}

/// `[n, slow, fast]` and those behind it, the last counting fastest, the first without end.
#[inline(always)]
fn count_up([slows, fasts]: [usize; 2], mut place: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    std::iter::repeat_with(move || {
        let now = place;
        place[2] += 1;
        if place[2] == fasts {
            [place[1], place[2]] = [place[1] + 1, 0];
            if place[1] == slows {
                [place[0], place[1]] = [place[0] + 1, 0];
            }
        }
        now
    })
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
    /// Whether rows go down the columns of the grid.
    pub(super) columns_first: bool,
}

impl Gather {
    pub(super) fn panels(&self) -> Panels {
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

    /// Fills `packed` as `[panel][tap][k][width]`.
    pub(super) fn pack(&self, pool: &Pool, isa: Isa, weights: Taps, packed: &mut [f32]) {
        self.panels().pack(pool, isa, packed, PackDirect { gather: self, weights });
    }

    /// Picture, row and column of the grid points from `q` on, row by row. Divisions are as slow as dozens of products, so
    /// there are some for the first alone.
    #[inline(always)]
    pub(super) fn points(&self, q: usize) -> impl Iterator<Item = [usize; 3]> {
        let [h, w] = self.grid;
        count_up([h, w], [q / (h * w), q / w % h, q % w])
    }

    /// Picture, row and column of the rows of the product from `r` on. Along the axis that is padded less, neighbours leave
    /// out the same taps.
    #[inline(always)]
    fn rows_from(&self, r: usize) -> impl Iterator<Item = [usize; 3]> {
        let ([h, w], swapped) = (self.grid, self.columns_first);
        let [slow, fast] = if swapped { [w, h] } else { [h, w] };
        let points = count_up([slow, fast], [r / (h * w), r / fast % slow, r % fast]);
        points.map(move |[n, slow, fast]| if swapped { [n, fast, slow] } else { [n, slow, fast] })
    }

    /// `target = epilogue(source · packed)`.
    pub(super) fn run(&self, pool: &Pool, isa: Isa, operands: Operands, zeros: &[f32], target: ViewMut) {
        let Operands { x, packed, next, epilogue } = operands;
        let part = Part { panels: self.panels(), packed, epilogue, target: target.share(), first: 0 };
        self.run_parts(pool, isa, x, &[part], next, zeros);
    }

    /// The same for each of `parts`, which have the grid, taps and values a tap of this product.
    pub(super) fn run_parts(
        &self,
        pool: &Pool,
        isa: Isa,
        source: View,
        parts: &[Part],
        next: &[f32],
        zeros: &[f32],
    ) {
        let pixels = self.source[0] * self.source[1];
        let batch = source.pixels() / pixels;
        let target_pixels = batch * self.target[0] * self.target[1];
        assert_eq!(source.pixels(), batch * pixels, "source holds whole pictures");
        assert!(self.k.is_multiple_of(source.channels()) && zeros.len() >= self.k, "{self:?}");
        assert!(self.taps.len() <= TAPS, "kernels of at most {TAPS} taps");
        for Part { panels, packed, epilogue, target, .. } in parts {
            assert_eq!(target.pixels(), target_pixels, "target holds the same pictures");
            assert_eq!(panels.depth, self.taps.len() * self.k, "{self:?}");
            assert!(target.channels() == panels.n && packed.len() == panels.packed_len(), "{self:?}");
            epilogue.check(target_pixels, panels.n);
        }
        let in_place = |part: &Part| matches!(part.epilogue.residual, Some((Shortcut::InPlace, _)));
        if self.taps.is_empty() && parts.iter().all(in_place) {
            return;
        }
        let units = self.rows(batch).div_ceil(UNIT);
        let most = (POINTERS / BLOCK / self.taps.len().max(1))
            .min(ROW_BYTES / (4 * self.k) / BLOCK)
            .clamp(1, BLOCKS);
        let split = Split::new(units, most * BLOCK / UNIT, parts);
        let weights: usize = parts.iter().map(|part| part.packed.len()).sum();
        let heavy = weights > 2 * source.pixels() * source.channels();
        pool.run(split.tasks(), |task| {
            // A thread begins with a share of neighbouring tasks: with weights of its own where they are many, so that each
            // is read by one thread, else with rows of its own.
            let [chunk, group] = if heavy {
                [task % split.chunks, task / split.chunks]
            } else {
                [task / split.groups, task % split.groups]
            };
            let rows = split.rows(chunk);
            isa.run(Task {
                gather: self,
                source: &source,
                ahead: split.ahead([chunk, group], parts, next, heavy),
                zeros,
                parts,
                rows: rows.start..rows.end.min(self.rows(batch)),
                panels: split.panels(group),
            });
        });
    }
}

/// Weights → `[tap][k][width]`.
#[derive(Clone, Copy)]
struct PackDirect<'a> {
    gather: &'a Gather,
    weights: Taps<'a>,
}

impl Pack for PackDirect<'_> {
    #[inline(always)]
    fn fill(&self, columns: Range<usize>, panel: &mut [f32], width: usize) {
        let k = self.gather.k;
        for (tap, part) in self.gather.taps.iter().zip(panel.chunks_mut(k * width)) {
            for (k, row) in part.chunks_exact_mut(width).enumerate() {
                row.copy_from_slice(&self.weights.read(tap.index, k, &columns)[..width]);
            }
        }
    }
}

/// How rows and columns are dealt out to tasks: chunks of units of rows by groups of pairs of panels.
pub(super) struct Split {
    units: usize,
    pairs: usize,
    pub(super) chunks: usize,
    pub(super) groups: usize,
}

impl Split {
    /// Chunks of `most` units at most; where they are few, groups of panels make enough tasks.
    pub(super) fn new(units: usize, most: usize, parts: &[Part]) -> Self {
        let pairs = parts.last().map_or(0, Part::end) / PAIR;
        let chunks = units.div_ceil(most);
        Split { units, pairs, chunks, groups: TASKS.div_ceil(chunks).min(pairs) }
    }
    pub(super) fn tasks(&self) -> usize {
        self.chunks * self.groups
    }
    /// Rows of a chunk, to the end of the last unit.
    pub(super) fn rows(&self, chunk: usize) -> Range<usize> {
        scaled(part(chunk, self.chunks, self.units), UNIT)
    }
    /// Panels of a group.
    pub(super) fn panels(&self, group: usize) -> Range<usize> {
        scaled(part(group, self.groups, self.pairs), PAIR)
    }
    /// What a task fetches: the next group's weights, or those behind this convolution. `heavy`: a thread has groups of its
    /// own, not chunks.
    pub(super) fn ahead(
        &self,
        [chunk, group]: [usize; 2],
        parts: &[Part],
        next: &[f32],
        heavy: bool,
    ) -> Ahead {
        let panels = if group + 1 == self.groups { 0..0 } else { self.panels(group + 1) };
        let behind = parts.iter().map(|part| part.weights(&panels)).find(|weights| !weights.is_empty());
        let behind = behind.unwrap_or(&[]);
        // The chunks of a group fetch what follows together, unless one thread goes through all groups.
        let share = if heavy || behind.is_empty() { [chunk, self.chunks] } else { [0, 1] };
        Ahead::new(behind, next, share)
    }
}

/// The columns of one target.
pub(super) struct Part<'a> {
    pub(super) panels: Panels,
    pub(super) packed: &'a [f32],
    pub(super) epilogue: Epilogue<'a>,
    pub(super) target: Pixels<'a>,
    /// Number of its first panel among those of all parts; even, so that panels keep their pairs.
    pub(super) first: usize,
}

impl Part<'_> {
    /// Where the next part may begin.
    pub(super) fn end(&self) -> usize {
        (self.first + self.panels.count()).next_multiple_of(PAIR)
    }
    /// Its own panels among `panels` of all parts.
    #[inline(always)]
    pub(super) fn own(&self, panels: &Range<usize>) -> Range<usize> {
        let own = |panel: usize| panel.saturating_sub(self.first).min(self.panels.count());
        own(panels.start)..own(panels.end)
    }
    /// Its weights among those of `panels` of all parts.
    fn weights(&self, panels: &Range<usize>) -> &[f32] {
        let own = self.own(panels);
        if own.is_empty() {
            return &[];
        }
        &self.packed[self.panels.span(own)]
    }
}

struct Task<'a> {
    gather: &'a Gather,
    source: &'a View<'a>,
    ahead: Ahead,
    zeros: &'a [f32],
    parts: &'a [Part<'a>],
    rows: Range<usize>,
    panels: Range<usize>,
}

/// The rows of a task.
struct Rows<'a> {
    /// `[block][tap][row]`.
    pointers: &'a [*const f32; POINTERS],
    pixels: &'a [usize],
    empty: &'a [u64; BLOCKS * BLOCK / UNIT],
}

impl Rows<'_> {
    /// Target pixels of `count` units from `unit` on, as far as there are rows.
    #[inline(always)]
    fn pixels(&self, unit: usize, count: usize) -> &[usize] {
        let end = self.pixels.len();
        &self.pixels[(unit * UNIT).min(end)..((unit + count) * UNIT).min(end)]
    }
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let gather = self.gather;
        let taps = gather.taps.len();
        // [block][tap][row]; rows behind the last read zeros and are not stored.
        let mut pointers = [self.zeros.as_ptr(); POINTERS];
        let mut pixels = [0usize; BLOCKS * BLOCK];
        // Taps that read zeros in all rows of a unit.
        let mut empty = [u64::MAX; BLOCKS * BLOCK / UNIT];
        let window = Window::new(gather, self.source);
        for (i, position) in gather.rows_from(self.rows.start).take(self.rows.len()).enumerate() {
            let (block, row) = (i / BLOCK, i % BLOCK);
            let pointers = &mut pointers[block * taps * BLOCK + row..];
            let mut meets = 0;
            window.taps(position, self.zeros, |tap, pointer, inside| {
                pointers[tap * BLOCK] = pointer;
                meets |= u64::from(inside) << tap;
            });
            empty[i / UNIT] &= !meets;
            let [n, y, x] = position;
            let [ty, tx] = [(y, 0), (x, 1)].map(|(v, d)| v * gather.target_stride + gather.target_offset[d]);
            pixels[i] = (n * gather.target[0] + ty) * gather.target[1] + tx;
        }
        let rows = Rows { pointers: &pointers, pixels: &pixels[..self.rows.len()], empty: &empty };
        let parts = self.parts;
        for part in parts {
            self.part(simd, part, &rows);
        }
    }
}

impl Task<'_> {
    /// The columns of `part` that are this task's, for all its rows.
    #[inline(always)]
    fn part<S: Simd>(&mut self, simd: S, part: &Part, rows: &Rows) {
        let panels = part.panels;
        let Range { start: mut panel, end } = part.own(&self.panels);
        while panel < end {
            let (strip, count) = panels.strip::<S>(panel, end);
            // Not of this panel alone: a pair reads the next one too.
            let b = part.packed[panels.range(panel).start..].as_ptr();
            let pair = [b, b.wrapping_add(panels.second::<S>())];
            let column = panel * PANEL;
            let units = rows.pixels.len().div_ceil(UNIT);
            for unit in (0..units).step_by(2) {
                let alone = unit + 1 == units;
                // SAFETY: every pointer leads to `k` readable values (a source pixel, merged pixels of one row inside
                // the picture, or zeros), `b` to the panels of the strip; the target pixels belong to this task alone.
                unsafe {
                    match strip {
                        Strip::Double => {
                            self.tile::<S, UNIT, 2, PANEL>(simd, part, rows, unit, pair, column);
                            if !alone {
                                self.tile::<S, UNIT, 2, PANEL>(simd, part, rows, unit + 1, pair, column);
                            }
                        }
                        Strip::Single => self.tile::<S, BLOCK, 1, PANEL>(simd, part, rows, unit, [b], column),
                        // Six rows at a time too: with twelve the compiler keeps sums on the stack.
                        Strip::Narrow => {
                            let half = simd.half();
                            self.tile::<S::Half, UNIT, 1, NARROW>(half, part, rows, unit, [b], column);
                            if !alone {
                                self.tile::<S::Half, UNIT, 1, NARROW>(
                                    half,
                                    part,
                                    rows,
                                    unit + 1,
                                    [b],
                                    column,
                                );
                            }
                        }
                    }
                }
            }
            panel += count;
        }
    }

    /// `M` rows from `unit` on by `N` vectors.
    ///
    /// # Safety
    /// As stated where it is called.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize, const STEP: usize>(
        &mut self,
        simd: S,
        part: &Part,
        rows: &Rows,
        unit: usize,
        b: [*const f32; N],
        column: usize,
    ) {
        let (taps, k) = (self.gather.taps.len(), self.gather.k);
        let empty = rows.empty[unit] & if M > UNIT { rows.empty[unit + 1] } else { u64::MAX };
        let first = rows.pointers[unit / 2 * taps * BLOCK..][..taps * BLOCK].as_ptr();
        for &pixel in rows.pixels(unit, M / UNIT) {
            part.epilogue.prefetch(simd, &part.target, pixel, column, N);
        }
        // SAFETY: the caller's promises.
        let acc = unsafe {
            dot::<S, M, N, STEP>(
                simd,
                [[simd.splat(0.0); N]; M],
                first.add(unit % 2 * UNIT),
                Depth { taps, k, empty },
                b,
                &mut self.ahead,
            )
        };
        for (r, &pixel) in rows.pixels(unit, M / UNIT).iter().enumerate() {
            for v in 0..N {
                let first = column + v * S::LANES;
                if first < part.panels.n {
                    // SAFETY: the pixel is this task's, the columns exist.
                    unsafe {
                        part.epilogue.store(simd, acc[r][v], &part.target, pixel, first, part.panels.n)
                    };
                }
            }
        }
    }
}
