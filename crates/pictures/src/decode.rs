//! From bytes to RGB: JPEG and PNG, told by their content, as the program of [`Options`] reads them.
//!
//! | found | becomes |
//! |---|---|
//! | grey, palette, 1 to 4 bits | RGB |
//! | 16 bits a channel | the upper 8; grey in [`Program::Pillow`]: cut off at 255 with [`Alpha::Drop`], as Pillow does, rounded with [`Alpha::White`] |
//! | transparency | [`Alpha`] |
//! | CMYK, YCCK (JPEG) | RGB, the values taken for Adobe's inverted ones as [`Program`] takes them |
//! | EXIF orientation | applied or not |
//! | colour profile, gamma | not applied, as Pillow and TensorFlow do not |
//! | a file that ends early | an error, not a grey half |

use super::describe::Content;
use super::error::PictureError;
use super::header::Header;
use super::part::Part;
use super::{Rgb, exif, jpeg, png_file};

/// Pictures of more pixels than this are refused before they are decoded: Pillow's limit of a decompression bomb, half a
/// GiB of RGB bytes at most.
pub const MAX_PIXELS: u64 = 178_956_970;

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpha {
    /// Colours are laid on white, as a browser shows them.
    White,
    /// Transparency is forgotten, as Pillow's `convert("RGB")` does.
    Drop,
}

/// Whose pixels are made, bit for bit. JPEG's standard leaves the last bits of the inverse DCT open, and programs differ in
/// what they make of 16 bits of grey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// libjpeg-turbo's accurate integer DCT, that of Pillow, OpenCV and torchvision.
    Pillow,
    /// libjpeg-turbo's fast integer DCT, that of TensorFlow's `decode_jpeg` unless told otherwise.
    TensorFlow,
}

/// How files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether a picture is turned as its EXIF orientation says.
    pub exif: bool,
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// Whose pixels are made.
    pub program: Program,
}

impl Options {
    /// `Image.open(file).convert("RGB")`, which torchvision's folders and timm use.
    pub const PILLOW: Options = Options { exif: false, alpha: Alpha::Drop, program: Program::Pillow };
    /// `tf.io.decode_jpeg(bytes, channels=3)`, which slim uses.
    pub const TENSORFLOW: Options = Options { exif: false, alpha: Alpha::Drop, program: Program::TensorFlow };
    /// As a person sees the picture: upright and on white.
    pub const VIEWER: Options = Options { exif: true, alpha: Alpha::White, program: Program::Pillow };
}

/// Decodes the content of a file; the error says what was found and what to do.
pub fn decode(bytes: &[u8], options: Options) -> Result<Rgb, PictureError> {
    // A defect of a decoder costs one picture, not the run.
    let decoded = std::panic::catch_unwind(|| decode_known(bytes, options));
    decoded.unwrap_or(Err(PictureError::Panicked))
}

/// Decodes a part of the picture that [`decode`] makes, with the same pixels where it is not reduced. Of a JPEG nothing else is
/// computed but the coded data's values, which follow from each other.
pub fn decode_part(bytes: &[u8], options: Options, part: Part) -> Result<Rgb, PictureError> {
    let decoded = std::panic::catch_unwind(|| decode_known_part(bytes, options, part));
    decoded.unwrap_or(Err(PictureError::Panicked))
}

fn decode_known_part(bytes: &[u8], options: Options, part: Part) -> Result<Rgb, PictureError> {
    let Some(header) = Header::of(bytes).filter(|_| Content::of(bytes) == Content::Jpeg) else {
        let whole = decode_known(bytes, options)?;
        return if part.shrink == 1 { whole.cut(part.window) } else { Err(part.refused(1)) };
    };
    let orientation = if options.exif { header.orientation } else { 1 };
    let stored = jpeg::decode(bytes, options.program, Some(part.stored(&header, orientation)?))?;
    Ok(exif::upright(stored, orientation))
}

fn decode_known(bytes: &[u8], options: Options) -> Result<Rgb, PictureError> {
    let (rgb, orientation) = match Content::of(bytes) {
        Content::Jpeg => {
            let orientation = Header::of(bytes).map_or(1, |header| header.orientation);
            (jpeg::decode(bytes, options.program, None)?, orientation)
        }
        Content::Png => png_file::decode(bytes, options)?,
        other => return Err(PictureError::Foreign(other.to_string())),
    };
    Ok(if options.exif { exif::upright(rgb, orientation) } else { rgb })
}

/// An error if there are more pixels than are handled.
pub(crate) fn check_size(width: u64, height: u64) -> Result<(), PictureError> {
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    Ok(())
}
