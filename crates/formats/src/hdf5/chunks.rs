//! Datasets in chunks.
//!
//! ```text
//! B-tree of kind 1: TREE [(stored bytes, mask of filters left out, offset of the chunk), address]*
//! stored ─ fletcher32 ─ inflate ─ unshuffle ─▶ a box of values, of which the part inside the dataset is copied
//! ```
//! All chunks must be there, each once, before anything is allocated for the values.

use super::{Hdf5, unsupported};
use crate::Problem;
use crate::input::{Fields, Input};

/// Deflate makes at most 1,032 bytes of one.
const MOST_INFLATION: u64 = 1_032;
/// Largest chunk, unpacked.
const LARGEST_CHUNK: u64 = 1 << 30;

/// What was done to a chunk before it was stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Filter {
    Deflate,
    Shuffle,
    Fletcher32,
}

impl Filter {
    pub(super) fn read_all(message: &[u8]) -> Result<Vec<Self>, Problem> {
        let mut fields = Fields::new(message);
        let (version, count) = (fields.u8()?, fields.u8()?);
        if version == 1 {
            fields.take(6)?;
        }
        let mut filters = Vec::new();
        for _ in 0..count {
            let number = fields.u16()?;
            let name = if version == 1 || number >= 256 { usize::from(fields.u16()?) } else { 0 };
            let (_flags, parameters) = (fields.u16()?, usize::from(fields.u16()?));
            fields.take(if version == 1 { name.next_multiple_of(8) } else { name })?;
            fields.take(4 * (parameters + if version == 1 { parameters % 2 } else { 0 }))?;
            filters.push(match number {
                1 => Filter::Deflate,
                2 => Filter::Shuffle,
                3 => Filter::Fletcher32,
                other => return Err(unsupported(&format!("the filter {other}"))),
            });
        }
        Ok(filters)
    }
}

struct Chunk {
    /// Index of its first value along each extent.
    offset: Vec<u64>,
    address: u64,
    stored: u64,
    left_out: u32,
}

/// Places of all chunks.
pub(super) struct Chunked {
    extents: Vec<u64>,
    /// Bytes of one, unpacked.
    size: u64,
    filters: Vec<Filter>,
    chunks: Vec<Chunk>,
}

impl Hdf5 {
    /// The chunks of a dataset of `shape` with the rest of its `layout`.
    pub(super) fn chunked(
        &mut self,
        mut layout: Fields,
        shape: &[u64],
        value: usize,
        filters: Vec<Filter>,
        name: &str,
    ) -> Result<Chunked, Problem> {
        let (rank, tree) = (usize::from(layout.u8()?), layout.u64()?);
        let extents = (1..rank).map(|_| layout.u32().map(u64::from)).collect::<Result<Vec<_>, _>>()?;
        let size = extents.iter().try_fold(value as u64, |n, &extent| n.checked_mul(extent));
        let wrong = || Problem::damaged(format!("the chunks of `{name}` do not fit its shape"));
        let size = size.filter(|size| (1..=LARGEST_CHUNK).contains(size)).ok_or_else(wrong)?;
        if extents.len() != shape.len() || shape.is_empty() {
            return Err(wrong());
        }
        let count =
            shape.iter().zip(&extents).try_fold(1u64, |n, (all, one)| n.checked_mul(all.div_ceil(*one)));
        let count = count.ok_or_else(wrong)?;
        let mut chunks = Vec::new();
        if count > 0 {
            self.chunk_tree(tree, None, rank, count, &mut chunks)?;
        }
        chunks.sort_by(|a, b| a.offset.cmp(&b.offset));
        let inside = |chunk: &Chunk| {
            let mut axes = chunk.offset.iter().zip(&extents).zip(shape);
            axes.all(|((at, one), all)| at % one == 0 && at < all)
        };
        let twice = chunks.windows(2).any(|two| two[0].offset == two[1].offset);
        if chunks.len() as u64 != count || twice || !chunks.iter().all(inside) {
            return Err(Problem::damaged(format!("`{name}` has {} of its {count} chunks", chunks.len())));
        }
        let most = if filters.contains(&Filter::Deflate) { MOST_INFLATION } else { 1 };
        if chunks.iter().any(|chunk| chunk.stored.saturating_mul(most) < size) {
            return Err(wrong());
        }
        Ok(Chunked { extents, size, filters, chunks })
    }

