//! What a file is that is neither JPEG nor PNG, in words for the person who took it for one.

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

/// `is a WEBP file`, `is no picture but text`.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let known = PICTURES.iter().find(|(at, start, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(start)));
    match known {
        Some((_, _, name)) => format!("is {name}"),
        None => format!("is no picture but {}", no_picture(bytes)),
    }
}

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
