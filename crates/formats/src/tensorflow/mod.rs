//! The files that TensorFlow keeps weights in.
//!
//! ```text
//! table ─┬─ first field of the value of the empty key is a message: v1, a checkpoint in one file
//!        └─ it is a number: v2, the index of a bundle; its values are in X.data-… beside it
//! a node of a graph ─ graph_def
//! ```
//! A bundle may be given by its index, by any of its files of values, or by the `X` that TensorFlow itself asks for; the last
//! checkpoint of a training by its folder, or by the text `checkpoint` in it: `model_checkpoint_path: "model.ckpt-90"`.

mod checksum;
mod graph_def;
mod proto;
mod slices;
mod table;
mod v1;
mod v2;
mod values;
mod wire;

pub use checksum::masked_crc32c;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use self::table::Table;
use self::wire::{Content, Wire};
use crate::{Error, Format, Problem, Source, Tensor, TensorFile};

/// A tensor of at most this size may be given by one value, however small the file; the largest of the networks here has
/// 8 MiB.
const MOST_FROM_NOTHING: u64 = 1 << 24;

type Found = (Format, Box<dyn Source>);

/// Longest text `checkpoint`; one lists the checkpoints that a training kept.
const LONGEST_LIST: u64 = 1 << 20;

/// The file to open for `path`: the index of a bundle or the last checkpoint of a folder where that is what is meant.
pub(crate) fn file_for(path: &Path) -> Result<PathBuf, Problem> {
    let list = if path.is_dir() { path.join("checkpoint") } else { path.into() };
    if path.is_dir() && path.join("saved_model.pb").is_file() {
        return Err(Problem::Refused(
            "it is a SavedModel, whose values have no names of layers: save them with model.save_weights(\"NAME.weights.h5\")".into(),
        ));
    }
    match last_checkpoint(&list)? {
        Some(last) => index_for(&last),
        None => index_for(path),
    }
}

/// The checkpoint that the text `list` names first, which may have been moved with it.
fn last_checkpoint(list: &Path) -> Result<Option<PathBuf>, Problem> {
    if list.file_name().is_none_or(|name| name != "checkpoint") || !list.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::open(list)?.take(LONGEST_LIST).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let named = text.strip_prefix("model_checkpoint_path:").and_then(|rest| rest.split('"').nth(1));
    let Some(named) = named else { return Ok(None) };
    let beside = list.with_file_name(Path::new(named).file_name().unwrap_or_default());
    let places = [list.with_file_name(named), beside.clone()];
    let found = places.into_iter().find(|place| place.is_file() || self::beside(place, ".index").is_file());
    found.map(Some).ok_or_else(|| {
        missing(format!("it names the checkpoint {named}, and {} is missing", beside.display()))
    })
}

fn index_for(path: &Path) -> Result<PathBuf, Problem> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(bundle) = bundle_of(name) {
        let index = path.with_file_name(format!("{bundle}.index"));
        if index.is_file() {
            return Ok(index);
        }
        return Err(missing(format!("it holds values only, and its index {} is missing", index.display())));
    }
    if path.extension().is_some_and(|extension| extension == "meta") && path.is_file() {
        return Err(Problem::Refused(format!(
            "it is the graph of a checkpoint, without values: open {}",
            path.with_extension("").display()
        )));
    }
    let index = beside(path, ".index");
    Ok(if !path.is_file() && index.is_file() { index } else { path.into() })
}

/// The `X` of `X.data-00000-of-00001`.
fn bundle_of(name: &str) -> Option<&str> {
    let (bundle, numbers) = name.rsplit_once(".data-")?;
    let (shard, of) = numbers.split_once("-of-")?;
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(shard) && is_number(of)).then_some(bundle)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn missing(text: String) -> Problem {
    Problem::Io(io::Error::new(io::ErrorKind::NotFound, text))
}

