//! A variable that was saved in parts.
//!
//! ```text
//! key(name, slice) = 0, name with 0 → 0 255 and 255 → 255 0, then 0 1, rank, { start, length }*
//! rank: count of bytes, big-endian bytes     start, length: one to ten bytes, the count in the leading bits, as UTF-8 does
//! ```
//! Keys sort as what they stand for. A part that is all of an extent has start 0 and length −1 there.

use std::ops::Range;

use crate::{Problem, Tensor};

/// Start and length along each extent; no length: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice(pub(super) Vec<(i64, Option<i64>)>);

/// A slice of a known shape.
pub(super) type Part = Vec<Range<usize>>;

/// Parts beyond this number are checked against each other for too long.
const MOST_PARTS: usize = 1024;

/// Under which key a table has the values of `slice` of tensor `name`.
pub(super) fn key(name: &str, slice: &Slice) -> Vec<u8> {
    let mut key = vec![0];
    for &byte in name.as_bytes() {
        match byte {
            0 => key.extend([0, 255]),
            255 => key.extend([255, 0]),
            _ => key.push(byte),
        }
    }
    key.extend([0, 1]);
    let rank = slice.0.len().to_be_bytes();
    let zeros = rank.iter().take_while(|&&byte| byte == 0).count();
    key.push((rank.len() - zeros) as u8);
    key.extend(&rank[zeros..]);
    for &(start, length) in &slice.0 {
        push_signed(start, &mut key);
        push_signed(length.unwrap_or(-1), &mut key);
    }
    key
}

/// `value` in n bytes of 7n bits: n ones, a zero, the number in two's complement with the zero as its sign flipped.
fn push_signed(value: i64, key: &mut Vec<u8>) {
    let magnitude = if value < 0 { !value } else { value };
    let bytes = 1 + (64 - magnitude.leading_zeros() as usize) / 7;
    let wide = i128::from(value).to_be_bytes();
    let header = (0xffc0_u16 << (10 - bytes)).to_be_bytes();
    let start = key.len();
    key.extend(&wide[wide.len() - bytes..]);
    key[start] ^= header[0];
    if bytes > 1 {
        key[start + 1] ^= header[1];
    }
}

/// The part of a tensor of shape `shape` that `slice` stands for.
pub(super) fn part(slice: &Slice, shape: &[usize]) -> Result<Part, Problem> {
    let outside =
        || Problem::damaged(format!("a part {:?} lies outside a tensor of shape {shape:?}", slice.0));
    if slice.0.len() != shape.len() {
        return Err(outside());
    }
    let range = |(&(start, length), &extent): (&(i64, Option<i64>), &usize)| {
        let start = usize::try_from(start).ok()?;
        let length = match length {
            Some(length) => usize::try_from(length).ok()?,
            None => extent.checked_sub(start)?,
        };
        let end = start.checked_add(length)?;
        (end <= extent).then_some(start..end)
    };
    slice.0.iter().zip(shape).map(|pair| range(pair).ok_or_else(outside)).collect()
}

/// Number of values in a part of a tensor whose own number of values is countable.
pub(super) fn count(part: &Part) -> usize {
    part.iter().map(|range| range.len()).product()
}

/// Whether `parts` make up the whole of `tensor`, each value once.
pub(super) fn check(tensor: &Tensor, parts: &[Part]) -> Result<(), Problem> {
    let name = &tensor.name;
    if parts.len() > MOST_PARTS {
        return Err(Problem::Refused(format!(
            "`{name}` is cut into {} parts, more than {MOST_PARTS}",
            parts.len()
        )));
    }
    let overlap = |a: &Part, b: &Part| a.iter().zip(b).all(|(a, b)| a.start < b.end && b.start < a.end);
    for (i, a) in parts.iter().enumerate() {
        if parts[..i].iter().any(|b| overlap(a, b)) {
            return Err(Problem::damaged(format!("two parts of `{name}` overlap")));
        }
    }
    let total = tensor.count();
    let found = total.and_then(|_| parts.iter().try_fold(0usize, |sum, part| sum.checked_add(count(part))));
    if found.is_some() && found == total {
        return Ok(());
    }
    Err(Problem::damaged(format!("the parts of `{name}` do not make up its shape {:?}", tensor.shape)))
}

