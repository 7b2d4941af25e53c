//! Pictures decoded and resized with exactly the bytes of the programs that published weights were trained with.
//!
//! ```text
//! file ── decode ──> Rgb ── resize, as Pillow ──────────────> Rgb    (torchvision, timm)
//!                        └─ unfiltered, as TensorFlow, torch ─> RgbF32 (slim, FID)
//! ```
//! [`geometry`] says which sizes and crops those programs take.

pub mod decode;
mod describe;
mod error;
mod exif;
pub mod geometry;
mod header;
mod jpeg;
mod jpeg_structure;
mod part;
mod png_file;
pub mod resize;
pub mod unfiltered;

pub use decode::{Alpha, MAX_PIXELS, Options, Program, decode, decode_part};
pub use describe::Content;
pub use error::PictureError;
pub use header::{Colours, Header};
pub use part::Part;
pub use resize::{Filter, Order, Region, Resize};

/// A decoded picture: `height` rows of `width` RGB bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub pixels: Vec<u8>,
}

/// A picture whose values lie between those of bytes, 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub struct RgbF32 {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub values: Vec<f32>,
}

/// A rectangle of whole pixels inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns before it.
    pub left: usize,
    /// Rows before it.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// All of a picture.
    pub fn whole(width: usize, height: usize) -> Window {
        Window { left: 0, top: 0, width, height }
    }

    /// An error unless it has pixels and lies inside `width`×`height`.
    pub(crate) fn check(self, width: usize, height: usize) -> Result<(), PictureError> {
        let inside = |start: usize, size: usize, end: usize| {
            size > 0 && start.checked_add(size).is_some_and(|last| last <= end)
        };
        if inside(self.left, self.width, width) && inside(self.top, self.height, height) {
            return Ok(());
        }
        Err(PictureError::Window { window: self, width, height })
    }
}

impl Rgb {
    /// An error unless the bytes are as many as the sides say, and some.
    pub(crate) fn check(&self) -> Result<(), PictureError> {
        check_values(self.width, self.height, self.pixels.len())
    }
}

impl RgbF32 {
    /// An error unless the values are as many as the sides say, and some.
    pub(crate) fn check(&self) -> Result<(), PictureError> {
        check_values(self.width, self.height, self.values.len())
    }
}

fn check_values(width: usize, height: usize, found: usize) -> Result<(), PictureError> {
    let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
    if expected == Some(found) && expected != Some(0) {
        return Ok(());
    }
    Err(PictureError::Pixels { width, height, found })
}
