//! Shards of pictures that are as large as training needs and no larger.
//!
//! ```text
//! read, decode (EXIF, alpha) ─▶ shorter side to `size`, bicubic, never enlarged ─▶ JPEG or PNG ─▶ train-000000.tar, …
//! ```
//! WebDataset's layout: `000000123.jpg` beside `000000123.json` with the class and where the picture came from; `classes.txt`
//! keeps the order of the classes. A picture that is small enough is copied byte for byte. The order is that of the data set,
//! and the bytes depend neither on the number of threads nor on the time. All of it goes to a folder beside the one that was
//! asked for, which it becomes at the end: a folder that is there is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use inception_pictures::geometry::shorter_side;
use inception_pictures::{Content, Filter, Options as Decoding, Resize, Rgb};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};
use serde::Serialize;
use serde_json::json;

use super::dataset::{Dataset, Picture, Splits};
use super::decode::{decode_bytes, read};
use super::error::{DataError, io_error};
use super::loader::{OnBad, Skipped};
use super::{parallel, storage};
use crate::interrupt;
use crate::progress::{Progress, Style};
use crate::sheet;

/// How pictures are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Quality 95, colours at full resolution.
    Jpeg,
    /// Without loss.
    Png,
}

/// What is packed, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shorter side of every picture at the most.
    pub size: usize,
    /// How pictures are stored.
    pub format: Format,
    /// A shard that has so many bytes is followed by another.
    pub shard_bytes: u64,
    /// What happens to a picture that cannot be decoded.
    pub on_bad: OnBad,
    /// How pictures are decoded.
    pub decoding: Decoding,
    /// Threads that do it.
    pub threads: usize,
    /// How progress is shown.
    pub progress: Style,
}

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Packed {
    /// Pictures to learn from and to judge by.
    pub pictures: [usize; 2],
    /// Of them, those that were small enough.
    pub copied: usize,
    /// How many shards there are.
    pub shards: usize,
    /// Bytes of the shards.
    pub bytes: u64,
    /// Pictures that could not be read.
    pub skipped: Vec<Skipped>,
    /// Classes of which training has no picture left.
    pub emptied: Vec<String>,
}

/// JPEG's quality, of 100.
const QUALITY: u8 = 95;

/// Pictures for each thread before those that are done are written.
const CHUNK: usize = 16;

/// Writes the pictures of `splits`, opened from `data`, as shards into the folder `out`, which must be new or empty; `None` where
/// the user asked for an end.
pub fn pack(
    splits: &Splits,
    data: &Path,
    out: &Path,
    options: &Options,
) -> Result<Option<Packed>, DataError> {
    let partial = partial(data, out)?;
    fs::create_dir_all(&partial).map_err(io_error(&partial))?;
    let packed = fill(splits, &partial, options);
    let packed = match packed {
        Ok(Some(packed)) => {
            // An empty folder makes room.
            let made = match out.exists() {
                true => fs::remove_dir(out),
                false => Ok(()),
            };
            made.and_then(|()| fs::rename(&partial, out)).map_err(io_error(out)).map(|()| Some(packed))
        }
        other => other,
    };
    if !matches!(packed, Ok(Some(_))) {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&partial);
    }
    packed
}

/// The folder beside `out` that becomes it.
fn partial(data: &Path, out: &Path) -> Result<PathBuf, DataError> {
    let refuse = |problem: String| Err(DataError::Layout { path: out.into(), problem });
    if storage::is_remote(out) {
        return refuse("is a URL: shards are written to this machine; copy them from there".into());
    }
    let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
        return refuse("is no name for a new folder: give one, for example -o packed".into());
    };
    let is_free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return refuse(
            "is there and is no empty folder, and nothing is overwritten: choose another -o".into(),
        );
    }
    if is_inside(parent, data) {
        return refuse(format!(
            "lies in {}, where it would be taken for a part of it: choose another -o",
            data.display()
        ));
    }
    let partial = parent.join([name, ".partial".as_ref()].into_iter().collect::<OsString>());
    if partial.exists() {
        let problem = "is what an earlier `data pack` left when it was stopped: remove it first".into();
        return Err(DataError::Layout { path: partial, problem });
    }
    Ok(partial)
}

