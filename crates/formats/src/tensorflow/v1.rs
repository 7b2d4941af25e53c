//! The first kind of checkpoint: one file.
//!
//! ```text
//! a table of SavedTensorSlices { meta = 1, data = 2 }
//! the empty key → meta { tensor* = 1: { name = 1, shape = 2, type = 3, slice* = 4 } }
//! key(name, slice) → data { name = 1, slice = 2, data = 3: TensorProto, without type and shape }
//! ```

use std::io::{Cursor, Read, Seek};

use super::slices::{self, Part, Slice};
use super::table::Table;
use super::wire::{Content, Span, Wire};
use super::{proto, values, within};
use crate::{Problem, Source, Tensor};

pub(super) struct Checkpoint<R> {
    table: Table<R>,
    tensors: Vec<Tensor>,
    /// The parts of each tensor: their keys, and what they are of it.
    parts: Vec<Vec<(Vec<u8>, Part)>>,
}

impl<R: Read + Seek> Checkpoint<R> {
    pub(super) fn open(mut table: Table<R>) -> Result<Self, Problem> {
        let (mut tensors, mut parts) = (Vec::new(), Vec::new());
        let end = table.end();
        let meta = table.get(b"")?.ok_or_else(|| Problem::damaged("its list of tensors is missing"))?;
        let mut wire = Wire::new(Cursor::new(meta))?;
        let whole = 0..wire.end();
        let mut list = child(&mut wire, whole, 1)?.unwrap_or(0..0);
        while let Some(field) = wire.field(&mut list)? {
            if let (1, Content::Bytes(message)) = (field.number, field.content)
                && let Some((tensor, slices)) = tensor(&mut wire, message)?
            {
                super::check_size(&tensor, end)?;
                parts.push(keyed(&tensor, &slices)?);
                tensors.push(tensor);
            }
        }
        Ok(Checkpoint { table, tensors, parts })
    }
}

/// The sub-message `number` of `message`; of several the last.
fn child<R: Read + Seek>(
    wire: &mut Wire<R>,
    mut message: Span,
    number: u64,
) -> Result<Option<Span>, Problem> {
    let mut found = None;
    while let Some(field) = wire.field(&mut message)? {
        if let Content::Bytes(span) = field.content
            && field.number == number
        {
            found = Some(span);
        }
    }
    Ok(found)
}

fn tensor<R: Read + Seek>(
    wire: &mut Wire<R>,
    mut message: Span,
) -> Result<Option<(Tensor, Vec<Slice>)>, Problem> {
    let (mut name, mut shape, mut datatype, mut slices) = (String::new(), Vec::new(), 0, Vec::new());
    while let Some(field) = wire.field(&mut message)? {
        match (field.number, field.content) {
            (1, Content::Bytes(span)) => name = wire.text(&span)?,
            (2, Content::Bytes(span)) => shape = proto::shape(wire, span)?,
            (3, Content::Varint(n)) => datatype = n,
            (4, Content::Bytes(span)) => slices.push(proto::slice(wire, span)?),
            _ => {}
        }
    }
    let dtype = proto::dtype(&name, datatype)?;
    Ok(dtype.map(|dtype| (Tensor { name, dtype, shape }, slices)))
}

fn keyed(tensor: &Tensor, slices: &[Slice]) -> Result<Vec<(Vec<u8>, Part)>, Problem> {
    let part = |slice: &Slice| slices::part(slice, &tensor.shape);
    let parts: Vec<_> = slices.iter().map(part).collect::<Result<_, _>>().map_err(within(&tensor.name))?;
    slices::check(tensor, &parts)?;
    Ok(slices.iter().map(|slice| slices::key(&tensor.name, slice)).zip(parts).collect())
}

impl<R: Read + Seek> Source for Checkpoint<R> {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        let tensor = &self.tensors[index];
        let table = &mut self.table;
        slices::join(tensor, &self.parts[index], to, |key, bytes, to| {
            let value = table.get(key)?.ok_or_else(|| Problem::damaged("its values are missing"))?;
            let mut wire = Wire::new(Cursor::new(value))?;
            let whole = 0..wire.end();
            let data = child(&mut wire, whole, 2)?.unwrap_or(0..0);
            let proto = child(&mut wire, data, 3)?.unwrap_or(0..0);
            values::append(&mut wire, proto, tensor.dtype, bytes, to)
        })
        .map_err(within(&tensor.name))
    }
}
