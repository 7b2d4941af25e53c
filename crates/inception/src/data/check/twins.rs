//! Pictures that are there twice: byte for byte, or looking alike.
//!
//! ```text
//! equal      files with one SHA-256
//! alike      difference hashes with at most 3 of 64 bits apart: of four bands of 16 bits at least one is then equal, so
//!            only hashes with a band in common are compared; and the colours of the quarters are near
//! ```
//! Of pictures that go together the first is the original, training before validation; each other one is named with the
//! earlier one that makes it worst: of the other split, of another class, or neither.

use std::collections::HashMap;
use std::path::PathBuf;

use super::kind::{Kind, Remark};
use super::look::Print;
use super::scan::Split;

/// Bits that may differ.
const NEAR: u32 = 3;

/// How far colours, 0 to 255, may be from each other on average over channels and quarters: room for another compression or
/// cut, none for a dandelion with the outline of a daisy.
const COLOURS: u32 = 20;

/// A picture.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) split: Split,
    pub(super) class: usize,
    pub(super) print: Print,
}

/// For each split and class the first picture of a group. Enough to tell the worst pair, however large the group.
#[derive(Default)]
struct Firsts(Vec<(Split, usize, usize)>);

impl Firsts {
    fn add(&mut self, split: Split, class: usize, place: usize) {
        if !self.0.iter().any(|first| (first.0, first.1) == (split, class)) {
            self.0.push((split, class, place));
        }
    }
}

/// Remarks by index.
pub(super) fn find(candidates: &[Candidate]) -> Vec<(usize, Remark)> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| (candidates[i].split, i));
    let near = neighbours(candidates);
    let mut equal: HashMap<[u8; 32], Firsts> = HashMap::new();
    let mut alike: HashMap<u64, Firsts> = HashMap::new();
    let mut remarks = Vec::new();
    for i in order {
        let Candidate { split, class, print: Print { digest, look }, .. } = candidates[i];
        let same = equal.entry(digest).or_default();
        let kinds = [Kind::CopyAcrossSplits, Kind::CopyAcrossClasses, Kind::Copy];
        compare(candidates, i, same.0.iter(), kinds, &mut remarks);
        let is_original = same.0.is_empty();
        same.add(split, class, i);
        // What holds of the original holds of a copy.
        let Some(look) = look.filter(|_| is_original) else { continue };
        let around = near.get(&look.hash).map_or(&[][..], Vec::as_slice).iter().chain([&look.hash]);
        let around = around.filter_map(|hash| alike.get(hash)).flat_map(|firsts| &firsts.0);
        let has_colours = |first: &&(Split, usize, usize)| {
            let other = candidates[first.2].print.look;
            other.is_some_and(|other| distance(&look.colours, &other.colours) <= COLOURS)
        };
        let kinds = [Kind::AlikeAcrossSplits, Kind::AlikeAcrossClasses, Kind::Alike];
        compare(candidates, i, around.filter(has_colours), kinds, &mut remarks);
        alike.entry(look.hash).or_default().add(split, class, i);
    }
    remarks
}

fn distance(a: &[u8; 12], b: &[u8; 12]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum::<u32>() / 12
}

/// Adds which of `earlier` goes together with `i`: of the other split, of another class, or neither.
fn compare<'a>(
    candidates: &[Candidate],
    i: usize,
    earlier: impl Iterator<Item = &'a (Split, usize, usize)>,
    [across_splits, across_classes, neither]: [Kind; 3],
    remarks: &mut Vec<(usize, Remark)>,
) {
    let Candidate { split, class, .. } = candidates[i];
    let earlier: Vec<_> = earlier.collect();
    // A pair of one class is the likelier one: that it is across splits is then all that is wrong.
    let other_split = earlier.iter().filter(|e| e.0 != split).min_by_key(|e| e.1 != class);
    let worst = [(across_splits, other_split), (across_classes, earlier.iter().find(|e| e.1 != class))];
    let mut found: Vec<_> = worst.into_iter().filter_map(|(kind, e)| Some((kind, e?.2))).collect();
    if found.is_empty() {
        found.extend(earlier.first().map(|e| (neither, e.2)));
    }
    let word = if across_splits == Kind::CopyAcrossSplits { "the same as" } else { "looks like" };
    let remark =
        |kind, other: usize| Remark::new(kind, format!("{word} {}", candidates[other].path.display()));
    remarks.extend(found.into_iter().map(|(kind, other)| (i, remark(kind, other))));
}

