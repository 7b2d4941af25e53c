//! HDF5, the part of it that h5py writes for Keras.
//!
//! ```text
//! superblock 0…1 ─▶ object header 1 [symbol table | dataspace, datatype, layout, filters] [attributes]
//! symbol table ─▶ B-tree ─▶ nodes of (name, object header)            layout ─▶ bytes in one run, or a B-tree of chunks
//! ```
//! Read: groups with symbol tables, attributes of strings, datasets of integers, floats and booleans that are contiguous,
//! compact, or chunked with deflate, shuffle and fletcher32. Refused: what only `libver="latest"` and `track_order` write
//! (superblocks 2 and 3, object headers 2, dense groups), external and virtual datasets, other types and filters.
//!
//! Every record about the data is read through [`Hdf5::record`], which stops at eight times the file's length: a file whose
//! records point at each other cannot keep a reader busy, and no set of visited addresses is needed.

mod attribute;
mod chunks;
mod dataset;
mod datatype;
mod group;
mod object;

pub(crate) use dataset::Dataset;
pub(crate) use object::Object;

use crate::Problem;
use crate::input::{Fields, Input};

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// The address of nothing.
const NOWHERE: u64 = u64::MAX;
/// Most bytes of records that are read of any file: a network of a thousand layers has two million.
const MOST_RECORDS: u64 = 256 << 20;

/// Whether a file that begins with `start` is one.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(SIGNATURE)
}

/// An open file.
pub(crate) struct Hdf5 {
    input: Input,
    base: u64,
    /// Address of the header of the root group.
    pub(crate) root: u64,
    /// Bytes of records that may still be read.
    budget: u64,
    heap: Option<(u64, Vec<u8>)>,
}

impl Hdf5 {
    pub(crate) fn open(mut input: Input) -> Result<Self, Problem> {
        let start = input.at(0, input.length().min(128))?;
        let mut fields = Fields::new(&start);
        if fields.take(8)? != SIGNATURE {
            return Err(Problem::damaged("it does not begin as HDF5"));
        }
        let version = fields.u8()?;
        if version > 1 {
            return Err(unsupported(&format!("a superblock of version {version}")));
        }
        fields.take(4)?;
        let (offsets, lengths) = (fields.u8()?, fields.u8()?);
        if (offsets, lengths) != (8, 8) {
            return Err(unsupported(&format!("addresses of {offsets} bytes and lengths of {lengths}")));
        }
        fields.take(if version == 0 { 9 } else { 13 })?;
        let (base, _, end, _) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        if base != 0 {
            return Err(unsupported("a block of the user before it"));
        }
        if end > input.length() {
            return Err(Problem::damaged(format!(
                "it says that it has {end} bytes and has {}: is the download complete?",
                input.length()
            )));
        }
        fields.u64()?;
        let root = fields.u64()?;
        let budget = input.length().saturating_mul(8).min(MOST_RECORDS);
        Ok(Hdf5 { input, base, root, budget, heap: None })
    }

    /// Counts `length` bytes of records.
    fn charge(&mut self, length: u64) -> Result<(), Problem> {
        let left = self.budget.checked_sub(length.max(16));
        self.budget =
            left.ok_or_else(|| Problem::damaged("its records point at each other and never end"))?;
        Ok(())
    }

    /// `length` bytes of a record at `address`.
    fn record(&mut self, address: u64, length: u64) -> Result<Vec<u8>, Problem> {
        self.charge(length)?;
        self.input.at(self.base.saturating_add(address), length)
    }
}

/// The refusal of what Keras does not write.
fn unsupported(what: &str) -> Problem {
    Problem::Refused(format!(
        "it is HDF5 with {what}, which Keras does not write: load it with Keras and save it again, or copy it with h5py"
    ))
}
