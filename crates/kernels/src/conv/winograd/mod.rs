//! Winograd's convolution: `m` outputs an axis from `n = m + r − 1` inputs, `n` instead of `m·r` products; 3×3 kernels at
//! stride 2 too, with `n = 7` for `m = 3`.
//!
//! ```text
//! V[ξ][tile][c]  = input transform of the tile's n × n pixels           ξ: one of the n × n products
//! M[ξ][tile][o]  = Σ_c V[ξ][tile][c] · U[ξ][c][o]                       the micro-kernel of all convolutions
//! y              = epilogue(output transform of M)
//! ```
//! 3×3 and 5×5 kernels are transformed along both axes, 1×7 and the like along theirs. Tiles are worked on in blocks, and
//! panels of output channels in groups, so that V and M of a task stay in L2. Many blocks: each task does all three steps
//! for its own. Few blocks (small maps): V is shared, and tasks are blocks × groups, so that each core reads only a part of
//! the transformed weights U, which are larger than the weights.

mod transform;

use std::ops::Range;

use super::ConvShape;
use super::micro::{Ahead, BLOCK, Epilogue, Operands, PAIR, PANEL, Panels, Strip, TASKS, dot};
use crate::isa::{Kernel, NARROW, Simd, WIDEST};
use crate::view::{Parts, Pixels, piece};
use crate::{Isa, Pool, View, ViewMut};

/// Products of the largest tile.
const POINTS: usize = 64;
/// Tiles of a block at most: a multiple of the rows of the micro-kernel.
const TILES: usize = 24;
/// Panels whose products are held together.
const GROUP: usize = 4;
/// Values between the ends of one ξ and the start of the next, so that the 64 streams do not all meet in one set of the
/// first cache.
const SKEW: usize = 16;
/// Blocks from which on each task does its own input transform.
const MANY: usize = 8;

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
}

impl Winograd {
    /// `m` outputs a tile, 1 along an axis where the kernel has one tap; why not, where it cannot be.
    pub(super) fn new(shape: ConvShape, m: [usize; 2]) -> Result<Self, &'static str> {
        let n = [0, 1].map(|d| shape.stride * (m[d] - 1) + shape.kernel[d]);
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
        Ok(Winograd { shape, m, n, tiles, panels })
    }

    /// Outputs of a tile.
    pub(super) fn tile(&self) -> [usize; 2] {
        self.m
    }

    fn points(&self) -> usize {
        self.n[0] * self.n[1]
    }

    /// Length of the transformed weights.
    pub(super) fn packed_len(&self) -> usize {
        self.panels.packed_len()
    }

    /// Transforms `weights` `[kh, kw, in, out]`, in `f64`, to `[panel][ξ][in][width]`.
    pub(super) fn pack(&self, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        let ConvShape { in_channels: k, out_channels: n, kernel: [kh, kw], .. } = self.shape;
        let [rows, columns] = [transform::filter(self.n[0], kh), transform::filter(self.n[1], kw)];
        self.panels.pack(pool, packed, |outputs, panel, width| {
            let mut half = vec![0.0f64; rows.len() * kw];
            for c in 0..k {
                for (j, o) in outputs.clone().enumerate() {
                    for (y, row) in rows.iter().enumerate() {
                        for x in 0..kw {
                            let tap = |ky: usize| f64::from(weights[((ky * kw + x) * k + c) * n + o]);
                            half[y * kw + x] = (0..kh).map(|ky| row[ky] * tap(ky)).sum();
                        }
                        for (x, column) in columns.iter().enumerate() {
                            let value: f64 = (0..kw).map(|kx| half[y * kw + kx] * column[kx]).sum();
                            panel[((y * columns.len() + x) * k + c) * width + j] = value as f32;
                        }
                    }
                }
            }
        });
    }

    /// How `batch` pictures are cut.
    fn blocks(&self, batch: usize) -> Blocks {
        let tiles = batch * self.tiles[0] * self.tiles[1];
        let count = tiles.div_ceil(TILES);
        let size = tiles.div_ceil(count).next_multiple_of(BLOCK / 2);
        let count = tiles.div_ceil(size);
        let depth = self.shape.in_channels.next_multiple_of(WIDEST);
        let shared = count < MANY;
        // Enough tasks for every core where few blocks have to do.
        let most = if shared { self.panels.count().div_ceil(TASKS.div_ceil(count)) } else { GROUP };
        let group = most.next_multiple_of(PAIR).min(GROUP);
        Blocks {
            tiles,
            size,
            count,
            group,
            depth,
            v_stride: size * depth + SKEW,
            m_stride: size * group * PANEL + SKEW,
            shared,
        }
    }

    /// Length of the scratch of [`Self::run`].
    pub(super) fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        let blocks = self.blocks(batch);
        let v = if blocks.shared { blocks.count } else { threads };
        self.points() * (v * blocks.v_stride + threads * blocks.m_stride)
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
        let v_count = if blocks.shared { blocks.count } else { pool.threads() };
        let (v, m) = scratch.split_at_mut(v_count * v_len);
        let (v, m) = (Parts::new(v), Parts::new(m));
        let target = target.share();
        let panels = self.panels.count();
        let task = |block: usize, [place, worker]: [usize; 2], transforms: bool, panels: Range<usize>| {
            let start = |panel: usize| if panel == 0 { 0 } else { self.panels.range(panel - 1).end };
            let now = start(panels.start)..start(panels.end);
            isa.run(Task {
                winograd: self,
                blocks: &blocks,
                source: &source,
                packed,
                ahead: Ahead::new(packed, now, next, [block, blocks.count]),
                zeros,
                epilogue: &epilogue,
                target: &target,
                tiles: piece(block, blocks.size, blocks.tiles),
                transforms,
                panels,
                // V of a place is written by one task, which runs before all that read it; M of a worker is used by one
                // task at a time.
                v: v.pointer(place * v_len..(place + 1) * v_len),
                m: m.pointer(worker * m_len..(worker + 1) * m_len),
            });
        };
        if blocks.shared {
            pool.run_on(blocks.count, |worker, block| task(block, [block, worker], true, 0..0));
            let groups = panels.div_ceil(blocks.group);
            pool.run_on(blocks.count * groups, |worker, i| {
                // All blocks by one group after the other, so that the cores share the weights of a group.
                let (group, block) = (i / blocks.count, i % blocks.count);
                task(block, [block, worker], false, piece(group, blocks.group, panels));
            });
        } else {
            pool.run_on(blocks.count, |worker, block| task(block, [worker; 2], true, 0..panels));
        }
    }
}