/// The tensors of `file`, which is at `path`, or `None` if it is no file of TensorFlow's.
pub(crate) fn open(path: &Path, file: File) -> Result<Option<Found>, Problem> {
    let bundle =
        path.extension().is_some_and(|extension| extension == "index").then(|| path.with_extension(""));
    open_reader(BufReader::new(file), move |suffix| {
        let Some(bundle) = &bundle else {
            return Err(Problem::Refused(
                "it is the index of a bundle: its name must end in .index, and its data files must lie beside it".into(),
            ));
        };
        let shard = beside(bundle, suffix);
        match File::open(&shard) {
            Ok(file) => Ok(BufReader::new(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(missing(format!("its data file {} is missing", shard.display())))
            }
            Err(e) => Err(Problem::Io(io::Error::new(e.kind(), format!("{}: {e}", shard.display())))),
        }
    })
}

/// The tensors of `input`; `shard` opens the file of a bundle whose name ends in its argument.
fn open_reader<R: Read + Seek + 'static>(
    input: R,
    shard: impl FnMut(&str) -> Result<R, Problem> + 'static,
) -> Result<Option<Found>, Problem> {
    let mut wire = Wire::new(input)?;
    let (format, source): (_, Box<dyn Source>) = if table::has_footer(&mut wire)? {
        let mut table = Table::open(wire)?;
        if is_bundle(&mut table)? {
            (Format::TensorflowBundle, Box::new(v2::Bundle::open(table, Box::new(shard))?))
        } else {
            (Format::TensorflowCheckpoint, Box::new(v1::Checkpoint::open(table)?))
        }
    } else if table::starts_like_a_checkpoint(&mut wire)? {
        return Err(Problem::damaged(
            "it begins as a checkpoint and does not end as one: is the download complete?",
        ));
    } else if graph_def::is(&mut wire)? {
        (Format::TensorflowGraph, Box::new(graph_def::GraphDef::open(wire)?))
    } else {
        return Ok(None);
    };
    let mut names = HashSet::new();
    if let Some(twice) = source.tensors().iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(Problem::damaged(format!("it holds two tensors `{}`", twice.name)));
    }
    drop(names);
    Ok(Some((format, source)))
}

/// A file of TensorFlow's in memory, with the files of values if it is a bundle. For tests.
pub fn open_tensorflow_in_memory(bytes: Vec<u8>, shards: Vec<Vec<u8>>) -> Result<TensorFile, Error> {
    let shard = move |suffix: &str| {
        let number = suffix.strip_prefix(".data-").and_then(|n| n.split('-').next()?.parse::<usize>().ok());
        let bytes = number.and_then(|number| shards.get(number)).ok_or_else(|| missing(suffix.into()))?;
        Ok(Cursor::new(bytes.clone()))
    };
    let start = bytes[..bytes.len().min(64)].to_vec();
    match open_reader(Cursor::new(bytes), shard)
        .and_then(|found| found.ok_or_else(|| Problem::unknown(&start)))
    {
        Ok((format, source)) => Ok(TensorFile { path: PathBuf::new(), format, source, buffer: Vec::new() }),
        Err(problem) => Err(Error { path: PathBuf::new(), problem }),
    }
}

fn is_bundle<R: Read + Seek>(table: &mut Table<R>) -> Result<bool, Problem> {
    let header = table.get(b"")?.ok_or_else(|| Problem::Refused("it is a table of no checkpoint".into()))?;
    let mut wire = Wire::new(Cursor::new(header))?;
    let mut all = 0..wire.end();
    Ok(matches!(wire.field(&mut all)?, Some(field) if matches!(field.content, Content::Varint(_))))
}

/// Whether a tensor can be what it claims to be in files of `held` bytes.
fn check_size(tensor: &Tensor, held: u64) -> Result<(), Problem> {
    // A varint of one byte stands for as many as eight.
    let most = held.saturating_mul(8).max(MOST_FROM_NOTHING);
    match tensor.bytes() {
        Some(bytes) if bytes as u64 <= most => Ok(()),
        bytes => Err(Problem::damaged(format!(
            "`{}` claims a shape of {:?}, {} bytes, in files of {held}",
            tensor.name,
            tensor.shape,
            bytes.map_or("beyond counting".into(), |bytes| bytes.to_string())
        ))),
    }
}

/// Puts the name of a tensor before what is wrong with it.
fn within(name: &str) -> impl Fn(Problem) -> Problem {
    move |problem| match problem {
        Problem::Damaged(what) => Problem::Damaged(format!("`{name}`: {what}")),
        Problem::Io(_) | Problem::Refused(_) | Problem::Unknown(_) => problem,
    }
}
