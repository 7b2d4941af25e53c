//! What a file says of its picture before the pixels: size, depth, colours, transparency, orientation.
//!
//! ```text
//! JPEG: segments to the first scan: frame (bits, height, width, channels), Adobe's transform, EXIF
//! PNG:  chunks: IHDR (width, height, bits, kind), tRNS, eXIf
//! ```
//! Nothing is decoded, and a file that is cut off behind its header still has one.

use super::describe::Content;
use super::exif::orientation;
use super::jpeg_structure;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Columns, as stored.
    pub width: u32,
    /// Rows, as stored.
    pub height: u32,
    /// Bits of a channel.
    pub bits: u8,
    /// Which channels there are, alpha aside.
    pub colours: Colours,
    /// Whether there is an alpha channel or a transparent colour.
    pub transparent: bool,
    /// EXIF orientation, 1 to 8; 1 is upright.
    pub orientation: u8,
    /// By how much decoding can shrink it, see [`Part`](super::Part): 8 for a JPEG in grey or in three colours, else 1.
    pub shrinks: usize,
}

/// Channels of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Brightness alone.
    Grey,
    /// Red, green and blue, or what becomes them without loss of colour.
    Rgb,
    /// Numbers of colours in a list.
    Palette,
    /// Four inks.
    Cmyk,
    /// Four inks, three of them as brightness and colour.
    Ycck,
}

impl Header {
    /// That of a JPEG or PNG file; `None` for others, and where it is broken.
    pub fn of(bytes: &[u8]) -> Option<Header> {
        match Content::of(bytes) {
            Content::Jpeg => jpeg_structure::header(bytes),
            Content::Png => png(bytes),
            Content::Foreign(_) | Content::Other(_) => None,
        }
    }

    /// Columns and rows of the picture as a person sees it.
    pub fn upright(&self) -> (u32, u32) {
        match self.orientation {
            5..=8 => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }
}

fn png(bytes: &[u8]) -> Option<Header> {
    let mut rest = bytes.get(8..)?;
    let (b"IHDR", &[w3, w2, w1, w0, h3, h2, h1, h0, bits, kind, ..]) = next_chunk(&mut rest)? else {
        return None;
    };
    let colours = match kind {
        0 | 4 => Colours::Grey,
        2 | 6 => Colours::Rgb,
        3 => Colours::Palette,
        _ => return None,
    };
    let mut header = Header {
        width: u32::from_be_bytes([w3, w2, w1, w0]),
        height: u32::from_be_bytes([h3, h2, h1, h0]),
        bits,
        colours,
        transparent: kind >= 4,
        orientation: 1,
        shrinks: 1,
    };
    while let Some((name, data)) = next_chunk(&mut rest) {
        match name {
            b"tRNS" => header.transparent = true,
            b"eXIf" => header.orientation = orientation(data),
            b"IEND" => break,
            _ => {}
        }
    }
    Some(header)
}

/// Name and data of the chunk at the start of `rest`, which then is what follows: length, name, data, checksum.
fn next_chunk<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8; 4], &'a [u8])> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (name, after) = after.split_first_chunk::<4>()?;
    let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after.get(4..)?;
    Some((name, data))
}
