//! Object headers of version 1.
//!
//! ```text
//! version, messages, references, length   [type, length, flags, body]*   type 16: (address, length) of more messages
//! ```

use super::{Hdf5, unsupported};
use crate::Problem;
use crate::input::Fields;

/// Longest header; an attribute has at most 64 KiB.
const LONGEST: u64 = 16 << 20;
/// Most blocks of one header.
const MOST_BLOCKS: usize = 4_096;

/// The kinds of messages that matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Dataspace,
    Links,
    Datatype,
    ExternalFiles,
    Layout,
    Filters,
    Attribute,
    SymbolTable,
    ManyAttributes,
}

impl Kind {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            0x01 => Kind::Dataspace,
            0x02 | 0x06 => Kind::Links,
            0x03 => Kind::Datatype,
            0x07 => Kind::ExternalFiles,
            0x08 => Kind::Layout,
            0x0b => Kind::Filters,
            0x0c => Kind::Attribute,
            0x11 => Kind::SymbolTable,
            0x15 => Kind::ManyAttributes,
            _ => return None,
        })
    }
}

/// The messages of one object.
pub(crate) struct Object {
    messages: Vec<(Kind, Vec<u8>)>,
}

impl Object {
    /// Body of its first message of a kind.
    pub(super) fn message(&self, kind: Kind) -> Option<&[u8]> {
        self.all(kind).next()
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.messages.iter().filter(move |(k, _)| *k == kind).map(|(_, body)| body.as_slice())
    }

    /// Whether it has values.
    pub(crate) fn is_dataset(&self) -> bool {
        self.message(Kind::Layout).is_some()
    }
}

impl Hdf5 {
    /// The object whose header is at `address`.
    pub(crate) fn object(&mut self, address: u64) -> Result<Object, Problem> {
        let prefix = self.record(address, 16)?;
        if prefix.starts_with(b"OHDR") {
            return Err(unsupported("object headers of version 2"));
        }
        let mut fields = Fields::new(&prefix);
        let version = fields.u8()?;
        if version != 1 {
            return Err(Problem::damaged(format!("an object header at {address} has the version {version}")));
        }
        fields.take(7)?;
        let mut blocks = vec![(address.saturating_add(16), u64::from(fields.u32()?))];
        let mut messages = Vec::new();
        let (mut at, mut total) = (0, 0u64);
        while let Some(&(start, length)) = blocks.get(at) {
            at += 1;
            total = total.saturating_add(length);
            if total > LONGEST || at > MOST_BLOCKS {
                return Err(Problem::damaged(format!("an object header at {address} does not end")));
            }
            let block = self.record(start, length)?;
            read_block(&block, &mut messages, &mut blocks)?;
        }
        Ok(Object { messages })
    }
}

fn read_block(
    block: &[u8],
    messages: &mut Vec<(Kind, Vec<u8>)>,
    blocks: &mut Vec<(u64, u64)>,
) -> Result<(), Problem> {
    let mut fields = Fields::new(block);
    while fields.left() >= 8 {
        let (number, length, flags) = (fields.u16()?, fields.u16()?, fields.u8()?);
        fields.take(3)?;
        let body = fields.take(length.into())?;
        if number == 0x10 {
            let mut body = Fields::new(body);
            blocks.push((body.u64()?, body.u64()?));
        } else if let Some(kind) = Kind::of(number) {
            if flags & 2 != 0 {
                return Err(unsupported("shared messages"));
            }
            messages.push((kind, body.to_vec()));
        }
    }
    Ok(())
}
