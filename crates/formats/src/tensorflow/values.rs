//! The values of one TensorProto.
//!
//! ```text
//! TensorProto { dtype = 1, tensor_shape = 2, tensor_content = 4: the bytes of all values, or a list of them:
//!   float_val = 5, double_val = 6, int_val = 7, int64_val = 10, bool_val = 11, half_val = 13 }
//! values(i) = i < listed ? list[i] : listed > 0 ? list[listed - 1] : 0
//! ```
//! Lists of `float_val` and `double_val` are little-endian bytes, copied as they are; the others are varints.

use std::io::{Read, Seek};

use super::wire::{Content, Span, Wire};
use crate::{Dtype, Problem};

/// The list for values of this type: its field, and whether it is one of varints.
fn list(dtype: Dtype) -> (u64, bool) {
    match dtype {
        Dtype::F32 => (5, false),
        Dtype::F64 => (6, false),
        Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 => (7, true),
        Dtype::I64 => (10, true),
        Dtype::Bool => (11, true),
        Dtype::F16 | Dtype::Bf16 => (13, true),
    }
}

/// Appends the `bytes` bytes of the values in `message`.
pub(super) fn append<R: Read + Seek>(
    wire: &mut Wire<R>,
    mut message: Span,
    dtype: Dtype,
    bytes: usize,
    to: &mut Vec<u8>,
) -> Result<(), Problem> {
    let ((list, of_varints), first) = (list(dtype), to.len());
    // A byte of a varint makes at most eight of a value.
    let possible = (message.end - message.start).saturating_mul(8);
    to.reserve_exact(bytes.min(usize::try_from(possible).unwrap_or(usize::MAX)));
    while let Some(field) = wire.field(&mut message)? {
        match field.content {
            Content::Bytes(span) if field.number == 4 && !span.is_empty() => {
                to.truncate(first);
                if span.end - span.start != bytes as u64 {
                    return Err(mismatch(span.end - span.start, bytes));
                }
                return wire.bytes(&span, to);
            }
            Content::Bytes(mut span) if field.number == list && of_varints => {
                varints(wire, &mut span, dtype, first + bytes, to)?;
            }
            Content::Bytes(span) if field.number == list => {
                fits((to.len() - first) as u64 + (span.end - span.start), bytes)?;
                wire.bytes(&span, to)?;
            }
            Content::Varint(value) if field.number == list && of_varints => push(value, dtype, to),
            Content::Fixed32(value) if field.number == list && dtype == Dtype::F32 => to.extend(value),
            Content::Fixed64(value) if field.number == list && dtype == Dtype::F64 => to.extend(value),
            Content::Bytes(_) | Content::Varint(_) | Content::Fixed32(_) | Content::Fixed64(_) => {}
        }
        fits((to.len() - first) as u64, bytes)?;
    }
    repeat_last(dtype.size(), first, bytes, to)
}

fn varints<R: Read + Seek>(
    wire: &mut Wire<R>,
    span: &mut Span,
    dtype: Dtype,
    end: usize,
    to: &mut Vec<u8>,
) -> Result<(), Problem> {
    while !span.is_empty() {
        if to.len() >= end {
            return Err(Problem::damaged("a tensor lists more values than its shape has"));
        }
        let value = wire.varint(span)?;
        push(value, dtype, to);
    }
    Ok(())
}

fn push(value: u64, dtype: Dtype, to: &mut Vec<u8>) {
    to.extend(&value.to_le_bytes()[..dtype.size()]);
}

/// Fills up with the last value.
fn repeat_last(size: usize, first: usize, bytes: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
    let found = to.len() - first;
    if !found.is_multiple_of(size) {
        return Err(mismatch(found as u64, bytes));
    }
    if found == bytes {
        return Ok(());
    }
    if found == 0 {
        to.resize(first + bytes, 0);
        return Ok(());
    }
    to.reserve_exact(bytes - found);
    let mut last = to.len() - size..to.len();
    while to.len() < first + bytes {
        // Doubles what is there already, so that a constant of millions of values is a few copies.
        let (start, missing) = (last.start, first + bytes - to.len());
        to.extend_from_within(start..start + missing.min(last.len()));
        last.end = to.len();
    }
    Ok(())
}

fn fits(found: u64, bytes: usize) -> Result<(), Problem> {
    if found > bytes as u64 { Err(mismatch(found, bytes)) } else { Ok(()) }
}

fn mismatch(found: u64, bytes: usize) -> Problem {
    Problem::damaged(format!("a tensor has {found} bytes of values, its shape asks for {bytes}"))
}
