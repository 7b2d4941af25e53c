//! Winograd's convolution: `m` outputs an axis from `n = m + r − 1` inputs, `n` instead of `m·r` products; 3×3 kernels at
//! stride 2 too, with `n = 7` for `m = 3`.
//!
//! ```text
//! V[ξ][tile][c]  = input transform of the tile's n × n pixels           ξ: one of the n × n products
//! M[ξ][tile][o]  = Σ_c V[ξ][tile][c] · U[ξ][c][o]                       the micro-kernel of all convolutions
//! y              = epilogue(output transform of M)
//! ```
//! 3×3 and 5×5 kernels are transformed along both axes, 1×7 and the like along theirs. A task multiplies one block of tiles
//! with one pair of panels; V and M belong to the thread, in its own cache, and V is transformed when the thread first
//! meets the block. On small maps with transforms along one axis, where the transformed weights U are larger than V, a
//! thread keeps V of all blocks and has panels of its own, so that each part of U is read by one thread; elsewhere a thread
//! has blocks of its own.

mod task;
mod tile;
mod transform;

pub(super) use tile::Spread;

use std::ops::Range;
use std::sync::atomic::Ordering;

use task::Task;

use super::grad_weight::{Sums, store};
use super::micro::{Ahead, Operands, PAIR, PANEL, Pack, Panels, UNIT, with_marks};
use super::{ConvShape, Taps};
use crate::isa::{Loops, WIDEST};
use crate::view::{Parts, piece};
use crate::{Isa, Pool, ViewMut};

/// Tiles of a block at most: a multiple of the rows of the micro-kernel.
const TILES: usize = 24;
/// Values between the ends of one ξ and the start of the next, so that the 64 streams do not all meet in one set of the
/// first cache.
const SKEW: usize = 16;
/// Values of V that a thread keeps at most where it keeps all blocks; three quarters of an L2.
const KEPT: usize = 192 << 10;

/// Winograd's convolution of one shape.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    shape: ConvShape,
    /// Outputs of a tile.
    m: [usize; 2],
    /// Products of a tile.
    n: [usize; 2],
    /// Tiles of a picture.
    tiles: [usize; 2],
    panels: Panels,
    /// The filter's transforms along both axes.
    filters: [Vec<Vec<f64>>; 2],
}

