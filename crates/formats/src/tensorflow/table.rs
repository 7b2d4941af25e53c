//! A sorted table, as LevelDB writes it: the container of both kinds of checkpoint.
//!
//! ```text
//! block*, index block, footer: { spans of a block that is not used and of the index: varints, padded to 40 }, magic
//! block: entry*, { restart: u32 }*, restarts: u32; behind it a byte: 0 as it is, 1 Snappy; masked CRC-32C of both
//! entry: bytes shared with the key before, bytes of key, bytes of value: varints; the rest of the key; the value
//! index: a key not below the last one of its block → where that block is: offset, length
//! ```
//! One block is in memory at a time, besides the index. In the first kind of checkpoint a block is as long as the tensor
//! in it.

use std::io::{Read, Seek};

use super::checksum;
use super::wire::{Span, Wire};
use crate::Problem;

/// Bytes of the footer.
const FOOTER: u64 = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Bytes behind a block.
const TRAILER: u64 = 5;
/// Longest key: a name and what `slices` adds to it.
const LONGEST_KEY: usize = 1 << 15;
/// All keys of a file together, which prefixes in common make longer than the file.
const MOST_KEY_BYTES: usize = 1 << 26;
/// Largest block that may come of a compressed one. TensorFlow compresses no block with tensors in it.
const LARGEST_UNPACKED: usize = 1 << 26;
/// Tags that begin the value of the empty key: the list of tensors of the first kind of checkpoint, the header of the
/// second, and what follows in that.
const LIST: u64 = 1 << 3 | 2;
const SHARDS: u64 = 1 << 3;
const VERSION: u64 = 3 << 3 | 2;

pub(super) struct Table<R> {
    wire: Wire<R>,
    index: Vec<(Vec<u8>, Span)>,
    /// The block that was read last.
    block: Option<(Span, Vec<u8>)>,
}

/// Whether `input` ends as a table does.
pub(super) fn has_footer<R: Read + Seek>(wire: &mut Wire<R>) -> Result<bool, Problem> {
    let Some(magic) = wire.end().checked_sub(8) else { return Ok(false) };
    let mut bytes = Vec::new();
    wire.bytes(&(magic..wire.end()), &mut bytes)?;
    Ok(bytes == MAGIC.to_le_bytes())
}

/// Whether `input` begins as the table of a checkpoint does: with an empty key and a list of tensors or a header.
pub(super) fn starts_like_a_checkpoint<R: Read + Seek>(wire: &mut Wire<R>) -> Result<bool, Problem> {
    match first_entry(wire) {
        Ok(does) => Ok(does),
        Err(Problem::Io(error)) => Err(Problem::Io(error)),
        Err(Problem::Damaged(_) | Problem::Refused(_) | Problem::Unknown(_)) => Ok(false),
    }
}

fn first_entry<R: Read + Seek>(wire: &mut Wire<R>) -> Result<bool, Problem> {
    let mut start = 0..wire.end();
    let (shared, own) = (wire.varint(&mut start)?, wire.varint(&mut start)?);
    let value = wire.varint(&mut start)?;
    let from = start.start;
    let (tag, content) = (wire.varint(&mut start)?, wire.varint(&mut start)?);
    Ok(match (shared, own, tag) {
        (0, 0, LIST) => value.checked_sub(start.start - from) == Some(content),
        (0, 0, SHARDS) => content > 0 && value < 32 && wire.varint(&mut start)? == VERSION,
        _ => false,
    })
}

impl<R: Read + Seek> Table<R> {
    pub(super) fn open(mut wire: Wire<R>) -> Result<Self, Problem> {
        let end = wire.end();
        if end < FOOTER || !has_footer(&mut wire)? {
            return Err(Problem::damaged("its last bytes are missing: is the download complete?"));
        }
        let mut footer = end - FOOTER..end - 8;
        handle(&mut wire, &mut footer)?;
        let index_span = handle(&mut wire, &mut footer)?;
        let block = read_block(&mut wire, &index_span)?;
        let (mut entries, mut index, mut keys) = (Entries::new(&block)?, Vec::new(), KeyBytes::default());
        while let Some((key, value)) = entries.next()? {
            keys.add(key)?;
            let mut value = Wire::new(std::io::Cursor::new(value))?;
            let mut all = 0..value.end();
            let (offset, length) = (value.varint(&mut all)?, value.varint(&mut all)?);
            let place = span(offset, length, end)?;
            if index.last().is_some_and(|(_, last): &(_, Span)| place.start < last.end + TRAILER) {
                return Err(Problem::damaged("the blocks of its table overlap"));
            }
            index.push((key.to_vec(), place));
        }
        Ok(Table { wire, index, block: None })
    }

    /// Length of the file.
    pub(super) fn end(&self) -> u64 {
        self.wire.end()
    }

    /// Calls `entry` with every key and value.
    pub(super) fn each(
        &mut self,
        mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let (mut keys, mut last) = (KeyBytes::default(), None::<Vec<u8>>);
        for number in 0..self.index.len() {
            let block = self.load(number)?;
            let mut entries = Entries::new(block)?;
            while let Some((key, value)) = entries.next()? {
                keys.add(key)?;
                if last.take().is_some_and(|last| *last >= *key) {
                    return Err(Problem::damaged("the keys of its table are not in order"));
                }
                entry(key, value)?;
            }
            last = Some(std::mem::take(&mut entries.key));
        }
        Ok(())
    }

