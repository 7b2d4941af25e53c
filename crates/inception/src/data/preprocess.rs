//! What happens to a picture before a network sees it: bound to the weights, stored with them.
//!
//! ```text
//! bytes ─ decode (EXIF, alpha) ─▶ RGB ─ resize, crop ─▶ square ─ range ─▶ [side, side, 3]
//! ```

use serde::{Deserialize, Serialize};

use super::bilinear::{self, Grid, Window};
use super::dataset::Rgb;
use super::transform::resize_window;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
}

impl From<Eval> for Preprocessing {
    fn from(eval: Eval) -> Self {
        Preprocessing { eval, range: Range::Signed, channels: Channels::Rgb, exif: true, alpha: Alpha::White }
    }
}

/// How a file becomes pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decoding {
    /// Whether a picture is turned as its EXIF orientation says.
    pub exif: bool,
    /// What becomes of transparency.
    pub alpha: Alpha,
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding { exif: true, alpha: Alpha::White }
    }
}

impl Eval {
    /// Width and height to which a picture is resized, and the window of `side` × `side` that remains, where the resized
    /// picture is cut: torchvision's `Resize` and `CenterCrop`.
    pub fn shorter(&self, width: usize, height: usize, side: usize) -> ([usize; 2], Window) {
        // A share such as 299/342 must give 342 again.
        let short = ((side as f64 / self.crop_pct + 1e-6).floor() as usize).max(side);
        let long = |long: usize, shorter: usize| (short as f64 * long as f64 / shorter as f64) as usize;
        let [w, h] =
            if width <= height { [short, long(height, width)] } else { [long(width, height), short] };
        // Python rounds half to even.
        let start = |extent: usize| ((extent - side) as f64 / 2.0).round_ties_even() as usize;
        ([w, h], [start(w), start(h), side, side])
    }

    /// The window of a picture that remains, where the picture is cut before it is resized: `tf.image.central_crop`.
    pub fn central(&self, width: usize, height: usize) -> Window {
        let start = |extent: usize| ((extent as f64 - extent as f64 * self.crop_pct) / 2.0) as usize;
        let (left, top) = (start(width), start(height));
        [left, top, width - 2 * left, height - 2 * top]
    }

    /// `[side, side, 3]` values from 0 to 255.
    pub fn apply(&self, rgb: &Rgb, side: usize) -> Vec<f32> {
        let grid = match self.interpolation {
            Interpolation::BilinearTf1 => Some(Grid::Tf1),
            Interpolation::BilinearPlain => Some(Grid::HalfPixel),
            Interpolation::Bilinear | Interpolation::Bicubic | Interpolation::Nearest => None,
        };
        let whole = [0, 0, rgb.width, rgb.height];
        let window = match self.resize {
            Resize::Squash => whole,
            Resize::Central => self.central(rgb.width, rgb.height),
            Resize::Shorter => {
                let (size, window) = self.shorter(rgb.width, rgb.height, side);
                return match grid {
                    None => as_floats(&resize_window(rgb, whole, size, self.interpolation, window)),
                    Some(grid) => bilinear::resize_to(rgb, whole, size, grid, window),
                };
            }
        };
        match grid {
            None => {
                let all = [0, 0, side, side];
                as_floats(&resize_window(rgb, window, [side, side], self.interpolation, all))
            }
            Some(grid) => bilinear::resize(rgb, window, side, grid),
        }
    }
}

fn as_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&b| f32::from(b)).collect()
}

impl Preprocessing {
    /// How a file becomes pixels.
    pub fn decoding(&self) -> Decoding {
        Decoding { exif: self.exif, alpha: self.alpha }
    }

    /// The network's input, `[side, side, 3]`.
    pub fn apply(&self, rgb: &Rgb, side: usize) -> Vec<f32> {
        self.range.values(self.eval.apply(rgb, side))
    }
}

impl Range {
    /// Bytes, whole or in fractions, as the network's input.
    pub fn values(self, mut x: Vec<f32>) -> Vec<f32> {
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
        x
    }

    /// The same from bytes.
    pub fn of_bytes(self, bytes: &[u8]) -> Vec<f32> {
        self.values(as_floats(bytes))
    }
}
