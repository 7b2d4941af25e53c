//! The segments of a JPEG: whether it is all there, and whose it is.
//!
//! The decoder fills what a truncated file lacks with grey and says nothing, so the file's structure is walked first:
//!
//! ```text
//! start of image, then segments: marker, length, that many bytes; after a start of scan, coded data to the next marker
//! ```
//! A complete file reaches the end-of-image marker. Searching for its two bytes would not do: the thumbnail inside a
//! camera's EXIF segment has an end of its own. What follows the end (a second picture, a video) is nobody's business.

use super::exif::orientation;
use super::header::{Colours, Header};

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
const EXIF: &[u8] = b"Exif\0\0";

/// Whether `bytes`, which start a JPEG, go on to its end-of-image marker.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let (mut at, mut scanned) = (2, false);
    while let Some((marker, _)) = next_segment(bytes, &mut at) {
        match marker {
            END_OF_IMAGE => return scanned,
            START_OF_SCAN => scanned = true,
            _ => {}
        }
    }
    false
}

/// What the segments before the first scan say of the channels' colours.
pub(crate) struct Marks {
    /// Adobe's number for the transform between the colours that a person sees and those in the file.
    pub(crate) adobe: Option<u8>,
    /// Where the first scan starts.
    pub(crate) scan: usize,
}

/// Reads the segments before the first scan.
pub(crate) fn marks(bytes: &[u8]) -> Marks {
    let (mut at, mut marks) = (2, Marks { adobe: None, scan: 2 });
    while let Some((marker, data)) = next_segment(bytes, &mut at) {
        match marker {
            START_OF_SCAN | END_OF_IMAGE => break,
            APP14 if data.starts_with(b"Adobe") => marks.adobe = data.get(11).copied().or(marks.adobe),
            _ => {}
        }
        marks.scan = at;
    }
    marks
}

/// What the segments before the first scan say of the picture; `None` without a frame.
pub(crate) fn header(bytes: &[u8]) -> Option<Header> {
    let (mut at, mut frame, mut adobe, mut turned) = (2, None, None, None);
    while let Some((marker, data)) = next_segment(bytes, &mut at) {
        match marker {
            START_OF_SCAN | END_OF_IMAGE => break,
            APP1 if data.starts_with(EXIF) && turned.is_none() => {
                turned = Some(orientation(&data[EXIF.len()..]))
            }
            APP14 if data.starts_with(b"Adobe") => adobe = data.get(11).copied().or(adobe),
            // Frames of every kind; the three left out are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => frame = data.get(..6),
            _ => {}
        }
    }
    let &[bits, h1, h0, w1, w0, channels] = frame? else { return None };
    let colours = match (channels, adobe) {
        (1, _) => Colours::Grey,
        (4, Some(2)) => Colours::Ycck,
        (4, _) => Colours::Cmyk,
        _ => Colours::Rgb,
    };
    Some(Header {
        width: u16::from_be_bytes([w1, w0]).into(),
        height: u16::from_be_bytes([h1, h0]).into(),
        bits,
        colours,
        transparent: false,
        orientation: turned.unwrap_or(1),
        shrinks: if channels == 4 { 1 } else { 8 },
    })
}

/// The file with Adobe's marker before the first scan, which says the last word.
pub(crate) fn with_adobe(bytes: &[u8], marks: &Marks, transform: u8) -> Vec<u8> {
    let marker = [&[0xff, APP14, 0, 14], b"Adobe".as_slice(), &[0, 100, 0, 0, 0, 0, transform]].concat();
    let (before, after) = bytes.split_at(marks.scan.min(bytes.len()));
    [before, &marker, after].concat()
}

/// The next marker from `at` on and its data, behind which `at` then stands.
fn next_segment<'a>(bytes: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    let marker = next_marker(bytes, at)?;
    // Restarts and TEM have no length. Tolerated wherever they are, as are stray bytes.
    if matches!(marker, END_OF_IMAGE | 0xd0..=0xd8 | 0x01) {
        return Some((marker, &[]));
    }
    let length = bytes.get(*at..*at + 2)?;
    let start = *at + 2;
    *at += usize::from(u16::from_be_bytes([length[0], length[1]]));
    Some((marker, bytes.get(start..*at).unwrap_or_default()))
}

/// The next marker from `at` on, behind which `at` then stands. In coded data 0xff 0x00 is a value, not a marker.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|&b| b == 0xff)? + 1;
        // Any number of 0xff may stand before a marker.
        *at += bytes[*at..].iter().position(|&b| b != 0xff)? + 1;
        match bytes[*at - 1] {
            0 => {}
            marker => return Some(marker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of `marker` with `data`.
    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        [&[0xff, marker, 0, data.len() as u8 + 2], data].concat()
    }

    #[test]
    fn only_the_end_of_the_picture_itself_counts() {
        let start =
            [vec![0xff, 0xd8], segment(0xe1, &[0xff, 0xda, 0xff, 0xd9]), segment(0xc0, &[1, 2, 3])].concat();
        let scan = [segment(START_OF_SCAN, &[9]), vec![5, 0xff, 0, 7, 0xff, 0xd0, 8]].concat();
        assert!(!is_complete(&start), "the end inside a thumbnail");
        assert!(!is_complete(&[&start[..], &[0xff, 0xd9]].concat()), "no scan at all");
        assert!(!is_complete(&[&start[..], &scan].concat()));
        let whole = [&start[..], &scan, &scan, &[0xff, 0xff, 0xd9]].concat();
        assert!(is_complete(&whole));
        assert!(is_complete(&[&whole[..], b"whatever a camera appends"].concat()));
        for cut in 0..whole.len() {
            assert!(!is_complete(&whole[..cut]), "cut to {cut} bytes");
        }
    }
}
