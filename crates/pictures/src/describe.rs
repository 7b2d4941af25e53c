//! What a file is, in words for the person who took it for something else.

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JPEG file.
    Jpeg,
    /// A PNG file.
    Png,
    /// A picture that is not read; what it is, for example `a GIF file`.
    Foreign(&'static str),
    /// Nothing known as a picture; what it is, for example `text`.
    Other(&'static str),
}

impl Content {
    /// Told from the first 512 bytes of a file, or from all.
    pub fn of(bytes: &[u8]) -> Content {
        if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            return Content::Jpeg;
        }
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Content::Png;
        }
        let known = |(at, start, _): &&(usize, &[u8], &str)| {
            bytes.get(*at..).is_some_and(|bytes| bytes.starts_with(start))
        };
        match PICTURES.iter().find(known) {
            Some((_, _, name)) => Content::Foreign(name),
            None => Content::Other(no_picture(bytes)),
        }
    }
}

impl std::fmt::Display for Content {
    /// `is a WEBP file`, `is no picture but text`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Jpeg => f.write_str("is a JPEG file"),
            Content::Png => f.write_str("is a PNG file"),
            Content::Foreign(name) => write!(f, "is {name}"),
            Content::Other(name) => write!(f, "is no picture but {name}"),
        }
    }
}

/// Starts of other pictures: offset, bytes, name.
const PICTURES: [(usize, &[u8], &str); 11] = [
    (0, b"GIF8", "a GIF file"),
    (8, b"WEBP", "a WEBP file"),
    (0, b"BM", "a BMP file"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (4, b"ftypavif", "an AVIF file"),
    (4, b"ftyp", "a HEIC picture or a video"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (0, b"8BPS", "a Photoshop file"),
];

fn no_picture(bytes: &[u8]) -> &'static str {
    let start = bytes.trim_ascii_start();
    if bytes.is_empty() {
        "an empty file"
    } else if start.starts_with(b"<") {
        "a web page or XML"
    } else if bytes.starts_with(b"version https://git-lfs") {
        "a Git LFS pointer"
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
