//! What is in a data set, and what would go wrong with it, before it does.
//!
//! ```text
//! list every file (`scan`) ─▶ read, decode, classify each, on all threads (`look`) ─▶ compare (`twins`) ─▶ report, forecast
//! ```
//! Files are found and decoded as training does it, so what is an error here is what training would stop at, or leave out
//! with `--on-bad skip`. Every file that was seen is in the report, with remarks or without.

mod kind;
mod lists;
mod look;
mod quarantine;
mod report;
mod scan;
mod stats;
mod twins;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DataError, Preprocessing, Train, parallel};
use crate::progress::{Progress, Style};

pub use kind::{Kind, Remark, Severity};
pub use lists::Cleaned;
pub use quarantine::{Fixed, Moved, can_fix, fix};
pub use report::{ClassCount, Counts, File, Finding, Folder, Forecast, Report};
pub use scan::Split;
pub use stats::{Distribution, FormatCount, SplitStats, Stats, stats};

use look::{Looked, look};
use scan::{Entry, Place, Role, Scan};

/// How a data set is checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Share of each class that training would hold out.
    pub val_split: Option<f64>,
    /// Seed of training, which decides what is held out.
    pub seed: u64,
    /// Side of the network's input.
    pub side: usize,
    /// Pictures whose shorter side has fewer pixels are tiny.
    pub tiny: usize,
    /// How training reads pictures.
    pub how: Preprocessing,
    /// How training distorts them.
    pub train: Train,
    /// Threads.
    pub threads: usize,
    /// How progress is shown.
    pub progress: Style,
}

/// Pictures whose distortion is timed, evenly spread.
const TIMED: usize = 200;

/// The largest class may have so many times the pictures of the smallest.
const IMBALANCE: f64 = 10.0;

/// Reads and judges every file of the data set in `root`.
pub fn check(root: &Path, options: &Options) -> Result<Report, DataError> {
    let Scan { parts, mut folders } = scan::scan(root, options.val_split, options.seed)?;
    let (entries, classes) = flatten(&parts);
    let has_archives = parts.iter().any(|part| part.place == Place::Archives);
    // Loose pictures are all there is, so they are worth a look.
    let no_classes = classes.is_empty();
    let is_read = |entry: &Entry| entry.role == Role::Picture || no_classes && entry.role == Role::Stray;
    let step = entries.len().div_ceil(TIMED).max(1);
    let mut progress = Progress::new(options.progress, entries.len() as u64);
    let work = |i: usize| {
        let (entry, _): &(Entry, Option<usize>) = &entries[i];
        look(entry, is_read(entry), options, i.is_multiple_of(step).then_some(i as u64))
    };
    let mut looked = parallel::map(entries.len(), options.threads, work, || progress.advance(1, "checking"))?;
    progress.finish();
    if let Some(error) = looked.iter_mut().find_map(|looked| looked.unreachable.take()) {
        return Err(error);
    }
    for (i, remark) in twins(root, &entries, &looked) {
        looked[i].remarks.push(remark);
    }
    let forecast = forecast(&entries, &looked, options);
    let classes = count(&entries, classes);
    if let Some((ratio, largest, smallest)) = report::imbalance(&classes).filter(|i| i.0 > IMBALANCE) {
        let detail = format!("{ratio:.0} times as many of `{largest}` as of `{smallest}`");
        folders.push((root.into(), Remark::new(Kind::Imbalance, detail)));
    }
    let files = entries.into_iter().zip(looked).map(|((entry, class), looked)| {
        let mut remarks = looked.remarks;
        remarks.sort_by_key(|remark| remark.kind);
        File {
            split: entry.split,
            class: class.filter(|_| entry.role == Role::Picture),
            path: entry.path(),
            is_movable: entry.is_movable,
            bytes: looked.bytes,
            size: looked.size,
            remarks,
        }
    });
    let mut files: Vec<File> = files.collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let folders = folders.into_iter().map(|(path, remark)| Folder { path, remark }).collect();
    Ok(Report { root: root.into(), has_archives, files, folders, classes, forecast })
}