/// How the tiles of a batch are cut into blocks.
struct Blocks {
    tiles: usize,
    /// Tiles of a block.
    size: usize,
    count: usize,
    /// Panels of a group.
    group: usize,
    /// Channels of V, padded to whole vectors.
    depth: usize,
    /// Values from one ξ of V, of M, to the next.
    v_stride: usize,
    m_stride: usize,
    /// Whether V is shared by tasks.
    shared: bool,
}

struct Task<'a> {
    winograd: &'a Winograd,
    blocks: &'a Blocks,
    source: &'a View<'a>,
    packed: &'a [f32],
    ahead: Ahead,
    zeros: &'a [f32],
    epilogue: &'a Epilogue<'a>,
    target: &'a Pixels<'a>,
    tiles: Range<usize>,
    /// Whether it begins with the input's transform.
    transforms: bool,
    /// Panels that are multiplied.
    panels: Range<usize>,
    v: *mut f32,
    m: *mut f32,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let ([ny, nx], [my, mx]) = (self.winograd.n, self.winograd.m);
        // SAFETY: the extents of all operands were checked, and V and M are this task's (see `Winograd::run`).
        unsafe {
            match [[ny, my], [nx, mx]] {
                [[7, 3], [7, 3]] => self.go::<S, 7, 3, 7, 3>(simd),
                [[4, 2], [4, 2]] => self.go::<S, 4, 2, 4, 2>(simd),
                [[6, 4], [6, 4]] => self.go::<S, 6, 4, 6, 4>(simd),
                [[8, 6], [8, 6]] => self.go::<S, 8, 6, 8, 6>(simd),
                [[6, 2], [6, 2]] => self.go::<S, 6, 2, 6, 2>(simd),
                [[8, 4], [8, 4]] => self.go::<S, 8, 4, 8, 4>(simd),
                [[1, 1], [4, 2]] => self.go::<S, 1, 1, 4, 2>(simd),
                [[1, 1], [6, 4]] => self.go::<S, 1, 1, 6, 4>(simd),
                [[1, 1], [8, 2]] => self.go::<S, 1, 1, 8, 2>(simd),
                [[1, 1], [10, 4]] => self.go::<S, 1, 1, 10, 4>(simd),
                [[1, 1], [10, 8]] => self.go::<S, 1, 1, 10, 8>(simd),
                [[1, 1], [12, 6]] => self.go::<S, 1, 1, 12, 6>(simd),
                [[4, 2], [1, 1]] => self.go::<S, 4, 2, 1, 1>(simd),
                [[6, 4], [1, 1]] => self.go::<S, 6, 4, 1, 1>(simd),
                [[8, 2], [1, 1]] => self.go::<S, 8, 2, 1, 1>(simd),
                [[10, 4], [1, 1]] => self.go::<S, 10, 4, 1, 1>(simd),
                [[10, 8], [1, 1]] => self.go::<S, 10, 8, 1, 1>(simd),
                [[12, 6], [1, 1]] => self.go::<S, 12, 6, 1, 1>(simd),
                _ => unreachable!("refused when it was planned"),
            }
        }
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
                    self.transform::<S, NY, MY, NX, MX>(simd, tile, i);
                }
            }
            let mut first = self.panels.start;
            while first < self.panels.end {
                let group = first..(first + self.blocks.group).min(self.panels.end);
                self.multiply(simd, group.clone(), NY * NX);
                for (i, tile) in self.tiles.clone().enumerate() {
                    self.finish::<S, NY, MY, NX, MX>(simd, tile, i, group.clone());
                }
                first = group.end;
            }
        }
    }

    /// Picture, row and column of a tile.
    #[inline(always)]
    fn position(&self, tile: usize) -> [usize; 3] {
        let [h, w] = self.winograd.tiles;
        [tile / (h * w), tile / w % h, tile % w]
    }

    /// Pixels of `tile` → V, as tile `i` of the block.
    ///
    /// # Safety
    /// As for [`Self::go`].
    #[inline(always)]
    unsafe fn transform<S: Simd, const NY: usize, const MY: usize, const NX: usize, const MX: usize>(
        &self,
        simd: S,
        tile: usize,
        i: usize,
    ) {
        let ConvShape { input: [h, w], in_channels, stride: step, pad, .. } = self.winograd.shape;
        let [n, ty, tx] = self.position(tile);
        let mut pixels = [self.zeros.as_ptr(); POINTS];
        for y in 0..NY {
            let sy = (step * ty * MY + y).wrapping_sub(pad[0]);
            for x in 0..NX {
                let sx = (step * tx * MX + x).wrapping_sub(pad[1]);
                if sy < h && sx < w {
                    pixels[y * NX + x] =
                        self.source.as_ptr().wrapping_add(((n * h + sy) * w + sx) * self.source.stride());
                }
            }
        }
        let (depth, stride) = (self.blocks.depth, self.blocks.v_stride);
        for c in (0..in_channels).step_by(S::LANES) {
            let lanes = S::LANES.min(in_channels - c);
            // SAFETY: pixels have `in_channels` values, V has `depth` for each tile and ξ.
            unsafe {
                let load = |p: *const f32| {
                    if lanes == S::LANES { simd.load(p.add(c)) } else { simd.load_part(p.add(c), lanes) }
                };
                let mut rows = [[simd.splat(0.0); NX]; NY];
                for x in 0..NX {
                    let column =
                        transform::input::<S, NY>(simd, std::array::from_fn(|y| load(pixels[y * NX + x])));
                    for y in 0..NY {
                        rows[y][x] = column[y];
                    }
                }
                for (y, row) in rows.into_iter().enumerate() {
                    let row = transform::input::<S, NX>(simd, row);
                    for (x, value) in row.into_iter().enumerate() {
                        simd.store(self.v.add((y * NX + x) * stride + i * depth + c), value);
                    }
                }
            }
        }
    }

    /// V · U → M for a group of panels.
    ///
    /// # Safety
    /// As for [`Self::go`].
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, simd: S, group: Range<usize>, points: usize) {
        let k = self.winograd.shape.in_channels;
        let (tiles, columns) = (self.tiles.len(), self.blocks.group * PANEL);
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
                    for tile in (0..tiles).step_by(BLOCK / 2) {
                        // Rows behind the last tile repeat it; their products are not read.
                        let row = |r: usize| v.add((tile + r).min(tiles - 1) * self.blocks.depth);
                        let rows: [*const f32; BLOCK / 2] = std::array::from_fn(row);
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
            let acc = dot::<S, { BLOCK / 2 }, N, STEP>(simd, rows, [1, k], b, &mut self.ahead);
            for (r, acc) in acc.into_iter().enumerate() {
                for (v, acc) in acc.into_iter().enumerate() {
                    simd.store(m.add(r * columns + v * S::LANES), acc);
                }
            }
        }
    }

    /// M → pixels of `tile`, tile `i` of the block, for a group of panels.
    ///
    /// # Safety
    /// As for [`Self::go`].
    #[inline(always)]
    unsafe fn finish<S: Simd, const NY: usize, const MY: usize, const NX: usize, const MX: usize>(
        &self,
        simd: S,
        tile: usize,
        i: usize,
        group: Range<usize>,
    ) {
        let [oh, ow] = self.winograd.shape.output();
        let channels = self.winograd.shape.out_channels;
        let [n, ty, tx] = self.position(tile);
        let (stride, columns) = (self.blocks.m_stride, self.blocks.group * PANEL);
        let first = group.start * PANEL;
        for column in (first..channels.min(group.end * PANEL)).step_by(S::LANES) {
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