/// For each hash the others within [`NEAR`] bits.
fn neighbours(candidates: &[Candidate]) -> HashMap<u64, Vec<u64>> {
    let mut hashes: Vec<u64> = candidates.iter().filter_map(|c| Some(c.print.look?.hash)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let mut near: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut bands: HashMap<u16, Vec<u64>> = HashMap::new();
    for band in 0..4 {
        let of = |hash: u64| (hash >> (16 * band)) as u16;
        bands.clear();
        for &hash in &hashes {
            let bucket = bands.entry(of(hash)).or_default();
            for &other in bucket.iter() {
                // A pair is taken in the first band that it has in common.
                let is_first = (0..band).all(|b| (hash ^ other) >> (16 * b) & 0xffff != 0);
                if (hash ^ other).count_ones() <= NEAR && is_first {
                    near.entry(hash).or_default().push(other);
                    near.entry(other).or_default().push(hash);
                }
            }
            bucket.push(hash);
        }
    }
    near
}

#[cfg(test)]
mod tests {
    use super::super::look::Look;
    use super::*;

    fn candidate(path: &str, split: Split, class: usize, digest: u8, hash: u64) -> Candidate {
        let print = Print { digest: [digest; 32], look: Some(Look { hash, colours: [100; 12] }) };
        Candidate { path: path.into(), split, class, print }
    }

    #[test]
    fn the_worst_earlier_picture_is_named() {
        let hash = 0x0123_4567_89ab_cdef;
        let found = find(&[
            candidate("val/a/0", Split::Val, 0, 1, hash),
            candidate("train/a/0", Split::Train, 0, 1, hash),
            candidate("train/a/1", Split::Train, 0, 1, hash),
            candidate("train/b/0", Split::Train, 1, 1, hash),
            candidate("train/b/1", Split::Train, 1, 2, hash ^ 1 << 63 ^ 1 << 40 ^ 1),
            candidate("train/b/2", Split::Train, 1, 3, hash ^ 0xf),
            candidate("val/b/0", Split::Val, 1, 4, hash ^ 0xf << 32 ^ 0xf),
        ]);
        let found: Vec<_> = found.iter().map(|(i, r)| (*i, r.kind, r.detail.as_str())).collect();
        let expected = [
            (2, Kind::Copy, "the same as train/a/0"),
            (3, Kind::CopyAcrossClasses, "the same as train/a/0"),
            (4, Kind::AlikeAcrossClasses, "looks like train/a/0"),
            (0, Kind::CopyAcrossSplits, "the same as train/a/0"),
            (0, Kind::CopyAcrossClasses, "the same as train/b/0"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn pictures_of_other_colours_do_not_look_alike() {
        let mut pair = [candidate("a", Split::Train, 0, 1, 7), candidate("b", Split::Train, 0, 2, 7)];
        for (value, count) in [(120, 1), (121, 0), (80, 1)] {
            pair[1].print.look = Some(Look { hash: 7, colours: [value; 12] });
            assert_eq!(find(&pair).len(), count, "{value}");
        }
    }

    /// Against all pairs, on hashes that are near each other often.
    #[test]
    fn bands_miss_no_pair() {
        let mut random = inception_graph::stream(&[1]);
        let mut hashes: Vec<u64> = Vec::new();
        for i in 0..600 {
            use rand::RngExt;
            let flips = (0..i % 6).fold(0u64, |bits, _| bits | 1 << random.random_range(0..64));
            hashes.push(if i % 3 == 0 { random.random() } else { hashes[i / 3] ^ flips });
        }
        let candidates: Vec<_> = hashes.iter().map(|&hash| candidate("", Split::Train, 0, 0, hash)).collect();
        let near = neighbours(&candidates);
        let pairs = |hash: &u64| {
            let others = hashes.iter().filter(|o| *o != hash && (*o ^ hash).count_ones() <= NEAR);
            let mut others: Vec<u64> = others.copied().collect();
            others.sort_unstable();
            others.dedup();
            others
        };
        let mut count = 0;
        for hash in &hashes {
            let mut found = near.get(hash).cloned().unwrap_or_default();
            found.sort_unstable();
            assert_eq!(found, pairs(hash));
            count += found.len();
        }
        assert!(count > 300, "{count}");
    }
}