    fn chunk_tree(
        &mut self,
        address: u64,
        level: Option<u8>,
        rank: usize,
        most: u64,
        chunks: &mut Vec<Chunk>,
    ) -> Result<(), Problem> {
        let node = self.record(address, 24)?;
        let mut fields = Fields::new(&node);
        let (signature, kind, found) = (fields.take(4)?, fields.u8()?, fields.u8()?);
        if signature != b"TREE" || kind != 1 || level.is_some_and(|level| level != found) {
            return Err(Problem::damaged(format!("there is no node of chunks at {address}")));
        }
        let count = fields.u16()?;
        let children = self.record(address.saturating_add(24), (16 + 8 * rank as u64) * u64::from(count))?;
        let mut fields = Fields::new(&children);
        for _ in 0..count {
            let (stored, left_out) = (fields.u32()?, fields.u32()?);
            let mut offset = (0..rank).map(|_| fields.u64()).collect::<Result<Vec<_>, _>>()?;
            offset.pop();
            let child = fields.u64()?;
            match found.checked_sub(1) {
                Some(below) => self.chunk_tree(child, Some(below), rank, most, chunks)?,
                None if (chunks.len() as u64) < most => {
                    self.input.holds(child, stored.into())?;
                    chunks.push(Chunk { offset, address: child, stored: stored.into(), left_out });
                }
                None => return Err(Problem::damaged("a dataset has more chunks than fit into it")),
            }
        }
        Ok(())
    }
}

impl Chunked {
    /// Appends all values in row-major order.
    pub(super) fn values(
        &self,
        input: &mut Input,
        shape: &[u64],
        value: usize,
        to: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let start = to.len();
        let count: u64 = shape.iter().product();
        to.resize(start + count as usize * value, 0);
        for chunk in &self.chunks {
            let bytes = self.unpack(input, chunk, value)?;
            self.copy(&bytes, chunk, shape, value, &mut to[start..]);
        }
        Ok(())
    }

    fn unpack(&self, input: &mut Input, chunk: &Chunk, value: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = input.at(chunk.address, chunk.stored)?;
        let size = self.size as usize;
        for (i, filter) in self.filters.iter().enumerate().rev() {
            if chunk.left_out >> i.min(31) & 1 == 1 {
                continue;
            }
            bytes = match filter {
                Filter::Fletcher32 => {
                    bytes.truncate(bytes.len().saturating_sub(4));
                    bytes
                }
                // A checksum may come before it.
                Filter::Deflate => {
                    let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&bytes, size + 4);
                    unpacked.map_err(|_| {
                        Problem::damaged(format!("a chunk at {} does not unpack", chunk.address))
                    })?
                }
                Filter::Shuffle => unshuffle(&bytes, value),
            };
        }
        if bytes.len() == size {
            return Ok(bytes);
        }
        Err(Problem::damaged(format!(
            "a chunk at {} has {} bytes instead of {size}",
            chunk.address,
            bytes.len()
        )))
    }

    /// Copies the rows of one chunk that lie inside the dataset.
    fn copy(&self, bytes: &[u8], chunk: &Chunk, shape: &[u64], value: usize, to: &mut [u8]) {
        let last = shape.len() - 1;
        let row = self.extents[last] as usize * value;
        let inside = (shape[last] - chunk.offset[last]).min(self.extents[last]) as usize * value;
        let mut index = vec![0; last];
        for from in bytes.chunks_exact(row) {
            let at = index.iter().zip(&chunk.offset).map(|(i, offset)| i + offset);
            let mut axes = at.zip(shape);
            let place = axes.try_fold(0, |place, (at, &all)| (at < all).then_some(place * all + at));
            if let Some(place) = place {
                let place = (place * shape[last] + chunk.offset[last]) as usize * value;
                to[place..place + inside].copy_from_slice(&from[..inside]);
            }
            for axis in (0..last).rev() {
                index[axis] += 1;
                if index[axis] < self.extents[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

/// First bytes of all values, then all second bytes, … ─▶ value after value. What is left over stays at the end.
fn unshuffle(bytes: &[u8], value: usize) -> Vec<u8> {
    let count = bytes.len() / value;
    let mut values = vec![0; bytes.len()];
    for i in 0..count {
        for byte in 0..value {
            values[i * value + byte] = bytes[byte * count + i];
        }
    }
    values[count * value..].copy_from_slice(&bytes[count * value..]);
    values
}
