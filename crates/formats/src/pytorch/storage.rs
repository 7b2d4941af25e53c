//! Values of a view, in row-major order.
//!
//! ```text
//! storage: 0 1 2 3 4 5    offset 0, shape [3, 2], strides [1, 3] ─▶ 0 3 1 4 2 5
//! ```

use std::collections::HashMap;

use super::value::{Id, Node, Values, View};
use crate::Problem;
use crate::input::Input;

/// Largest tensor that repeats values of a smaller storage, as `expand` makes them.
const LARGEST_REPEATED: u64 = 16 << 20;

/// Bytes of the file.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// Bytes of one value of each storage that a pickle speaks of.
pub(crate) fn sizes(values: &Values) -> HashMap<&str, usize> {
    let storages = values.all().filter_map(|node| match node {
        Node::Storage(storage) => Some((storage.key.as_str(), storage.dtype.size())),
        _ => None,
    });
    storages.collect()
}

/// The text that `id` is.
pub(crate) fn key(values: &Values, id: Id) -> Option<&str> {
    match values.get(id) {
        Node::Text(key) => Some(key),
        _ => None,
    }
}

/// Whether the values of `view` are in the file.
pub(crate) fn check(name: &str, view: &View, storages: &HashMap<String, Range>) -> Result<(), Problem> {
    let storage = &view.storage;
    let Some(range) = storages.get(&storage.key) else {
        return Err(Problem::damaged(format!(
            "the values of `{name}`, storage `{}`, are missing",
            storage.key
        )));
    };
    let size = storage.dtype.size() as u64;
    let end = view.end().and_then(|end| end.checked_mul(size));
    if end.is_none_or(|end| end > range.length) {
        return Err(Problem::damaged(format!(
            "`{name}` lies beyond the {} bytes of its storage `{}`: is the download complete?",
            range.length, storage.key
        )));
    }
    let bytes = view.shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
    if bytes.is_none_or(|bytes| bytes > range.length.max(LARGEST_REPEATED)) {
        return Err(Problem::Refused(format!(
            "`{name}` has the shape {:?} and repeats {} bytes: save it after .contiguous()",
            view.shape, range.length
        )));
    }
    Ok(())
}

/// Appends the values of `view` of the storage at `range` to `to`.
pub(crate) fn read(input: &mut Input, view: &View, range: Range, to: &mut Vec<u8>) -> Result<(), Problem> {
    let size = view.storage.dtype.size() as u64;
    let beyond = || Problem::damaged("a tensor lies beyond any memory");
    let end = view.end().ok_or_else(beyond)?;
    if end == 0 {
        return Ok(());
    }
    let start = range.start.checked_add(view.offset * size).ok_or_else(beyond)?;
    let length = (end - view.offset) * size;
    if row_major(view) {
        return input.append(start, length, to);
    }
    let values = input.at(start, length)?;
    let size = size as usize;
    let mut index = vec![0; view.shape.len()];
    loop {
        let at: u64 = index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum();
        let at = at as usize * size;
        to.extend_from_slice(&values[at..at + size]);
        let Some(axis) = (0..index.len()).rev().find(|&axis| index[axis] + 1 < view.shape[axis]) else {
            return Ok(());
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

/// Whether its values follow each other without gaps; the stride of an extent of one matters to nobody.
fn row_major(view: &View) -> bool {
    let mut expected = 1;
    view.shape.iter().zip(&view.strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride == expected;
        expected *= extent;
        fits
    })
}