impl Winograd {
    /// `m` outputs a tile, 1 along an axis where the kernel has one tap; why not, where it cannot be.
    pub(super) fn new(shape: ConvShape, m: [usize; 2]) -> Result<Self, &'static str> {
        let between = |m: usize| shape.stride.saturating_mul(m.saturating_sub(1));
        let n = [0, 1].map(|d| between(m[d]).saturating_add(shape.kernel[d]));
        match [[n[0], m[0]], [n[1], m[1]]] {
            [[7, 3], [7, 3]] if shape.stride == 2 => {}
            _ if shape.stride != 1 => return Err("there are no transforms for its stride"),
            [[4, 2], [4, 2]] | [[6, 4], [6, 4]] | [[8, 6], [8, 6]] => {}
            [[6, 2], [6, 2]] | [[8, 4], [8, 4]] => {}
            [[1, 1], along] | [along, [1, 1]]
                if matches!(along, [4, 2] | [6, 4] | [8, 2] | [10, 4] | [10, 8] | [12, 6]) => {}
            _ => return Err("there are no transforms for such a kernel and tile"),
        }
        let tiles = [0, 1].map(|d| shape.output()[d].div_ceil(m[d]));
        let panels = Panels { n: shape.out_channels, depth: n[0] * n[1] * shape.in_channels };
        let filters = [0, 1].map(|d| transform::filter(n[d], shape.kernel[d]));
        Ok(Winograd { shape, m, n, tiles, panels, filters })
    }

    /// Outputs of a tile.
    pub(super) fn tile(&self) -> [usize; 2] {
        self.m
    }

    /// Products of a tile.
    pub(super) fn points(&self) -> usize {
        self.n[0] * self.n[1]
    }

    /// Length of the transformed weights.
    pub(super) fn packed_len(&self) -> usize {
        self.panels.packed_len()
    }

    /// Transforms `weights`, in `f64`, to `[panel][ξ][in][width]`.
    pub(super) fn pack(&self, pool: &Pool, isa: Isa, weights: Taps, packed: &mut [f32]) {
        self.panels.pack(pool, isa, packed, Transform { winograd: self, weights });
    }

    /// Tiles of `batch` pictures.
    pub(super) fn rows(&self, batch: usize) -> usize {
        batch * self.tiles[0] * self.tiles[1]
    }

    /// `dw = Gᵀ M`, in `f64`: what tiles transformed by [`Self::transform_input`] and [`Self::transform_gradient`] sum up to.
    pub(super) fn finish(&self, pool: &Pool, isa: Isa, m: Sums, accumulate: bool, dw: &mut [f32]) {
        let dw = Parts::new(dw);
        pool.run(self.shape.in_channels, |c| {
            isa.run_loops(Finish { winograd: self, m, c, accumulate, dw });
        });
    }

    /// How `batch` pictures are cut.
    fn blocks(&self, batch: usize) -> Blocks {
        let tiles = self.rows(batch);
        let size = tiles.div_ceil(tiles.div_ceil(TILES)).next_multiple_of(UNIT);
        let count = tiles.div_ceil(size);
        let depth = self.shape.in_channels.next_multiple_of(WIDEST);
        let v_stride = size * depth + SKEW;
        let one_axis = self.m.contains(&1);
        let kept = if one_axis && count * self.points() * v_stride <= KEPT { count } else { 1 };
        Blocks { tiles, size, count, kept, depth, v_stride, m_stride: size * PAIR * PANEL + SKEW }
    }

    /// Length of the scratch of [`Self::run`].
    pub(super) fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        let blocks = self.blocks(batch);
        self.points() * threads * (blocks.kept * blocks.v_stride + blocks.m_stride)
    }

    pub(super) fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        operands: Operands,
        zeros: &[f32],
        target: ViewMut,
        scratch: &mut [f32],
    ) {
        let Operands { x: source, packed, next, epilogue } = operands;
        let [h, w] = self.shape.input;
        let [oh, ow] = self.shape.output();
        let batch = source.pixels() / (h * w);
        assert_eq!(source.pixels(), batch * h * w, "source holds whole pictures");
        assert_eq!(target.pixels(), batch * oh * ow, "target holds the same pictures");
        assert!(source.channels() == self.shape.in_channels && target.channels() == self.shape.out_channels);
        assert!(packed.len() == self.packed_len() && zeros.len() >= self.shape.in_channels);
        assert!(scratch.len() >= self.scratch_len(batch, pool.threads()));
        epilogue.check(target.pixels(), target.channels());
        let blocks = self.blocks(batch);
        let (v_len, m_len) = (self.points() * blocks.v_stride, self.points() * blocks.m_stride);
        let (panels, threads) = (self.panels.count(), pool.threads());
        let (groups, kept) = (panels.div_ceil(PAIR), blocks.kept);
        let (v, m) = scratch.split_at_mut(threads * kept * v_len);
        let (v, m) = (Parts::new(v), Parts::new(m));
        let target = target.share();
        // The block in each place of V.
        with_marks(threads * kept, |held| {
            pool.run_on(blocks.count * groups, |worker, i| {
                let (block, group) =
                    if kept == blocks.count { (i % kept, i / kept) } else { (i / groups, i % groups) };
                let panels = piece(group, PAIR, panels);
                let place = worker * kept + block % kept;
                let transforms = held[place].swap(block, Ordering::Relaxed) != block;
                let now = self.panels.span(panels.clone());
                let behind = &packed[now.end..(now.end + now.len()).min(packed.len())];
                isa.run(Task {
                    winograd: self,
                    blocks: &blocks,
                    source: &source,
                    packed,
                    ahead: Ahead::new(behind, next, [block, blocks.count]),
                    zeros,
                    epilogue: &epilogue,
                    target: &target,
                    tiles: piece(block, blocks.size, blocks.tiles),
                    transforms,
                    panels,
                    // V and M of a worker are used by one task at a time.
                    v: v.pointer(place * v_len..(place + 1) * v_len),
                    m: m.pointer(worker * m_len..(worker + 1) * m_len),
                });
            })
        });
    }
}

