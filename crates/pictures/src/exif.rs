//! The orientation that a camera notes in an EXIF block, and pictures turned by it.
//!
//! ```text
//! block: byte order, 42, offset of a list; list: count, then entries of 12 bytes: tag, kind, how many, value
//! ```
//! Row 0 and column 0 of what is stored are, by the number: 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left
//! top, 6 right top, 7 right bottom, 8 left bottom. A block that contradicts itself says nothing: 1.

use super::Rgb;

const ORIENTATION: u32 = 0x112;

/// The orientation that a TIFF block of EXIF data names, 1 to 8.
pub(crate) fn orientation(block: &[u8]) -> u8 {
    read(block).unwrap_or(1)
}

fn read(block: &[u8]) -> Option<u8> {
    let little = match block.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, length: usize| -> Option<u32> {
        let bytes = block.get(at..at.checked_add(length)?)?;
        let add = |n: u32, b: &u8| n << 8 | u32::from(*b);
        Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let list = number(4, 4)? as usize;
    let count = number(list, 2)? as usize;
    let entry =
        (0..count).map(|i| list.saturating_add(2 + 12 * i)).find(|&at| number(at, 2) == Some(ORIENTATION))?;
    let length = match number(entry + 2, 2)? {
        3 => 2,
        4 => 4,
        _ => return None,
    };
    u8::try_from(number(entry + 8, length)?).ok().filter(|v| (1..=8).contains(v))
}

/// Where the pixel at a column and row of the upright picture lies in the stored one, of `w` columns and `h` rows.
pub(crate) fn source(orientation: u8, w: usize, h: usize, x: usize, y: usize) -> (usize, usize) {
    match orientation {
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, h - 1 - x),
        7 => (w - 1 - y, h - 1 - x),
        8 => (w - 1 - y, x),
        _ => (x, y),
    }
}

/// The picture turned so that its top is up.
pub(crate) fn upright(rgb: Rgb, orientation: u8) -> Rgb {
    let (w, h) = (rgb.width, rgb.height);
    let (width, height) = match orientation {
        2..=4 => (w, h),
        5..=8 => (h, w),
        _ => return rgb,
    };
    let mut pixels = Vec::with_capacity(rgb.pixels.len());
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = source(orientation, w, h, x, y);
            pixels.extend_from_slice(&rgb.pixels[(sy * w + sx) * 3..][..3]);
        }
    }
    Rgb { width, height, pixels }
}
