//! One source pixel for each of the result.
//!
//! Pillow steps along an axis by adding, from low + scale / 2 on, in f64; the sums' rounding decides which pixel an edge
//! belongs to, so they are made the same way. A sum that leaves the picture by rounding gives black.

use super::{Axis, Rgb};

pub(super) fn nearest(rgb: &Rgb, columns: &Axis, rows: &Axis) -> Rgb {
    let (xs, ys) = (sources(columns), sources(rows));
    let mut pixels = Vec::with_capacity(xs.len() * ys.len() * 3);
    for y in ys {
        let row = y.map(|y| &rgb.pixels[y * rgb.width * 3..][..rgb.width * 3]);
        pixels.extend(xs.iter().flat_map(|x| match (row, *x) {
            (Some(row), Some(x)) => [row[x * 3], row[x * 3 + 1], row[x * 3 + 2]],
            _ => [0; 3],
        }));
    }
    Rgb { width: columns.count, height: rows.count, pixels }
}

fn sources(axis: &Axis) -> Vec<Option<usize>> {
    if let Some(pixels) = axis.copied() {
        return pixels.map(Some).collect();
    }
    let scale = f64::from(axis.high - axis.low) / axis.target as f64;
    let first = f64::from(axis.low) + scale * 0.5;
    let steps = std::iter::successors(Some(first), |at| Some(at + scale));
    let inside = |at: f64| Some(at as usize).filter(|&at| at < axis.source);
    steps.skip(axis.start).take(axis.count).map(inside).collect()
}
