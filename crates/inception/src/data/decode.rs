//! From files to RGB, by the crate `inception-pictures`.

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
        Picture::File(path) => {
            let bytes = std::fs::read(path).map_err(|source| DataError::Io { path: path.clone(), source })?;
            decode_bytes(&bytes, how)
                .map(Arc::new)
                .map_err(|e| DataError::Picture { name: picture.name(), problem: e.to_string() })
        }
    }
}
