//! Everything that decides the result of a training run, as one table of values.
//!
//! ```text
//! recipes/small.toml  <  --recipe (a built-in name or a file)  <  flags  <  --set key=value
//! ```
//! Values are merged as TOML and read once, so a key has one name everywhere: in files, in `--set`, in messages and in
//! the `recipe.toml` of a run. A key that does not exist is an error with the nearest one that does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::{ClassWeights, Eval, Mix, OnBad, Sampling, Train};
use crate::engine;
use crate::exit::UsageError;
use crate::schedule::Schedule;

/// The built-in recipes.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("small", include_str!("../../../recipes/small.toml")),
    ("paper", include_str!("../../../recipes/paper.toml")),
    ("momentum", include_str!("../../../recipes/momentum.toml")),
    ("finetune", include_str!("../../../recipes/finetune.toml")),
    ("demo", include_str!("../../../recipes/demo.toml")),
];

/// Keys that no recipe needs to have.
const OPTIONAL: &[&str] = &["net", "img_size"];

/// Tables whose keys are the user's.
const OPEN: &[&str] = &["lr_scale."];

/// What batch norm normalises with in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormMode {
    /// The batch's statistics.
    Batch,
    /// The running statistics, which stay as they are.
    Frozen,
    /// The batch's; running statistics are measured anew before each evaluation.
    Recalibrate,
}

/// What makes an epoch the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Top-1 error, and the loss among equal ones.
    Top1Error,
    /// Top-5 error, and the loss among equal ones.
    Top5Error,
    /// Cross-entropy.
    Loss,
}

/// Which update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Momentum SGD.
    Sgd,
    /// TensorFlow's RMSProp.
    RmspropTf,
    /// Adam with weight decay of its own.
    Adamw,
}

/// An update rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Which rule.
    pub name: Rule,
    /// Decay of the momentum buffer.
    pub momentum: f32,
    /// Nesterov's look-ahead (`sgd`).
    pub nesterov: bool,
    /// Decay of the mean square (`rmsprop-tf`).
    pub decay: f32,
    /// Inside the root (`rmsprop-tf`).
    pub epsilon: f32,
    /// Decays of mean and mean square (`adamw`).
    pub betas: [f32; 2],
    /// Beside the root (`adamw`).
    pub adam_epsilon: f32,
}

impl Optimizer {
    /// As the engines take it.
    pub fn rule(&self) -> engine::Optimizer {
        let Self { momentum, nesterov, decay, epsilon, betas: [beta1, beta2], adam_epsilon, .. } = *self;
        match self.name {
            Rule::Sgd => engine::Optimizer::Sgd { momentum, nesterov },
            Rule::RmspropTf => engine::Optimizer::RmsPropTf { decay, momentum, epsilon },
            Rule::Adamw => engine::Optimizer::AdamW { beta1, beta2, epsilon: adam_epsilon },
        }
    }
}

/// A merged recipe; the comments of `recipes/small.toml` explain each value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "explained once, where the values are: recipes/small.toml")]
pub struct Recipe {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub img_size: Option<usize>,
    pub width: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub micro_batch: usize,
    pub seed: u64,
    pub label_smoothing: f32,
    pub weight_decay: f32,
    pub clip_grad: f32,
    pub bn_decay: f32,
    pub ema_decay: f32,
    pub batch_norm: NormMode,
    pub freeze: Vec<String>,
    pub sampling: Sampling,
    pub class_weights: ClassWeights,
    pub best_by: Measure,
    pub patience: usize,
    pub on_bad: OnBad,
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    pub lr_scale: BTreeMap<String, f32>,
    pub train: Train,
    pub mix: Mix,
    pub eval: Eval,
}

/// Key and value of a `--set KEY=VALUE`.
pub fn parse_set(set: &str) -> Result<(String, String), UsageError> {
    let expected = || UsageError(format!("--set {set}: expected KEY=VALUE, for example --set epochs=90"));
    let (key, value) = set.split_once('=').ok_or_else(expected)?;
    Ok((key.trim().into(), value.trim().into()))
}