    /// The value with this key.
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Problem> {
        let number = self.index.partition_point(|(last, _)| **last < *key);
        if number == self.index.len() {
            return Ok(None);
        }
        let block = self.load(number)?;
        let mut entries = Entries::new(block)?;
        while let Some((found, value)) = entries.next()? {
            if found >= key {
                return Ok((found == key).then_some(value));
            }
        }
        Ok(None)
    }

    fn load(&mut self, number: usize) -> Result<&[u8], Problem> {
        let span = &self.index[number].1;
        if self.block.as_ref().is_none_or(|(held, _)| held != span) {
            // The old one goes first, so that there is never more than one.
            self.block = None;
            self.block = Some((span.clone(), read_block(&mut self.wire, span)?));
        }
        Ok(self.block.as_ref().map_or(&[], |(_, block)| block))
    }
}

/// How many bytes of keys there were so far.
#[derive(Default)]
struct KeyBytes(usize);

impl KeyBytes {
    fn add(&mut self, key: &[u8]) -> Result<(), Problem> {
        self.0 += key.len();
        if self.0 > MOST_KEY_BYTES {
            return Err(Problem::Refused(format!(
                "its names are longer than {MOST_KEY_BYTES} bytes together"
            )));
        }
        Ok(())
    }
}

/// Where a block is.
fn handle<R: Read + Seek>(wire: &mut Wire<R>, from: &mut Span) -> Result<Span, Problem> {
    let (offset, length) = (wire.varint(from)?, wire.varint(from)?);
    span(offset, length, wire.end())
}

fn span(offset: u64, length: u64, end: u64) -> Result<Span, Problem> {
    let inside = offset
        .checked_add(length)
        .filter(|&block| block.checked_add(TRAILER).is_some_and(|last| last <= end));
    inside.map(|block| offset..block).ok_or_else(|| {
        Problem::damaged(format!(
            "a block of its table is at {offset} with {length} bytes, and the file ends at {end}"
        ))
    })
}

fn read_block<R: Read + Seek>(wire: &mut Wire<R>, span: &Span) -> Result<Vec<u8>, Problem> {
    let (mut block, mut trailer) = (Vec::new(), Vec::new());
    wire.bytes(span, &mut block)?;
    wire.bytes(&(span.end..span.end + TRAILER), &mut trailer)?;
    let &[kind, a, b, c, d] = trailer.as_slice() else {
        return Err(Problem::damaged("a block of its table is cut off"));
    };
    let what = || format!("the block at byte {} of its table", span.start);
    checksum::check([&block, &[kind]], u32::from_le_bytes([a, b, c, d]), what)?;
    match kind {
        0 => Ok(block),
        1 => unpack(&block),
        _ => Err(Problem::damaged(format!(
            "{} is compressed in way {kind}, not 0 (none) or 1 (Snappy)",
            what()
        ))),
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, Problem> {
    let broken = |error: snap::Error| Problem::damaged(format!("a compressed block of its table: {error}"));
    let length = snap::raw::decompress_len(packed).map_err(broken)?;
    // Three bytes of Snappy stand for at most 64.
    if length > LARGEST_UNPACKED || length / 32 > packed.len() {
        return Err(Problem::damaged(format!(
            "a compressed block of {} bytes claims to be {length} bytes in truth",
            packed.len()
        )));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(broken)
}

type KeyValue<'key, 'block> = (&'key [u8], &'block [u8]);

/// The entries of a block, in turn.
struct Entries<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
    first: bool,
}

impl<'a> Entries<'a> {
    fn new(block: &'a [u8]) -> Result<Self, Problem> {
        let entries = block.split_last_chunk::<4>().and_then(|(rest, &restarts)| {
            let restarts = usize::try_from(u32::from_le_bytes(restarts)).ok()?.checked_mul(4)?;
            rest.get(..rest.len().checked_sub(restarts)?)
        });
        let rest =
            entries.ok_or_else(|| Problem::damaged("a block of its table is shorter than it claims"))?;
        Ok(Entries { rest, key: Vec::new(), first: true })
    }

    fn next(&mut self) -> Result<Option<KeyValue<'_, 'a>>, Problem> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let broken = || Problem::damaged("an entry of its table reaches beyond its block");
        let shared = self.length().ok_or_else(broken)?;
        let own = self.length().ok_or_else(broken)?;
        let value = self.length().ok_or_else(broken)?;
        let (own, rest) = self.rest.split_at_checked(own).ok_or_else(broken)?;
        let (value, rest) = rest.split_at_checked(value).ok_or_else(broken)?;
        self.rest = rest;
        // In order are the keys whose first own byte is above the byte it replaces; that holds for no key twice.
        let replaced = self.key.get(shared..).ok_or_else(broken)?;
        if own <= replaced && !self.first {
            return Err(Problem::damaged("the keys of its table are not in order"));
        }
        if shared + own.len() > LONGEST_KEY {
            return Err(Problem::damaged(format!("a key of {} bytes in its table", shared + own.len())));
        }
        self.first = false;
        self.key.truncate(shared);
        self.key.extend(own);
        Ok(Some((&self.key, value)))
    }

    /// A varint of at most 32 bits, as lengths are.
    fn length(&mut self) -> Option<usize> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).ok();
            }
        }
        None
    }
}
