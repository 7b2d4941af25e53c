//! Everything that decides the result of a training run, as one table of values.
//!
//! ```text
//! recipes/small.toml  <  --recipe (a built-in name or a file)  <  flags  <  --set key=value
//! ```
//! Values are merged as TOML and read once, so a key has one name everywhere: in files, in `--set`, in messages and in
//! the `recipe.toml` of a run. A key that does not exist is an error with the nearest one that does.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::{ClassWeights, Eval, Mix, OnBad, Sampling, Train, rand_augment};
use crate::engine;
use crate::exit::UsageError;
use crate::schedule::Schedule;

/// The built-in recipes.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("small", include_str!("../../../recipes/small.toml")),
    ("paper", include_str!("../../../recipes/paper.toml")),
    ("momentum", include_str!("../../../recipes/momentum.toml")),
    ("finetune", include_str!("../../../recipes/finetune.toml")),
    ("cifar10", include_str!("../../../recipes/cifar10.toml")),
    ("demo", include_str!("../../../recipes/demo.toml")),
];

/// Keys that no recipe needs to have.
const OPTIONAL: &[&str] = &["net", "img_size", "residual_scale"];

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

/// What is logged besides what every run logs; nothing of it changes a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "explained once, where the values are: recipes/small.toml")]
pub struct Watch {
    pub eval_steps: usize,
    pub raw: bool,
    pub activations: bool,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f32>,
    pub width: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub micro_batch: usize,
    /// Whether batch norm sees the pictures of all ranks; of no effect on one.
    pub sync_norm: bool,
    /// Whether gradients travel between ranks in half the bytes.
    pub bf16_sums: bool,
    pub seed: u64,
    pub aux_weight: f32,
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
    pub watch: Watch,
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
        Recipe::merge(name, &text, sets)
    }

    /// The same of a recipe called `name` with this `text`.
    pub fn merge(name: &str, text: &str, sets: &[(String, String)]) -> Result<Recipe> {
        let mut table = parse("small", BUILT_IN[0].1)?;
        let known = keys(&table);
        let file = parse(name, text)?;
        for key in keys(&file) {
            check_key(&key, &known).with_context(|| format!("in the recipe {name}"))?;
        }
        lay_over(&mut table, file);
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
        let value = |table: &Table, key: &str| at(table, key).map_or("nothing".into(), Value::to_string);
        let rows =
            all.into_iter().map(|key| [value(&here, &key), value(&there, &key)].map(|v| (key.clone(), v)));
        let different = rows.filter(|[(_, a), (_, b)]| a != b);
        different.map(|[(key, a), (_, b)]| [key, a, b]).collect()
    }

    fn check(&self) -> Result<()> {
        let table = Table::try_from(self).context("the recipe as TOML")?;
        for (key, from, to, note) in RULES {
            let found = at(&table, key).with_context(|| format!("the recipe has no {key}"))?;
            let numbers = match found {
                Value::Array(numbers) => &numbers[..],
                number => std::slice::from_ref(number),
            };
            let inside = |number: &Value| {
                let number = number.as_float().or(number.as_integer().map(|whole| whole as f64));
                number.is_some_and(|number| (*from, *to).contains(&number))
            };
            if !numbers.iter().all(inside) {
                bail!("{key} is {found}: expected {}{note}", range(*from, *to));
            }
        }
        if self.micro_batch == 1 || self.micro_batch > self.batch_size {
            bail!(
                "micro_batch is {}: expected 0 (the whole batch) or from 2 to batch_size",
                self.micro_batch
            );
        }
        if self.sync_norm && (self.micro_batch > 0 || self.batch_norm == NormMode::Recalibrate) {
            bail!(
                "sync_norm is true: batch norm sees whole batches, so that micro_batch has to be 0, and batch_norm not \"recalibrate\""
            );
        }
        for (key, [low, high]) in [("train.scale", self.train.scale), ("train.ratio", self.train.ratio)] {
            if low > high {
                bail!("{key} is [{low}, {high}]: expected a smallest and a largest value");
            }
        }
        Ok(())
    }
}

