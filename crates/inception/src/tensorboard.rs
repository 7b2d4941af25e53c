//! Scalars of a run in TensorBoard's event files.
//!
//! ```text
//! file    events.out.tfevents.<unix seconds>.inception, records one behind the other
//! record  u64 length n, u32 crc of these 8 bytes, n bytes, u32 crc of the n bytes; little endian
//! crc     rotate_right(crc32c(bytes), 15) + 0xa282ead8
//! bytes   a protobuf `tensorflow.Event`: double wall_time = 1, int64 step = 2, and one of
//!           string file_version = 3               "brain.Event:2", first in a file
//!           Summary summary = 5                   repeated Value value = 1: string tag = 1, float simple_value = 2
//!           SessionLog session_log = 7            enum status = 1: START = 1
//! ```
//!
//! No file is ever cut or written again: a run that goes on from an earlier step begins another file, or marks the place in its own,
//! with START at the first step to come. TensorBoard, which reads the files in the order of their names, then forgets what it read
//! of that step and later ones.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use inception_formats::masked_crc32c;

const PREFIX: &str = "events.out.tfevents.";
const VERSION: &str = "brain.Event:2";

/// Numbers of fields with their wire types: 0 a varint, 1 eight bytes, 2 a length and as many bytes, 5 four bytes.
const fn field(number: u8, wire: u8) -> u8 {
    number << 3 | wire
}

/// The events of a run; a file of them is begun with the first.
#[derive(Debug)]
pub struct Events {
    folder: PathBuf,
    file: Option<(PathBuf, File)>,
    /// The first step to come, where a START is due.
    start: Option<u64>,
    /// Whether a write has failed; a file ends with its first half record.
    lost: bool,
}

impl Events {
    /// Events of a run in `folder` that has not taken a step.
    pub fn new(folder: &Path) -> Events {
        Events { folder: folder.into(), file: None, start: Some(1), lost: false }
    }

    /// What was told of steps behind the first `step` is to be forgotten.
    pub fn go_on_after(&mut self, step: usize) {
        self.start = Some(step as u64 + 1);
    }

    /// Adds values as they are after `step` steps. Once that has failed, nothing more is written.
    pub fn add(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<()> {
        if self.lost {
            return Ok(());
        }
        let written = self.write(step as u64, scalars);
        self.lost = written.is_err();
        written
    }

    fn write(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let (path, file) = match &mut self.file {
            Some(open) => open,
            none => none.insert(create(&self.folder)?),
        };
        let mut records = Vec::new();
        if let Some(first) = self.start.take() {
            records = record(&event(first, field(7, 2), &[field(1, 0), 1]));
        }
        records.extend(record(&event(step, field(5, 2), &summary(scalars))));
        file.write_all(&records).with_context(|| format!("writing {}", path.display()))
    }
}

/// A new file behind all others in the order of names, even within one second or where the clock was put back.
fn create(folder: &Path) -> Result<(PathBuf, File)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let seconds = |name: &str| name.strip_prefix(PREFIX)?.split('.').next()?.parse::<u32>().ok();
    let latest = entries.flatten().filter_map(|entry| seconds(entry.file_name().to_str()?)).max();
    let mut seconds = latest.map_or(now, |latest| now.max(u64::from(latest) + 1));
    loop {
        let path = folder.join(format!("{PREFIX}{seconds:010}.inception"));
        let version = || record(&event(0, field(3, 2), VERSION.as_bytes()));
        match File::create_new(&path).and_then(|mut file| file.write_all(&version()).map(|()| file)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => seconds += 1,
            file => return Ok((path.clone(), file.with_context(|| format!("writing {}", path.display()))?)),
        }
    }
}

/// An event now, with one field of so many bytes.
fn event(step: u64, key: u8, bytes: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut event = vec![field(1, 1)];
    event.extend(now.to_le_bytes());
    event.push(field(2, 0));
    varint(&mut event, step);
    counted(&mut event, key, bytes);
    event
}

fn summary(scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut one = Vec::new();
        counted(&mut one, field(1, 2), tag.as_bytes());
        one.push(field(2, 5));
        one.extend((*value as f32).to_le_bytes());
        counted(&mut summary, field(1, 2), &one);
    }
    summary
}

fn counted(to: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    to.push(key);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn record(event: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &crc(&length), event, &crc(event)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_known_messages() {
        let mut bytes = Vec::new();
        [0, 127, 128, 300].into_iter().for_each(|value| varint(&mut bytes, value));
        assert_eq!(bytes, [0, 127, 0x80, 1, 0xac, 2]);
        let expected = [&[0x0a, 10, 0x0a, 3][..], b"a/b", &[0x15, 0, 0, 0xc0, 0x3f]].concat();
        assert_eq!(summary(&[("a/b", 1.5)]), expected);
        // The nine bytes whose CRC-32C the standard gives.
        let masked = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
        let found = record(b"123456789");
        assert_eq!((&found[..8], &found[21..]), (&9u64.to_le_bytes()[..], &masked[..]));
    }

    #[test]
    fn files_have_their_order_whatever_the_clock_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("events.out.tfevents.4000000000.elsewhere"), "").expect("written");
        for name in ["4000000001", "4000000002"] {
            let mut events = Events::new(folder.path());
            events.add(1, &[("a", 1.0)]).expect("written");
            assert!(folder.path().join(format!("{PREFIX}{name}.inception")).exists());
        }
    }

    /// As often as a run begins or goes back, and only where something follows.
    #[test]
    fn a_start_precedes_the_first_event_of_its_step() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut events = Events::new(folder.path());
        [1, 2].into_iter().for_each(|step| events.add(step, &[("a", 1.0)]).expect("written"));
        events.go_on_after(4);
        events.go_on_after(1);
        events.add(2, &[("a", 1.0)]).expect("written");
        events.go_on_after(1);
        let file = fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("readable");
        let bytes = fs::read(file.path()).expect("readable");
        // Step and START.
        let starts =
            |step: u8| bytes.windows(6).filter(|bytes| *bytes == [0x10, step, 0x3a, 2, 8, 1]).count();
        assert_eq!([1, 2, 5].map(starts), [1, 1, 0]);
    }

    #[test]
    fn the_first_failure_is_told_and_ends_the_events() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut events = Events::new(&folder.path().join("none"));
        assert!(events.add(1, &[]).expect_err("no such folder").to_string().contains("none"));
        events.add(2, &[]).expect("said once");
    }
}