/// Weights → U.
#[derive(Clone, Copy)]
struct Transform<'a> {
    winograd: &'a Winograd,
    weights: Taps<'a>,
}

/// Weights of the largest kernel, and of one that is transformed along one axis.
const TAPS: usize = 25;

impl Pack for Transform<'_> {
    #[inline(always)]
    fn fill(&self, outputs: Range<usize>, panel: &mut [f32], width: usize) {
        let Transform { winograd, weights } = *self;
        let (ConvShape { in_channels, kernel: [_, kw], .. }, [rows, columns]) =
            (winograd.shape, &winograd.filters);
        // All outputs of the panel at a time; zeros for those that do not exist.
        let mut taps = [[0.0f64; PANEL]; TAPS];
        let taps = &mut taps[..weights.count];
        let mut half = [[0.0f64; PANEL]; TAPS];
        let half = &mut half[..kw];
        for c in 0..in_channels {
            for (tap, to) in taps.iter_mut().enumerate() {
                *to = weights.read(tap, c, &outputs).map(f64::from);
            }
            for (y, row) in rows.iter().enumerate() {
                for (x, half) in half.iter_mut().enumerate() {
                    *half = sum(row, taps[x..].iter().step_by(kw));
                }
                for (x, column) in columns.iter().enumerate() {
                    let values = sum(column, &*half);
                    let to = &mut panel[((y * columns.len() + x) * in_channels + c) * width..][..width];
                    to.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
                }
            }
        }
    }
}

/// M of one channel in → the gradient of its weights.
struct Finish<'a> {
    winograd: &'a Winograd,
    m: Sums<'a>,
    c: usize,
    accumulate: bool,
    dw: Parts<'a, f32>,
}

impl Loops for Finish<'_> {
    #[inline(always)]
    fn run(self) {
        let ConvShape { in_channels, out_channels, kernel: [kh, kw], .. } = self.winograd.shape;
        let [rows, columns] = &self.winograd.filters;
        let nx = columns.len();
        let [mut taps, mut half] = [[[0.0f64; PANEL]; TAPS]; 2];
        let (taps, half) = (&mut taps[..kh * kw], &mut half[..kw]);
        for first in (0..out_channels).step_by(PANEL) {
            let outputs = first..out_channels.min(first + PANEL);
            taps.fill([0.0; PANEL]);
            for (y, row) in rows.iter().enumerate() {
                half.fill([0.0; PANEL]);
                for (x, column) in columns.iter().enumerate() {
                    let value = self.m.read(y * nx + x, self.c, first).map(f64::from);
                    for (half, factor) in half.iter_mut().zip(column) {
                        (0..PANEL).for_each(|i| half[i] += factor * value[i]);
                    }
                }
                for (ky, factor) in row.iter().enumerate() {
                    for kx in 0..kw {
                        (0..PANEL).for_each(|i| taps[ky * kw + kx][i] += factor * half[kx][i]);
                    }
                }
            }
            for (tap, values) in taps.iter().enumerate() {
                let row = (tap * in_channels + self.c) * out_channels;
                // SAFETY: each task has a channel in of its own.
                let dw = unsafe { self.dw.part(row + outputs.start..row + outputs.end) };
                store(dw, values.map(|value| value as f32), self.accumulate);
            }
        }
    }
}

/// `Σ factor · value`, for all outputs of a panel.
#[inline(always)]
fn sum<'a>(factors: &[f64], values: impl IntoIterator<Item = &'a [f64; PANEL]>) -> [f64; PANEL] {
    let mut sums = [0.0; PANEL];
    for (factor, values) in factors.iter().zip(values) {
        for i in 0..PANEL {
            sums[i] += factor * values[i];
        }
    }
    sums
}

/// How the tiles of a batch are cut into blocks.
struct Blocks {
    tiles: usize,
    /// Tiles of a block.
    size: usize,
    count: usize,
    /// Blocks whose V a thread keeps: all, or one.
    kept: usize,
    /// Channels of V, padded to whole vectors.
    depth: usize,
    /// Values from one ξ of V, of M, to the next.
    v_stride: usize,
    m_stride: usize,
}