impl Recipe {
    /// Merges the recipe called `name` (built-in or a file) and then `sets`, pairs of dotted key and value, in order.
    pub fn load(name: &str, sets: &[(String, String)]) -> Result<Recipe> {
        let mut table = parse("small", BUILT_IN[0].1)?;
        let known = keys(&table);
        let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => (*text).to_string(),
            None if Path::new(name).exists() => {
                std::fs::read_to_string(name).with_context(|| format!("reading the recipe {name}"))?
            }
            None => {
                let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                bail!("no recipe `{name}`: expected a TOML file or one of {}", names.join(", "));
            }
        };
        let file = parse(name, &text)?;
        for key in keys(&file) {
            check_key(&key, &known).with_context(|| format!("in the recipe {name}"))?;
        }
        merge(&mut table, file);
        for (key, text) in sets {
            check_key(key, &known)?;
            match OPEN.iter().find_map(|table| Some((table.trim_end_matches('.'), key.strip_prefix(table)?)))
            {
                // Names of layers, of which a dot is no part.
                Some((open, name)) => {
                    let inner = table.entry(open).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(inner) = inner {
                        inner.insert(name.trim_matches('"').into(), value(text));
                    }
                }
                None => insert(&mut table, key, value(text)),
            }
        }
        let recipe: Recipe = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            anyhow::anyhow!("the recipe has a value of the wrong kind: {}", e.to_string().trim())
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML.
    pub fn dump(&self) -> String {
        toml::to_string(self).expect("numbers, strings and tables are TOML")
    }

    /// Every key whose value is another in `other`: key, value here, value there.
    pub fn differences(&self, other: &Recipe) -> Vec<[String; 3]> {
        let [here, there] = [self, other].map(|recipe| parse("", &recipe.dump()).unwrap_or_default());
        let mut all: Vec<String> = keys(&here).into_iter().chain(keys(&there)).collect();
        all.sort();
        all.dedup();
        let value = |table: &Table, key: &str| {
            let mut parts = key.split('.');
            let first = parts.next().and_then(|part| table.get(part));
            let found = parts.fold(first, |value, part| value.and_then(|value| value.get(part)));
            found.map_or("nothing".into(), Value::to_string)
        };
        let rows =
            all.into_iter().map(|key| [value(&here, &key), value(&there, &key)].map(|v| (key.clone(), v)));
        let different = rows.filter(|[(_, a), (_, b)]| a != b);
        different.map(|[(key, a), (_, b)]| [key, a, b]).collect()
    }

