//! One number that says whether a file is as it was written.

use inception_formats::TensorFile;
use serde_json::{Map, Value};

use super::write::{Out, Values};

/// Its key among the texts of a file; the value is CRC-32C, `crc32c:` and eight digits.
pub(super) const KEY: &str = "checksum";

/// Adds the checksum of `texts` (plain strings) and `tensors` to `texts`.
pub(super) fn seal(texts: &mut Map<String, Value>, tensors: &[Out]) {
    let mut pairs: Vec<(&str, &str)> =
        texts.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    let mut sum = of_texts(pairs);
    for tensor in tensors {
        sum = crc32c::crc32c_append(sum, tensor.name.as_bytes());
        sum = match &tensor.values {
            Values::F32(values) => values.chunks(1 << 10).fold(sum, |sum, values| {
                let mut bytes = [0; 4 << 10];
                bytes.as_chunks_mut().0.iter_mut().zip(values).for_each(|(to, v)| *to = v.to_le_bytes());
                crc32c::crc32c_append(sum, &bytes[..4 * values.len()])
            }),
            Values::Made(make) => crc32c::crc32c_append(sum, &make()),
            Values::Bytes(bytes) => crc32c::crc32c_append(sum, bytes),
        };
    }
    texts.insert(KEY.into(), text(sum).into());
}

/// What is wrong with `file`, if it carries a checksum and is not as it was written.
pub(super) fn check(file: &mut TensorFile) -> Result<Option<String>, inception_formats::Error> {
    let Some((_, expected)) = file.texts().iter().find(|(key, _)| key == KEY).cloned() else {
        return Ok(None);
    };
    // Sorted, as the file's reader has them.
    let texts = file.texts().iter().filter(|(key, _)| key != KEY);
    let mut sum = of_texts(texts.map(|(key, value)| (key.as_str(), value.as_str())));
    for i in 0..file.tensors().len() {
        sum = crc32c::crc32c_append(sum, file.tensors()[i].name.as_bytes());
        sum = crc32c::crc32c_append(sum, file.bytes(i)?);
    }
    let found = text(sum);
    Ok((found != expected).then(|| {
        format!(
            "it is damaged: its checksum is {found}, {expected} was written; use another copy of the file"
        )
    }))
}

fn of_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> u32 {
    let parts = texts.into_iter().flat_map(|(key, value)| [key, "\0", value, "\0"]);
    parts.fold(0, |sum, part| crc32c::crc32c_append(sum, part.as_bytes()))
}

fn text(sum: u32) -> String {
    format!("crc32c:{sum:08x}")
}
