//! `dW[tap, c, :] = Σ_q x[at(q, tap), c] · dy[q, :]`: rows are channels of a tap, the depth is all pixels of the batch.
//!
//! ```text
//! for a task = (split of the pixels, tap, block of channels):
//!     for each chunk of 128 pixels of the split:            dy of a chunk stays in L1/L2
//!         x[q] = pointer to the pixel of the tap, or to zeros
//!         for groups of 3, 2, 1 vectors of columns, for 4, 6, 8 channels:
//!             dW += Σ_q x[q][c] · dy[q][columns]            12, 12, 8 accumulators
//! dW = Σ_split, in order
//! ```
//! In NHWC both operands lie as the product wants them: nothing is packed. Small kernels (the stem's) have too few
//! rows for many cores, so their pixels are split, by size alone, and the partial sums added in order.

use std::ops::Range;

use super::gather::Gather;
use crate::isa::{Kernel, NARROW as LANES, Simd};
use crate::view::{Parts, piece};
use crate::{Isa, Pool, View};

/// Pixels whose pointers are made together.
const CHUNK: usize = 128;
/// Channels of a task: a multiple of 4, 6 and 8.
const CHANNELS: usize = 48;
/// Tasks wanted at least.
const TASKS: usize = 24;
/// Pixels of a split at least.
const SPLIT: usize = 8 * CHUNK;

/// Into how many parts the pixels are split; a function of sizes alone, the same with rows merged.
pub(super) fn splits(gather: &Gather, batch: usize) -> usize {
    let tasks = (gather.taps.len() * gather.k).div_ceil(CHANNELS);
    TASKS.div_ceil(tasks).min(gather.rows(batch).div_ceil(SPLIT)).max(1)
}

#[allow(clippy::too_many_arguments, reason = "one internal entry; its caller names every part")]
pub(super) fn run(
    gather: &Gather,
    pool: &Pool,
    isa: Isa,
    x: View,
    dy: View,
    zeros: &[f32],
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let pixels = gather.source[0] * gather.source[1];
    let batch = x.pixels() / pixels;
    let rows = gather.rows(batch);
    assert_eq!(x.pixels(), batch * pixels, "x holds whole pictures");
    assert_eq!(dy.pixels(), rows, "dy holds the same pictures");
    assert!(gather.k.is_multiple_of(x.channels()) && dy.channels() == gather.n && zeros.len() >= gather.k);
    let splits = splits(gather, batch);
    let len = dw.len();
    let blocks = gather.k.div_ceil(CHANNELS);
    let split = rows.div_ceil(splits).next_multiple_of(CHUNK);
    let parts = if splits == 1 { Parts::new(&mut *dw) } else { Parts::new(&mut scratch[..splits * len]) };
    pool.run(splits * gather.taps.len() * blocks, |task| {
        let (s, rest) = (task / (gather.taps.len() * blocks), task % (gather.taps.len() * blocks));
        let (tap, block) = (rest / blocks, rest % blocks);
        let channels = piece(block, CHANNELS, gather.k);
        let start = s * len + (tap * gather.k + channels.start) * gather.n;
        // SAFETY: splits, taps and blocks of channels are disjoint.
        let sum = unsafe { parts.part(start..start + channels.len() * gather.n) };
        sum.fill(0.0);
        let rows = (s * split).min(rows)..((s + 1) * split).min(rows);
        isa.run(Task { gather, x: &x, dy: &dy, zeros, tap, channels, rows, sum });
    });
    if splits > 1 {
        let (scratch, dw) = (&*scratch, Parts::new(dw));
        pool.run(len.div_ceil(4096), |task| {
            let range = piece(task, 4096, len);
            // SAFETY: pieces are disjoint.
            let dw = unsafe { dw.part(range.clone()) };
            isa.vectorize(|| {
                dw.copy_from_slice(&scratch[range.clone()]);
                for s in 1..splits {
                    let part = &scratch[s * len..][range.clone()];
                    dw.iter_mut().zip(part).for_each(|(sum, &p)| *sum += p);
                }
            });
        });
    }
}

struct Task<'a> {
    gather: &'a Gather,
    x: &'a View<'a>,
    dy: &'a View<'a>,
    zeros: &'a [f32],
    tap: usize,
    channels: Range<usize>,
    rows: Range<usize>,
    /// `[channels, n]`.
    sum: &'a mut [f32],
}

