//! What can be wrong with a picture. Each message says what was found and what to do; the caller adds the file's name.

use super::Window;
use super::decode::MAX_PIXELS;

/// Why a picture cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureError {
    /// Neither JPEG nor PNG; what it is instead, for example `is a WEBP file`.
    Foreign(String),
    /// The file ends before its end marker; the format.
    Truncated(&'static str),
    /// The pixels, or those a resize would need on its way, are more than are handled.
    TooLarge {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// A file within the standard that is not read; what it is and what to do.
    Unsupported(String),
    /// A file that contradicts the standard.
    Broken {
        /// JPEG or PNG.
        format: &'static str,
        /// The decoder's words.
        problem: String,
    },
    /// A defect of a decoder, which costs this picture only.
    Panicked,
    /// A picture whose bytes are not as many as its sides say, or that has none.
    Pixels {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes.
        found: usize,
    },
    /// A window that is empty or not inside its picture.
    Window {
        /// The window.
        window: Window,
        /// The picture's columns.
        width: usize,
        /// The picture's rows.
        height: usize,
    },
    /// A region to resize that is empty or not inside its picture; in words.
    Region(String),
}

impl std::fmt::Display for PictureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PictureError::Foreign(found) => write!(f, "{found}: expected JPEG or PNG, convert it"),
            PictureError::Truncated(format) => {
                write!(f, "is a truncated {format} (no end marker): fetch or copy it again")
            }
            PictureError::TooLarge { width, height } => {
                write!(
                    f,
                    "has {width}×{height} pixels, more than the {MAX_PIXELS} that are handled: shrink it"
                )
            }
            PictureError::Unsupported(problem) => write!(f, "{problem}"),
            PictureError::Broken { format, problem } => {
                write!(f, "is a broken {format} file ({problem}): fetch or copy it again")
            }
            PictureError::Panicked => {
                write!(f, "makes the decoder panic: write it again with another program")
            }
            PictureError::Pixels { width, height, found } => {
                write!(
                    f,
                    "expected 3 bytes for each of {width}×{height} pixels, at least one: found {found} bytes"
                )
            }
            PictureError::Window { window: w, width, height } => write!(
                f,
                "a window of {}×{} pixels at column {}, row {} is not inside {width}×{height} pixels: \
                 expected one that is and has pixels",
                w.width, w.height, w.left, w.top
            ),
            PictureError::Region(problem) => write!(f, "{problem}"),
        }
    }
}

impl std::error::Error for PictureError {}
