//! From bytes to RGB: JPEG and PNG, told by their content.
//!
//! | found | becomes |
//! |---|---|
//! | grey, palette, 1 to 4 bits | RGB |
//! | 16 bits | 8 bits, rounded |
//! | transparency | colours laid on white, as a browser shows them; or dropped, as Pillow does |
//! | CMYK, YCCK (JPEG) | RGB, the values taken for Adobe's inverted ones as Pillow takes them |
//! | EXIF orientation | applied, or not |
//! | colour profile | not applied, as Pillow does not |
//! | a file that ends early | an error, not a grey half |

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat};

use super::dataset::{Picture, Rgb};
use super::error::DataError;
use super::jpeg::is_complete;
use super::preprocess::{Alpha, Decoding};

/// Pictures of more pixels than this are refused before they are decoded: Pillow's limit of a decompression bomb, two
/// thirds of a GiB of RGB bytes at most.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Decodes `picture`; the error names it.
pub fn decode(picture: &Picture, how: Decoding) -> Result<Rgb, DataError> {
    match picture {
        Picture::Memory { rgb, .. } => Ok((**rgb).clone()),
        Picture::File(path) => {
            let bytes = std::fs::read(path).map_err(|source| DataError::Io { path: path.clone(), source })?;
            decode_bytes(&bytes, how).map_err(|problem| DataError::Picture { name: name(path), problem })
        }
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// Decodes the content of a file; the error says what was found and what to do.
pub fn decode_bytes(bytes: &[u8], how: Decoding) -> Result<Rgb, String> {
    // A defect of a decoder costs one picture, not the run.
    let decoded = std::panic::catch_unwind(|| decode_known(bytes, how));
    decoded.unwrap_or_else(|_| Err("makes the decoder panic: write it again with another program".into()))
}

fn decode_known(bytes: &[u8], how: Decoding) -> Result<Rgb, String> {
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        Ok(other) => {
            let found = format!("{other:?}").to_uppercase();
            return Err(format!("is a {found} file: expected JPEG or PNG, convert it"));
        }
        Err(_) => return Err(format!("is no picture but {}: expected JPEG or PNG", describe(bytes))),
    };
    if format == ImageFormat::Jpeg && !is_complete(bytes) {
        return Err("is a truncated JPEG (no end marker): fetch or copy it again".into());
    }
    let broken = |e: image::ImageError| format!("is a broken {format:?} file ({e}): fetch or copy it again");
    let image = match format {
        ImageFormat::Jpeg => {
            let decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(bytes)).map_err(broken)?;
            decode_with(decoder, how.exif)?.map_err(broken)?
        }
        _ => {
            let decoder = image::codecs::png::PngDecoder::new(Cursor::new(bytes)).map_err(broken)?;
            decode_with(decoder, how.exif)?.map_err(broken)?
        }
    };
    Ok(to_rgb(image, how.alpha))
}

fn decode_with(
    mut decoder: impl ImageDecoder,
    exif: bool,
) -> Result<Result<DynamicImage, image::ImageError>, String> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "has {width}×{height} pixels, more than the {MAX_PIXELS} that are decoded: shrink it"
        ));
    }
    let orientation = decoder.orientation().ok().filter(|_| exif).unwrap_or(Orientation::NoTransforms);
    Ok(DynamicImage::from_decoder(decoder).map(|mut image| {
        image.apply_orientation(orientation);
        image
    }))
}

fn to_rgb(image: DynamicImage, alpha: Alpha) -> Rgb {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = match image.color() {
        ColorType::Rgb8 => image.into_rgb8().into_raw(),
        color if color.has_alpha() && alpha == Alpha::White => {
            // On white, as a browser shows it.
            let over_white =
                |v: u8, a: u8| ((u32::from(v) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
            let rgba = image.into_rgba8().into_raw();
            rgba.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| over_white(p[c], p[3]))).collect()
        }
        _ => image.into_rgb8().into_raw(),
    };
    Rgb { width, height, pixels }
}

/// What bytes are that no picture starts with.
fn describe(bytes: &[u8]) -> &'static str {
    let start = bytes.trim_ascii_start();
    if bytes.is_empty() {
        "an empty file"
    } else if start.starts_with(b"<") {
        "a web page or XML"
    } else if bytes.starts_with(b"version https://git-lfs") {
        "a Git LFS pointer"
    } else if bytes.get(4..8) == Some(b"ftyp") {
        "a HEIC picture or a video"
    } else if is_text(&bytes[..bytes.len().min(512)]) {
        "text"
    } else {
        "unknown bytes"
    }
}

/// UTF-8 without control codes; the last character may be cut.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    valid && !bytes.iter().any(|b| matches!(b, 0..=8 | 14..=31))
}
