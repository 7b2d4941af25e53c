//! What happens to a picture before a network sees it: bound to the weights, stored with them.
//!
//! ```text
//! bytes ─ decode (EXIF, alpha) ─▶ RGB ─ resize, crop ─▶ square ─ range ─▶ [side, side, 3]
//! ```

use serde::{Deserialize, Serialize};

use inception_pictures::geometry::{central_crop, resize_and_crop, shorter_side, timm_side};
use inception_pictures::unfiltered::Bilinear;
use inception_pictures::{Options, Order, PictureError, Program, Region, Resize as Resample, Window};

use super::dataset::Rgb;
use super::pixels::{Kernel, Pixels};

/// How pixels are resampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Triangle filter that widens when a picture shrinks (antialias), results rounded to bytes: Pillow's.
    #[default]
    Bilinear,
    /// Cubic filter, likewise.
    Bicubic,
    /// The nearest pixel: Pillow's, and Keras's where nothing is said.
    Nearest,
    /// TensorFlow 1's bilinear: corners without half a pixel's offset, no antialias, unrounded.
    BilinearTf1,
    /// Bilinear between the centres of pixels, no antialias, unrounded: PyTorch's `interpolate`.
    BilinearPlain,
}

/// How a picture becomes a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// The shorter side becomes `img_size / crop_pct`, the centre square remains: torchvision's and timm's.
    #[default]
    Shorter,
    /// The central `crop_pct` of each side becomes the square, whatever its aspect: slim's.
    Central,
    /// The whole picture becomes the square, whatever its aspect.
    Squash,
}

/// Geometry of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Share of the shorter side (or of each side) that remains.
    pub crop_pct: f64,
    /// Resampling.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// How a picture becomes a square.
    #[serde(default)]
    pub resize: Resize,
}

/// Values of the network's input, from bytes `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Range {
    /// `(x − 127.5) / 127.5`.
    #[serde(rename = "[-1,1]")]
    #[value(name = "[-1,1]")]
    Signed,
    /// `(x − 127.5) / 128`: FaceNet's fixed standardisation.
    #[serde(rename = "(x-127.5)/128")]
    #[value(name = "(x-127.5)/128")]
    Facenet,
    /// `(x − 128) / 128`: the graph of 2015.
    #[serde(rename = "(x-128)/128")]
    #[value(name = "(x-128)/128")]
    Inception2015,
    /// `(x / 255 − mean) / std` with ImageNet's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
    #[serde(rename = "imagenet")]
    #[value(name = "imagenet")]
    Imagenet,
    /// `(x − mean) / max(std, 1 / √n)` of the picture's own n values: FaceNet before 2018.
    #[serde(rename = "prewhiten")]
    #[value(name = "prewhiten")]
    Prewhiten,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    #[serde(rename = "RGB")]
    Rgb,
}

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alpha {
    /// Colours are laid on white, as a browser shows them.
    #[default]
    White,
    /// It is dropped, as Pillow's `convert("RGB")` and TensorFlow do.
    Drop,
}

/// What happens to a picture before the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Geometry; the size is the network's.
    #[serde(flatten)]
    pub eval: Eval,
    /// Values of the network's input.
    pub range: Range,
    /// Order of the channels.
    pub channels: Channels,
    /// Whether a picture is turned as its EXIF orientation says.
    pub exif: bool,
    /// What becomes of transparency.
    #[serde(default)]
    pub alpha: Alpha,
    /// Whose pixels are made.
    #[serde(default)]
    pub decoder: Decoder,
}

impl From<Eval> for Preprocessing {
    fn from(eval: Eval) -> Self {
        Preprocessing {
            eval,
            range: Range::Signed,
            channels: Channels::Rgb,
            exif: true,
            alpha: Alpha::White,
            decoder: Decoder::Pillow,
        }
    }
}

/// Whose pixels are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Pillow's, torchvision's, OpenCV's.
    #[default]
    Pillow,
    /// TensorFlow's `decode_jpeg`, whose inverse DCT is the fast one.
    TensorFlow,
}

/// Whole pixels.
const BLOCK: usize = 3 * 1024;

impl Eval {
    /// `[side, side, 3]` values from 0 to 255.
    pub fn apply(&self, rgb: &Rgb, side: usize) -> Result<Vec<f32>, PictureError> {
        self.square(rgb, side).map(|square| match square {
            Pixels::Bytes(rgb) => as_floats(&rgb.pixels),
            Pixels::Fractions(fractions) => fractions.values,
        })
    }