/// All files, each with the index of its class in the list of all classes, which comes second.
fn flatten(parts: &[scan::Part]) -> (Vec<(Entry, Option<usize>)>, Vec<String>) {
    let names: BTreeMap<&String, usize> =
        parts.iter().flat_map(|part| &part.classes).map(|n| (n, 0)).collect();
    let places: BTreeMap<&String, usize> = names.into_keys().zip(0..).collect();
    let all = parts.iter().flat_map(|part| {
        part.entries.iter().map(|entry| {
            let class = part.classes.get(entry.class).and_then(|name| places.get(name));
            (entry.clone(), class.copied().filter(|_| entry.role != Role::Stray))
        })
    });
    (all.collect(), places.keys().map(|name| name.to_string()).collect())
}

/// Pictures of each class and split.
fn count(entries: &[(Entry, Option<usize>)], names: Vec<String>) -> Vec<ClassCount> {
    let mut classes: Vec<ClassCount> =
        names.into_iter().map(|class| ClassCount { class, train: 0, val: 0 }).collect();
    for (entry, class) in entries.iter().filter(|(entry, _)| entry.role == Role::Picture) {
        let Some(class) = class.and_then(|class| classes.get_mut(class)) else { continue };
        match entry.split {
            Split::Train => class.train += 1,
            Split::Val => class.val += 1,
        }
    }
    classes
}

fn twins(root: &Path, entries: &[(Entry, Option<usize>)], looked: &[Looked]) -> Vec<(usize, Remark)> {
    let mut places = Vec::new();
    let mut candidates = Vec::new();
    for (i, ((entry, class), looked)) in entries.iter().zip(looked).enumerate() {
        if let Some(print) = looked.print {
            // Loose pictures are of no class, all alike.
            let class = class.unwrap_or(usize::MAX);
            candidates.push(twins::Candidate {
                path: below(root, &entry.path()),
                split: entry.split,
                class,
                print,
            });
            places.push(i);
        }
    }
    twins::find(&candidates).into_iter().map(|(i, remark)| (places[i], remark)).collect()
}

fn forecast(entries: &[(Entry, Option<usize>)], looked: &[Looked], options: &Options) -> Forecast {
    let read = || looked.iter().filter_map(|l| l.size.map(|size| (l, size)));
    let mean = |times: &mut dyn Iterator<Item = Duration>| {
        let (sum, n) = times.fold((Duration::ZERO, 0u32), |(sum, n), time| (sum + time, n + 1));
        if n == 0 { 0.0 } else { sum.as_secs_f64() / f64::from(n) }
    };
    let decoding = mean(&mut read().map(|(l, _)| l.decoding));
    let distorting = mean(&mut looked.iter().filter_map(|l| l.distorting));
    let rate = |seconds: f64| if seconds > 0.0 { options.threads as f64 / seconds } else { 0.0 };
    let pictures = entries.iter().zip(looked).filter(|((entry, _), _)| entry.role != Role::Ignored);
    Forecast {
        disk_bytes: pictures.map(|(_, looked)| looked.bytes).sum(),
        decoded_bytes: read().map(|(_, [width, height])| 3 * width as u64 * height as u64).sum(),
        cache_bytes: crate::train::CACHE as u64,
        img_size: options.side,
        threads: options.threads,
        decode_ms: 1e3 * decoding,
        distort_ms: 1e3 * distorting,
        images_per_second: rate(decoding + distorting),
        cached_images_per_second: rate(distorting),
    }
}

/// `path` below `root`, for a message.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    // A list or an archive is called by its name, with what lies beside it.
    let root = if super::folder::is_collection_file(root) { root.parent().unwrap_or(root) } else { root };
    match path.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => below.into(),
        _ => path.into(),
    }
}
