//! Values from 0 to 255 on their way to a network: bytes, or fractions of them where nothing rounds.

use inception_pictures::unfiltered::{Bilinear, Place};
use inception_pictures::{Filter, Order, PictureError, Resize, RgbF32, Window};

use super::dataset::Rgb;
use super::preprocess::{Interpolation, Range};

/// A picture or a part of one.
pub(super) enum Pixels {
    /// As Pillow leaves them.
    Bytes(Rgb),
    /// Unrounded.
    Fractions(RgbF32),
}

/// Whose resampling.
pub(super) enum Kernel {
    /// Pillow's, rounded to bytes.
    Rounded(Filter),
    /// Bilinear without a filter.
    Unrounded(Place),
}

impl Interpolation {
    pub(super) fn kernel(self) -> Kernel {
        match self {
            Interpolation::Bilinear => Kernel::Rounded(Filter::Bilinear),
            Interpolation::Bicubic => Kernel::Rounded(Filter::Bicubic),
            Interpolation::Nearest => Kernel::Rounded(Filter::Nearest),
            Interpolation::BilinearTf1 => Kernel::Unrounded(Place::Tf1),
            Interpolation::BilinearPlain => Kernel::Unrounded(Place::HalfPixel),
        }
    }

    /// The `window` of `rgb` resized to `to` columns and rows: the same values as cut from all of it.
    pub(super) fn resize(
        self,
        rgb: &Rgb,
        to: (usize, usize),
        window: Window,
    ) -> Result<Pixels, PictureError> {
        let window = Some(window);
        Ok(match self.kernel() {
            Kernel::Rounded(filter) => {
                let resize = Resize { order: Order::Pillow13, window, ..Resize::new(to.0, to.1, filter) };
                Pixels::Bytes(resize.apply(rgb)?)
            }
            Kernel::Unrounded(place) => {
                Pixels::Fractions(Bilinear { window, ..Bilinear::new(to.0, to.1, place) }.apply(rgb)?)
            }
        })
    }
}

impl Pixels {
    /// All of them as a square of another size, by the interpolation that they were made by.
    pub(super) fn squared(&self, interpolation: Interpolation, side: usize) -> Result<Pixels, PictureError> {
        match (self, interpolation.kernel()) {
            (Pixels::Fractions(values), Kernel::Unrounded(place)) => {
                Ok(Pixels::Fractions(Bilinear::new(side, side, place).apply_to_values(values)?))
            }
            (Pixels::Bytes(rgb), _) => interpolation.resize(rgb, (side, side), Window::whole(side, side)),
            (Pixels::Fractions(_), Kernel::Rounded(_)) => unreachable!("Pillow's resampling leaves bytes"),
        }
    }

    fn size(&self) -> (usize, usize) {
        match self {
            Pixels::Bytes(rgb) => (rgb.width, rgb.height),
            Pixels::Fractions(values) => (values.width, values.height),
        }
    }

    /// Appends the network's input.
    pub(super) fn append(&self, range: Range, values: &mut Vec<f32>) {
        match self {
            Pixels::Bytes(rgb) => range.append_bytes(&rgb.pixels, values),
            Pixels::Fractions(_) => {
                let (width, height) = self.size();
                self.append_window(Window::whole(width, height), false, range, values);
            }
        }
    }

    /// Appends the network's input that a window of them is, or its mirror image.
    pub(super) fn append_window(&self, window: Window, mirrored: bool, range: Range, values: &mut Vec<f32>) {
        match self {
            Pixels::Bytes(rgb) => {
                let mut bytes = Vec::with_capacity(window.width * window.height * 3);
                cut(&rgb.pixels, rgb.width, window, mirrored, &mut bytes);
                range.append_bytes(&bytes, values);
            }
            Pixels::Fractions(fractions) => {
                let start = values.len();
                cut(&fractions.values, fractions.width, window, mirrored, values);
                range.scale(&mut values[start..]);
            }
        }
    }
}

/// Appends the pixels of a window of rows that are `width` pixels long.
fn cut<T: Copy>(pixels: &[T], width: usize, window: Window, mirrored: bool, to: &mut Vec<T>) {
    for y in window.top..window.top + window.height {
        let row = &pixels[(y * width + window.left) * 3..][..window.width * 3];
        if mirrored {
            row.chunks_exact(3).rev().for_each(|pixel| to.extend_from_slice(pixel));
        } else {
            to.extend_from_slice(row);
        }
    }
}
