//! One file: read, classified, decoded, fingerprinted.
//!
//! ```text
//! bytes ─ SHA-256 ─▶ equal files      bytes ─ header ─▶ remarks
//!       └ decode, as training does ─▶ the picture, or an error and its kind
//!                                     picture ─ 9×8 grey ─ left < right ─▶ 64 bits: equal but for scale and compression
//! ```

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use inception_pictures::{Colours, Content, Filter, Header, PictureError, Resize, Rgb};
use sha2::{Digest, Sha256};

use super::Options;
use super::kind::{Kind, Remark};
use super::scan::{Entry, Role};
use crate::data::decode::decode_bytes;
use crate::data::files::is_picture;
use crate::data::{DataError, Picture, Source, storage};

/// A picture of more pixels than this is huge: more than most cameras make, and slow to decode.
const HUGE: u64 = 40_000_000;

/// A 9×8 picture whose brightest and darkest pixel are nearer than this is of one colour: its differences are noise.
const FLAT: i32 = 8;

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Why nothing can be said about it: that is no fault of the data, and ends the search for such.
    pub(super) unreachable: Option<DataError>,
    /// Its size; 0 where it cannot be asked for.
    pub(super) bytes: u64,
    /// Columns and rows, upright, where it could be decoded.
    pub(super) size: Option<[usize; 2]>,
    pub(super) remarks: Vec<Remark>,
    /// Of a file that could be decoded.
    pub(super) print: Option<Print>,
    /// Reading and decoding.
    pub(super) decoding: Duration,
    /// Crop, resize, distortion and scaling as in training, where it was asked for.
    pub(super) distorting: Option<Duration>,
}

/// What tells equal pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// SHA-256 of the file.
    pub(super) digest: [u8; 32],
    /// What the picture looks like; none where it is of one colour.
    pub(super) look: Option<Look>,
}

/// What a picture looks like from afar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// 8 rows of 8 bits: whether a pixel of the 9×8 grey picture is darker than the one right of it.
    pub(super) hash: u64,
    /// Red, green and blue of its four quarters: a daisy and a dandelion may have the same hash.
    pub(super) colours: [u8; 12],
}

/// Looks at a file; `key` seeds the distortion to be timed, if any.
pub(super) fn look(entry: &Entry, is_read: bool, options: &Options, key: Option<u64>) -> Looked {
    let mut looked = Looked::default();
    let path = entry.path();
    if let Some(name) = path.file_name().filter(|name| name.to_str().is_none()) {
        looked.remarks.push(Remark::new(Kind::FileName, format!("{name:?}")));
    }
    looked.bytes = match &entry.picture {
        Picture::Part { len, .. } => *len,
        Picture::File(_) | Picture::Memory { .. } => storage::size(&path).unwrap_or(0),
    };
    if entry.role == Role::Stray {
        looked.remarks.push(Remark::new(Kind::Stray, ""));
    }
    if entry.role == Role::Ignored {
        match ignored(&path) {
            Ok(remark) => looked.remarks.push(remark),
            Err(error) => looked.unreachable = Some(DataError::io(&path, error)),
        }
    } else if is_read {
        picture(&entry.picture, &path, options, key, &mut looked);
    }
    looked
}

/// A file that is not read for its name; its start tells whether that is a pity.
fn ignored(path: &Path) -> io::Result<Remark> {
    let start = || -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        if storage::is_remote(path) {
            start = storage::read_part(path, 0, 512)?;
        } else if fs::metadata(path)?.is_file() {
            fs::File::open(path)?.take(512).read_to_end(&mut start)?;
        }
        Ok(start)
    };
    Ok(match start().map(|start| Content::of(&start)) {
        Err(error) if storage::is_unreachable(&error) => return Err(error),
        Ok(found @ (Content::Jpeg | Content::Png)) => {
            Remark::new(Kind::IgnoredPicture, format!("{found}: rename it"))
        }
        Ok(found @ Content::Foreign(_)) => {
            Remark::new(Kind::IgnoredPicture, format!("{found}: convert it to JPEG or PNG"))
        }
        Ok(Content::Other(_)) | Err(_) => Remark::new(Kind::Ignored, ""),
    })
}

