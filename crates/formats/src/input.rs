//! Bytes that are read where they lie.
//!
//! ```text
//! Input: a file, a buffer, or a part of one ─ at(offset, length) ─▶ bytes, or "it ends too early"
//! ```
//! A length that a file claims is held against the bytes there are before anything is allocated for it.

use std::io::{self, Read, Seek, SeekFrom};

use crate::Problem;

/// What an [`Input`] is made of.
pub(crate) trait Seekable: Read + Seek {}
impl<T: Read + Seek> Seekable for T {}

/// A bounded window on a file or a buffer.
pub(crate) struct Input {
    inner: Box<dyn Seekable>,
    start: u64,
    length: u64,
    position: u64,
}

impl Input {
    pub(crate) fn new(mut inner: Box<dyn Seekable>) -> Result<Self, Problem> {
        let length = inner.seek(SeekFrom::End(0))?;
        Ok(Input { inner, start: 0, length, position: 0 })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The part of it from `start`, `length` bytes long, as an input of its own.
    pub(crate) fn part(self, start: u64, length: u64) -> Result<Self, Problem> {
        self.holds(start, length)?;
        Ok(Input { inner: self.inner, start: self.start + start, length, position: 0 })
    }

    /// Whether `length` bytes from `offset` are there.
    pub(crate) fn holds(&self, offset: u64, length: u64) -> Result<(), Problem> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Problem::damaged(format!(
                "it speaks of {length} bytes at {offset} and has {} in all: is the download complete?",
                self.length
            ))),
        }
    }

    /// `length` bytes from `offset`.
    pub(crate) fn at(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        self.append(offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends `length` bytes from `offset` to `to`.
    pub(crate) fn append(&mut self, offset: u64, length: u64, to: &mut Vec<u8>) -> Result<(), Problem> {
        self.holds(offset, length)?;
        to.reserve_exact(usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?);
        self.seek(SeekFrom::Start(offset))?;
        let found = self.by_ref().take(length).read_to_end(to)? as u64;
        if found == length { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }
}

impl Read for Input {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = to.len().min(left);
        self.inner.seek(SeekFrom::Start(self.start.saturating_add(self.position)))?;
        let found = self.inner.read(&mut to[..wanted])?;
        self.position += found as u64;
        Ok(found)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Little-endian numbers out of a slice, one after the other.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields { bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(Problem::damaged(format!(
                "a record ends after {} bytes where {count} are expected",
                self.bytes.len()
            ))),
        }
    }

    /// A number of `width` bytes, at most eight.
    fn number(&mut self, width: usize) -> Result<u64, Problem> {
        Ok(self.take(width)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Problem> {
        Ok(self.number(1)? as u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Problem> {
        Ok(self.number(2)? as u16)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Problem> {
        Ok(self.number(4)? as u32)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Problem> {
        self.number(8)
    }
}
