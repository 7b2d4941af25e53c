//! Numbers about a data set: how many pictures, how large, which formats, which colours.
//!
//! Sizes and formats are read from every header. Mean and deviation of the channels are of up to 2,000 pictures, evenly
//! spread over the list, as evaluation crops and resizes them.

use std::collections::BTreeMap;
use std::path::Path;

use inception_pictures::{Content, Header};
use serde::Serialize;

use super::report::{ClassCount, imbalance};
use super::scan::{Entry, Role, Split, scan};
use super::{Options, count, flatten};
use crate::data::decode::{decode_bytes, read};
use crate::data::{DataError, parallel};
use crate::progress::Progress;

/// Pictures whose colours are measured.
const COLOURED: usize = 2_000;

/// Pictures and bytes of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SplitStats {
    /// Which.
    pub split: Split,
    /// How many pictures.
    pub pictures: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Least value, quartiles and largest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// What is distributed.
    pub of: &'static str,
    /// The least.
    pub min: f64,
    /// A quarter is not above it.
    pub q1: f64,
    /// Half is not above it.
    pub median: f64,
    /// Three quarters are not above it.
    pub q3: f64,
    /// The largest.
    pub max: f64,
}

/// Pictures of a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormatCount {
    /// Its name, with depth and colours.
    pub format: String,
    /// How many pictures.
    pub pictures: usize,
}

/// Numbers about a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Splits.
    pub splits: Vec<SplitStats>,
    /// Classes.
    pub classes: Vec<ClassCount>,
    /// Bytes of each class, in the order of `classes`.
    pub class_bytes: Vec<u64>,
    /// How many times the pictures of the smallest class the largest has; none without pictures.
    pub imbalance: Option<f64>,
    /// Width, height, aspect and megapixels of the pictures, upright; none without pictures.
    pub sizes: Vec<Distribution>,
    /// Formats, the most frequent first.
    pub formats: Vec<FormatCount>,
    /// Pictures whose header cannot be read.
    pub unreadable: usize,
    /// Side of the squares whose channels were measured.
    pub img_size: usize,
    /// How many they were.
    pub measured: usize,
    /// Mean of red, green, blue, from 0 to 1; none where nothing was measured.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of all their values.
    pub std: Option<[f64; 3]>,
}

/// What one file says.
struct Facts {
    bytes: u64,
    size: Option<(u32, u32)>,
    format: Option<String>,
    sums: Option<Sums>,
}

/// Sums over the values of each channel, from 0 to 1, and over their squares.
#[derive(Clone, Copy, Default)]
struct Sums {
    values: [f64; 3],
    squares: [f64; 3],
    count: f64,
}

/// Numbers about the data set in `root`.
pub fn stats(root: &Path, options: &Options) -> Result<Stats, DataError> {
    let parts = scan(root, options.val_split, options.seed)?.parts;
    let (mut entries, names) = flatten(&parts);
    let wanted = if names.is_empty() { Role::Stray } else { Role::Picture };
    entries.retain(|(entry, _)| entry.role == wanted);
    let step = entries.len().div_ceil(COLOURED).max(1);
    let mut progress = Progress::new(options.progress, entries.len() as u64);
    let work = |i: usize| facts(&entries[i].0, options, i.is_multiple_of(step));
    let facts = parallel::map(entries.len(), options.threads, work, || progress.advance(1, "reading"))?;
    progress.finish();
    let facts = facts.into_iter().collect::<Result<Vec<Facts>, _>>()?;
    let classes = count(&entries, names);
    let mut class_bytes = vec![0; classes.len()];
    let mut formats: BTreeMap<String, usize> = BTreeMap::new();
    for ((_, class), facts) in entries.iter().zip(&facts) {
        if let Some(bytes) = class.and_then(|class| class_bytes.get_mut(class)) {
            *bytes += facts.bytes;
        }
        if let Some(format) = &facts.format {
            *formats.entry(format.clone()).or_default() += 1;
        }
    }
    let mut formats: Vec<FormatCount> =
        formats.into_iter().map(|(format, pictures)| FormatCount { format, pictures }).collect();
    formats.sort_by_key(|format| std::cmp::Reverse(format.pictures));
    let split = |split: Split| {
        let own = entries.iter().zip(&facts).filter(|((entry, _), _)| entry.split == split);
        let (pictures, bytes) = own.fold((0, 0), |(n, bytes), (_, facts)| (n + 1, bytes + facts.bytes));
        SplitStats { split, pictures, bytes }
    };
    let measured: Vec<Sums> = facts.iter().filter_map(|facts| facts.sums).collect();
    let (mean, std) = Sums::add_up(&measured).unzip();
    Ok(Stats {
        splits: [Split::Train, Split::Val].map(split).into_iter().filter(|s| s.pictures > 0).collect(),
        imbalance: imbalance(&classes).map(|(ratio, _, _)| ratio),
        classes,
        class_bytes,
        sizes: sizes(&facts.iter().filter_map(|facts| facts.size).collect::<Vec<_>>()),
        formats,
        unreadable: facts.iter().filter(|facts| facts.size.is_none()).count(),
        img_size: options.side,
        measured: measured.len(),
        mean,
        std,
    })
}

