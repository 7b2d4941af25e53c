//! The second kind of checkpoint, a bundle: an index and one or more files of values.
//!
//! ```text
//! X.index: a table, the empty key → BundleHeaderProto { num_shards = 1, endianness = 2: 0 little }
//!   name → BundleEntryProto { dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices* = 7 }
//!   key(name, slice) → the same for a part of a tensor, whose own entry has slices and no place
//! X.data-00000-of-00002, X.data-00001-of-00002: the values, little endian, each at its offset
//! ```
//! Checkpoints of objects hold texts among their tensors, such as `_CHECKPOINTABLE_OBJECT_GRAPH`. What holds no numbers
//! is not among the tensors here.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read, Seek};

use super::slices::{self, Part, Slice};
use super::table::Table;
use super::wire::{Content, Wire};
use super::{checksum, proto, within};
use crate::{Problem, Source, Tensor};

/// Opens the file of values whose name ends in the argument.
pub(super) type Opener<R> = Box<dyn FnMut(&str) -> Result<R, Problem>>;

pub(super) struct Bundle<R> {
    shards: Shards<R>,
    tensors: Vec<Tensor>,
    parts: Vec<Vec<(Place, Part)>>,
}

/// Where the values of a tensor, or of a part of one, are.
#[derive(Clone, Copy)]
struct Place {
    shard: u64,
    offset: u64,
    size: u64,
    crc: u32,
}

struct Entry {
    datatype: u64,
    shape: Vec<usize>,
    place: Place,
    slices: Vec<Slice>,
}

impl<R: Read + Seek> Bundle<R> {
    pub(super) fn open(mut table: Table<R>, opener: Opener<R>) -> Result<Self, Problem> {
        let (mut shards, mut whole, mut cut) = (None, Vec::new(), HashMap::new());
        table.each(|key, value| {
            match key {
                [] => shards = Some(header(value)?),
                [0, ..] => drop(cut.insert(key.to_vec(), entry(value)?)),
                name => {
                    let name = String::from_utf8(name.to_vec());
                    let name = name.map_err(|_| Problem::damaged("a name that is no UTF-8"))?;
                    let entry = entry(value).map_err(within(&name))?;
                    if let Some(dtype) = proto::dtype(&name, entry.datatype)? {
                        whole.push((name, dtype, entry));
                    }
                }
            }
            Ok(())
        })?;
        let number = shards.ok_or_else(|| Problem::damaged("its header is missing"))?;
        let mut shards = Shards { opener, number, lengths: BTreeMap::new(), open: None };
        let (mut tensors, mut all) = (Vec::new(), Vec::new());
        for (name, dtype, entry) in whole {
            let tensor = Tensor { name, dtype, shape: entry.shape.clone() };
            let parts = parts(&tensor, &entry, &cut)?;
            for (place, part) in &parts {
                shards
                    .check(place, slices::count(part) as u64 * dtype.size() as u64)
                    .map_err(within(&tensor.name))?;
            }
            super::check_size(&tensor, shards.lengths.values().fold(0, |sum, n| sum.saturating_add(*n)))?;
            tensors.push(tensor);
            all.push(parts);
        }
        Ok(Bundle { shards, tensors, parts: all })
    }
}

/// The number of files of values.
fn header(value: &[u8]) -> Result<u64, Problem> {
    let mut wire = Wire::new(Cursor::new(value))?;
    let (mut message, mut shards) = (0..wire.end(), 0);
    while let Some(field) = wire.field(&mut message)? {
        match (field.number, field.content) {
            (1, Content::Varint(n)) => shards = n,
            (2, Content::Varint(1)) => {
                return Err(Problem::Refused(
                    "its values are big endian: save it again on a little-endian machine".into(),
                ));
            }
            _ => {}
        }
    }
    Ok(shards)
}

