//! safetensors: 8 bytes of length, a JSON header, the values.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use safetensors::tensor::Metadata;

use crate::{Dtype, Problem, Source, Tensor};

/// The format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Whether a file that begins with `start` is one.
pub(crate) fn is(start: &[u8]) -> bool {
    match start.split_first_chunk::<8>() {
        Some((&length, rest)) => {
            (2..=LONGEST_HEADER).contains(&u64::from_le_bytes(length)) && rest.first() == Some(&b'{')
        }
        None => false,
    }
}

pub(crate) struct Safetensors {
    file: File,
    tensors: Vec<Tensor>,
    /// Where the values of each tensor start in the file.
    starts: Vec<u64>,
    texts: Vec<(String, String)>,
}

impl Safetensors {
    pub(crate) fn open(mut file: File) -> Result<Self, Problem> {
        file.rewind()?;
        let mut header = vec![0; 8];
        file.read_exact(&mut header)?;
        let length = u64::from_le_bytes(header[..8].try_into().expect("eight bytes"));
        file.by_ref().take(length.min(LONGEST_HEADER)).read_to_end(&mut header)?;
        if header.len() as u64 != 8 + length {
            return Err(Problem::damaged(format!(
                "it ends inside its header: {} bytes of {}",
                header.len(),
                length + 8
            )));
        }
        let about: Metadata = serde_json::from_slice(&header[8..])
            .map_err(|e| Problem::damaged(format!("its header cannot be read: {e}")))?;
        let (expected, found) = (8 + length + about.data_len() as u64, file.metadata()?.len());
        if expected != found {
            return Err(Problem::damaged(format!(
                "its header describes {expected} bytes and it has {found}: it is cut off or something was appended"
            )));
        }
        let (tensors, starts) = directory(&about, 8 + length)?;
        let mut texts: Vec<_> = about.metadata().clone().unwrap_or_default().into_iter().collect();
        texts.sort();
        Ok(Safetensors { file, tensors, starts, texts })
    }
}

fn directory(about: &Metadata, values: u64) -> Result<(Vec<Tensor>, Vec<u64>), Problem> {
    let mut found: Vec<_> = about.tensors().into_iter().collect();
    found.sort_by_key(|(_, info)| info.data_offsets.0);
    let tensor = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let dtype = dtype(info.dtype).ok_or_else(|| {
            Problem::Refused(format!(
                "`{name}` has values of type {:?}, which no network here uses",
                info.dtype
            ))
        })?;
        Ok((Tensor { name, dtype, shape: info.shape.clone() }, values + info.data_offsets.0 as u64))
    };
    found.into_iter().map(tensor).collect::<Result<Vec<_>, Problem>>().map(|all| all.into_iter().unzip())
}

fn dtype(dtype: safetensors::Dtype) -> Option<Dtype> {
    use safetensors::Dtype as From;
    Some(match dtype {
        From::F32 => Dtype::F32,
        From::F64 => Dtype::F64,
        From::F16 => Dtype::F16,
        From::BF16 => Dtype::Bf16,
        From::I8 => Dtype::I8,
        From::U8 => Dtype::U8,
        From::I16 => Dtype::I16,
        From::I32 => Dtype::I32,
        From::I64 => Dtype::I64,
        From::BOOL => Dtype::Bool,
        _ => return None,
    })
}

impl Source for Safetensors {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        self.file.seek(SeekFrom::Start(self.starts[index]))?;
        let bytes = self.tensors[index].bytes().unwrap_or(usize::MAX);
        self.file.by_ref().take(bytes as u64).read_to_end(to)?;
        Ok(())
    }

    fn texts(&self) -> &[(String, String)] {
        &self.texts
    }
}
