//! The directory of a zip archive.
//!
//! ```text
//! [local header, name, extra, bytes]*  [central entry: name, method, sizes, offset]*  [zip64 end, its locator]  end
//! ```
//! Stored members are read where they lie; deflated ones are unpacked into memory, up to the size their entry claims, which
//! is held against their packed size: deflate makes a thousand bytes of one, and weights hardly shrink.
//! PyTorch and Keras write stored members. Several disks and encryption are refused; checksums are not compared, as
//! PyTorch itself can be told to write none.

use crate::Problem;
use crate::input::{Fields, Input};

/// Longest end record: 22 bytes and a comment of 65,535.
const LONGEST_END: u64 = 22 + 65_535;
/// A directory beyond this belongs to no checkpoint: 100 bytes an entry make 2.7 million entries.
const LONGEST_DIRECTORY: u64 = 256 << 20;
/// Largest member that is unpacked: three times the largest network with its optimizer's state.
const LARGEST_UNPACKED: u64 = 2 << 30;
/// A member that unpacks to less is unpacked in any case.
const SMALL_UNPACKED: u64 = 16 << 20;
/// Bytes that are believed to be packed in one; deflated weights have about 1.1.
const MOST_PACKED: u64 = 20;

/// Whether a file that begins with `start` is one.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

/// One member.
pub(crate) struct Member {
    pub(crate) name: String,
    method: Method,
    packed: u64,
    /// Bytes it has once unpacked, as its entry claims.
    pub(crate) size: u64,
    header: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Stored,
    Deflated,
    Other(u16),
}

/// The members of the archive that `input` is.
pub(crate) fn members(input: &mut Input) -> Result<Vec<Member>, Problem> {
    let (start, length, count) = directory(input)?;
    if length > LONGEST_DIRECTORY {
        return Err(Problem::damaged(format!("its zip directory claims {length} bytes")));
    }
    let bytes = input.at(start, length)?;
    let mut fields = Fields::new(&bytes);
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(member(&mut fields)?);
    }
    Ok(members)
}

/// Start, length and number of entries of the central directory.
fn directory(input: &mut Input) -> Result<(u64, u64, u64), Problem> {
    let tail_start = input.length().saturating_sub(LONGEST_END);
    let tail = input.at(tail_start, input.length() - tail_start)?;
    let end = tail
        .windows(22)
        .rposition(|w| w.starts_with(b"PK\x05\x06"))
        .ok_or_else(|| Problem::damaged("its zip directory is missing: is the download complete?"))?;
    let mut fields = Fields::new(&tail[end + 4..]);
    let (disk, first_disk) = (fields.u16()?, fields.u16()?);
    let (_, count, length, start) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    if count != u16::MAX && length != u32::MAX && start != u32::MAX {
        if (disk, first_disk) != (0, 0) {
            return Err(Problem::Refused("it is one part of a zip archive of several files".into()));
        }
        return Ok((start.into(), length.into(), count.into()));
    }
    let locator = (tail_start + end as u64).checked_sub(20).map(|at| input.at(at, 20)).transpose()?;
    let Some(locator) = locator.filter(|l| l.starts_with(b"PK\x06\x07")) else {
        return Ok((start.into(), length.into(), count.into()));
    };
    let at = Fields::new(&locator[8..]).u64()?;
    let record = input.at(at, 56)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(Problem::damaged("its zip64 directory is not where it should be"));
    }
    let mut fields = Fields::new(&record[32..]);
    let (count, length, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
    Ok((start, length, count))
}

fn member(fields: &mut Fields) -> Result<Member, Problem> {
    if fields.take(4)? != b"PK\x01\x02" {
        return Err(Problem::damaged("an entry of its zip directory does not begin as one"));
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(8)?;
    let (mut packed, mut size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let lengths = [fields.u16()?, fields.u16()?, fields.u16()?];
    fields.take(8)?;
    let mut header = u64::from(fields.u32()?);
    let name = String::from_utf8_lossy(fields.take(lengths[0].into())?).into_owned();
    let mut extra = Fields::new(fields.take(lengths[1].into())?);
    fields.take(lengths[2].into())?;
    while extra.left() >= 4 {
        let (kind, length) = (extra.u16()?, extra.u16()?);
        let mut body = Fields::new(extra.take(length.into())?);
        if kind == 1 {
            for value in [&mut size, &mut packed, &mut header] {
                if *value == u64::from(u32::MAX) {
                    *value = body.u64()?;
                }
            }
        }
    }
    if flags & 1 != 0 {
        return Err(Problem::Refused(format!("`{name}` in it is encrypted")));
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => Method::Other(other),
    };
    if method == Method::Stored && packed != size {
        return Err(Problem::damaged(format!("`{name}` is stored as {packed} bytes and has {size}")));
    }
    Ok(Member { name, method, packed, size, header })
}

impl Member {
    /// Whether it may be unpacked.
    fn is_plausible(&self) -> bool {
        let most = self.packed.saturating_mul(MOST_PACKED).max(SMALL_UNPACKED);
        self.size <= most.min(LARGEST_UNPACKED)
    }

    /// Where its packed bytes start in the archive.
    fn start(&self, input: &mut Input) -> Result<u64, Problem> {
        let header = input.at(self.header, 30)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(Problem::damaged(format!("`{}` is not where the zip directory says", self.name)));
        }
        let mut lengths = Fields::new(&header[26..]);
        let start = self.header + 30 + u64::from(lengths.u16()?) + u64::from(lengths.u16()?);
        input.holds(start, self.packed)?;
        Ok(start)
    }

    /// Where its bytes start in the archive if they lie there as they are.
    pub(crate) fn stored_at(&self, input: &mut Input) -> Result<Option<u64>, Problem> {
        if self.method == Method::Stored { self.start(input).map(Some) } else { Ok(None) }
    }

    /// All its bytes.
    pub(crate) fn read(&self, input: &mut Input) -> Result<Vec<u8>, Problem> {
        let start = self.start(input)?;
        match self.method {
            Method::Stored => input.at(start, self.packed),
            Method::Deflated if self.is_plausible() => {
                let packed = input.at(start, self.packed)?;
                let size = usize::try_from(self.size).unwrap_or(usize::MAX);
                let unpacked = miniz_oxide::inflate::decompress_to_vec_with_limit(&packed, size);
                unpacked.ok().filter(|bytes| bytes.len() == size).ok_or_else(|| {
                    Problem::damaged(format!("`{}` in it does not unpack to {size} bytes", self.name))
                })
            }
            Method::Deflated => Err(Problem::Refused(format!(
                "`{}` in it claims to unpack from {} to {} bytes, which no weights do: unpack the archive and zip it without compression",
                self.name, self.packed, self.size
            ))),
            Method::Other(method) => Err(Problem::Refused(format!(
                "`{}` in it is compressed by method {method}; stored and deflated members are read here",
                self.name
            ))),
        }
    }
}
