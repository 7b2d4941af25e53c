//! `--resume`: which run goes on, and whether it is the one that is asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::UsageError;
use crate::ranks;
use crate::recipe::Recipe;

/// `--resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cmd) enum Resume {
    /// The run of this name, if there is one.
    Auto,
    /// The run in this folder.
    Folder(PathBuf),
}

impl FromStr for Resume {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "auto" { Resume::Auto } else { Resume::Folder(text.into()) })
    }
}

/// A run that was begun, in its folder.
#[derive(Serialize, Deserialize)]
pub(in crate::cmd) struct Begun {
    pub(in crate::cmd) folder: PathBuf,
    /// What it was begun with; `None` where it was left before its recipe was written, so that it begins anew.
    with: Option<With>,
}

#[derive(Serialize, Deserialize)]
struct With {
    recipe: Recipe,
    env: Value,
}

impl Begun {
    /// The run that `resume` means, `None` where a new one starts: as rank 0 finds it, on all ranks.
    pub(in crate::cmd) fn find(
        resume: Option<&Resume>,
        output: &Path,
        experiment: Option<&str>,
    ) -> Result<Option<Begun>> {
        let world = ranks::world();
        let found = if world.leads() { Self::find_here(resume, output, experiment)? } else { None };
        let mut told = serde_json::to_vec(&found)?;
        world.broadcast("the run that goes on", &mut told)?;
        Ok(serde_json::from_slice(&told)?)
    }

    fn find_here(resume: Option<&Resume>, output: &Path, experiment: Option<&str>) -> Result<Option<Begun>> {
        let (folder, must_exist) = match (resume, experiment) {
            (None, _) => return Ok(None),
            (Some(Resume::Auto), Some(name)) => (output.join(name), false),
            (Some(Resume::Auto), None) => {
                let text = "--resume auto goes on with the run of a name: give it, too, for example --experiment flowers";
                return Err(UsageError(text.into()).into());
            }
            (Some(Resume::Folder(folder)), _) => (folder.clone(), true),
        };
        let recipe = folder.join("recipe.toml");
        if !recipe.exists() {
            if must_exist {
                let text = format!(
                    "--resume {}: expected the folder of a run, with its recipe.toml; its latest state is where it goes on",
                    folder.display()
                );
                return Err(UsageError(text).into());
            }
            return Ok(folder.exists().then_some(Begun { folder, with: None }));
        }
        let recipe = Recipe::load(&recipe.to_string_lossy(), &[])?;
        let file = folder.join("env.json");
        let env = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let env =
            serde_json::from_str(&env).with_context(|| format!("{} is not valid JSON", file.display()))?;
        Ok(Some(Begun { folder, with: Some(With { recipe, env }) }))
    }

    /// Its recipe.
    pub(in crate::cmd) fn recipe(&self) -> Option<&Recipe> {
        self.with.as_ref().map(|with| &with.recipe)
    }

    /// The folder of its pictures.
    pub(in crate::cmd) fn data(&self) -> Option<PathBuf> {
        Some(self.with.as_ref()?.env.get("data")?.as_str()?.into())
    }

    /// The file of weights that it started from.
    pub(in crate::cmd) fn weights(&self) -> Option<PathBuf> {
        Some(self.with.as_ref()?.env.get("weights")?.as_str()?.into())
    }

    /// Whether it started with a new classifier.
    pub(in crate::cmd) fn has_new_head(&self) -> bool {
        self.with.as_ref().is_some_and(|with| with.env["new_head"] == true)
    }

    /// Whether its splits need not have the same classes.
    pub(in crate::cmd) fn may_miss_classes(&self) -> bool {
        self.with.as_ref().is_some_and(|with| with.env["allow_missing"] == true)
    }

    /// The share of each class that it holds out.
    pub(in crate::cmd) fn val_split(&self) -> Option<f64> {
        self.with.as_ref()?.env.get("val_split")?.as_f64()
    }

    /// Refuses a recipe that is not the run's.
    pub(in crate::cmd) fn check(&self, asked: &Recipe) -> Result<(), UsageError> {
        let differences = self.recipe().map_or(Vec::new(), |recipe| recipe.differences(asked));
        if differences.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = differences
            .into_iter()
            .map(|[key, there, here]| format!("{key} is {there} there and {here} was asked for"))
            .collect();
        Err(UsageError(format!(
            "the run {} has another recipe: {}; leave these flags out to go on with it, or start another --experiment",
            self.folder.display(),
            list.join(", ")
        )))
    }
}
