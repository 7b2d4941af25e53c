//! Bilinear resampling that looks at four pixels however much a picture shrinks, in f32 and not rounded.
//!
//! ```text
//! tf1          source = target · scale                     slim, the FID graph: TensorFlow 1's resize_bilinear
//! half pixel   source = (target + ½) · scale − ½           torch's interpolate, TensorFlow 2's resize, pytorch-fid
//! value        = lerp(lerp(top left, top right), lerp(bottom left, bottom right)), neighbours kept inside the picture
//! ```
//! `scale` is source size / target size in f32, and every step is done in f32 in TensorFlow's order.

use std::ops::Range;

use super::decode::check_size;
use super::{PictureError, Rgb, RgbF32, Window};

/// Where a target pixel lies in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Corners left where they are, pixels taken for points: TensorFlow 1's.
    Tf1,
    /// Pixels taken for squares: torch's and TensorFlow 2's.
    HalfPixel,
}

impl Place {
    fn of(self, target: f32, scale: f32) -> f32 {
        match self {
            Place::Tf1 => target * scale,
            Place::HalfPixel => (target + 0.5) * scale - 0.5,
        }
    }
}

/// Resizes `crop` of a picture as TensorFlow 1 does: corners left where they are, pixels taken for points.
pub fn tf1_bilinear(rgb: &Rgb, crop: Window, width: usize, height: usize) -> Result<RgbF32, PictureError> {
    Bilinear { crop: Some(crop), ..Bilinear::new(width, height, Place::Tf1) }.apply(rgb)
}

/// Resizes `crop` of a picture as torch and TensorFlow 2 do: pixels taken for squares.
pub fn half_pixel_bilinear(
    rgb: &Rgb,
    crop: Window,
    width: usize,
    height: usize,
) -> Result<RgbF32, PictureError> {
    Bilinear { crop: Some(crop), ..Bilinear::new(width, height, Place::HalfPixel) }.apply(rgb)
}

/// What to make of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bilinear {
    /// Columns of the whole result.
    pub width: usize,
    /// Rows of the whole result.
    pub height: usize,
    /// Where its pixels lie in the source.
    pub place: Place,
    /// What is resized; all of the picture if not said.
    pub crop: Option<Window>,
    /// What is wanted of the result; all of it if not said.
    pub window: Option<Window>,
}

impl Bilinear {
    /// All of a picture to all of the result.
    pub fn new(width: usize, height: usize, place: Place) -> Bilinear {
        Bilinear { width, height, place, crop: None, window: None }
    }

    /// The picture resized, or the window of it.
    pub fn apply(&self, rgb: &Rgb) -> Result<RgbF32, PictureError> {
        rgb.check()?;
        self.resize(&rgb.pixels, rgb.width, rgb.height)
    }

    /// The same of a picture that is no longer of bytes.
    pub fn apply_to_values(&self, source: &RgbF32) -> Result<RgbF32, PictureError> {
        source.check()?;
        self.resize(&source.values, source.width, source.height)
    }

    fn resize<T: Copy + Into<f32>>(
        &self,
        source: &[T],
        columns: usize,
        rows: usize,
    ) -> Result<RgbF32, PictureError> {
        let crop = self.crop.unwrap_or(Window::whole(columns, rows));
        let whole = Window::whole(self.width, self.height);
        let window = self.window.unwrap_or(whole);
        crop.check(columns, rows)?;
        whole.check(self.width, self.height)?;
        window.check(self.width, self.height)?;
        check_size(window.width as u64, window.height as u64)?;
        check_size(self.width.max(self.height) as u64, 1)?;
        let across = self.along(crop.width, self.width, window.left..window.left + window.width);
        let mut values = Vec::with_capacity(window.width * window.height * 3);
        for row in self.along(crop.height, self.height, window.top..window.top + window.height) {
            let line = |y: usize| &source[((crop.top + y) * columns + crop.left) * 3..][..crop.width * 3];
            let (top, bottom) = (line(row.low), line(row.high));
            for column in &across {
                for c in 0..3 {
                    let lerp = |line: &[T]| {
                        let (a, b): (f32, f32) =
                            (line[column.low * 3 + c].into(), line[column.high * 3 + c].into());
                        a + (b - a) * column.part
                    };
                    let (above, below) = (lerp(top), lerp(bottom));
                    values.push(above + (below - above) * row.part);
                }
            }
        }
        Ok(RgbF32 { width: window.width, height: window.height, values })
    }

    /// Where those pixels of an axis come from that are `wanted`.
    fn along(&self, source: usize, target: usize, wanted: Range<usize>) -> Vec<Between> {
        let scale = source as f32 / target as f32;
        let between = |i: usize| {
            let at = self.place.of(i as f32, scale).max(0.0);
            let low = (at.floor() as usize).min(source - 1);
            Between { low, high: (low + 1).min(source - 1), part: at - at.floor() }
        };
        wanted.map(between).collect()
    }
}

/// Two neighbours and how far the target lies from the first to the second.
struct Between {
    low: usize,
    high: usize,
    part: f32,
}
