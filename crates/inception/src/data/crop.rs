//! Random crops resized to the network's input, of pictures that need not be decoded whole.
//!
//! ```text
//! crop ─▶ window: the whole pixels that the filter reaches ─▶ decoded, shrunk where much remains ─▶ resized
//! ```
//! A crop has the same bytes whether its picture was decoded before or not: the window is cut out, then resized by itself.

use std::borrow::Cow;

use inception_pictures::{Filter, Header, Options, Part, PictureError, Region, Resize, Window, decode_part};

use super::dataset::Rgb;

/// A JPEG is decoded at 1/2, 1/4 or 1/8 while the crop still has so many times the pixels of the target in each direction. Values then
/// differ from those of everything decoded by 0.9 of 255 (root mean square over crops of photos; with half the margin 2.8).
const GAP: f64 = 2.0;

/// A rectangle inside a picture, in pixels and fractions of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A picture, decoded or not yet.
pub enum Source<'a> {
    /// The pixels.
    Decoded(&'a Rgb),
    /// A file's content.
    Encoded {
        /// The content.
        bytes: &'a [u8],
        /// How it is decoded.
        how: Options,
        /// What it says of itself.
        header: Header,
    },
}

impl Source<'_> {
    /// Columns and rows of the picture, upright if it is turned.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Source::Decoded(rgb) => (rgb.width, rgb.height),
            Source::Encoded { how, header, .. } => {
                let (width, height) = if how.exif { header.upright() } else { (header.width, header.height) };
                (width as usize, height as usize)
            }
        }
    }

    /// Resizes a crop to `[side, side, 3]` bytes, by Pillow's bilinear filter.
    pub fn resample(&self, crop: CropBox, side: usize) -> Result<Vec<u8>, PictureError> {
        let size = self.size();
        let (part, region) = match self {
            Source::Decoded(_) => needed(size, crop, side, 1),
            Source::Encoded { header, .. } => needed(size, crop, side, header.shrinks),
        };
        let pixels = match self {
            Source::Decoded(rgb) if part.window == Window::whole(size.0, size.1) => Cow::Borrowed(*rgb),
            Source::Decoded(rgb) => Cow::Owned(rgb.cut(part.window)?),
            Source::Encoded { bytes, how, .. } => Cow::Owned(decode_part(bytes, *how, part)?),
        };
        let resize = Resize { region: Some(region), ..Resize::new(side, side, Filter::Bilinear) };
        Ok(resize.apply(&pixels)?.pixels)
    }
}

/// By how much a picture of `size` is shrunk where a crop is all of it: no crop of it is shrunk more. `most` is [`Header::shrinks`].
pub(super) fn shrink_of_whole(size: (usize, usize), side: usize, most: usize) -> usize {
    shrink(size.0 as f64, size.1 as f64, side, most)
}

fn shrink(width: f64, height: f64, side: usize, most: usize) -> usize {
    let enough = |&s: &usize| s <= most && width.min(height) / s as f64 >= GAP * side as f64;
    [8, 4, 2].into_iter().find(enough).unwrap_or(1)
}

