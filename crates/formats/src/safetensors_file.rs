//! safetensors: 8 bytes of length, a JSON header, the values.

use safetensors::tensor::Metadata;

use crate::input::Input;
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
    input: Input,
    tensors: Vec<Tensor>,
    /// Where the values of each tensor start in the file.
    starts: Vec<u64>,
    texts: Vec<(String, String)>,
}

impl Safetensors {
    pub(crate) fn open(mut input: Input) -> Result<Self, Problem> {
        let length = input.at(0, 8)?;
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let found = input.length();
        if found - 8 < length {
            let text = format!("it ends inside its header: {found} bytes of {}", length.saturating_add(8));
            return Err(Problem::damaged(text));
        }
        let about: Metadata = serde_json::from_slice(&input.at(8, length)?)
            .map_err(|e| Problem::damaged(format!("its header cannot be read: {e}")))?;
        let expected = (about.data_len() as u64).saturating_add(8 + length);
        if expected != found {
            return Err(Problem::damaged(format!(
                "its header describes {expected} bytes and it has {found}: it is cut off or something was appended"
            )));
        }
        let (tensors, starts) = directory(&about, 8 + length)?;
        let mut texts: Vec<_> = about.metadata().clone().unwrap_or_default().into_iter().collect();
        texts.sort();
        Ok(Safetensors { input, tensors, starts, texts })
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
        let bytes = self.tensors[index].bytes().unwrap_or(usize::MAX);
        self.input.append(self.starts[index], bytes as u64, to)
    }

    fn texts(&self) -> &[(String, String)] {
        &self.texts
    }
}
