//! The small messages that all three kinds of file share.
//!
//! ```text
//! TensorShapeProto { dim* = 2: { size = 1 } }          unknown_rank = 3
//! TensorSliceProto { extent* = 1: { start = 1, length = 2 } }   without a length: all of the extent
//! DataType: 1 float, 2 double, 3 int32, … 100 more for a reference to one
//! ```

use std::io::{Read, Seek};

use super::slices::Slice;
use super::wire::{Content, Field, Span, Wire};
use crate::{Dtype, Problem};

/// The most extents that TensorFlow gives a tensor.
const MOST_EXTENTS: usize = 254;

/// What becomes of a tensor of some type.
pub(super) enum Type {
    Number(Dtype),
    /// Texts and handles: no tensor as far as this crate is concerned.
    NotNumbers,
    /// Numbers that [`Dtype`] has no name for.
    Other(&'static str),
}

/// The type with the number `datatype`.
pub(super) fn datatype(datatype: u64) -> Result<Type, Problem> {
    let base = if (101..200).contains(&datatype) { datatype - 100 } else { datatype };
    Ok(Type::Number(match base {
        1 => Dtype::F32,
        2 => Dtype::F64,
        3 => Dtype::I32,
        4 => Dtype::U8,
        5 => Dtype::I16,
        6 => Dtype::I8,
        9 => Dtype::I64,
        10 => Dtype::Bool,
        14 => Dtype::Bf16,
        19 => Dtype::F16,
        7 | 20 | 21 => return Ok(Type::NotNumbers),
        8 | 18 => return Ok(Type::Other("complex numbers")),
        11 | 12 | 13 | 15 | 16 => return Ok(Type::Other("quantised numbers")),
        17 | 22 | 23 => return Ok(Type::Other("unsigned integers of 16 to 64 bits")),
        24..=40 => return Ok(Type::Other("numbers of 8 bits or fewer")),
        _ => return Err(Problem::damaged(format!("a tensor of type {datatype}, which does not exist"))),
    }))
}

/// The type of tensor `name`, or `None` if it holds no numbers.
pub(super) fn dtype(name: &str, number: u64) -> Result<Option<Dtype>, Problem> {
    match datatype(number)? {
        Type::Number(dtype) => Ok(Some(dtype)),
        Type::NotNumbers => Ok(None),
        Type::Other(what) => {
            Err(Problem::Refused(format!("`{name}` holds {what}, which no network here uses")))
        }
    }
}

/// Extents of a tensor.
pub(super) fn shape<R: Read + Seek>(wire: &mut Wire<R>, mut message: Span) -> Result<Vec<usize>, Problem> {
    let mut extents = Vec::new();
    while let Some(field) = wire.field(&mut message)? {
        match (field.number, field.content) {
            (2, Content::Bytes(mut dim)) => {
                let mut size = 0;
                while let Some(field) = wire.field(&mut dim)? {
                    if let Field { number: 1, content: Content::Varint(n) } = field {
                        size = n;
                    }
                }
                // A negative size, -1 for an unknown one, is a huge one here.
                let size = usize::try_from(size.cast_signed());
                extents.push(size.map_err(|_| Problem::damaged("a tensor has an unknown extent"))?);
            }
            (3, Content::Varint(1)) => return Err(Problem::damaged("a tensor has an unknown shape")),
            _ => {}
        }
        if extents.len() > MOST_EXTENTS {
            return Err(Problem::damaged(format!("a tensor has more than {MOST_EXTENTS} extents")));
        }
    }
    Ok(extents)
}

/// A part of a tensor.
pub(super) fn slice<R: Read + Seek>(wire: &mut Wire<R>, mut message: Span) -> Result<Slice, Problem> {
    let mut extents = Vec::new();
    while let Some(field) = wire.field(&mut message)? {
        if let Field { number: 1, content: Content::Bytes(mut extent) } = field {
            let (mut start, mut length) = (0, None);
            while let Some(field) = wire.field(&mut extent)? {
                match (field.number, field.content) {
                    (1, Content::Varint(n)) => start = n.cast_signed(),
                    (2, Content::Varint(n)) => length = Some(n.cast_signed()),
                    _ => {}
                }
            }
            extents.push((start, length));
        }
        if extents.len() > MOST_EXTENTS {
            return Err(Problem::damaged(format!("a part of a tensor has more than {MOST_EXTENTS} extents")));
        }
    }
    Ok(Slice(extents))
}