/// Whether a folder that is there, or the place for one, is `data` or below it.
fn is_inside(folder: &Path, data: &Path) -> bool {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    data.is_dir() && real(folder).zip(real(data)).is_some_and(|(folder, data)| folder.starts_with(data))
}

fn fill(splits: &Splits, folder: &Path, options: &Options) -> Result<Option<Packed>, DataError> {
    let total = splits.train.samples.len() + splits.val.samples.len();
    let mut progress = Progress::new(options.progress, total as u64);
    let mut packed = Packed::default();
    let mut counts = vec![0; splits.train.classes.len()];
    for (i, (data, name)) in [(&splits.train, "train"), (&splits.val, "val")].into_iter().enumerate() {
        let Some(stored) = fill_split(data, folder, name, options, &mut progress, &mut packed)? else {
            return Ok(None);
        };
        packed.pictures[i] = stored.iter().sum();
        if i == 0 {
            counts = stored;
        }
    }
    progress.finish();
    let (filled, emptied): (Vec<_>, Vec<_>) =
        splits.train.classes.iter().zip(counts).partition(|(_, count)| *count > 0);
    packed.emptied = emptied.into_iter().map(|(class, _)| class.clone()).collect();
    let classes: String = filled.into_iter().map(|(class, _)| format!("{class}\n")).collect();
    let path = folder.join(CLASSES);
    fs::write(&path, classes).map_err(io_error(&path))?;
    Ok(Some(packed))
}

/// The file with the names of the classes, one a line.
pub(super) const CLASSES: &str = "classes.txt";

/// Packs one split; how many pictures of each class there are then.
fn fill_split(
    data: &Dataset,
    folder: &Path,
    name: &str,
    options: &Options,
    progress: &mut Progress,
    packed: &mut Packed,
) -> Result<Option<Vec<usize>>, DataError> {
    let mut shards = Shards { folder, name, limit: options.shard_bytes, open: None, count: 0, bytes: 0 };
    let mut counts = vec![0; data.classes.len()];
    let mut number = 0;
    for chunk in data.samples.chunks(CHUNK * options.threads.max(1)) {
        if interrupt::asked() {
            return Ok(None);
        }
        let work = |i: usize| stored(&chunk[i].picture, options);
        let done = || progress.advance(1, &format!("packing {name}"));
        for (sample, stored) in chunk.iter().zip(parallel::map(chunk.len(), options.threads, work, done)?) {
            let picture = &sample.picture;
            let stored = match stored? {
                Ok(stored) => stored,
                Err(problem) if options.on_bad == OnBad::Error => {
                    return Err(DataError::Picture { name: picture.name(), problem });
                }
                Err(reason) => {
                    packed.skipped.push(Skipped { name: picture.name(), reason });
                    continue;
                }
            };
            let about = json!({ "label": data.classes[sample.label as usize], "path": picture.name() });
            shards.append(number, &stored, about.to_string().as_bytes())?;
            number += 1;
            packed.copied += usize::from(stored.is_copy);
            counts[sample.label as usize] += 1;
        }
    }
    shards.finish()?;
    packed.shards += shards.count;
    packed.bytes += shards.bytes;
    Ok(Some(counts))
}

/// A picture as it goes into a shard.
struct Stored {
    bytes: Vec<u8>,
    extension: &'static str,
    is_copy: bool,
}

/// Reads a picture and makes it what goes into a shard; of a bad one why it cannot be, in words.
fn stored(picture: &Picture, options: &Options) -> Result<Result<Stored, String>, DataError> {
    match read(picture) {
        Ok(bytes) => Ok(fitted(bytes, options)),
        Err(DataError::Io { source, .. }) => Ok(Err(source.to_string())),
        Err(error) => Err(error),
    }
}

