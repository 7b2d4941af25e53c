//! What ranks tell each other about a run: that they train the same, the state that they begin with, what went wrong.

use std::borrow::Cow;

use anyhow::{Result, anyhow, bail};
use inception_graph::Weights;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Run;
use super::saving::Trouble;
use super::state::{Origin, Position, Saved};
use crate::data::{Fingerprint, Splits};
use crate::engine::{StepError, TrainState};
use crate::ranks::World;
use crate::recipe::Recipe;

/// What has to be the same on all ranks.
#[derive(Serialize, Deserialize)]
struct Same {
    recipe: String,
    train: Fingerprint,
    val: Fingerprint,
}

/// What a state has besides its vectors.
#[derive(Serialize, Deserialize)]
struct Head {
    position: Position,
    origin: Origin,
    steps: u64,
    /// Values of weights, average, momentum and mean square.
    lengths: [usize; 4],
}

/// The state that rank 0 has `found`, for a network with the parameters of `like`, on all ranks.
pub(super) fn state(world: &World, found: Option<Saved>, like: &Weights) -> Result<Saved> {
    // Nobody else needs it.
    let found = match found {
        Some(found) if world.size() == 1 => return Ok(found),
        found => found,
    };
    let mut head = Vec::new();
    if let Some(Saved { state, position, origin }) = &found {
        let (position, origin) = (position.clone(), origin.clone());
        let lengths = vectors(state).map(<[f32]>::len);
        head = serde_json::to_vec(&Head { position, origin, steps: state.steps, lengths })?;
    }
    world.broadcast("state", &mut head)?;
    let Head { position, origin, steps, lengths } = serde_json::from_slice(&head)?;
    let mut all: [Vec<f32>; 4] = lengths.map(|len| vec![0.0; len]);
    if let Some(saved) = &found {
        all.iter_mut().zip(vectors(&saved.state)).for_each(|(to, from)| to.copy_from_slice(from));
    }
    all.iter_mut().try_for_each(|vector| same(world, vector))?;
    let [weights, average, momentum, mean_square] = all;
    let of = |data: Vec<f32>| {
        let mut weights = like.zeros_like();
        weights.data.copy_from_slice(&data);
        Cow::Owned(weights)
    };
    let average = (!average.is_empty()).then(|| of(average));
    let (momentum, mean_square) = (Cow::Owned(momentum), Cow::Owned(mean_square));
    let state = TrainState { weights: of(weights), average, momentum, mean_square, steps };
    Ok(Saved { state, position, origin })
}

fn vectors<'a>(state: &'a TrainState) -> [&'a [f32]; 4] {
    let average: &'a [f32] = state.average.as_ref().map_or(&[], |average| &average.data);
    [&state.weights.data, average, &state.momentum, &state.mean_square]
}

/// The values of rank 0.
fn same(world: &World, values: &mut [f32]) -> Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    if world.leads() {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    world.broadcast("state", &mut bytes)?;
    let (four, _) = bytes.as_chunks();
    values.iter_mut().zip(four).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
    Ok(())
}

/// What went wrong with a step, in words, and with which pictures, of all ranks.
pub(super) fn trouble(world: &World, own: &Trouble, files: Vec<String>) -> Result<(String, Vec<String>)> {
    let elsewhere = matches!(own, Trouble::Step(StepError::Elsewhere));
    let text = if elsewhere { None } else { Some(own.to_string()) };
    let mut all = Vec::new();
    let mut first = None;
    for (rank, part) in world.gather("trouble", serde_json::to_vec(&(text, files))?)?.iter().enumerate() {
        let (text, files): (Option<String>, Vec<String>) = serde_json::from_slice(part)?;
        let name = |text: String| if world.size() > 1 { format!("rank {rank}: {text}") } else { text };
        first = first.or(text.map(name));
        all.extend(files);
    }
    first
        .map(|first| (first, all))
        .ok_or_else(|| anyhow!("a step failed, and no rank says why: please report it"))
}

/// Refuses ranks of another recipe or other data than rank 0.
pub fn agree(world: &World, recipe: &Recipe, isa: &str, splits: &Splits) -> Result<()> {
    if world.size() == 1 {
        return Ok(());
    }
    let (train, val) = (splits.train.fingerprint(), splits.val.fingerprint());
    world.agree("train", isa, &Same { recipe: recipe.dump(), train, val }, |here, there| {
        let mut lines = there.recipe.lines().zip(here.recipe.lines());
        let recipe = lines.find(|(there, here)| there != here);
        let recipe = recipe.map(|(there, here)| format!("has the recipe `{there}`, rank 0 has `{here}`"));
        let pictures = [("train", &here.train, &there.train), ("validation", &here.val, &there.val)];
        let pictures = pictures.into_iter().filter_map(|(name, here, there)| {
            let difference = here.difference(there)?;
            Some(format!("has other {name} pictures than rank 0: {difference}"))
        });
        recipe.into_iter().chain(pictures).collect()
    })
}

impl Run {
    /// All ranks have the weights of rank 0 from now on.
    pub fn share_weights(&mut self) -> Result<()> {
        if self.world.size() == 1 {
            return Ok(());
        }
        let own = self.engine.state();
        let weights = own.weights.clone().into_owned();
        let found = Saved { state: owned(own), position: self.at.clone(), origin: self.origin.clone() };
        let Saved { state, .. } = state(self.world, self.world.leads().then_some(found), &weights)?;
        self.engine.set_state(state);
        Ok(())
    }

    /// Whether all ranks have the same weights, which they have unless one computes otherwise than the others.
    pub(super) fn check_weights(&self) -> Result<()> {
        if self.world.size() == 1 {
            return Ok(());
        }
        let mut hash = Sha256::new();
        let state = self.engine.state();
        let average = state.average.iter().flat_map(|average| &average.data);
        state.weights.data.iter().chain(average).for_each(|value| hash.update(value.to_le_bytes()));
        let all = self.world.gather("digest of the weights", hash.finalize().to_vec())?;
        let others = (0..all.len()).filter(|&rank| all[rank] != all[0]);
        let others: Vec<String> =
            others.map(|rank| format!("{rank} ({})", self.world.hosts()[rank])).collect();
        if !others.is_empty() {
            bail!(
                "the weights of rank {} are not those of rank 0: these machines compute otherwise; train on machines of one kind, from the last state with --resume",
                others.join(", ")
            );
        }
        Ok(())
    }
}

fn owned(state: TrainState) -> TrainState<'static> {
    TrainState {
        weights: Cow::Owned(state.weights.into_owned()),
        average: state.average.map(|average| Cow::Owned(average.into_owned())),
        momentum: Cow::Owned(state.momentum.into_owned()),
        mean_square: Cow::Owned(state.mean_square.into_owned()),
        steps: state.steps,
    }
}
