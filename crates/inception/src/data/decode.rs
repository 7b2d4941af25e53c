//! From files to RGB, by the crate `inception-pictures`.

use std::path::Path;
use std::sync::Arc;

pub use inception_pictures::MAX_PIXELS;
use inception_pictures::Options;
pub(super) use inception_pictures::decode as decode_bytes;

use super::dataset::{Picture, Rgb};
use super::error::DataError;

/// Decodes `picture`; the error names it.
pub fn decode(picture: &Picture, how: Options) -> Result<Arc<Rgb>, DataError> {
    match picture {
        Picture::Memory { rgb, .. } => Ok(rgb.clone()),
        Picture::File(_) | Picture::Part { .. } => decode_bytes(&read(picture)?, how)
            .map(Arc::new)
            .map_err(|e| DataError::Picture { name: picture.name(), problem: e.to_string() }),
    }
}

/// The bytes of a picture's file, or of its part of an archive.
pub(super) fn read(picture: &Picture) -> Result<Vec<u8>, DataError> {
    let path = || picture.place().map_or(Path::new(""), |(path, _)| path);
    picture.bytes().map_err(|source| DataError::io(path(), source))
}
