//! Sums of bytes times weights along one axis.

use std::borrow::Cow;
use std::ops::Range;

use super::Taps;
use super::weights::BITS;

const HALF: i32 = 1 << (BITS - 1);

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
    fn row(&self, y: usize, columns: &Range<usize>) -> &[u8] {
        let start = (y - self.top) * self.width + columns.start - self.left;
        &self.pixels[start * 3..][..columns.len() * 3]
    }

    /// These rows, resampled along their length.
    pub(super) fn along_rows(&self, taps: &Taps, rows: Range<usize>) -> Piece<'static> {
        let columns = taps.needed();
        let top = rows.start;
        let mut pixels = Vec::with_capacity(rows.len() * taps.len() * 3);
        for y in rows {
            let row = self.row(y, &columns);
            let Taps::Weighted(weights) = taps else {
                pixels.extend_from_slice(row);
                continue;
            };
            for (start, weights) in weights.iter() {
                let mut sums = [HALF; 3];
                for (rgb, &weight) in row[(start - columns.start) * 3..].chunks_exact(3).zip(weights) {
                    for c in 0..3 {
                        sums[c] = sums[c].wrapping_add(i32::from(rgb[c]).wrapping_mul(weight));
                    }
                }
                pixels.extend(sums.map(to_byte));
            }
        }
        Piece { pixels: pixels.into(), left: 0, top, width: taps.len() }
    }

    /// These columns, resampled along their height.
    pub(super) fn along_columns(&self, taps: &Taps, columns: Range<usize>) -> Piece<'static> {
        let (left, width) = (columns.start, columns.len());
        let mut pixels = Vec::with_capacity(taps.len() * width * 3);
        match taps {
            Taps::Copy(rows) => rows.clone().for_each(|y| pixels.extend_from_slice(self.row(y, &columns))),
            Taps::Weighted(weights) => {
                let mut sums = vec![0i32; width * 3];
                for (start, weights) in weights.iter() {
                    sums.fill(HALF);
                    for (y, &weight) in weights.iter().enumerate() {
                        for (sum, &byte) in sums.iter_mut().zip(self.row(start + y, &columns)) {
                            *sum = sum.wrapping_add(i32::from(byte).wrapping_mul(weight));
                        }
                    }
                    pixels.extend(sums.iter().map(|&sum| to_byte(sum)));
                }
            }
        }
        Piece { pixels: pixels.into(), left, top: 0, width }
    }
}