    pub(super) fn square(&self, rgb: &Rgb, side: usize) -> Result<Pixels, PictureError> {
        let whole = Window::whole(rgb.width, rgb.height);
        let filter = match self.interpolation.kernel() {
            Kernel::Rounded(filter) => filter,
            Kernel::Unrounded(place) => {
                let window = match self.resize {
                    Resize::Squash => whole,
                    Resize::Central => central_crop(rgb.width, rgb.height, self.crop_pct),
                    Resize::Shorter => self.centre(rgb.width, rgb.height),
                };
                let resize = Bilinear { crop: Some(window), ..Bilinear::new(side, side, place) };
                return Ok(Pixels::Fractions(resize.apply(rgb)?));
            }
        };
        let resized = match self.resize {
            Resize::Shorter => {
                let to = shorter_side(rgb.width, rgb.height, timm_side(side, self.crop_pct));
                resize_and_crop(rgb, to, (side, side), filter, Order::Pillow13)?
            }
            Resize::Central | Resize::Squash => {
                let window = match self.resize {
                    Resize::Central => central_crop(rgb.width, rgb.height, self.crop_pct),
                    _ => whole,
                };
                let region = Region {
                    left: window.left as f32,
                    top: window.top as f32,
                    right: (window.left + window.width) as f32,
                    bottom: (window.top + window.height) as f32,
                };
                let resize = Resample::new(side, side, filter);
                Resample { order: Order::Pillow13, region: Some(region), ..resize }.apply(rgb)?
            }
        };
        Ok(Pixels::Bytes(resized))
    }

    /// The centre square of a picture, `crop_pct` of its shorter side.
    fn centre(&self, width: usize, height: usize) -> Window {
        let size = ((width.min(height) as f64 * self.crop_pct).round() as usize).max(1);
        Window { left: (width - size) / 2, top: (height - size) / 2, width: size, height: size }
    }
}

fn as_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&b| f32::from(b)).collect()
}

impl Preprocessing {
    /// How a file becomes pixels.
    pub fn decoding(&self) -> Options {
        let alpha = match self.alpha {
            Alpha::White => inception_pictures::Alpha::White,
            Alpha::Drop => inception_pictures::Alpha::Drop,
        };
        let program = match self.decoder {
            Decoder::Pillow => Program::Pillow,
            Decoder::TensorFlow => Program::TensorFlow,
        };
        Options { exif: self.exif, alpha, program }
    }

    /// The network's input, `[side, side, 3]`.
    pub fn apply(&self, rgb: &Rgb, side: usize) -> Result<Vec<f32>, PictureError> {
        let mut values = Vec::with_capacity(side * side * 3);
        self.eval.square(rgb, side)?.append(self.range, &mut values);
        Ok(values)
    }
}

