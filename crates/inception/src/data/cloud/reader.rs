//! An object that is read like a file, a block at a time.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::address::Address;
use super::cloud;
use super::listing::Meta;

/// Bytes asked for at once. Listing an archive touches each header: with less, the time goes into requests of some ten
/// milliseconds each; with more, into members that nobody wanted.
const BLOCK: u64 = 4 << 20;

/// An object and the block of it that was read last.
pub(in crate::data) struct Reader {
    address: Address,
    meta: Meta,
    at: u64,
    block: Vec<u8>,
    block_start: u64,
}

impl Reader {
    pub(in crate::data) fn open(path: &Path) -> io::Result<Self> {
        let address = Address::parse(path)?;
        let meta = cloud()?.meta(&address)?;
        Ok(Reader { address, meta, at: 0, block: Vec::new(), block_start: 0 })
    }

    pub(in crate::data) fn len(&self) -> u64 {
        self.meta.size
    }

    /// What the block has from here on.
    fn rest(&self) -> &[u8] {
        let from = self.at.checked_sub(self.block_start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.block.get(from..)).unwrap_or_default()
    }
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len() {
            return Ok(0);
        }
        if self.rest().is_empty() {
            let range = self.at..self.at.saturating_add(BLOCK).min(self.len());
            self.block = cloud()?.get(&self.address, Some(range), self.meta.tag.clone())?;
            self.block_start = self.at;
        }
        let count = self.rest().read(to)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.at =
            at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the start"))?;
        Ok(self.at)
    }
}
