//! Datasets of numbers.
//!
//! ```text
//! layout 3: compact: the bytes │ contiguous: address, length │ chunked: address of a B-tree, extents of a chunk
//! ```

use super::chunks::{Chunked, Filter};
use super::datatype::{Datatype, extents};
use super::object::Kind;
use super::{Hdf5, NOWHERE, Object, unsupported};
use crate::input::Fields;
use crate::{Dtype, Problem};

/// Type, extents and place of the values.
pub(crate) struct Dataset {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    big_endian: bool,
    place: Place,
}

enum Place {
    Here(Vec<u8>),
    Run { address: u64, length: u64 },
    Chunks(Chunked),
}

impl Hdf5 {
    /// The dataset that `object`, called `name`, is.
    pub(crate) fn dataset(&mut self, object: &Object, name: &str) -> Result<Dataset, Problem> {
        let message = |kind| {
            object
                .message(kind)
                .ok_or_else(|| Problem::damaged(format!("the dataset `{name}` has no {kind:?}")))
        };
        if object.message(Kind::ExternalFiles).is_some() {
            return Err(unsupported("values in other files"));
        }
        let Datatype::Number(dtype, big_endian) = Datatype::read(message(Kind::Datatype)?)? else {
            return Err(unsupported(&format!("texts as values of `{name}`")));
        };
        let shape = extents(message(Kind::Dataspace)?)?.unwrap_or_else(|| vec![0]);
        let bytes = shape.iter().try_fold(dtype.size() as u64, |n, &extent| n.checked_mul(extent));
        let bytes =
            bytes.ok_or_else(|| Problem::damaged(format!("`{name}` claims a shape beyond any memory")))?;
        let mut layout = Fields::new(message(Kind::Layout)?);
        let (version, class) = (layout.u8()?, layout.u8()?);
        if version != 3 {
            return Err(unsupported(&format!("the layout {version} of `{name}`")));
        }
        let place = match class {
            0 => {
                let length = layout.u16()?;
                Place::Here(layout.take(length.into())?.to_vec())
            }
            1 => Place::Run { address: layout.u64()?, length: layout.u64()? },
            2 => {
                let filters =
                    object.message(Kind::Filters).map(Filter::read_all).transpose()?.unwrap_or_default();
                Place::Chunks(self.chunked(layout, &shape, dtype.size(), filters, name)?)
            }
            other => return Err(unsupported(&format!("the layout of class {other} of `{name}`"))),
        };
        let found = match &place {
            Place::Here(values) => values.len() as u64,
            Place::Run { address: NOWHERE, .. } => 0,
            Place::Run { address, length } => {
                self.input.holds(*address, *length)?;
                *length
            }
            Place::Chunks(_) => bytes,
        };
        if found != bytes {
            return Err(Problem::damaged(format!(
                "`{name}` has {found} bytes of values, its shape asks for {bytes}"
            )));
        }
        Ok(Dataset { dtype, shape, big_endian, place })
    }

    /// Appends the values of `dataset` to `to`, little endian.
    pub(crate) fn values(&mut self, dataset: &Dataset, to: &mut Vec<u8>) -> Result<(), Problem> {
        let start = to.len();
        match &dataset.place {
            Place::Here(values) => to.extend_from_slice(values),
            Place::Run { length: 0, .. } => {}
            Place::Run { address, length } => self.input.append(*address, *length, to)?,
            Place::Chunks(chunked) => {
                chunked.values(&mut self.input, &dataset.shape, dataset.dtype.size(), to)?
            }
        }
        if dataset.big_endian {
            to[start..].chunks_exact_mut(dataset.dtype.size()).for_each(<[u8]>::reverse);
        }
        Ok(())
    }
}