/// What numbers may be, each element of an array alike, and a word more about it.
const RULES: &[(&str, Bound<f64>, Bound<f64>, &str)] = &[
    ("epochs", Included(1.0), Unbounded, ""),
    ("batch_size", Included(2.0), Unbounded, " (batch norm needs several pictures)"),
    ("aux_weight", Included(0.0), Included(10.0), " (0 trains without an auxiliary head)"),
    ("label_smoothing", Included(0.0), Excluded(1.0), ""),
    ("weight_decay", Included(0.0), Included(1.0), ""),
    ("clip_grad", Included(0.0), Excluded(f64::INFINITY), " (0 clips nothing)"),
    ("bn_decay", Included(0.0), Excluded(1.0), ""),
    ("ema_decay", Included(0.0), Excluded(1.0), " (0 keeps no average)"),
    ("optimizer.momentum", Included(0.0), Excluded(1.0), ""),
    ("optimizer.decay", Included(0.0), Excluded(1.0), ""),
    ("optimizer.epsilon", Excluded(0.0), Excluded(f64::INFINITY), ""),
    ("optimizer.betas", Included(0.0), Excluded(1.0), " each"),
    ("optimizer.adam_epsilon", Excluded(0.0), Excluded(f64::INFINITY), ""),
    ("schedule.lr", Excluded(0.0), Excluded(f64::INFINITY), ""),
    ("schedule.warmup", Included(0.0), Included(1.0), ""),
    ("schedule.start", Included(0.0), Included(1.0), ""),
    ("schedule.end", Included(0.0), Included(1.0), ""),
    ("schedule.decay", Included(0.0), Included(1.0), ""),
    ("schedule.decay_epochs", Excluded(0.0), Excluded(f64::INFINITY), ""),
    ("train.scale", Excluded(0.0), Included(1.0), " each"),
    ("train.ratio", Excluded(0.0), Included(100.0), " each"),
    ("train.flip", Included(0.0), Included(1.0), ""),
    ("train.rand_augment.ops", Included(0.0), Included(14.0), ""),
    ("train.rand_augment.magnitude", Included(0.0), Included(rand_augment::MOST as f64), ""),
    ("train.brightness", Included(0.0), Included(10.0), ""),
    ("train.contrast", Included(0.0), Included(10.0), ""),
    ("train.saturation", Included(0.0), Included(10.0), ""),
    ("train.hue", Included(0.0), Included(0.5), ""),
    ("train.erase", Included(0.0), Included(1.0), ""),
    ("mix.mixup", Included(0.0), Included(10.0), " (0 for none)"),
    ("mix.cutmix", Included(0.0), Included(10.0), " (0 for none)"),
    ("mix.prob", Included(0.0), Included(1.0), ""),
    ("eval.crop_pct", Excluded(0.0), Included(1.0), ""),
];

/// `0 to below 1`, `more than 0`.
fn range(from: Bound<f64>, to: Bound<f64>) -> String {
    let most = match to {
        Included(most) => Some(format!("at most {most}")),
        Excluded(end) if end.is_finite() => Some(format!("below {end}")),
        _ => None,
    };
    match (from, most) {
        (Included(least), Some(most)) => format!("{least} to {}", most.trim_start_matches("at most ")),
        (Included(least), None) => format!("at least {least}"),
        (Excluded(limit), Some(most)) => format!("more than {limit}, {most}"),
        (Excluded(limit), None) => format!("more than {limit}"),
        (Unbounded, most) => most.unwrap_or_else(|| "any number".into()),
    }
}

/// The value under a dotted key.
fn at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    parts.fold(first, |value, part| value.and_then(|value| value.get(part)))
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

fn lay_over(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => lay_over(base, over),
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
        assert_eq!((paper.aux_weight, small.aux_weight), (0.4, 0.0));
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
        assert!(error(&[("aux_weight", "-0.5")]).contains("aux_weight is -0.5: expected 0 to 10"));
        assert!(error(&[("train.brightness", "inf")]).contains("train.brightness is inf: expected 0 to 10"));
        assert!(error(&[("clip_grad", "inf")]).contains("clip_grad is inf"));
        assert!(error(&[("optimizer.betas", "[0.9, 1.5]")]).contains("expected 0 to below 1 each"));
        assert!(error(&[("schedule.lr", "0")]).contains("schedule.lr is 0.0: expected more than 0"));
        assert!(error(&[("clip_grad", "nan")]).contains("clip_grad is nan: expected at least 0"));
        assert!(error(&[("micro_batch", "1")]).contains("micro_batch is 1: expected 0"));
        assert!(error(&[("train.rand_augment.ops", "200")]).contains("expected 0 to 14"));
        assert!(error(&[("train.rand_augment.op", "2")]).contains("did you mean `train.rand_augment.ops`?"));
        assert!(error(&[("eval.crop_pct", "0")]).contains("expected more than 0, at most 1"));
        assert!(error(&[("train.scale", "[0.5, 0.2]")]).contains("train.scale is [0.5, 0.2]"));
        assert!(
            format!("{:#}", Recipe::load("nothing", &[]).expect_err("refused"))
                .contains("small, paper, momentum, finetune, cifar10, demo")
        );
    }
}
