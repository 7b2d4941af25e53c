//! Sums of bytes times weights along one axis, compiled for the vectors of this CPU: whole numbers, so they are the same on any.

use std::borrow::Cow;
use std::ops::Range;
use std::slice::ChunksExactMut;

use inception_kernels::Isa;
use inception_kernels::isa::Loops;

use super::Taps;
use super::weights::{BITS, Weights};

/// Bytes of a row whose sums stay in registers: half of AVX2's, a quarter of AVX-512's.
const BYTES: usize = 64;

const HALF: i32 = 1 << (BITS - 1);

#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// A piece of a picture, or of one that is resized along one axis only; it knows where in that it lies.
pub(super) struct Piece<'a> {
    pub(super) pixels: Cow<'a, [u8]>,
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
}

impl Piece<'_> {
    /// The bytes of some columns of a row.
    #[inline(always)]
    fn row(&self, y: usize, columns: &Range<usize>) -> &[u8] {
        let start = (y - self.top) * self.width + columns.start - self.left;
        &self.pixels[start * 3..][..columns.len() * 3]
    }

    /// These rows, resampled along their length.
    pub(super) fn along_rows(&self, taps: &Taps, rows: Range<usize>) -> Piece<'static> {
        let columns = taps.needed();
        let (top, bytes) = (rows.start, taps.len() * 3);
        let mut pixels = vec![0; rows.len() * bytes];
        let to = pixels.chunks_exact_mut(bytes.max(1));
        match taps {
            Taps::Copy(_) => rows.zip(to).for_each(|(y, to)| to.copy_from_slice(self.row(y, &columns))),
            Taps::Weighted(weights) => {
                Isa::best().run_loops(AlongRows { piece: self, weights, columns, rows, to });
            }
        }
        Piece { pixels: pixels.into(), left: 0, top, width: taps.len() }
    }

    /// These columns, resampled along their height.
    pub(super) fn along_columns(&self, taps: &Taps, columns: Range<usize>) -> Piece<'static> {
        let (left, width) = (columns.start, columns.len());
        let mut pixels = vec![0; taps.len() * width * 3];
        let to = pixels.chunks_exact_mut((width * 3).max(1));
        match taps {
            Taps::Copy(rows) => {
                rows.clone().zip(to).for_each(|(y, to)| to.copy_from_slice(self.row(y, &columns)));
            }
            Taps::Weighted(weights) => {
                Isa::best().run_loops(AlongColumns { piece: self, weights, columns, to })
            }
        }
        Piece { pixels: pixels.into(), left, top: 0, width }
    }
}

struct AlongRows<'a> {
    piece: &'a Piece<'a>,
    weights: &'a Weights,
    columns: Range<usize>,
    rows: Range<usize>,
    to: ChunksExactMut<'a, u8>,
}

impl Loops for AlongRows<'_> {
    #[inline(always)]
    fn run(self) {
        let widest = self.weights.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        match widest {
            0 | 1 => self.of_width::<1>(1),
            2 => self.of_width::<2>(1),
            3 => self.of_width::<3>(1),
            4 => self.of_width::<4>(1),
            5 => self.of_width::<5>(1),
            6 => self.of_width::<6>(1),
            7 => self.of_width::<7>(1),
            _ => self.of_width::<8>(widest.div_ceil(8)),
        }
    }
}

impl AlongRows<'_> {
    /// All pixels with `steps` times `T` weights, zeros where they have less: loops of one length, without jumps that the CPU
    /// guesses wrongly. A pixel is three lanes of four, the fourth is nobody's.
    #[inline(always)]
    fn of_width<const T: usize>(self, steps: usize) {
        let AlongRows { piece, weights, columns, rows, to } = self;
        let (mut starts, mut taps) = (Vec::new(), Vec::new());
        for (start, weights) in weights.iter() {
            starts.push((start - columns.start) * 3);
            taps.extend_from_slice(weights);
            taps.resize(starts.len() * T * steps, 0);
        }
        // Were the fourth lane not kept, the compiler would take one after the other of three.
        let mut four = vec![[0; 4]; starts.len()];
        // Bytes behind the row, for weights of zero and the fourth lane.
        let mut padded = vec![0; columns.len() * 3 + T * steps * 3 + 1];
        for (y, to) in rows.zip(to) {
            let row = piece.row(y, &columns);
            padded[..row.len()].copy_from_slice(row);
            let pixels = starts.iter().zip(taps.chunks_exact(T * steps)).zip(&mut four);
            for ((&start, taps), to) in pixels {
                let mut sums = [HALF; 4];
                for (step, weights) in taps.as_chunks::<T>().0.iter().enumerate() {
                    let from = &padded[start + step * T * 3..][..T * 3 + 1];
                    (0..T).for_each(|i| add(&mut sums, &from[i * 3..i * 3 + 4], weights[i]));
                }
                (0..4).for_each(|c| to[c] = to_byte(sums[c]));
            }
            to.as_chunks_mut::<3>()
                .0
                .iter_mut()
                .zip(&four)
                .for_each(|(to, from)| to.copy_from_slice(&from[..3]));
        }
    }
}

struct AlongColumns<'a> {
    piece: &'a Piece<'a>,
    weights: &'a Weights,
    columns: Range<usize>,
    to: ChunksExactMut<'a, u8>,
}

impl Loops for AlongColumns<'_> {
    #[inline(always)]
    fn run(self) {
        let AlongColumns { piece, weights, columns, to } = self;
        for (to, (start, weights)) in to.zip(weights.iter()) {
            let (whole, rest) = to.as_chunks_mut::<BYTES>();
            let last = whole.len() * BYTES;
            let rows = || (start..).zip(weights).map(|(y, &weight)| (piece.row(y, &columns), weight));
            for (i, to) in whole.iter_mut().enumerate() {
                let mut sums = [HALF; BYTES];
                rows().for_each(|(row, weight)| add(&mut sums, &row[i * BYTES..][..BYTES], weight));
                (0..BYTES).for_each(|x| to[x] = to_byte(sums[x]));
            }
            let mut sums = [HALF; BYTES];
            rows().for_each(|(row, weight)| add(&mut sums, &row[last..], weight));
            rest.iter_mut().zip(sums).for_each(|(to, sum)| *to = to_byte(sum));
        }
    }
}

#[inline(always)]
fn add(sums: &mut [i32], bytes: &[u8], weight: i32) {
    for (sum, &byte) in sums.iter_mut().zip(bytes) {
        *sum = sum.wrapping_add(i32::from(byte).wrapping_mul(weight));
    }
}
