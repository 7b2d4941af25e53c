//! A part of a picture, decoded without the rest, and reduced while it is.
//!
//! ```text
//! shrink 1   the pixels that decoding everything gives
//! shrink s   pixels of s × s of them, straight from the low frequencies of each block (libjpeg-turbo's scaled inverse DCT): close to
//!            their means, not equal to them
//! ```

use super::exif::source;
use super::{Header, PictureError, Rgb, Window};

/// What is wanted of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Columns and rows of the picture, upright if it is turned, shrunk if it is.
    pub window: Window,
    /// 1, 2, 4 or 8 pixels become one in each direction, rounded up at the last; at most [`Header::shrinks`].
    pub shrink: usize,
}

impl Part {
    /// The same part of what is stored.
    pub(crate) fn stored(self, header: &Header, orientation: u8) -> Result<Part, PictureError> {
        if !matches!(self.shrink, 1 | 2 | 4 | 8) || self.shrink > header.shrinks {
            return Err(self.refused(header.shrinks));
        }
        let [width, height] = [header.width, header.height].map(|n| (n as usize).div_ceil(self.shrink));
        let Window { left, top, .. } = self.window;
        match orientation {
            5..=8 => self.window.check(height, width)?,
            _ => self.window.check(width, height)?,
        }
        let corner = |x, y| source(orientation, width, height, x, y);
        let (ax, ay) = corner(left, top);
        let (bx, by) = corner(left + self.window.width - 1, top + self.window.height - 1);
        let window = Window {
            left: ax.min(bx),
            top: ay.min(by),
            width: ax.abs_diff(bx) + 1,
            height: ay.abs_diff(by) + 1,
        };
        Ok(Part { window, ..self })
    }

    pub(crate) fn refused(self, largest: usize) -> PictureError {
        PictureError::Unsupported(format!(
            "cannot be decoded shrunk {} times: expected 1, 2, 4 or 8, at most {largest} for this file",
            self.shrink
        ))
    }
}

impl Rgb {
    /// The pixels of a window.
    pub fn cut(&self, window: Window) -> Result<Rgb, PictureError> {
        self.check()?;
        window.check(self.width, self.height)?;
        let mut pixels = Vec::with_capacity(window.width * window.height * 3);
        for row in self.pixels.chunks_exact(self.width * 3).skip(window.top).take(window.height) {
            pixels.extend_from_slice(&row[window.left * 3..][..window.width * 3]);
        }
        Ok(Rgb { width: window.width, height: window.height, pixels })
    }
}