/// The part of a picture that a crop needs, and where the crop lies in it.
fn needed(size: (usize, usize), crop: CropBox, side: usize, most: usize) -> (Part, Region) {
    let shrink = shrink(crop.width, crop.height, side, most);
    let axis = |start: f64, length: f64, pixels: usize| {
        let pixels = pixels.div_ceil(shrink);
        let (low, high) = (start / shrink as f64, (start + length) / shrink as f64);
        // As far as the filter reaches, and a pixel for rounding.
        let reach = (length / (shrink * side) as f64).max(1.0) + 1.0;
        let first = ((low - reach).max(0.0) as usize).min(pixels - 1);
        let end = ((high + reach).ceil() as usize).clamp(first + 1, pixels);
        // A rectangle may stick out by rounding.
        let inside = |x: f64| ((x - first as f64) as f32).clamp(0.0, (end - first) as f32);
        (first, end - first, inside(low), inside(high))
    };
    let (left, width, from, to) = axis(crop.x, crop.width, size.0);
    let (top, height, above, below) = axis(crop.y, crop.height, size.1);
    let region = Region { left: from, top: above, right: to, bottom: below };
    (Part { window: Window { left, top, width, height }, shrink }, region)
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType;
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    /// Waves of several lengths with some grain.
    fn photo(width: usize, height: usize) -> Rgb {
        let wave = |i: usize, period: f32| (i as f32 * std::f32::consts::TAU / period).sin();
        let value = |i: usize| {
            let (x, y, c) = (i / 3 % width, i / 3 / width, i % 3);
            let grain = (i as u32).wrapping_mul(0x9e37_79b1) >> 28;
            128.0
                + 50.0 * wave(x + 40 * c, 90.0)
                + 40.0 * wave(y + x / 2, 35.0)
                + 20.0 * wave(x + 2 * y, 23.0)
                + grain as f32
        };
        Rgb { width, height, pixels: (0..width * height * 3).map(|i| value(i) as u8).collect() }
    }

    fn jpeg(rgb: &Rgb) -> Vec<u8> {
        let (mut file, [w, h]) = (Vec::new(), [rgb.width as u32, rgb.height as u32]);
        JpegEncoder::new_with_quality(&mut file, 90)
            .encode(&rgb.pixels, w, h, ExtendedColorType::Rgb8)
            .unwrap();
        file
    }

    fn encoded(bytes: &[u8]) -> Source<'_> {
        Source::Encoded { bytes, how: Options::VIEWER, header: Header::of(bytes).unwrap() }
    }

    fn crops(width: f64, height: f64) -> impl Iterator<Item = CropBox> {
        (0..40).map(move |i| {
            let share = |k: usize| ((i * k + 3) % 17) as f64 / 16.0;
            let (w, h) = (width * (0.2 + 0.8 * share(5)), height * (0.2 + 0.8 * share(7)));
            CropBox { x: (width - w) * share(3), y: (height - h) * share(11), width: w, height: h }
        })
    }

    #[test]
    fn a_crop_has_the_same_bytes_decoded_before_or_not() {
        let bytes = jpeg(&photo(333, 250));
        let whole = inception_pictures::decode(&bytes, Options::VIEWER).unwrap();
        for crop in crops(333.0, 250.0) {
            let (before, now) = (Source::Decoded(&whole), encoded(&bytes));
            assert_eq!(before.size(), now.size());
            assert_eq!(before.resample(crop, 150).unwrap(), now.resample(crop, 150).unwrap(), "{crop:?}");
        }
    }

    /// The window holds all that the filter looks at: cutting changes no more than the rounding of the crop's edges.
    #[test]
    fn cutting_the_window_changes_nothing_to_speak_of() {
        let rgb = photo(333, 250);
        for crop in crops(333.0, 250.0) {
            for side in [20, 75, 299] {
                let region = Region {
                    left: crop.x as f32,
                    top: crop.y as f32,
                    right: ((crop.x + crop.width) as f32).min(333.0),
                    bottom: ((crop.y + crop.height) as f32).min(250.0),
                };
                let resize = Resize { region: Some(region), ..Resize::new(side, side, Filter::Bilinear) };
                let whole = resize.apply(&rgb).unwrap().pixels;
                let cut = Source::Decoded(&rgb).resample(crop, side).unwrap();
                let off = whole.iter().zip(&cut).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(off <= Some(1), "{off:?} {crop:?} {side}");
            }
        }
    }

    #[test]
    fn large_photos_are_shrunk_on_the_way_and_hardly_differ() {
        let bytes = jpeg(&photo(1300, 900));
        let whole = inception_pictures::decode(&bytes, Options::VIEWER).unwrap();
        let mut shrinks = [0; 9];
        for crop in crops(1300.0, 900.0) {
            let (part, _) = needed((1300, 900), crop, 96, 8);
            shrinks[part.shrink] += 1;
            let exact = Source::Decoded(&whole).resample(crop, 96).unwrap();
            let shrunk = encoded(&bytes).resample(crop, 96).unwrap();
            let off: f64 = exact.iter().zip(&shrunk).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            assert!(off / (exact.len() as f64) < 1.5, "{} at 1/{}", off / exact.len() as f64, part.shrink);
        }
        assert!(shrinks[1] > 3 && shrinks[2] > 3 && shrinks[4] > 1, "{shrinks:?}");
    }

    #[test]
    fn shrinking_leaves_twice_the_target() {
        let most = |width, height| shrink_of_whole((width, height), 299, 8);
        assert_eq!(
            [(4000, 1195), (4000, 1196), (2392, 9000), (4784, 4784)].map(|(w, h)| most(w, h)),
            [1, 2, 4, 8]
        );
        assert_eq!(shrink_of_whole((5000, 5000), 299, 1), 1);
    }
}
