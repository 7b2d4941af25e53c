//! Answers in files: kept, so that no network is asked twice the same, and given to others.
//!
//! A safetensors file with a checksum, its rows in the order of the pictures that were answered:
//!
//! ```text
//! logits      f32 [pictures, classes]   values whose softmax is the probability of each class
//! labels      i64 [pictures]            the class of each picture
//! indices     i64 [pictures]            its place among all pictures of the data set
//! texts       format; as JSON: `classes` and `pictures` (names), `skipped` (name and reason), `key`
//! ```
//! The `key` is all that a digit depends on: weights, pictures, protocol, preprocessing, precision, instruction set, program. A file with
//! another key is never taken for this one's.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use inception_formats::{Dtype, TensorFile};
use inception_graph::Weights;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::answers::Answers;
use crate::checkpoint::{self, Out, Values};
use crate::data::Skipped;

/// Version of the layout described above.
const FORMAT: &str = "inception-logits/1";

/// Answers, and what they are about.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The answers.
    pub answers: Answers,
    /// Pictures without one.
    pub skipped: Vec<Skipped>,
}

impl Kept {
    /// Writes a file: all of it, or nothing. `name` tells that of each picture of the data set.
    pub fn write(
        &self,
        path: &Path,
        key: &Value,
        classes: &[String],
        name: impl Fn(usize) -> String,
    ) -> Result<()> {
        let Kept { answers, skipped } = self;
        let names: Vec<String> = answers.indices.iter().map(|&i| name(i)).collect();
        let texts = Map::from_iter([
            ("format".into(), FORMAT.into()),
            ("classes".into(), json(classes)?),
            ("pictures".into(), json(&names)?),
            ("skipped".into(), json(skipped)?),
            ("key".into(), json(key)?),
        ]);
        let whole = |numbers: Vec<i64>| {
            let bytes: Vec<u8> = numbers.into_iter().flat_map(i64::to_le_bytes).collect();
            Values::Made(Box::new(move || bytes.clone()))
        };
        let rows = vec![answers.len()];
        let tensors = vec![
            Out {
                name: "logits".into(),
                dtype: Dtype::F32,
                shape: vec![answers.len(), answers.classes],
                values: Values::F32(&answers.logits),
            },
            Out {
                name: "labels".into(),
                dtype: Dtype::I64,
                shape: rows.clone(),
                values: whole(answers.labels.iter().map(|&label| label.into()).collect()),
            },
            Out {
                name: "indices".into(),
                dtype: Dtype::I64,
                shape: rows,
                values: whole(answers.indices.iter().map(|&index| index as i64).collect()),
            },
        ];
        Ok(checkpoint::seal_and_write(path, texts, tensors)?)
    }

    /// Reads a file that was written with this `key` by a network of so many `classes`.
    pub fn read(path: &Path, key: &Value, classes: usize) -> Result<Kept> {
        let mut file = checkpoint::open_sealed(path)?;
        let text = |file: &TensorFile, key: &str| {
            let found = file.texts().iter().find(|(k, _)| k == key).map(|(_, text)| text.clone());
            found.with_context(|| format!("it has no `{key}`"))
        };
        ensure!(text(&file, "format")? == FORMAT, "it is no file of logits of this version");
        let key = key.to_string();
        ensure!(text(&file, "key")? == key, "it is of other pictures or weights");
        let skipped = serde_json::from_str(&text(&file, "skipped")?)?;
        let place = |file: &TensorFile, name: &str, dtype: Dtype| {
            let mut all = file.tensors().iter();
            all.position(|t| t.name == name && t.dtype == dtype)
                .with_context(|| format!("it has no `{name}`"))
        };
        let logits = place(&file, "logits", Dtype::F32)?;
        let rows = match file.tensors()[logits].shape[..] {
            [rows, columns] if columns == classes => rows,
            ref other => bail!("its logits have shape {other:?}: expected rows of {classes}"),
        };
        let logits = file.values(logits)?;
        let mut whole = |name: &str| -> Result<Vec<usize>> {
            let place = place(&file, name, Dtype::I64)?;
            let bytes = file.bytes(place)?.as_chunks().0;
            ensure!(bytes.len() == rows, "its `{name}` are {}: expected {rows}", bytes.len());
            Ok(bytes.iter().map(|&b| i64::from_le_bytes(b) as usize).collect())
        };
        let labels = whole("labels")?.into_iter().map(|label| label as u32).collect();
        let answers = Answers { classes, indices: whole("indices")?, labels, logits };
        Ok(Kept { answers, skipped })
    }
}

fn json(value: impl Serialize) -> serde_json::Result<Value> {
    serde_json::to_string(&value).map(Value::String)
}

/// The file of answers with this `key` in a folder of them; `name` is for people.
pub fn file_of(folder: &Path, name: &str, key: &Value) -> PathBuf {
    folder.join(format!("{name}-{}.safetensors", &digest(&[key.to_string().as_bytes()])[..16]))
}

/// What identifies weights: SHA-256 over the network's tensors, whatever file they came from.
pub fn digest_of(weights: &Weights) -> String {
    let bytes: Vec<u8> = weights.data.iter().flat_map(|value| value.to_le_bytes()).collect();
    let names: String = weights.params().iter().map(|param| format!("{} ", param.name)).collect();
    digest(&[names.as_bytes(), &bytes])
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What identifies this program: its version, and of the file that runs its size and when it was made.
pub fn program() -> Value {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let made = file.as_ref().ok().and_then(|file| file.modified().ok());
    let made = made.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    serde_json::json!([
        env!("CARGO_PKG_VERSION"),
        file.map_or(0, |file| file.len()),
        made.map_or(0.0, |made| made.as_secs_f64()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_under_their_key_alone() {
        let answers = Answers {
            classes: 2,
            indices: vec![0, 2],
            labels: vec![1, 0],
            logits: vec![0.5, -f32::MAX, f32::MIN_POSITIVE, 3.0],
        };
        let skipped = vec![Skipped { name: "b.png".into(), reason: "is empty".into() }];
        let kept = Kept { answers, skipped };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = serde_json::json!({"weights": "ab", "side": 299, "made": 0.1 + 0.2});
        let path = file_of(folder.path(), "net", &key);
        let classes = ["x".to_string(), "y".into()];
        kept.write(&path, &key, &classes, |i| format!("{i}.png")).expect("written");
        assert_eq!(Kept::read(&path, &key, 2).expect("read"), kept);
        let file = inception_formats::open(&path).expect("a safetensors file");
        let text = |key: &str| &file.texts().iter().find(|(k, _)| k == key).expect("there").1;
        assert_eq!(
            (text("pictures"), text("classes")),
            (&"[\"0.png\",\"2.png\"]".into(), &"[\"x\",\"y\"]".into())
        );

        let refused =
            |key: &Value, classes| Kept::read(&path, key, classes).expect_err("refused").to_string();
        assert!(refused(&serde_json::json!({"weights": "ac"}), 2).contains("of other pictures"));
        assert!(refused(&key, 3).contains("expected rows of 3"));
        let mut bytes = std::fs::read(&path).expect("there");
        *bytes.last_mut().expect("some") ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert!(refused(&key, 2).contains("damaged"));
    }
}