/// Resizes and encodes a picture where it is too large or of the other format.
fn fitted(bytes: Vec<u8>, options: &Options) -> Result<Stored, String> {
    let rgb = decode_bytes(&bytes, options.decoding).map_err(|e| e.to_string())?;
    let is_small = rgb.width.min(rgb.height) <= options.size;
    let is_png = Content::of(&bytes) == Content::Png;
    if is_small && (!is_png || options.format == Format::Png) {
        let extension = if is_png { "png" } else { "jpg" };
        return Ok(Stored { bytes, extension, is_copy: true });
    }
    let rgb = match is_small {
        true => rgb,
        false => {
            let (width, height) = shorter_side(rgb.width, rgb.height, options.size);
            Resize::new(width, height, Filter::Bicubic).apply(&rgb).map_err(|e| e.to_string())?
        }
    };
    let (bytes, extension) = match options.format {
        Format::Jpeg => (jpeg(&rgb)?, "jpg"),
        Format::Png => (png(&rgb)?, "png"),
    };
    Ok(Stored { bytes, extension, is_copy: false })
}

fn jpeg(rgb: &Rgb) -> Result<Vec<u8>, String> {
    let encoder = Encoder::new(&rgb.pixels, rgb.width, rgb.height, PixelFormat::Rgb);
    let encoder = encoder.quality(QUALITY).subsampling(Subsampling::S444).optimize_huffman(true);
    encoder.encode().map_err(|e| format!("cannot be written as JPEG: {e}"))
}

fn png(rgb: &Rgb) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    sheet::encode(&mut bytes, rgb.width, rgb.height, &rgb.pixels)
        .map_err(|e| format!("cannot be written as PNG: {e}"))?;
    Ok(bytes)
}

/// The shards of a split, one after another.
struct Shards<'a> {
    folder: &'a Path,
    name: &'a str,
    limit: u64,
    open: Option<Shard>,
    count: usize,
    /// Of those that are finished.
    bytes: u64,
}

/// One that is written.
struct Shard {
    path: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
    bytes: u64,
}

/// A header, and the content in whole blocks.
fn in_tar(len: usize) -> u64 {
    512 + (len as u64).next_multiple_of(512)
}

impl Shards<'_> {
    /// Adds a picture and what is to be said about it.
    fn append(&mut self, number: usize, picture: &Stored, about: &[u8]) -> Result<(), DataError> {
        let bytes = in_tar(picture.bytes.len()) + in_tar(about.len());
        if self.open.as_ref().is_some_and(|shard| shard.bytes + bytes > self.limit) {
            self.finish()?;
        }
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let path = self.folder.join(format!("{}-{:06}.tar", self.name, self.count));
                let file = File::create_new(&path).map_err(io_error(&path))?;
                self.open.insert(Shard { path, tar: tar::Builder::new(BufWriter::new(file)), bytes: 0 })
            }
        };
        let Shard { path, tar, .. } = shard;
        member(tar, &format!("{number:09}.{}", picture.extension), &picture.bytes).map_err(io_error(path))?;
        member(tar, &format!("{number:09}.json"), about).map_err(io_error(path))?;
        shard.bytes += bytes;
        Ok(())
    }

    /// Ends the shard that is written, on the disk.
    fn finish(&mut self) -> Result<(), DataError> {
        let Some(Shard { path, tar, .. }) = self.open.take() else { return Ok(()) };
        let end = || -> io::Result<u64> {
            let mut file = tar.into_inner()?;
            file.flush()?;
            file.get_ref().sync_all()?;
            Ok(file.get_ref().metadata()?.len())
        };
        self.bytes += end().map_err(io_error(&path))?;
        self.count += 1;
        Ok(())
    }
}

/// Adds a file without owner and time, so that the same data give the same bytes.
fn member(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}