    fn check(&self) -> Result<()> {
        let rules: &[(&str, f64, bool, &str)] = &[
            ("epochs", self.epochs as f64, self.epochs > 0, "at least 1"),
            (
                "batch_size",
                self.batch_size as f64,
                self.batch_size > 1,
                "at least 2 (batch norm needs several pictures)",
            ),
            (
                "micro_batch",
                self.micro_batch as f64,
                self.micro_batch != 1 && self.micro_batch <= self.batch_size,
                "0 (the whole batch) or from 2 to batch_size",
            ),
            (
                "label_smoothing",
                self.label_smoothing.into(),
                (0.0..1.0).contains(&self.label_smoothing),
                "0 to below 1",
            ),
            ("weight_decay", self.weight_decay.into(), (0.0..=1.0).contains(&self.weight_decay), "0 to 1"),
            (
                "clip_grad",
                self.clip_grad.into(),
                self.clip_grad >= 0.0 && self.clip_grad.is_finite(),
                "0 (no clipping) or more",
            ),
            ("bn_decay", self.bn_decay.into(), (0.0..1.0).contains(&self.bn_decay), "0 to below 1"),
            (
                "ema_decay",
                self.ema_decay.into(),
                (0.0..1.0).contains(&self.ema_decay),
                "0 (no average) to below 1",
            ),
            (
                "schedule.lr",
                self.schedule.lr,
                self.schedule.lr > 0.0 && self.schedule.lr.is_finite(),
                "more than 0",
            ),
            ("schedule.warmup", self.schedule.warmup, (0.0..=1.0).contains(&self.schedule.warmup), "0 to 1"),
            ("schedule.start", self.schedule.start, (0.0..=1.0).contains(&self.schedule.start), "0 to 1"),
            ("schedule.end", self.schedule.end, (0.0..=1.0).contains(&self.schedule.end), "0 to 1"),
            ("schedule.decay", self.schedule.decay, (0.0..=1.0).contains(&self.schedule.decay), "0 to 1"),
            (
                "schedule.decay_epochs",
                self.schedule.decay_epochs,
                self.schedule.decay_epochs > 0.0,
                "more than 0",
            ),
            (
                "optimizer.momentum",
                self.optimizer.momentum.into(),
                (0.0..1.0).contains(&self.optimizer.momentum),
                "0 to below 1",
            ),
            (
                "optimizer.decay",
                self.optimizer.decay.into(),
                (0.0..1.0).contains(&self.optimizer.decay),
                "0 to below 1",
            ),
            (
                "optimizer.epsilon",
                self.optimizer.epsilon.into(),
                self.optimizer.epsilon > 0.0 && self.optimizer.epsilon.is_finite(),
                "more than 0",
            ),
            (
                "optimizer.betas",
                self.optimizer.betas[0].max(self.optimizer.betas[1]).into(),
                self.optimizer.betas.iter().all(|beta| (0.0..1.0).contains(beta)),
                "both 0 to below 1",
            ),
            (
                "optimizer.adam_epsilon",
                self.optimizer.adam_epsilon.into(),
                self.optimizer.adam_epsilon > 0.0 && self.optimizer.adam_epsilon.is_finite(),
                "more than 0",
            ),
            ("train.erase", self.train.erase, (0.0..=1.0).contains(&self.train.erase), "0 to 1"),
            ("mix.mixup", self.mix.mixup.into(), (0.0..=10.0).contains(&self.mix.mixup), "0 (none) to 10"),
            ("mix.cutmix", self.mix.cutmix.into(), (0.0..=10.0).contains(&self.mix.cutmix), "0 (none) to 10"),
            ("mix.prob", self.mix.prob, (0.0..=1.0).contains(&self.mix.prob), "0 to 1"),
            ("train.flip", self.train.flip, (0.0..=1.0).contains(&self.train.flip), "0 to 1"),
            ("train.hue", self.train.hue.into(), (0.0..=0.5).contains(&self.train.hue), "0 to 0.5"),
            (
                "train.brightness",
                self.train.brightness.into(),
                (0.0..=10.0).contains(&self.train.brightness),
                "0 to 10",
            ),
            (
                "train.contrast",
                self.train.contrast.into(),
                (0.0..=10.0).contains(&self.train.contrast),
                "0 to 10",
            ),
            (
                "train.saturation",
                self.train.saturation.into(),
                (0.0..=10.0).contains(&self.train.saturation),
                "0 to 10",
            ),
            (
                "eval.crop_pct",
                self.eval.crop_pct,
                self.eval.crop_pct > 0.0 && self.eval.crop_pct <= 1.0,
                "more than 0, at most 1",
            ),
        ];
        for (key, found, fine, expected) in rules {
            if !fine {
                bail!("{key} is {found}: expected {expected}");
            }
        }
        for (key, [low, high], most) in
            [("train.scale", self.train.scale, 1.0), ("train.ratio", self.train.ratio, 100.0)]
        {
            if !(low > 0.0 && low <= high && high <= most) {
                bail!(
                    "{key} is [{low}, {high}]: expected a smallest and a largest value, above 0 and at most {most}"
                );
            }
        }
        Ok(())
    }
}

fn parse(name: &str, text: &str) -> Result<Table> {
    text.parse::<Table>().with_context(|| format!("the recipe {name} is not valid TOML"))
}

/// Dotted keys of all values.
fn keys(table: &Table) -> Vec<String> {
    let inner = |(key, value): (&String, &Value)| match value {
        Value::Table(table) => keys(table).into_iter().map(|k| format!("{key}.{k}")).collect(),
        _ => vec![key.clone()],
    };
    table.iter().flat_map(inner).collect()
}