/// A file that training would read.
fn picture(picture: &Picture, path: &Path, options: &Options, key: Option<u64>, looked: &mut Looked) {
    let start = Instant::now();
    let bytes = match picture.bytes() {
        Ok(bytes) => bytes,
        Err(error) if storage::is_unreachable(&error) => {
            looked.unreachable = Some(DataError::io(path, error));
            return;
        }
        Err(error) => return looked.remarks.push(Remark::new(Kind::Unreadable, error.to_string())),
    };
    let decoded = decode_bytes(&bytes, options.how.decoding());
    looked.decoding = start.elapsed();
    header_remarks(path, &bytes, &mut looked.remarks);
    let rgb = match decoded {
        Ok(rgb) => rgb,
        Err(error) => return looked.remarks.push(Remark::new(kind(&bytes, &error), error.to_string())),
    };
    let (width, height) = (rgb.width, rgb.height);
    looked.size = Some([width, height]);
    let size = format!("{width}×{height}");
    if width.min(height) < options.tiny {
        looked.remarks.push(Remark::new(Kind::Tiny, size));
    } else if width as u64 * height as u64 > HUGE {
        looked.remarks.push(Remark::new(Kind::Huge, size));
    }
    looked.print = Some(Print { digest: Sha256::digest(&bytes).into(), look: Look::of(&rgb) });
    if let Some(key) = key {
        let start = Instant::now();
        let square = options.train.apply(&Source::Decoded(&rgb), options.side, &[key]);
        // What is timed must be used.
        std::hint::black_box(square.map(|square| options.how.range.of_bytes(&square)).ok());
        looked.distorting = Some(start.elapsed());
    }
}

fn kind(bytes: &[u8], error: &PictureError) -> Kind {
    match error {
        _ if bytes.is_empty() => Kind::Empty,
        PictureError::Foreign(_) => match Content::of(bytes) {
            Content::Foreign(_) => Kind::ForeignFormat,
            _ => Kind::NoPicture,
        },
        PictureError::Truncated(_) => Kind::Truncated,
        PictureError::TooLarge { .. } => Kind::TooLarge,
        PictureError::Unsupported(_) => Kind::Unsupported,
        PictureError::Broken { .. }
        | PictureError::Panicked
        | PictureError::Pixels { .. }
        | PictureError::Window { .. }
        | PictureError::Region(_) => Kind::Broken,
    }
}

/// What the header says, whether or not the pixels are sound.
fn header_remarks(path: &Path, bytes: &[u8], remarks: &mut Vec<Remark>) {
    let mut remark = |kind, detail: &str| remarks.push(Remark::new(kind, detail));
    // A record of a shard may have a name without an extension.
    let is_named = is_picture(path);
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    match Content::of(bytes) {
        Content::Jpeg if is_png => remark(Kind::WrongExtension, "is a JPEG file"),
        Content::Png if is_named && !is_png => remark(Kind::WrongExtension, "is a PNG file"),
        _ => {}
    }
    let Some(header) = Header::of(bytes) else { return };
    match header.colours {
        Colours::Cmyk => remark(Kind::Cmyk, ""),
        Colours::Ycck => remark(Kind::Ycck, ""),
        Colours::Grey => remark(Kind::Grey, ""),
        Colours::Rgb | Colours::Palette => {}
    }
    if header.bits == 16 {
        remark(Kind::SixteenBits, "");
    }
    if header.transparent {
        remark(Kind::Transparent, "");
    }
    if header.orientation != 1 {
        remark(Kind::Rotated, &format!("orientation {}", header.orientation));
    }
}

impl Look {
    pub(super) fn of(rgb: &Rgb) -> Option<Look> {
        let small = Resize::new(9, 8, Filter::Bilinear).apply(rgb).ok()?;
        let luma =
            |p: &[u8; 3]| (299 * i32::from(p[0]) + 587 * i32::from(p[1]) + 114 * i32::from(p[2])) / 1000;
        let grey: Vec<i32> = small.pixels.as_chunks::<3>().0.iter().map(luma).collect();
        let range = grey.iter().max()? - grey.iter().min()?;
        let darker =
            |row: &[i32]| row.windows(2).fold(0, |bits, pair| bits << 1 | u64::from(pair[0] < pair[1]));
        let hash = grey.chunks_exact(9).fold(0, |bits, row| bits << 8 | darker(row));
        let quarters = Resize::new(2, 2, Filter::Bilinear).apply(&small).ok()?;
        let colours = quarters.pixels.try_into().ok()?;
        (range >= FLAT).then_some(Look { hash, colours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_its_bits_and_survives_another_size() {
        // Brighter to the right in the upper half, darker in the lower.
        let ramp = |width: usize, height: usize| {
            let pixel = |i: usize| {
                let value = (i % width * 255 / width) as u8;
                [if i / width < height / 2 { value } else { 255 - value }; 3]
            };
            Rgb { width, height, pixels: (0..width * height).flat_map(pixel).collect() }
        };
        let hash = |rgb: &Rgb| Look::of(rgb).map(|look| look.hash);
        assert_eq!(hash(&ramp(90, 80)), Some(0xffff_ffff_0000_0000));
        assert_eq!(hash(&ramp(300, 200)), Some(0xffff_ffff_0000_0000));
        assert_eq!(hash(&Rgb { width: 20, height: 20, pixels: vec![7; 1200] }), None, "flat");
    }
}
