//! Bilinear resampling that looks at four pixels however much a picture shrinks, in f32 and not rounded.
//!
//! ```text
//! tf1          source = target · scale                     slim, the FID graph: TensorFlow 1's resize_bilinear
//! half pixel   source = (target + ½) · scale − ½           torch's interpolate, TensorFlow 2's resize, pytorch-fid
//! value        = lerp(lerp(top left, top right), lerp(bottom left, bottom right)), neighbours kept inside the picture
//! ```
//! `scale` is source size / target size in f32, and every step is done in f32 in TensorFlow's order.

use super::decode::check_size;
use super::{PictureError, Rgb, RgbF32, Window};

/// Resizes `crop` of a picture as TensorFlow 1 does: corners left where they are, pixels taken for points.
pub fn tf1_bilinear(rgb: &Rgb, crop: Window, width: usize, height: usize) -> Result<RgbF32, PictureError> {
    bilinear(rgb, crop, (width, height), |target, scale| target * scale)
}

/// Resizes `crop` of a picture as torch and TensorFlow 2 do: pixels taken for squares.
pub fn half_pixel_bilinear(
    rgb: &Rgb,
    crop: Window,
    width: usize,
    height: usize,
) -> Result<RgbF32, PictureError> {
    bilinear(rgb, crop, (width, height), |target, scale| (target + 0.5) * scale - 0.5)
}

/// Two neighbours and how far the target lies from the first to the second.
struct Between {
    low: usize,
    high: usize,
    part: f32,
}

fn along(source: usize, target: usize, place: impl Fn(f32, f32) -> f32) -> Vec<Between> {
    let scale = source as f32 / target as f32;
    let between = |i: usize| {
        let at = place(i as f32, scale).max(0.0);
        let low = (at.floor() as usize).min(source - 1);
        Between { low, high: (low + 1).min(source - 1), part: at - at.floor() }
    };
    (0..target).map(between).collect()
}

fn bilinear(
    rgb: &Rgb,
    crop: Window,
    (width, height): (usize, usize),
    place: impl Fn(f32, f32) -> f32,
) -> Result<RgbF32, PictureError> {
    rgb.check()?;
    crop.check(rgb.width, rgb.height)?;
    Window::whole(width, height).check(width, height)?;
    check_size(width as u64, height as u64)?;
    let columns = along(crop.width, width, &place);
    let mut values = Vec::with_capacity(width * height * 3);
    for row in along(crop.height, height, &place) {
        let line = |y: usize| &rgb.pixels[((crop.top + y) * rgb.width + crop.left) * 3..][..crop.width * 3];
        let (top, bottom) = (line(row.low), line(row.high));
        for column in &columns {
            for c in 0..3 {
                let lerp = |line: &[u8]| {
                    let (a, b) = (f32::from(line[column.low * 3 + c]), f32::from(line[column.high * 3 + c]));
                    a + (b - a) * column.part
                };
                let (above, below) = (lerp(top), lerp(bottom));
                values.push(above + (below - above) * row.part);
            }
        }
    }
    Ok(RgbF32 { width, height, values })
}
