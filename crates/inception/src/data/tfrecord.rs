//! Pictures in TFRecord shards, as slim's and TensorFlow's scripts write them, read in place.
//!
//! ```text
//! record    length (u64), CRC of it, tf.Example, CRC of it
//! Example   features { feature { "image/encoded": bytes, "image/class/label": int64, "image/class/text" or "…/synset": bytes } }
//! ```
//! The class is the synset where there is one, else the text, else the number, which `labels.txt` beside the shards (`0:daisy`)
//! gives a name.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inception_formats::masked_crc32c;

use super::dataset::{Dataset, Picture};
use super::error::DataError;
use super::storage;

/// Longest text that is kept.
const TEXT: u64 = 1 << 16;

/// Whether `path` is called like a shard: `.tfrecord`, or `train-00000-of-00128`.
pub(super) fn is(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = |name: &str| {
        let (rest, count) = name.rsplit_once("-of-").unwrap_or_default();
        digits(count) && rest.rsplit_once('-').is_some_and(|(_, number)| digits(number))
    };
    let base = name.split_once('.').map_or(name, |(base, _)| base);
    name.to_ascii_lowercase().ends_with(".tfrecord")
        || name.to_ascii_lowercase().ends_with(".tfrecords")
        || name == base && numbered(name)
}

