//! The share of each source pixel in each pixel of the result.
//!
//! ```text
//! scale   = (high − low) / target;   wide = max(scale, 1);   reach = the filter's · wide
//! centre  = low + (i + ½) · scale
//! pixels  = ⌊centre − reach + ½⌋ to ⌊centre + reach + ½⌋, those inside the picture
//! weight  = filter((pixel + ½ − centre) / wide) / their sum, rounded to a whole number of 2⁻²²
//! ```
//! 22 bits are what 32 leave beside a byte and two bits for a cubic's overshoot. The order of the operations is Pillow's, since
//! the last bit of an f64 can decide a rounding.

use std::ops::Range;

use super::{Axis, Filter, PictureError};

/// Bits behind the point of a weight.
pub(super) const BITS: u32 = 32 - 8 - 2;

/// An axis of more weights than this is refused: 256 MiB of them. A picture has about four for each pixel of its side.
const MAX_WEIGHTS: usize = 1 << 26;

/// For each wanted pixel, where its source pixels start and their weights.
pub(super) struct Weights {
    starts: Vec<usize>,
    /// Where the weights of each pixel end in `values`.
    ends: Vec<usize>,
    values: Vec<i32>,
}

impl Weights {
    pub(super) fn new(axis: &Axis, filter: Filter) -> Result<Weights, PictureError> {
        let scale = f64::from(axis.high - axis.low) / axis.target as f64;
        let wide = scale.max(1.0);
        let reach = wide * if filter == Filter::Bicubic { 2.0 } else { 1.0 };
        if (2.0 * reach + 2.0) * axis.count as f64 > MAX_WEIGHTS as f64 {
            return Err(PictureError::TooLarge { width: axis.source as u64, height: axis.count as u64 });
        }
        let (mut starts, mut ends, mut values, mut shares) = (vec![], vec![], vec![], vec![]);
        for i in axis.start..axis.start + axis.count {
            let centre = f64::from(axis.low) + (i as f64 + 0.5) * scale;
            // Casts cut towards zero, and what is negative to zero.
            let first = (centre - reach + 0.5) as usize;
            let last = ((centre + reach + 0.5) as usize).min(axis.source);
            shares.clear();
            shares.extend((first..last).map(|pixel| {
                let distance = (pixel as f64 - centre + 0.5) * (1.0 / wide);
                if filter == Filter::Bicubic { cubic(distance) } else { triangle(distance) }
            }));
            let sum: f64 = shares.iter().sum();
            values.extend(shares.iter().map(|share| fixed(if sum == 0.0 { *share } else { share / sum })));
            starts.push(first);
            ends.push(values.len());
        }
        Ok(Weights { starts, ends, values })
    }

    /// First source pixel and weights of each wanted pixel.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let before = std::iter::once(0).chain(self.ends.iter().copied());
        let values = before.zip(&self.ends).map(|(start, &end)| &self.values[start..end]);
        self.starts.iter().copied().zip(values)
    }

    /// The source pixels that are looked at.
    pub(super) fn needed(&self) -> Range<usize> {
        let end = self.iter().map(|(start, weights)| start + weights.len()).max();
        self.starts.first().copied().unwrap_or(0)..end.unwrap_or(0)
    }

    /// The number of wanted pixels.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
