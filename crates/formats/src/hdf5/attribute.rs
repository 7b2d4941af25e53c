//! Attributes that are texts.
//!
//! ```text
//! version, lengths of name, type and space, then these three, then the values: bytes, or (length, collection, index)
//! collection: GCOL, size, [index, references, size, bytes]*
//! ```
//! An attribute is read when it is asked for by name, and its strings in a heap up to the caller's limit together: many
//! may be the same long one.

use super::datatype::{Datatype, extents};
use super::object::Kind;
use super::{Hdf5, NOWHERE, Object, unsupported};
use crate::Problem;
use crate::input::Fields;

/// Largest collection of strings: one string of the longest `model_config`.
const LARGEST_COLLECTION: u64 = 64 << 20;

/// The part of a message that holds a name, and the rest of it.
struct Attribute<'a> {
    name: &'a [u8],
    datatype: &'a [u8],
    space: &'a [u8],
    values: Fields<'a>,
}

fn attribute(message: &[u8]) -> Result<Attribute<'_>, Problem> {
    let mut fields = Fields::new(message);
    let (version, flags) = (fields.u8()?, fields.u8()?);
    let lengths = [fields.u16()?, fields.u16()?, fields.u16()?];
    if !(1..=3).contains(&version) {
        return Err(Problem::damaged(format!("an attribute has the version {version}")));
    }
    if version > 1 && flags != 0 {
        return Err(unsupported("attributes of shared types"));
    }
    if version == 3 {
        fields.u8()?;
    }
    let mut part = |length: u16| {
        let part = fields.take(length.into())?;
        if version == 1 {
            // The last part may end with the message, without its padding.
            fields
                .take((usize::from(length).next_multiple_of(8) - usize::from(length)).min(fields.left()))?;
        }
        Ok::<_, Problem>(part)
    };
    let (name, datatype, space) = (part(lengths[0])?, part(lengths[1])?, part(lengths[2])?);
    Ok(Attribute {
        name: name.split(|&byte| byte == 0).next().unwrap_or_default(),
        datatype,
        space,
        values: fields,
    })
}

impl Hdf5 {
    /// The texts of attribute `name` of `object`, of at most `limit` bytes together; `None` where it has none of that name.
    pub(crate) fn texts(
        &mut self,
        object: &Object,
        name: &str,
        limit: usize,
    ) -> Result<Option<Vec<String>>, Problem> {
        for message in object.all(Kind::Attribute) {
            let found = attribute(message)?;
            if found.name == name.as_bytes() {
                return self.strings(found, name, limit).map(Some);
            }
        }
        if object.message(Kind::ManyAttributes).is_some() {
            return Err(unsupported("attributes of the new kind"));
        }
        Ok(None)
    }

    fn strings(&mut self, attribute: Attribute, name: &str, limit: usize) -> Result<Vec<String>, Problem> {
        let Attribute { datatype, space, mut values, .. } = attribute;
        let count = match extents(space)? {
            None => 0,
            Some(extents) => {
                extents.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent)).unwrap_or(u64::MAX)
            }
        };
        // The values of an empty list of names may be of any type.
        if count == 0 {
            return Ok(Vec::new());
        }
        let datatype = Datatype::read(datatype)?;
        let mut texts = Vec::new();
        let mut left = limit;
        for _ in 0..count {
            let text = match datatype {
                Datatype::Fixed(size) if size > 0 => values.take(size as usize)?.to_vec(),
                Datatype::Variable => {
                    let (length, heap, index) = (values.u32()?, values.u64()?, values.u32()?);
                    if length as usize > left {
                        return Err(Problem::damaged(format!(
                            "its attribute `{name}` has more than {limit} bytes"
                        )));
                    }
                    self.heap_object(heap, index, length)?
                }
                _ => return Err(Problem::damaged(format!("its attribute `{name}` is no text"))),
            };
            left = left.saturating_sub(text.len() + size_of::<String>());
            let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
            texts.push(String::from_utf8_lossy(&text[..end]).into_owned());
        }
        Ok(texts)
    }

    fn heap_object(&mut self, address: u64, index: u32, length: u32) -> Result<Vec<u8>, Problem> {
        if length == 0 || address == NOWHERE {
            return Ok(Vec::new());
        }
        if self.heap.as_ref().is_none_or(|(at, _)| *at != address) {
            let header = self.record(address, 16)?;
            let size = Fields::new(&header[8..]).u64()?;
            if !header.starts_with(b"GCOL") || size > LARGEST_COLLECTION {
                return Err(Problem::damaged(format!("there is no collection of strings at {address}")));
            }
            self.heap = Some((address, self.record(address, size)?));
        }
        let missing = || Problem::damaged(format!("string {index} is not in the collection at {address}"));
        let (_, collection) = self.heap.as_ref().ok_or_else(missing)?;
        let mut fields = Fields::new(collection.get(16..).unwrap_or_default());
        let mut scanned = 16;
        while fields.left() >= 16 {
            let (found, _, _) = (fields.u16()?, fields.u16()?, fields.u32()?);
            let size = usize::try_from(fields.u64()?).map_err(|_| missing())?;
            scanned += 16;
            if found == 0 {
                break;
            }
            let body = fields.take(size)?;
            if u32::from(found) == index {
                let text = body.get(..length as usize).ok_or_else(missing)?.to_vec();
                self.charge(scanned + u64::from(length))?;
                return Ok(text);
            }
            fields.take((size.next_multiple_of(8) - size).min(fields.left()))?;
        }
        Err(missing())
    }
}
