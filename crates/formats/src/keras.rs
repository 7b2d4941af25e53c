//! Keras: its three layouts of HDF5, and the zip archive around one of them.
//!
//! ```text
//! legacy:  [/model_weights] layer_names = [conv2d, …]    <layer> weight_names = [conv2d/kernel:0, …]    <layer>/<weight name>
//! new:     layers/<class>[_<n>]/vars/<i>, or _layer_checkpoint_dependencies/…, any depth
//! .keras:  zip of metadata.json, config.json, model.weights.h5 in the new layout
//! ```
//! In the legacy layout the order of the two lists is the order of the tensors, which Keras loads by position. The new
//! layout has no lists: its order is that of the names, with numbers by value, so `conv2d_2` comes before `conv2d_10` and
//! each class's layers are in the order of `model.layers`. What optimizers and metrics keep is left
//! out.
//!
//! Texts: `keras_version`, `backend`, `model_config` where the file has them, and for each group of the new layout that
//! tells its layer's own name, that name under the group's path, for example `layers/conv2d_18` = `block35_1_conv`.

use std::collections::HashMap;

use crate::hdf5::{Dataset, Hdf5, Object};
use crate::input::Input;
use crate::zip_archive::Member;
use crate::{Problem, Source, Tensor};

/// Longest `model_config` that is handed on.
const LONGEST_TEXT: usize = 16 << 20;
/// Longest list of names.
const LONGEST_LIST: usize = 64 << 20;
/// Longest path of a tensor, in bytes.
const LONGEST_PATH: usize = 1_000;
/// How deep layers may nest.
const DEEPEST: usize = 32;
/// The archive's member with the weights.
const WEIGHTS: &str = "model.weights.h5";
/// Groups of what training keeps beside the weights.
const NOT_WEIGHTS: [&str; 3] = ["optimizer", "optimizer_weights", "metrics"];

/// Weights that Keras wrote.
pub(crate) struct Keras {
    file: Hdf5,
    tensors: Vec<Tensor>,
    datasets: Vec<Dataset>,
    texts: Vec<(String, String)>,
    /// Members of the groups met, by address.
    groups: HashMap<u64, HashMap<String, u64>>,
}

/// The archive's `metadata.json`.
#[derive(Default, serde::Deserialize)]
struct Metadata {
    keras_version: Option<String>,
}

/// The member of a zip archive that makes it one of Keras's.
pub(crate) fn weights_of(members: &[Member]) -> Option<&Member> {
    members.iter().find(|member| member.name == WEIGHTS)
}