/// The pictures of some shards.
pub(super) fn open(root: &Path, files: &[PathBuf]) -> Result<Dataset, DataError> {
    let names = names(files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")))?;
    let mut pictures = Vec::new();
    for path in files {
        let shard = Shard::open(path).and_then(|mut shard| shard.list(&names, &mut pictures));
        shard.map_err(|error| match error {
            Fault::Io(source) => DataError::io(path, source),
            Fault::Bad(problem) => DataError::Layout { path: path.clone(), problem },
        })?;
    }
    if pictures.is_empty() {
        let problem = "has no record".into();
        return Err(DataError::Layout { path: root.into(), problem });
    }
    Ok(Dataset::named(root, pictures, Vec::new()))
}

/// Names of numbered classes.
fn names(folder: &Path) -> Result<HashMap<i64, String>, DataError> {
    let text = storage::read_beside(&folder.join("labels.txt"))?;
    let pair = |line: &str| {
        let (number, name) = line.split_once(':')?;
        Some((number.trim().parse().ok()?, name.trim().to_string()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

enum Fault {
    Io(std::io::Error),
    Bad(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::Bad("ends inside a record: it is cut off".into()),
            _ => Fault::Io(error),
        }
    }
}

/// A shard that is read from its start on; large values are passed over.
struct Shard {
    path: Arc<Path>,
    file: BufReader<storage::Reader>,
    at: u64,
    len: u64,
}

/// What is known of a record's picture.
#[derive(Default)]
struct Example {
    encoded: Option<(u64, u64)>,
    label: Option<i64>,
    text: Option<String>,
    synset: Option<String>,
    filename: Option<String>,
}

impl Shard {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = storage::open(path)?;
        let len = file.len()?;
        Ok(Shard { path: path.into(), file: BufReader::new(file), at: 0, len })
    }

    fn list(
        &mut self,
        names: &HashMap<i64, String>,
        pictures: &mut Vec<(Picture, String)>,
    ) -> Result<(), Fault> {
        let mut number = 0;
        while self.at < self.len {
            let length: [u8; 8] = self.bytes()?;
            let found = u32::from_le_bytes(self.bytes()?);
            if found != masked_crc32c(&length) {
                return Err(Fault::Bad(format!(
                    "record {number} begins with a wrong checksum: it is no TFRecord file, or damaged (compressed shards are not read: decompress them)"
                )));
            }
            let end = self.at.checked_add(u64::from_le_bytes(length)).filter(|&end| end + 4 <= self.len);
            let end = end.ok_or_else(|| Fault::Bad(format!("ends inside record {number}: it is cut off")))?;
            let mut example = Example::default();
            self.message(end, &mut |shard, field, end| {
                if field != 1 {
                    return shard.skip_to(end);
                }
                shard.message(end, &mut |shard, field, end| {
                    if field == 1 { shard.feature(end, &mut example) } else { shard.skip_to(end) }
                })
            })?;
            self.skip_to(end + 4)?;
            let name = example.filename.unwrap_or_else(|| format!("record {number}"));
            let Some((start, len)) = example.encoded else {
                return Err(Fault::Bad(format!("record {number} has no `image/encoded`")));
            };
            let class = example.synset.or(example.text.filter(|text| !text.is_empty()));
            let class = class.or_else(|| {
                let label = example.label?;
                Some(names.get(&label).cloned().unwrap_or_else(|| label.to_string()))
            });
            let Some(class) = class else {
                return Err(Fault::Bad(format!("record {number} has no `image/class/label`")));
            };
            pictures.push((Picture::Part { archive: self.path.clone(), name, start, len }, class));
            number += 1;
        }
        Ok(())
    }

    /// An entry of the map of features.
    fn feature(&mut self, end: u64, example: &mut Example) -> Result<(), Fault> {
        let mut key = String::new();
        self.message(end, &mut |shard, field, end| match (field, key.as_str()) {
            (1, _) => {
                key = shard.text(end)?;
                Ok(())
            }
            // Feature: bytes_list = 1, int64_list = 3, each with its values in field 1.
            (2, name) => shard.message(end, &mut |shard, kind, end| {
                shard.values(end, kind == 3, &mut |shard, value| {
                    let text = |shard: &mut Self, (start, len): (u64, u64)| shard.text(start + len).map(Some);
                    match (name, value) {
                        ("image/encoded", Value::Bytes(start, len)) => example.encoded = Some((start, len)),
                        ("image/class/label", Value::Number(number)) => example.label = Some(number),
                        ("image/class/text", Value::Bytes(start, len)) => {
                            example.text = text(shard, (start, len))?;
                        }
                        ("image/class/synset", Value::Bytes(start, len)) => {
                            example.synset = text(shard, (start, len))?;
                        }
                        ("image/filename", Value::Bytes(start, len)) => {
                            example.filename = text(shard, (start, len))?;
                        }
                        _ => {}
                    }
                    Ok(())
                })
            }),
            _ => shard.skip_to(end),
        })
    }

    /// Calls `with` for the values of a list that ends at `end`; of packed `numbers` for the first.
    fn values(
        &mut self,
        end: u64,
        numbers: bool,
        with: &mut dyn FnMut(&mut Self, Value) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while self.at < end {
            let tag = self.varint()?;
            match (tag >> 3, tag & 7) {
                (1, 0) => {
                    let value = self.varint()? as i64;
                    with(self, Value::Number(value))?;
                }
                (1, 2) => {
                    let len = self.varint()?;
                    let stop = self.at.checked_add(len).filter(|&stop| stop <= end);
                    let stop = stop.ok_or_else(|| Fault::Bad("has a value longer than its record".into()))?;
                    let value = match numbers {
                        true if len == 0 => continue,
                        true => Value::Number(self.varint()? as i64),
                        false => Value::Bytes(self.at, len),
                    };
                    with(self, value)?;
                    self.skip_to(stop)?;
                }
                (_, wire) => self.skip_value(wire, end)?,
            }
        }
        Ok(())
    }

    /// Calls `with(field, its end)` for every embedded message or string up to `end`; `with` leaves the shard at that end.
    fn message(
        &mut self,
        end: u64,
        with: &mut dyn FnMut(&mut Self, u64, u64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while self.at < end {
            let tag = self.varint()?;
            if tag & 7 != 2 {
                self.skip_value(tag & 7, end)?;
                continue;
            }
            let len = self.varint()?;
            let stop = self.at.checked_add(len).filter(|&stop| stop <= end);
            let stop = stop.ok_or_else(|| Fault::Bad("has a field longer than its record".into()))?;
            with(self, tag >> 3, stop)?;
            self.skip_to(stop)?;
        }
        Ok(())
    }

    fn skip_value(&mut self, wire: u64, end: u64) -> Result<(), Fault> {
        let to = match wire {
            0 => return self.varint().map(|_| ()),
            1 => self.at + 8,
            5 => self.at + 4,
            2 => {
                let len = self.varint()?;
                self.at.saturating_add(len)
            }
            _ => return Err(Fault::Bad(format!("has a field of the wire type {wire}: it is no tf.Example"))),
        };
        if to > end {
            return Err(Fault::Bad("has a field longer than its record".into()));
        }
        self.skip_to(to)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(Fault::Bad("has a number of more than ten bytes: it is no tf.Example".into()))
    }

    fn text(&mut self, end: u64) -> Result<String, Fault> {
        let len = (end - self.at).min(TEXT);
        let mut bytes = vec![0; len as usize];
        self.file.read_exact(&mut bytes)?;
        self.at += len;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip_to(&mut self, to: u64) -> Result<(), Fault> {
        self.file.seek_relative(to as i64 - self.at as i64)?;
        self.at = to;
        Ok(())
    }
}

/// A value of a list: a number, or where bytes lie.
enum Value {
    Number(i64),
    Bytes(u64, u64),
}
