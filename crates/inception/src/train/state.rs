//! The state of a run in a file: all that its later steps depend on.
//!
//! A safetensors file with a checksum: `weights/…`, `average/…`, `momentum/…` and `mean_square/…` for every parameter, and among
//! the texts the [`Position`] of the run and the [`Fingerprint`]s of its pictures. Random numbers are functions of the seed and of
//! where the run stands, so there is no state of theirs.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use inception_formats::{Dtype, TensorFile};
use inception_graph::Weights;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::report::{Best, EpochReport, Running};
use crate::checkpoint::{self, Metadata, Out, Values};
use crate::data::{Fingerprint, Skipped};
use crate::engine::TrainState;
use crate::recipe::Recipe;

/// Version of the layout described above.
const FORMAT: &str = "inception-state/1";

/// Where a run stands between two steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Position {
    /// Steps taken.
    pub(super) step: usize,
    /// Positions in the order of the epoch under way that have had their turn.
    pub(super) used: usize,
    /// Sums over the steps of that epoch.
    pub(super) running: Running,
    /// Steps in a row whose loss was far above that of guessing.
    pub(super) exploding: usize,
    /// Epochs that are done.
    pub(super) epochs: Vec<EpochReport>,
    pub(super) best: Option<Best>,
    pub(super) skipped: Vec<Skipped>,
    /// What the schedule's rate is multiplied by: less than 1 once the run has been rolled back.
    pub(super) lr_factor: f64,
    /// Time in training and evaluation.
    pub(super) seconds: f64,
    /// Bytes of `log.jsonl` and of `summary.csv`.
    pub(super) logged: [u64; 2],
}

impl Default for Position {
    fn default() -> Self {
        Position {
            step: 0,
            used: 0,
            running: Running::default(),
            exploding: 0,
            epochs: Vec::new(),
            best: None,
            skipped: Vec::new(),
            lr_factor: 1.0,
            seconds: 0.0,
            logged: [0; 2],
        }
    }
}

impl Position {
    /// Whether all epochs of `recipe` are done.
    pub(super) fn is_finished(&self, recipe: &Recipe) -> bool {
        self.epochs.len() >= recipe.epochs || self.has_lost_patience(recipe)
    }

    /// Whether the run ends before its time, because no epoch has been better than the best for long.
    pub(super) fn has_lost_patience(&self, recipe: &Recipe) -> bool {
        let best = self.best.map_or(0, |best| best.epoch);
        recipe.patience > 0 && self.epochs.len() >= best + recipe.patience
    }
}

/// What a run was begun with; a run that goes on must have the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) metadata: Metadata,
    pub(super) train: Fingerprint,
    pub(super) val: Fingerprint,
}

/// A state that was read.
pub(super) struct Saved {
    pub(super) state: TrainState<'static>,
    pub(super) position: Position,
    pub(super) origin: Origin,
}

/// The file of the state after `step` steps.
pub(super) fn file_name(step: usize) -> String {
    format!("state-{step:09}.safetensors")
}

/// The states in a run's folder, the latest first.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let is_state = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("state-") && name.ends_with(".safetensors")
    };
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("reading {}", folder.display()))?;
    files.retain(is_state);
    files.sort();
    files.reverse();
    Ok(files)
}

/// Writes a state: all of it, or nothing.
pub(super) fn write(path: &Path, state: &TrainState, position: &Position, origin: &Origin) -> Result<()> {
    let weights = &state.weights;
    let vectors = [
        ("weights", &weights.data[..]),
        ("average", state.average.as_ref().map_or(&[][..], |average| &average.data)),
        ("momentum", &state.momentum),
        ("mean_square", &state.mean_square),
    ];
    let mut tensors = Vec::new();
    for (vector, values) in vectors.into_iter().filter(|(_, values)| !values.is_empty()) {
        tensors.extend(weights.params().iter().enumerate().map(|(i, param)| Out {
            name: format!("{vector}/{}", param.name),
            dtype: Dtype::F32,
            shape: param.shape.clone(),
            values: Values::F32(&values[weights.range(i)]),
        }));
    }
    let json = |value: Result<String, serde_json::Error>| value.map(Value::String);
    let texts = Map::from_iter([
        ("format".into(), FORMAT.into()),
        ("optimizer_steps".into(), state.steps.to_string().into()),
        ("position".into(), json(serde_json::to_string(position))?),
        ("origin".into(), json(serde_json::to_string(origin))?),
    ]);
    Ok(checkpoint::seal_and_write(path, texts, tensors)?)
}

/// Opens the file of a state, which is whole.
fn open(path: &Path) -> Result<TensorFile> {
    let file = checkpoint::open_sealed(path)?;
    let format = text(&file, "format")?;
    if format != FORMAT {
        return Err(anyhow!(
            "{}: format is `{format}`, this version reads `{FORMAT}`: use the version that wrote it",
            path.display()
        ));
    }
    Ok(file)
}

