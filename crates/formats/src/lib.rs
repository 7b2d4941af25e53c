//! Reads the tensors of the files in which networks are published.
//!
//! ```text
//! open(path) ─ the first bytes decide ─▶ a Source: names, shapes, types of all tensors; the values of one when asked for
//! ```
//! | format | told by | read by |
//! |---|---|---|
//! | safetensors | a plausible header length, then `{` | [`safetensors_file`] |
//! | PyTorch | a zip archive with `data.pkl`, or a pickle | [`pytorch`] |
//! | Keras | HDF5, or a zip archive with `model.weights.h5` | [`keras`] |
//! | TensorFlow V1 checkpoint | the footer of a table, a list of tensors in it | [`tensorflow`] |
//! | TensorFlow V2 bundle | the same with a header, or the name of its other files | [`tensorflow`] |
//! | TensorFlow graph (`.pb`) | after all others: a first node with a name and an op | [`tensorflow`] |
//!
//! What holds no numbers, such as the texts among TensorFlow's tensors, is not listed.
//!
//! Knows no network: what the names mean is the caller's business. Nothing in a file is ever executed, a hostile file
//! gives an error, and memory is bounded by the file's directory and its largest tensor, not by what a file claims.

mod dtype;
mod error;
mod hdf5;
mod input;
mod keras;
mod pytorch;
mod safetensors_file;
mod streams;
mod tensorflow;
mod zip_archive;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use dtype::Dtype;
pub use error::{Error, Problem};
pub use tensorflow::masked_crc32c;
#[doc(hidden)]
pub use tensorflow::open_tensorflow_in_memory;

/// What a file says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, as the file has it.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Number of values, or `None` where it is beyond this machine.
    pub fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent))
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> Option<usize> {
        self.count()?.checked_mul(self.dtype.size())
    }
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// `torch.save` of a state dictionary.
    Pytorch,
    /// Keras's HDF5 layouts and its `.keras` archive.
    Keras,
    /// A checkpoint in one file, as TensorFlow wrote it until 2016.
    TensorflowCheckpoint,
    /// A checkpoint of several files, as it writes it since.
    TensorflowBundle,
    /// A GraphDef whose weights are constants.
    TensorflowGraph,
}

impl Format {
    /// Whether its tensors are all constants of a graph, weights or not.
    pub fn is_frozen_graph(self) -> bool {
        match self {
            Format::TensorflowGraph => true,
            Format::Safetensors
            | Format::Pytorch
            | Format::Keras
            | Format::TensorflowCheckpoint
            | Format::TensorflowBundle => false,
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Pytorch => "PyTorch",
            Format::Keras => "Keras",
            Format::TensorflowCheckpoint => "TensorFlow V1 checkpoint",
            Format::TensorflowBundle => "TensorFlow V2 checkpoint",
            Format::TensorflowGraph => "TensorFlow graph",
        }
    }
}

/// The tensors of one open file; one implementation a format.
trait Source {
    /// Everything the file holds, in the file's own order.
    fn tensors(&self) -> &[Tensor];
    /// Appends the values of tensor `index` to `to`: little endian, the last extent contiguous, exactly
    /// [`Tensor::bytes`] of them.
    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem>;
    /// Texts that came with the tensors, by name.
    fn texts(&self) -> &[(String, String)] {
        &[]
    }
}

/// An open file of tensors.
pub struct TensorFile {
    path: PathBuf,
    format: Format,
    source: Box<dyn Source>,
    buffer: Vec<u8>,
}

/// Opens the file of tensors at `path`, whatever its format; a checkpoint of several files by any one of them or by the
/// folder that names it as its last.
pub fn open(path: &Path) -> Result<TensorFile, Error> {
    checked(path.into(), open_source(path))
}

fn checked(path: PathBuf, found: Result<(Format, Box<dyn Source>), Problem>) -> Result<TensorFile, Error> {
    let failed = |problem: Problem| Error { path: path.clone(), problem };
    let (format, source) = found.map_err(failed)?;
    for tensor in source.tensors() {
        if tensor.bytes().is_none() {
            return Err(failed(Problem::damaged(format!(
                "`{}` claims a shape beyond any memory",
                tensor.name
            ))));
        }
    }
    Ok(TensorFile { path, format, source, buffer: Vec::new() })
}

fn open_source(path: &Path) -> Result<(Format, Box<dyn Source>), Problem> {
    let path = &tensorflow::file_for(path)?;
    let mut file = File::open(path).map_err(Problem::Io)?;
    if file.metadata().map_err(Problem::Io)?.is_dir() {
        return Err(Problem::Io(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder: name a file in it",
        )));
    }
    let mut start = Vec::new();
    file.by_ref().take(64).read_to_end(&mut start).map_err(Problem::Io)?;
    if let Some(found) = streams::open(&start, file.try_clone().map_err(Problem::Io)?)? {
        return Ok(found);
    }
    if let Some(found) = tensorflow::open(path, file)? {
        return Ok(found);
    }
    Err(Problem::unknown(&start))
}

/// Opens a file of one of the formats of [`streams`] that is in memory; for fuzzers.
#[doc(hidden)]
pub fn open_bytes(bytes: Vec<u8>) -> Result<TensorFile, Error> {
    let start = bytes[..bytes.len().min(64)].to_vec();
    let found = streams::open(&start, io::Cursor::new(bytes));
    let found = found.and_then(|found| found.ok_or_else(|| Problem::unknown(&start)));
    checked(PathBuf::from("bytes"), found)
}

impl TensorFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Everything it holds, in its own order.
    pub fn tensors(&self) -> &[Tensor] {
        self.source.tensors()
    }

    /// Texts that came with the tensors, by name.
    pub fn texts(&self) -> &[(String, String)] {
        self.source.texts()
    }

    /// Little-endian values of tensor `index`, the last extent contiguous.
    pub fn bytes(&mut self, index: usize) -> Result<&[u8], Error> {
        let expected = self.source.tensors()[index].bytes().expect("checked when it was opened");
        self.buffer.clear();
        let read = self.source.read(index, &mut self.buffer);
        let read = read.and_then(|()| {
            let found = self.buffer.len();
            (found == expected).then_some(()).ok_or_else(|| {
                let name = &self.source.tensors()[index].name;
                Problem::damaged(format!(
                    "`{name}` has {found} bytes of values, its shape asks for {expected}"
                ))
            })
        });
        read.map_err(|problem| Error { path: self.path.clone(), problem })?;
        Ok(&self.buffer)
    }

    /// Values of tensor `index` as `f32`, the last extent contiguous.
    pub fn values(&mut self, index: usize) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        self.read_values(index, &mut values)?;
        Ok(values)
    }

    /// `values` become those of tensor `index`, as [`Self::values`] gives them.
    pub fn read_values(&mut self, index: usize, values: &mut Vec<f32>) -> Result<(), Error> {
        let dtype = self.source.tensors()[index].dtype;
        dtype.to_f32(self.bytes(index)?, values);
        Ok(())
    }
}