fn check_key(key: &str, known: &[String]) -> Result<()> {
    let all = || known.iter().map(String::as_str).chain(OPTIONAL.iter().copied());
    if all().any(|k| k == key) || OPEN.iter().any(|table| key.starts_with(table)) {
        return Ok(());
    }
    // `lr` for `schedule.lr` counts as near, too.
    let near =
        |k: &str| strsim::jaro_winkler(key, k).max(if k.ends_with(&format!(".{key}")) { 1.0 } else { 0.0 });
    match all().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|k| near(k) > 0.75) {
        Some(best) => bail!("unknown key `{key}`, did you mean `{best}`? (`--dump-config` prints all)"),
        None => bail!("unknown key `{key}` (`--dump-config` prints all)"),
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            // A whole number is fine where a fraction is expected.
            let value = match (table.get(key), value) {
                (Some(Value::Float(_)), Value::Integer(i)) => Value::Float(i as f64),
                (_, value) => value,
            };
            table.insert(key.into(), value);
        }
        Some((first, rest)) => {
            if let Value::Table(inner) = table.entry(first).or_insert_with(|| Value::Table(Table::new())) {
                insert(inner, rest, value);
            }
        }
    }
}

/// A value as TOML, or as a plain string.
fn value(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn layers_lie_over_each_other() {
        let small = Recipe::load("small", &[]).expect("built in");
        let paper = Recipe::load("paper", &[]).expect("built in");
        assert_eq!(
            paper.optimizer.rule(),
            engine::Optimizer::RmsPropTf { decay: 0.9, momentum: 0.9, epsilon: 1.0 }
        );
        assert_eq!((paper.schedule.lr, paper.clip_grad, paper.ema_decay), (0.045, 2.0, 0.9999));
        assert_eq!(paper.train.flip, small.train.flip, "what a recipe leaves out is small's");
        let set = sets(&[
            ("epochs", "3"),
            ("schedule.lr", "1"),
            ("net", "inception_v4"),
            ("epochs", "4"),
            ("on_bad", "skip"),
        ]);
        let recipe = Recipe::load("paper", &set).expect("valid");
        assert_eq!(
            (recipe.epochs, recipe.schedule.lr, recipe.net.as_deref()),
            (4, 1.0, Some("inception_v4"))
        );
        assert_eq!(recipe.on_bad, OnBad::Skip);
    }

    #[test]
    fn a_dump_reads_back() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let recipe = Recipe::load("paper", &sets(&[("img_size", "96")])).expect("valid");
        std::fs::write(file.path(), recipe.dump()).expect("writable");
        let again = Recipe::load(file.path().to_str().expect("UTF-8"), &[]).expect("valid");
        assert_eq!(again, recipe);
    }

    #[test]
    fn wrong_keys_and_values_say_what_is_right() {
        let error = |pairs: &[(&str, &str)]| {
            format!("{:#}", Recipe::load("small", &sets(pairs)).expect_err("refused"))
        };
        assert!(error(&[("epoch", "3")]).contains("did you mean `epochs`?"));
        assert!(error(&[("lr", "3")]).contains("did you mean `schedule.lr`?"));
        assert!(error(&[("optimizer.momentun", "0.9")]).contains("did you mean `optimizer.momentum`?"));
        assert!(error(&[("zzz", "3")]).contains("unknown key `zzz`"));
        assert!(error(&[("epochs", "many")]).contains("wrong kind"));
        assert!(error(&[("optimizer.name", "adam")]).contains("sgd"));
        assert!(error(&[("epochs", "0")]).contains("epochs is 0: expected at least 1"));
        assert!(error(&[("label_smoothing", "1.5")]).contains("label_smoothing is 1.5"));
        assert!(error(&[("train.brightness", "inf")]).contains("train.brightness is inf: expected 0 to 10"));
        assert!(error(&[("clip_grad", "inf")]).contains("clip_grad is inf"));
        assert!(error(&[("train.scale", "[0.5, 0.2]")]).contains("train.scale is [0.5, 0.2]"));
        assert!(
            format!("{:#}", Recipe::load("nothing", &[]).expect_err("refused"))
                .contains("small, paper, momentum, finetune, demo")
        );
    }
}