/// One of the texts of a state.
fn text<'a>(file: &'a TensorFile, key: &str) -> Result<&'a str> {
    let found = file.texts().iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    found.ok_or_else(|| anyhow!("{}: it has no `{key}`, so it is no state of a run", file.path().display()))
}

/// One of the texts of a state, as JSON.
fn json<T: DeserializeOwned>(file: &TensorFile, key: &str) -> Result<T> {
    let value = serde_json::from_str(text(file, key)?);
    value.with_context(|| format!("{}: its `{key}` cannot be read", file.path().display()))
}

/// Where a run stood when it saved this state.
pub(super) fn position(path: &Path) -> Result<Position> {
    json(&open(path)?, "position")
}

/// Reads a state of a network with the parameters of `like`.
pub(super) fn read(path: &Path, like: &Weights) -> Result<Saved> {
    let mut file = open(path)?;
    let (position, origin) = (json(&file, "position")?, json(&file, "origin")?);
    let steps = json(&file, "optimizer_steps")?;
    let mut vector = |name: &str| vector(&mut file, name, like);
    let weights = vector("weights")?.ok_or_else(|| anyhow!("{}: it has no weights", path.display()))?;
    let average = vector("average")?.map(Cow::Owned);
    let mut flat = |name| anyhow::Ok(Cow::Owned(vector(name)?.map_or(Vec::new(), |weights| weights.data)));
    let (momentum, mean_square) = (flat("momentum")?, flat("mean_square")?);
    let state = TrainState { weights: Cow::Owned(weights), average, momentum, mean_square, steps };
    Ok(Saved { state, position, origin })
}

/// The tensors `name/…` of all parameters, or `None` where there is not one of them.
fn vector(file: &mut TensorFile, name: &str, like: &Weights) -> Result<Option<Weights>> {
    let prefix = format!("{name}/");
    let places: Vec<usize> =
        (0..file.tensors().len()).filter(|&i| file.tensors()[i].name.starts_with(&prefix)).collect();
    if places.is_empty() {
        return Ok(None);
    }
    let params = like.params();
    let fits = places.len() == params.len()
        && places.iter().zip(params).all(|(&i, param)| {
            let tensor = &file.tensors()[i];
            tensor.name[prefix.len()..] == param.name
                && tensor.shape == param.shape
                && tensor.dtype == Dtype::F32
        });
    if !fits {
        return Err(anyhow!("{}: its `{name}` is of another network", file.path().display()));
    }
    let (mut weights, mut values) = (like.zeros_like(), Vec::new());
    for (i, place) in places.into_iter().enumerate() {
        file.read_values(place, &mut values)?;
        weights.get_mut(i).copy_from_slice(&values);
    }
    Ok(Some(weights))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use inception_graph::{Spec, build};

    use super::*;
    use crate::metrics::Metrics;

    /// A network that answers with no number has a loss that JSON cannot hold; its run goes on all the same.
    #[test]
    fn a_state_comes_back_whole() {
        let graph = build(&Spec::new("inception_v3").img_size(75).width(0.1).classes(2)).expect("valid");
        let (weights, average) = (Weights::init(&graph, 1), Weights::init(&graph, 2));
        let momentum: Vec<f32> = (0..weights.data.len()).map(|i| i as f32).collect();
        let state = TrainState {
            weights: Cow::Borrowed(&weights),
            average: Some(Cow::Borrowed(&average)),
            momentum: Cow::Borrowed(&momentum),
            mean_square: Cow::Borrowed(&[]),
            steps: 7,
        };
        let mut found = Metrics::new(2);
        found.add(&[f32::NAN, 1.0], &[1]);
        let report = EpochReport::new(1, 7, &Running::default(), &found, 0.1, Duration::from_secs(1));
        let position =
            Position { step: 7, epochs: vec![report], lr_factor: 0.1 + 0.2, ..Position::default() };
        let print = |pictures| Fingerprint { classes: 2, pictures, digest: "ab".into() };
        let classes = ["a", "b"].map(String::from).to_vec();
        let eval = crate::recipe::Recipe::load("small", &[]).expect("built in").eval;
        let origin =
            Origin { metadata: Metadata::new(&graph, classes, eval), train: print(9), val: print(3) };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(file_name(7));
        write(&path, &state, &position, &origin).expect("written");

        let saved = read(&path, &weights).expect("read");
        assert_eq!(saved.state.weights.data, weights.data);
        assert_eq!(saved.state.average.expect("kept").data, average.data);
        assert!(saved.state.momentum == momentum && saved.state.mean_square.is_empty());
        assert_eq!((saved.state.steps, saved.position.step, saved.position.lr_factor), (7, 7, 0.1 + 0.2));
        assert!(saved.position.epochs[0].eval_loss.is_nan());
        assert_eq!(saved.origin, origin);
        let other = build(&Spec::new("inception_v3").img_size(75).width(0.2).classes(2)).expect("valid");
        let error = read(&path, &Weights::zeros(&other)).err().expect("refused");
        assert!(error.to_string().contains("`weights` is of another network"), "{error}");
        assert_eq!(list(folder.path()).expect("a folder"), [path]);
    }
}