/// Appends the values of `tensor`, which is made of `parts`; `read` appends those of one, given how many bytes.
pub(super) fn join<P>(
    tensor: &Tensor,
    parts: &[(P, Part)],
    to: &mut Vec<u8>,
    mut read: impl FnMut(&P, usize, &mut Vec<u8>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let bytes = tensor.bytes().unwrap_or(usize::MAX);
    if let [(place, _)] = parts {
        return read(place, bytes, to);
    }
    let (first, size) = (to.len(), tensor.dtype.size());
    to.resize(first + bytes, 0);
    let mut values = Vec::new();
    for (from, part) in parts {
        values.clear();
        let expected = count(part) * size;
        read(from, expected, &mut values)?;
        if values.len() != expected {
            let found = values.len();
            return Err(Problem::damaged(format!(
                "a part has {found} bytes of values, its shape asks for {expected}"
            )));
        }
        place(&values, part, &tensor.shape, size, &mut to[first..]);
    }
    Ok(())
}

/// Puts `values`, of `size` bytes each, to `part` of the tensor `whole` of shape `shape`.
pub(super) fn place(values: &[u8], part: &Part, shape: &[usize], size: usize, whole: &mut [u8]) {
    if values.is_empty() {
        return;
    }
    // The extents behind `axis` are whole in the part, so that a run of it lies in one piece in both.
    let axis = (0..shape.len()).rev().find(|&i| part[i].len() != shape[i]).unwrap_or(0);
    let inner = size * shape[axis.saturating_add(1).min(shape.len())..].iter().product::<usize>();
    let run = inner * part.get(axis).map_or(1, |range| range.len());
    let mut strides = vec![inner; axis + 1];
    for i in (0..axis).rev() {
        strides[i] = strides[i + 1] * shape[i + 1];
    }
    let mut at: Vec<usize> = part.iter().take(axis + 1).map(|range| range.start).collect();
    for values in values.chunks_exact(run) {
        let start: usize = at.iter().zip(&strides).map(|(at, stride)| at * stride).sum();
        whole[start..start + run].copy_from_slice(values);
        for i in (0..axis).rev() {
            at[i] += 1;
            if at[i] < part[i].end {
                break;
            }
            at[i] = part[i].start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    /// Values as in the ordered code of TensorFlow: the first byte of −1 is 0x7f, of 0 it is 0x80.
    #[test]
    fn keys_of_small_and_large_numbers() {
        let slice = Slice(vec![(0, None), (35, Some(63)), (64, Some(-65)), (8191, Some(8192))]);
        let key = key("a\0b", &slice);
        let numbers = [0x80, 0x7f, 0xa3, 0xbf, 0xc0, 0x40, 0x3f, 0xbf, 0xdf, 0xff, 0xe0, 0x20, 0x00];
        assert_eq!(key, [&[0, b'a', 0, 255, b'b', 0, 1, 1, 4], &numbers[..]].concat());
        let mut last = Vec::new();
        for value in
            [i64::MIN, i64::MIN + 1, -1 << 40, -8193, -65, -1, 0, 63, 64, 1 << 40, i64::MAX - 1, i64::MAX]
        {
            let mut key = Vec::new();
            push_signed(value, &mut key);
            assert!(last < key, "{value}");
            last = key;
        }
    }

    #[test]
    fn a_tensor_from_parts_along_every_axis() {
        let shape = [3usize, 4, 5, 2];
        let total = shape.iter().product::<usize>();
        let tensor = Tensor { name: "it".into(), dtype: Dtype::U8, shape: shape.to_vec() };
        let whole: Vec<u8> = (0..total as u8).collect();
        for axes in 0..16u32 {
            let ranges = |i: usize| {
                let cut = if axes >> i & 1 == 1 { 1 } else { shape[i] };
                [0..cut, cut..shape[i]].into_iter().filter(|range| !range.is_empty())
            };
            let mut parts: Vec<Part> = vec![vec![]];
            for i in 0..4 {
                parts =
                    parts.into_iter().flat_map(|p| ranges(i).map(move |r| [&p[..], &[r]].concat())).collect();
            }
            check(&tensor, &parts).unwrap();
            let mut made = vec![0; total];
            for part in &parts {
                let inside = |n: usize| {
                    let index = [n / 40, n / 10 % 4, n / 2 % 5, n % 2];
                    index.iter().zip(part).all(|(i, range)| range.contains(i))
                };
                let values: Vec<u8> = whole.iter().copied().filter(|&n| inside(n.into())).collect();
                assert_eq!(values.len(), count(part));
                place(&values, part, &shape, 1, &mut made);
            }
            assert_eq!(made, whole, "{parts:?}");
            if parts.len() > 1 {
                assert!(check(&tensor, &parts[1..]).is_err());
                parts[0] = parts[1].clone();
                assert!(check(&tensor, &parts).is_err());
            }
        }
        let mut scalar = [0; 4];
        place(&[1, 2, 3, 4], &vec![], &[], 4, &mut scalar);
        assert_eq!(scalar, [1, 2, 3, 4]);
    }

    #[test]
    fn a_part_outside_its_tensor() {
        for slice in [(-1, Some(1)), (0, Some(-2)), (2, Some(2)), (4, None), (i64::MAX, Some(i64::MAX))] {
            assert!(part(&Slice(vec![slice]), &[3]).is_err(), "{slice:?}");
        }
        assert!(part(&Slice(vec![]), &[3]).is_err());
        assert_eq!(part(&Slice(vec![(1, None), (0, Some(1))]), &[3, 2]).unwrap(), [1..3, 0..1]);
    }
}
