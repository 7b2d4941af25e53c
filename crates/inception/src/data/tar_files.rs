//! Pictures in tar files, read in place.
//!
//! ```text
//! WebDataset       000123.jpg, 000123.cls (or .json with a `label`)     shard-0000.tar …
//! class archives   n01440764.tar with pictures                          ImageNet's training set, also within one tar file
//! class folders    n01440764/18.JPEG                                    a folder of classes, packed
//! ```
//! The order of the classes is that of `classes.txt` beside the files where it names just these, else that of their names.
//! A tar file is listed once, its pictures are read from where they lie.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dataset::{Dataset, Picture};
use super::error::DataError;
use super::files::is_picture;
use super::pack::CLASSES;
use super::storage;

/// Longest label that is read.
const LABEL: u64 = 1 << 20;

/// Whether `path` is called like a tar file.
pub(super) fn is(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tar"))
}

/// The pictures of some tar files, and the members that are neither pictures nor labels.
pub(super) fn open(root: &Path, files: &[PathBuf]) -> Result<Dataset, DataError> {
    let (mut pictures, mut ignored) = (Vec::new(), Vec::new());
    for path in files {
        let mut archive = Archive { path: path.as_path().into(), members: Vec::new() };
        archive.list(0, u64::MAX, "").map_err(|source| DataError::io(path, source))?;
        archive.give(&mut pictures, &mut ignored)?;
    }
    if pictures.is_empty() {
        let problem = "has no .jpg, .jpeg or .png with a class: expected a .cls or .json beside each, a folder a class, or an archive a class".into();
        return Err(DataError::Layout { path: root.into(), problem });
    }
    let beside = files.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    let order = storage::read_beside(&beside.join(CLASSES))?;
    let order: Vec<String> = order.lines().map(str::to_string).collect();
    Ok(Dataset::named(root, pictures, ignored).in_order(order))
}

/// A tar file and where its members lie.
struct Archive {
    path: Arc<Path>,
    members: Vec<Member>,
}

struct Member {
    /// Its path, that of an archive inside in front.
    name: String,
    start: u64,
    len: u64,
    /// Its content, if it is a label by its name: read as the archive is listed, for it lies on the way.
    label: Option<Vec<u8>>,
}

impl Archive {
    /// Lists the tar file from `start` on, `len` bytes at most, and those inside it.
    fn list(&mut self, start: u64, len: u64, inside: &str) -> std::io::Result<()> {
        let mut file = storage::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut archive = tar::Archive::new(Window { file: file.take(len), start });
        let mut nested = Vec::new();
        for entry in archive.entries_with_seek()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (at, len) = (start + entry.raw_file_position(), entry.size());
            let mut label = None;
            if is_label(&name) {
                entry.by_ref().take(LABEL).read_to_end(label.insert(Vec::new()))?;
            }
            let member = Member { name: format!("{inside}{name}"), start: at, len, label };
            let hidden = name.rsplit('/').next().is_some_and(|last| last.starts_with('.'));
            match is(Path::new(&name)) {
                _ if hidden => {}
                true if inside.is_empty() => nested.push(member),
                _ => self.members.push(member),
            }
        }
        for Member { name, start, len, .. } in nested {
            self.list(start, len, &format!("{}/", name.trim_end_matches(".tar")))?;
        }
        Ok(())
    }

    /// Adds the pictures with their classes to `pictures`.
    fn give(
        self,
        pictures: &mut Vec<(Picture, String)>,
        ignored: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        // The name up to the first dot of its last part is what belongs together.
        let key = |name: &str| {
            let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
            format!("{folder}/{}", last.split('.').next().unwrap_or(last))
        };
        let mut labels: HashMap<String, String> = HashMap::new();
        for member in &self.members {
            if let Some(label) = self.label(member)? {
                labels.insert(key(&member.name), label);
            }
        }
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for Member { name, start, len, .. } in self.members {
            if !is_picture(Path::new(&name)) {
                if labels.is_empty() {
                    ignored.push(self.path.join(&name));
                }
                continue;
            }
            let class = match labels.get(&key(&name)) {
                Some(label) => label.clone(),
                None if labels.is_empty() => match name.trim_start_matches("./").rsplit_once('/') {
                    Some((folder, _)) => folder.rsplit('/').next().unwrap_or(folder).to_string(),
                    None => stem.clone(),
                },
                None => {
                    let problem = format!("`{name}` has no label beside it, as others have");
                    return Err(DataError::Layout { path: self.path.to_path_buf(), problem });
                }
            };
            let part = Picture::Part { archive: self.path.clone(), name, start, len };
            pictures.push((part, class));
        }
        Ok(())
    }

    /// The label that a member holds, if it is one.
    fn label(&self, member: &Member) -> Result<Option<String>, DataError> {
        let Some(bytes) = &member.label else { return Ok(None) };
        let problem = |problem: String| DataError::Layout { path: self.path.to_path_buf(), problem };
        let text = if extension(&member.name) == "json" {
            let value: serde_json::Value = serde_json::from_slice(bytes)
                .map_err(|e| problem(format!("`{}` is not JSON: {e}", member.name)))?;
            let label = ["label", "class", "cls"].iter().find_map(|key| value.get(key));
            match label {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value @ serde_json::Value::Number(_)) => value.to_string(),
                // About something else.
                _ => return Ok(None),
            }
        } else {
            String::from_utf8_lossy(bytes).trim().to_string()
        };
        match text.is_empty() {
            true => Err(problem(format!("`{}` is empty: expected a class", member.name))),
            false => Ok(Some(text)),
        }
    }
}

fn extension(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Whether a member of this name says of which class a picture is.
fn is_label(name: &str) -> bool {
    matches!(&*extension(name), "json" | "cls") || name.ends_with(".cls.txt")
}

/// A part of a file that is read as if it were one.
struct Window {
    file: Take<storage::Reader>,
    start: u64,
}

impl Read for Window {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(to)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start.saturating_add(at)),
            other => other,
        };
        let before = self.file.get_mut().stream_position()?;
        let after = self.file.get_mut().seek(to)?;
        let left = self.file.limit();
        let left =
            if after >= before { left.saturating_sub(after - before) } else { left + (before - after) };
        self.file.set_limit(left);
        Ok(after - self.start)
    }
}