fn entry(value: &[u8]) -> Result<Entry, Problem> {
    let mut wire = Wire::new(Cursor::new(value))?;
    let mut message = 0..wire.end();
    let place = Place { shard: 0, offset: 0, size: 0, crc: 0 };
    let mut entry = Entry { datatype: 0, shape: Vec::new(), place, slices: Vec::new() };
    while let Some(field) = wire.field(&mut message)? {
        match (field.number, field.content) {
            (1, Content::Varint(n)) => entry.datatype = n,
            (2, Content::Bytes(span)) => entry.shape = proto::shape(&mut wire, span)?,
            (3, Content::Varint(n)) => entry.place.shard = n,
            (4, Content::Varint(n)) => entry.place.offset = n,
            (5, Content::Varint(n)) => entry.place.size = n,
            (6, Content::Fixed32(n)) => entry.place.crc = u32::from_le_bytes(n),
            (7, Content::Bytes(span)) => entry.slices.push(proto::slice(&mut wire, span)?),
            _ => {}
        }
    }
    Ok(entry)
}

/// The parts of a tensor, one where it is not cut.
fn parts(
    tensor: &Tensor,
    entry: &Entry,
    cut: &HashMap<Vec<u8>, Entry>,
) -> Result<Vec<(Place, Part)>, Problem> {
    super::check_size(tensor, u64::MAX)?;
    if entry.slices.is_empty() {
        return Ok(vec![(entry.place, tensor.shape.iter().map(|&extent| 0..extent).collect())]);
    }
    let (mut places, mut parts) = (Vec::new(), Vec::new());
    for slice in &entry.slices {
        let found = cut.get(&slices::key(&tensor.name, slice));
        let found =
            found.ok_or_else(|| Problem::damaged(format!("a part of `{}` is missing", tensor.name)))?;
        if proto::dtype(&tensor.name, found.datatype)? != Some(tensor.dtype) {
            return Err(Problem::damaged(format!("a part of `{}` is of another type", tensor.name)));
        }
        places.push(found.place);
        parts.push(slices::part(slice, &tensor.shape).map_err(within(&tensor.name))?);
    }
    slices::check(tensor, &parts)?;
    Ok(places.into_iter().zip(parts).collect())
}

/// The files of values, of which one is open.
struct Shards<R> {
    opener: Opener<R>,
    number: u64,
    lengths: BTreeMap<u64, u64>,
    open: Option<(u64, Wire<R>)>,
}

impl<R: Read + Seek> Shards<R> {
    fn get(&mut self, shard: u64) -> Result<&mut Wire<R>, Problem> {
        let held = self.open.take().filter(|(held, _)| *held == shard);
        let file = match held {
            Some((_, file)) => file,
            None if shard < self.number => {
                Wire::new((self.opener)(&format!(".data-{shard:05}-of-{:05}", self.number))?)?
            }
            None => return Err(Problem::damaged(format!("it is in data file {shard} of {}", self.number))),
        };
        self.lengths.insert(shard, file.end());
        Ok(&mut self.open.insert((shard, file)).1)
    }

    /// Whether `bytes` bytes of values can be at `place`.
    fn check(&mut self, place: &Place, bytes: u64) -> Result<(), Problem> {
        if place.size != bytes {
            return Err(Problem::damaged(format!(
                "it has {} bytes of values, its shape asks for {bytes}",
                place.size
            )));
        }
        let length = match self.lengths.get(&place.shard) {
            Some(&length) => length,
            None => self.get(place.shard)?.end(),
        };
        if place.offset.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(Problem::damaged(format!(
                "its values are at {} with {bytes} bytes, and data file {} has {length}: is the download complete?",
                place.offset, place.shard
            )));
        }
        Ok(())
    }
}

impl<R: Read + Seek> Source for Bundle<R> {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        let tensor = &self.tensors[index];
        let shards = &mut self.shards;
        slices::join(tensor, &self.parts[index], to, |place, _, to| {
            let first = to.len();
            shards.get(place.shard)?.bytes(&(place.offset..place.offset + place.size), to)?;
            checksum::check([&to[first..], &[]], place.crc, || "its values".into())
        })
        .map_err(within(&tensor.name))
    }
}