impl Range {
    /// Values from 0 to 255, of whole pixels, become the network's input.
    pub(super) fn scale(self, x: &mut [f32]) {
        match self {
            Range::Signed => x.iter_mut().for_each(|v| *v = (*v - 127.5) / 127.5),
            Range::Facenet => x.iter_mut().for_each(|v| *v = (*v - 127.5) / 128.0),
            Range::Inception2015 => x.iter_mut().for_each(|v| *v = (*v - 128.0) / 128.0),
            Range::Imagenet => {
                const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
                const STD: [f32; 3] = [0.229, 0.224, 0.225];
                for pixel in x.chunks_exact_mut(3) {
                    (0..3).for_each(|c| pixel[c] = (pixel[c] / 255.0 - MEAN[c]) / STD[c]);
                }
            }
            Range::Prewhiten => {
                let n = x.len() as f64;
                let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
                let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
                let std = variance.sqrt().max(1.0 / n.sqrt());
                x.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / std) as f32);
            }
        }
    }

    /// Bytes of whole pixels as the network's input.
    pub fn of_bytes(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = Vec::with_capacity(bytes.len());
        self.append_bytes(bytes, &mut values);
        values
    }

    pub(super) fn append_bytes(self, bytes: &[u8], values: &mut Vec<f32>) {
        // A block stays in the first cache between the two passes over it; a picture's own mean is that of all of it.
        let block = if self == Range::Prewhiten { bytes.len().max(1) } else { BLOCK };
        for block in bytes.chunks(block) {
            let start = values.len();
            values.extend(block.iter().map(|&byte| f32::from(byte)));
            self.scale(&mut values[start..]);
        }
    }

    /// The bytes nearest to values of the network's input, to be looked at; a picture's own range where that is what they were made
    /// of.
    pub fn to_bytes(self, values: &[f32]) -> Vec<u8> {
        let ends = match self {
            Range::Prewhiten => {
                let span = |f: fn(f32, f32) -> f32| values.iter().copied().reduce(f).unwrap_or_default();
                [[span(f32::min); 3], [span(f32::max).max(span(f32::min) + 1e-6); 3]]
            }
            _ => [0.0, 255.0].map(|end| {
                let mut pixel = [end; 3];
                self.scale(&mut pixel);
                pixel
            }),
        };
        let byte = |(i, &value): (usize, &f32)| {
            let [low, high] = ends.map(|end| end[i % 3]);
            (255.0 * (value - low) / (high - low)).round().clamp(0.0, 255.0) as u8
        };
        values.iter().enumerate().map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Rgb {
        Rgb { width, height, pixels: (0..width * height * 3).map(|i| (i * 37 % 256) as u8).collect() }
    }

    const INTERPOLATIONS: [Interpolation; 5] = [
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Nearest,
        Interpolation::BilinearTf1,
        Interpolation::BilinearPlain,
    ];

    #[test]
    fn values_become_the_bytes_that_they_were() {
        let bytes: Vec<u8> = (0..=255).flat_map(|byte| [byte, 255 - byte, byte / 2]).collect();
        for range in [Range::Signed, Range::Facenet, Range::Inception2015, Range::Imagenet] {
            assert_eq!(range.to_bytes(&range.of_bytes(&bytes)), bytes, "{range:?}");
        }
        let stretched: Vec<u8> = [10, 20, 30, 110, 60, 35].to_vec();
        let found = Range::Prewhiten.to_bytes(&Range::Prewhiten.of_bytes(&stretched));
        assert_eq!((found[0], found[3]), (0, 255), "from the least to the largest");
    }

    #[test]
    fn a_picture_of_the_networks_size_stays_as_it_is() {
        let rgb = picture(16, 16);
        for interpolation in INTERPOLATIONS {
            for resize in [Resize::Shorter, Resize::Central, Resize::Squash] {
                let eval = Eval { crop_pct: 1.0, interpolation, resize };
                assert_eq!(eval.apply(&rgb, 16).unwrap(), as_floats(&rgb.pixels), "{eval:?}");
            }
        }
    }

    #[test]
    fn pictures_of_extreme_shape_still_work() {
        for (w, h) in [(1, 1), (1, 900), (2000, 1), (3, 2)] {
            for interpolation in INTERPOLATIONS {
                for resize in [Resize::Shorter, Resize::Central, Resize::Squash] {
                    let eval = Eval { crop_pct: 0.875, interpolation, resize };
                    assert_eq!(
                        eval.apply(&picture(w, h), 75).unwrap().len(),
                        75 * 75 * 3,
                        "{w}×{h} {eval:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ranges_are_their_formulas() {
        assert_eq!(Range::Signed.of_bytes(&[0, 255]), [-1.0, 1.0]);
        assert_eq!(Range::Facenet.of_bytes(&[0, 255]), [-127.5 / 128.0, 127.5 / 128.0]);
        assert_eq!(Range::Inception2015.of_bytes(&[0, 255]), [-1.0, 127.0 / 128.0]);
        let x = Range::Imagenet.of_bytes(&[0, 255, 128]);
        let expected = [-0.485 / 0.229, (1.0 - 0.456) / 0.224, (128.0 / 255.0 - 0.406) / 0.225];
        assert!(x.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
        let x = Range::Prewhiten.of_bytes(&[10, 20, 30, 40]);
        assert!((x.iter().sum::<f32>()).abs() < 1e-6 && (x[3] - 1.5 / 1.25f32.sqrt()).abs() < 1e-6);
        // A flat picture is divided by 1/√n, not by nothing.
        assert_eq!(Range::Prewhiten.of_bytes(&[7; 4]), [0.0; 4]);
    }
}