/// What can be said about a file; an error where that is up to a network.
fn facts(entry: &Entry, options: &Options, is_measured: bool) -> Result<Facts, DataError> {
    let bytes = match read(&entry.picture) {
        Err(error @ DataError::Unreachable { .. }) => return Err(error),
        read => read.unwrap_or_default(),
    };
    let header = Header::of(&bytes);
    let format = header.map(|header| {
        let name = if Content::of(&bytes) == Content::Png { "PNG" } else { "JPEG" };
        let alpha = if header.transparent { ", transparent" } else { "" };
        format!("{name} {}, {} bits{alpha}", format!("{:?}", header.colours).to_lowercase(), header.bits)
    });
    let sums = || {
        let rgb = decode_bytes(&bytes, options.how.decoding()).ok()?;
        Some(Sums::of(&options.how.eval.apply(&rgb, options.side).ok()?))
    };
    let size = header.map(|header| header.upright());
    let sums = if is_measured && header.is_some() { sums() } else { None };
    Ok(Facts { bytes: bytes.len() as u64, size, format, sums })
}

impl Sums {
    /// Of values from 0 to 255.
    fn of(square: &[f32]) -> Sums {
        let mut sums = Sums::default();
        for pixel in square.as_chunks::<3>().0 {
            for c in 0..3 {
                let value = f64::from(pixel[c]) / 255.0;
                sums.values[c] += value;
                sums.squares[c] += value * value;
            }
            sums.count += 1.0;
        }
        sums
    }

    /// Mean and standard deviation, added up in order, so that the number of threads changes no digit.
    fn add_up(all: &[Sums]) -> Option<([f64; 3], [f64; 3])> {
        let count: f64 = all.iter().map(|sums| sums.count).sum();
        if count == 0.0 {
            return None;
        }
        let mean = [0, 1, 2].map(|c| all.iter().map(|sums| sums.values[c]).sum::<f64>() / count);
        let square = [0, 1, 2].map(|c| all.iter().map(|sums| sums.squares[c]).sum::<f64>() / count);
        Some((mean, [0, 1, 2].map(|c| (square[c] - mean[c] * mean[c]).max(0.0).sqrt())))
    }
}

fn sizes(sizes: &[(u32, u32)]) -> Vec<Distribution> {
    type OfSize = fn(f64, f64) -> f64;
    let of: [(&str, OfSize); 4] = [
        ("width", |w, _| w),
        ("height", |_, h| h),
        ("aspect", |w, h| w / h.max(1.0)),
        ("megapixels", |w, h| w * h / 1e6),
    ];
    let values = |f: OfSize| sizes.iter().map(|&(w, h)| f(w.into(), h.into())).collect();
    of.into_iter().filter_map(|(of, f)| distribution(of, values(f))).collect()
}

/// Each quartile is a value that occurs: the nearest in rank, the upper of two.
fn distribution(of: &'static str, mut values: Vec<f64>) -> Option<Distribution> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let [min, q1, median, q3, max] =
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| values[(last as f64 * share).round() as usize]);
    Some(Distribution { of, min, q1, median, q3, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_values_that_occur() {
        let values = [9.0, 1.0, 5.0, 3.0, 7.0].into();
        let expected = Distribution { of: "x", min: 1.0, q1: 3.0, median: 5.0, q3: 7.0, max: 9.0 };
        assert_eq!(distribution("x", values), Some(expected));
        assert_eq!(distribution("x", Vec::new()), None);
        assert_eq!(sizes(&[(40, 20)])[2].median, 2.0);
    }

    #[test]
    fn means_and_deviations_are_of_all_pixels_together() {
        let halves = [Sums::of(&[0.0, 255.0, 51.0]), Sums::of(&[255.0, 255.0, 51.0])];
        let (mean, std) = Sums::add_up(&halves).unwrap();
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-7);
        assert!(close(mean, [0.5, 1.0, 0.2]) && close(std, [0.5, 0.0, 0.0]), "{mean:?} {std:?}");
        assert_eq!(Sums::add_up(&[]), None);
    }
}
