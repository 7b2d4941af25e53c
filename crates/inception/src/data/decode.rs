//! From files to RGB, by the crate `inception-pictures`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
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
    let Some((path, start)) = picture.place() else { return Ok(Vec::new()) };
    let bytes = match picture {
        Picture::Part { len, .. } => File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            // As many as there are: an archive that has been cut off since is found by the decoder.
            file.take(*len).read_to_end(&mut bytes)?;
            Ok(bytes)
        }),
        _ => std::fs::read(path),
    };
    bytes.map_err(|source| DataError::Io { path: path.into(), source })
}
