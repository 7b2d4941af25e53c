//! Writing a checkpoint: all of it, or nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use inception_formats::Dtype;
use inception_graph::Weights;
use serde_json::{Map, Value, json};

use super::{CheckpointError, DESCRIPTION, EXTRA, FORMAT, Metadata, PLAIN, checksum};
use crate::weights::Extra;

/// A tensor to be written.
pub struct Out<'a> {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Extents.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values<'a>,
}

/// Values of a tensor to be written.
pub enum Values<'a> {
    /// As they are in memory.
    F32(&'a [f32]),
    /// Little endian, made when their turn comes, so that one tensor at a time is in memory.
    Made(Box<dyn Fn() -> Vec<u8> + 'a>),
    /// Little endian.
    Bytes(&'a [u8]),
}

/// Writes `weights` and `metadata` to `path`. A file that is there already stays whole until the new one is on the disk.
pub fn save(path: &Path, weights: &Weights, metadata: &Metadata) -> Result<(), CheckpointError> {
    save_with(path, weights, metadata, &[])
}

/// The same with tensors that are no part of the network.
pub fn save_with(
    path: &Path,
    weights: &Weights,
    metadata: &Metadata,
    extras: &[Extra],
) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "write", path: path.into(), source };
    let texts = texts(metadata).map_err(failed)?;
    let own = weights.params().iter().enumerate().map(|(i, param)| Out {
        name: param.name.clone(),
        dtype: Dtype::F32,
        shape: param.shape.clone(),
        values: Values::F32(weights.get(i)),
    });
    let beside = extras.iter().map(|extra| Out {
        name: format!("{EXTRA}{}", extra.name),
        dtype: extra.dtype,
        shape: extra.shape.clone(),
        values: Values::Bytes(&extra.bytes),
    });
    seal_and_write(path, texts, own.chain(beside).collect())
}

/// [`write()`] with a checksum among the texts, all of which are strings.
pub fn seal_and_write(
    path: &Path,
    mut texts: Map<String, Value>,
    tensors: Vec<Out>,
) -> Result<(), CheckpointError> {
    checksum::seal(&mut texts, &tensors);
    write(path, texts, tensors)
}

/// Writes a safetensors file of `tensors`, in their order, with `texts`. Safe as [`save`].
pub fn write(path: &Path, texts: Map<String, Value>, tensors: Vec<Out>) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "write", path: path.into(), source };
    let (temp, file) = neighbour(path).map_err(failed)?;
    let written = write_to(file, texts, tensors).and_then(|()| std::fs::rename(&temp, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temp);
    }
    written.and_then(|()| sync_folder(path)).map_err(failed)
}

/// A new file beside `path`, so that renaming it is one step of one file system.
fn neighbour(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder"));
    }
    let mut temp_name = std::ffi::OsString::from(".");
    temp_name.push(name);
    temp_name.push(format!(".{}.tmp", std::process::id()));
    let temp = path.with_file_name(temp_name);
    // Not `create_new`: a process of this id that died here has no more use for its half a file.
    let file = File::create(&temp)?;
    Ok((temp, file))
}

fn write_to(file: File, texts: Map<String, Value>, tensors: Vec<Out>) -> io::Result<()> {
    let header = header(texts, &tensors)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let floats = |out: &mut BufWriter<File>, values: &[f32]| {
        values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
    };
    for tensor in tensors {
        match tensor.values {
            Values::F32(values) => floats(&mut out, values)?,
            Values::Made(make) => out.write_all(&make())?,
            Values::Bytes(bytes) => out.write_all(bytes)?,
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The header, padded with blanks so that the values begin at a multiple of 8 bytes.
fn header(texts: Map<String, Value>, tensors: &[Out]) -> io::Result<Vec<u8>> {
    let mut header = Map::new();
    if !texts.is_empty() {
        header.insert("__metadata__".into(), Value::Object(texts));
    }
    let mut start = 0;
    for Out { name, dtype, shape, .. } in tensors {
        let end = start + shape.iter().product::<usize>() * dtype.size();
        let entry = json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
        start = end;
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// The texts of a file in another program's layout: what its tensors cannot say.
pub fn description(metadata: &Metadata) -> Result<Map<String, Value>, serde_json::Error> {
    let mut metadata = metadata.clone();
    // They are about the file that was read.
    metadata.provenance.tensors.clear();
    let text = Value::Object(fields(metadata)?).to_string();
    Ok(std::iter::once((DESCRIPTION.to_string(), Value::String(text))).collect())
}

/// The metadata without what JSON cannot hold.
fn fields(mut metadata: Metadata) -> Result<Map<String, Value>, serde_json::Error> {
    metadata.metrics.retain(|_, value| value.is_finite());
    let Value::Object(fields) = serde_json::to_value(metadata)? else {
        unreachable!("a struct is an object")
    };
    Ok(fields)
}

/// The metadata as the format allows them: texts under texts.
fn texts(metadata: &Metadata) -> io::Result<Map<String, Value>> {
    let as_text = |(key, value): (String, Value)| {
        let text = if PLAIN.contains(&key.as_str()) { value } else { Value::String(value.to_string()) };
        (key, text)
    };
    let format = ("format".to_string(), Value::from(FORMAT));
    Ok(std::iter::once(format).chain(fields(metadata.clone())?.into_iter().map(as_text)).collect())
}

/// Makes the new name last through a power failure, where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