/// Operands of one chunk of pixels.
struct Chunk<'a> {
    /// First wanted channel of each pixel.
    x: &'a [*const f32],
    dy: *const f32,
    dy_stride: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Columns are dealt out in narrow vectors.
        let simd = simd.half();
        let Task { gather, x, dy, zeros, tap, channels, rows, sum } = self;
        let (offset, n) = (gather.taps[tap].offset, gather.n);
        let mut pointers = [zeros.as_ptr(); CHUNK];
        let mut first = rows.start;
        while first < rows.end {
            let count = CHUNK.min(rows.end - first);
            for (i, pointer) in pointers[..count].iter_mut().enumerate() {
                let pixel = gather.at(x, gather.position(first + i), offset, zeros);
                *pointer = pixel.wrapping_add(channels.start);
            }
            let dy_first = dy.as_ptr().wrapping_add(first * dy.stride());
            let chunk = Chunk { x: &pointers[..count], dy: dy_first, dy_stride: dy.stride() };
            let mut column = 0;
            while column < n {
                // SAFETY: `channels` and `columns` lie inside the pixels of `x` and `dy`; `sum` holds `[channels, n]`.
                unsafe {
                    let sum = sum.as_mut_ptr().add(column);
                    column += match n - column {
                        24.. => columns::<S::Half, 3, 4, false>(simd, &chunk, column, channels.len(), sum, n),
                        16..24 => {
                            columns::<S::Half, 2, 6, false>(simd, &chunk, column, channels.len(), sum, n)
                        }
                        8..16 => {
                            columns::<S::Half, 1, 8, false>(simd, &chunk, column, channels.len(), sum, n)
                        }
                        _ => columns::<S::Half, 1, 8, true>(simd, &chunk, column, channels.len(), sum, n),
                    };
                }
            }
            first += count;
        }
    }
}

/// `N` vectors of columns for all channels, `M` channels at a time; returns the number of columns.
///
/// # Safety
/// `channels` values from each `chunk.x`, the columns of each pixel of `dy`, and `[channels, n]` at `sum` exist.
#[inline(always)]
unsafe fn columns<S: Simd, const N: usize, const M: usize, const PART: bool>(
    simd: S,
    chunk: &Chunk,
    column: usize,
    channels: usize,
    sum: *mut f32,
    n: usize,
) -> usize {
    let lanes = LANES.min(n - column);
    let mut c = 0;
    // SAFETY: the caller's promises.
    unsafe {
        while c + M <= channels {
            tile::<S, N, M, PART>(simd, chunk, column, c, sum.add(c * n), n, lanes);
            c += M;
        }
        while c + 2 <= channels {
            tile::<S, N, 2, PART>(simd, chunk, column, c, sum.add(c * n), n, lanes);
            c += 2;
        }
        if c < channels {
            tile::<S, N, 1, PART>(simd, chunk, column, c, sum.add(c * n), n, lanes);
        }
    }
    if PART { lanes } else { N * LANES }
}

/// `M` channels by `N` vectors over one chunk; `PART` where the last vector has only `lanes` columns.
///
/// # Safety
/// As for [`columns`].
#[inline(always)]
unsafe fn tile<S: Simd, const N: usize, const M: usize, const PART: bool>(
    simd: S,
    chunk: &Chunk,
    column: usize,
    channel: usize,
    sum: *mut f32,
    n: usize,
    lanes: usize,
) {
    let mut acc = [[simd.splat(0.0); N]; M];
    // SAFETY: the caller's promises.
    unsafe {
        let mut dy = chunk.dy.add(column);
        for &x in chunk.x {
            let x = x.add(channel);
            let columns: [S::V; N] = std::array::from_fn(|v| {
                if PART { simd.load_part(dy, lanes) } else { simd.load(dy.add(v * LANES)) }
            });
            for m in 0..M {
                let a = simd.splat(*x.add(m));
                for v in 0..N {
                    acc[m][v] = simd.mul_add(a, columns[v], acc[m][v]);
                }
            }
            dy = dy.wrapping_add(chunk.dy_stride);
        }
        for m in 0..M {
            for v in 0..N {
                let at = sum.add(m * n + v * LANES);
                if PART {
                    simd.store_part(at, simd.add(simd.load_part(at, lanes), acc[m][v]), lanes);
                } else {
                    simd.store(at, simd.add(simd.load(at), acc[m][v]));
                }
            }
        }
    }
}