impl Keras {
    /// The `.keras` archive that `input` is.
    pub(crate) fn open_zip(mut input: Input, members: &[Member], weights: &Member) -> Result<Self, Problem> {
        let mut text = |name: &str| {
            let member = members.iter().find(|m| m.name == name && m.size <= LONGEST_TEXT as u64);
            let bytes = member.map(|member| member.read(&mut input)).transpose();
            bytes.map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let about: Metadata =
            text("metadata.json")?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let version = about.keras_version.map(|version| ("keras_version".to_owned(), version));
        let config = text("config.json")?.map(|config| ("model_config".to_owned(), config));
        let mut texts: Vec<_> = version.into_iter().chain(config).collect();
        let input = match weights.stored_at(&mut input)? {
            Some(start) => input.part(start, weights.size)?,
            None => Input::new(Box::new(std::io::Cursor::new(weights.read(&mut input)?)))?,
        };
        let mut keras = Self::open(input)?;
        texts.append(&mut keras.texts);
        Ok(Keras { texts, ..keras })
    }

    /// An HDF5 file.
    pub(crate) fn open(input: Input) -> Result<Self, Problem> {
        let file = Hdf5::open(input)?;
        let (tensors, datasets, texts, groups) = Default::default();
        let mut keras = Keras { file, tensors, datasets, texts, groups };
        let root_address = keras.file.root;
        let root = keras.file.object(root_address)?;
        let (mut weights, mut top) = (root_address, None);
        if keras.list(&root, "layer_names")?.is_none()
            && let Some(&address) = keras.members(root_address, &root)?.get("model_weights")
        {
            top = Some(keras.file.object(address)?);
            weights = address;
        }
        for object in [Some(&root), top.as_ref()].into_iter().flatten() {
            keras.note(object)?;
        }
        let object = top.as_ref().unwrap_or(&root);
        match keras.list(object, "layer_names")? {
            Some(layers) => keras.legacy(weights, object, layers)?,
            None => keras.walk("", weights, 0)?,
        }
        if keras.tensors.is_empty() {
            return Err(Problem::Refused(
                "it is HDF5 without any weights of Keras: save the model's weights again".into(),
            ));
        }
        Ok(keras)
    }

    /// Takes over what an object says about the model.
    fn note(&mut self, object: &Object) -> Result<(), Problem> {
        for name in ["keras_version", "backend", "model_config"] {
            if self.texts.iter().all(|(known, _)| known != name)
                && let Some(text) =
                    self.file.texts(object, name, LONGEST_TEXT)?.and_then(|texts| texts.into_iter().next())
            {
                self.texts.push((name.into(), text));
            }
        }
        Ok(())
    }

    /// The list of names `name`, which Keras splits into `name0`, `name1`, … where it is beyond 64 KB.
    fn list(&mut self, object: &Object, name: &str) -> Result<Option<Vec<String>>, Problem> {
        if let Some(names) = self.file.texts(object, name, LONGEST_LIST)? {
            return Ok(Some(names));
        }
        let mut all = None;
        for part in 0.. {
            let Some(names) = self.file.texts(object, &format!("{name}{part}"), LONGEST_LIST)? else { break };
            all.get_or_insert_with(Vec::new).extend(names);
        }
        Ok(all)
    }

    fn members(&mut self, address: u64, object: &Object) -> Result<&HashMap<String, u64>, Problem> {
        if !self.groups.contains_key(&address) {
            let members = self.file.members(object)?.into_iter().collect();
            self.groups.insert(address, members);
        }
        Ok(&self.groups[&address])
    }

    fn legacy(&mut self, address: u64, weights: &Object, layers: Vec<String>) -> Result<(), Problem> {
        let mut layers = layers;
        let extra = "top_level_model_weights";
        if self.members(address, weights)?.contains_key(extra) && layers.iter().all(|layer| layer != extra) {
            layers.push(extra.into());
        }
        for layer in layers {
            let Some((group_address, group)) = self.find(address, weights, &layer)? else {
                return Err(Problem::damaged(format!("its layer `{layer}` is missing")));
            };
            for weight in self.list(&group, "weight_names")?.unwrap_or_default() {
                let name = format!("{layer}/{weight}");
                match self.find(group_address, &group, &weight)? {
                    Some((_, object)) => self.add(name, &object)?,
                    None => return Err(Problem::damaged(format!("`{name}` is missing"))),
                }
            }
        }
        Ok(())
    }

    /// The object at `path` below a group, with its address.
    fn find(&mut self, address: u64, group: &Object, path: &str) -> Result<Option<(u64, Object)>, Problem> {
        let mut at: Option<(u64, Object)> = None;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let found = match &at {
                None => self.members(address, group)?.get(part),
                Some((address, object)) => self.members(*address, object)?.get(part),
            };
            let Some(&address) = found else { return Ok(None) };
            at = Some((address, self.file.object(address)?));
        }
        Ok(at)
    }

    /// Adds all datasets below the group at `address`.
    fn walk(&mut self, path: &str, address: u64, depth: usize) -> Result<(), Problem> {
        if depth > DEEPEST || path.len() > LONGEST_PATH {
            return Err(Problem::damaged(format!(
                "its groups nest more than {DEEPEST} deep or have longer paths than {LONGEST_PATH}"
            )));
        }
        let object = self.file.object(address)?;
        if object.is_dataset() {
            return self.add(path.into(), &object);
        }
        if let Some(layer) = path.strip_suffix("/vars")
            && let Some(name) =
                self.file.texts(&object, "name", LONGEST_TEXT)?.and_then(|names| names.into_iter().next())
        {
            self.texts.push((layer.into(), name));
        }
        let mut members = self.file.members(&object)?;
        members.sort_by_cached_key(|(name, _)| natural(name));
        for (name, address) in members {
            match path {
                "" if NOT_WEIGHTS.contains(&name.as_str()) => {}
                "" => self.walk(&name, address, depth + 1)?,
                _ => self.walk(&format!("{path}/{name}"), address, depth + 1)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, object: &Object) -> Result<(), Problem> {
        if name.len() > LONGEST_PATH {
            return Err(Problem::damaged(format!("a weight has a name of {} bytes", name.len())));
        }
        if !object.is_dataset() {
            return Err(Problem::damaged(format!("`{name}` is not a dataset")));
        }
        let dataset = self.file.dataset(object, &name)?;
        let shape = dataset.shape.iter().map(|&extent| usize::try_from(extent)).collect::<Result<_, _>>();
        let shape =
            shape.map_err(|_| Problem::damaged(format!("`{name}` claims a shape beyond any memory")))?;
        self.tensors.push(Tensor { name, dtype: dataset.dtype, shape });
        self.datasets.push(dataset);
        Ok(())
    }
}

/// A key that orders names as people do: `conv2d`, `conv2d_2`, `conv2d_10`.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].parse().unwrap_or(0);
    (stem.trim_end_matches('_').into(), number, name.into())
}

impl Source for Keras {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        self.file.values(&self.datasets[index], to)
    }

    fn texts(&self) -> &[(String, String)] {
        &self.texts
    }
}
