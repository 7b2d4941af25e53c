//! Types of values.
//!
//! ```text
//! class and version, three bytes of flags, size, properties
//! ```

use super::unsupported;
use crate::input::Fields;
use crate::{Dtype, Problem};

/// A type, as far as Keras uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Datatype {
    /// Values of a tensor; true where they are big endian.
    Number(Dtype, bool),
    /// Strings of so many bytes each.
    Fixed(u32),
    /// Strings in a heap.
    Variable,
}

impl Datatype {
    pub(super) fn read(message: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::new(message);
        let (class, flags) = (fields.u8()? & 15, fields.take(3)?);
        let size = fields.u32()?;
        let big = flags[0] & 1 != 0;
        let signed = flags[0] & 8 != 0;
        Ok(match (class, size) {
            (0, 1) => Datatype::Number(if signed { Dtype::I8 } else { Dtype::U8 }, false),
            (0, 2) if signed => Datatype::Number(Dtype::I16, big),
            (0, 4) if signed => Datatype::Number(Dtype::I32, big),
            (0, 8) if signed => Datatype::Number(Dtype::I64, big),
            (1, 2 | 4 | 8) => {
                fields.take(5)?;
                let exponent = fields.u8()?;
                match (size, exponent) {
                    (2, 5) => Datatype::Number(Dtype::F16, big),
                    (2, 8) => Datatype::Number(Dtype::Bf16, big),
                    (4, 8) => Datatype::Number(Dtype::F32, big),
                    (8, 11) => Datatype::Number(Dtype::F64, big),
                    _ => {
                        return Err(unsupported(&format!(
                            "floats of {size} bytes with {exponent} of exponent"
                        )));
                    }
                }
            }
            (3, _) => Datatype::Fixed(size),
            // The C library's booleans: an enumeration over integers of one byte.
            (8, 1) => Datatype::Number(Dtype::Bool, false),
            (9, 16) if flags[0] & 15 == 1 => Datatype::Variable,
            _ => return Err(unsupported(&format!("values of class {class} and {size} bytes"))),
        })
    }
}

/// Extents of a dataspace; `None` for the space of nothing.
pub(super) fn extents(message: &[u8]) -> Result<Option<Vec<u64>>, Problem> {
    let mut fields = Fields::new(message);
    let (version, rank) = (fields.u8()?, fields.u8()?);
    let _flags = fields.u8()?;
    match version {
        1 => drop(fields.take(5)?),
        2 if fields.u8()? == 2 => return Ok(None),
        2 => {}
        other => return Err(Problem::damaged(format!("a dataspace has the version {other}"))),
    }
    (0..rank).map(|_| fields.u64()).collect::<Result<_, _>>().map(Some)
}
