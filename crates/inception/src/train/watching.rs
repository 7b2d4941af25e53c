//! How a run judges its weights, after each epoch and, where the recipe's `[watch]` says so, in between and in more ways.
//!
//! ```text
//! evaluation   loss and errors of the average weights on the validation pictures
//! raw          the same of the weights as they are
//! activations  the layer before the last pooling on some training pictures, not distorted, as a training step has it:
//!              dead  = share of its channels that are 0 at every position of every one of these pictures
//!              zeros = share of its values that are 0;  mean, standard deviation and largest of all of them
//! ```
//! The paper saw very wide residual networks die without scaling: "the last layer before the average pooling started to produce only
//! zeros" (section 3.3).

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Part, Run};
use crate::engine::Use;
use crate::evaluate::{Evaluation, evaluate};
use crate::interrupt;
use crate::metrics::Metrics;

/// Pictures that activations are looked at for.
const PICTURES: usize = 256;

/// Values of a layer over several pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Activations {
    /// Share of channels that are 0 everywhere.
    dead: f64,
    /// Share of values that are 0.
    zeros: f64,
    mean: f64,
    /// Standard deviation.
    std: f64,
    /// The largest; NaN where any is.
    max: f64,
    /// Values of a picture and position.
    channels: usize,
}

impl Activations {
    /// Of rows of so many `channels`, at least one.
    fn of(values: &[f32], channels: usize) -> Self {
        let n = values.len() as f64;
        let mut alive = vec![false; channels];
        let (mut zeros, mut sum, mut max) = (0usize, 0.0, f64::NEG_INFINITY);
        for row in values.chunks_exact(channels) {
            for (alive, &value) in alive.iter_mut().zip(row) {
                *alive |= value != 0.0;
                zeros += usize::from(value == 0.0);
                sum += f64::from(value);
                max = if value.is_nan() { f64::NAN } else { f64::from(value).max(max) };
            }
        }
        let mean = sum / n;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
        let dead = alive.iter().filter(|alive| !**alive).count() as f64 / channels as f64;
        Activations { dead, zeros: zeros as f64 / n, mean, std: variance.sqrt(), max, channels }
    }
}

/// Loss and errors as a record of the log holds them, keys beginning with `prefix`.
fn judged(metrics: &Metrics, prefix: &str) -> Map<String, Value> {
    metrics.named().map(|(key, value)| (format!("{prefix}_{key}"), json!(value))).into_iter().collect()
}

impl Run {
    /// Judges the weights by the validation pictures; `None` where the user asked for an end meanwhile.
    pub(super) fn validate(&mut self, which: Use) -> Result<Option<Evaluation>> {
        let mut batches = self.batches(Part::Val);
        self.world.doing(|| "evaluation".into());
        let (classes, mut stopped) = (self.engine.graph().classes(), false);
        let all = self.world.share(self.val.samples.len()).len();
        let until_stopped = std::iter::from_fn(|| {
            stopped = interrupt::asked();
            self.progress.validate(batches.position(), all);
            if stopped { None } else { batches.next() }
        });
        let found = evaluate(classes, |batch| self.engine.predict(batch, which), until_stopped)?;
        self.note_skipped(batches.skipped())?;
        let [stopped] = self.world.any("signals", [stopped])?;
        if stopped {
            return Ok(None);
        }
        let mut parts = self.world.gather("evaluation", serde_json::to_vec(&found)?)?.into_iter();
        let mut read = || parts.next().map(|part| serde_json::from_slice::<Evaluation>(&part)).transpose();
        let mut all = read()?.unwrap_or(found);
        while let Some(part) = read()? {
            all.join(&part);
        }
        Ok(Some(all))
    }

    /// What `[watch]` adds to an evaluation; `None` where the user asked for an end meanwhile.
    pub(super) fn watched(&mut self) -> Result<Option<Map<String, Value>>> {
        let mut watched = Map::new();
        if self.recipe.watch.raw {
            let Some(found) = self.validate(Use::Current)? else { return Ok(None) };
            watched.extend(judged(&found.metrics, "raw"));
        }
        if self.recipe.watch.activations && self.world.leads() {
            watched.insert("activations".into(), json!(self.activations()?));
        }
        Ok(Some(watched))
    }

    fn activations(&mut self) -> Result<Activations> {
        let (mut values, mut channels, mut pictures) = (Vec::new(), 1, 0);
        for batch in self.batches(Part::Sample) {
            let batch = batch?;
            let (of_batch, found) = self.engine.before_pooling(&batch);
            values.extend(of_batch);
            channels = found;
            pictures += batch.len();
            if pictures >= PICTURES {
                break;
            }
        }
        Ok(Activations::of(&values, channels))
    }

    /// Whether the weights are judged before the next step of the epoch.
    pub(super) fn is_judged_midway(&self) -> bool {
        let every = self.recipe.watch.eval_steps;
        let of_epoch = self.at.step % self.steps_per_epoch;
        every > 0 && of_epoch > 0 && self.at.step.is_multiple_of(every)
    }

    /// Judges the weights within an epoch, for the log alone: how long it took, or `None` where the user asked for an end meanwhile.
    pub(super) fn judge_midway(&mut self) -> Result<Option<Duration>> {
        let start = Instant::now();
        self.recalibrate()?;
        let Some(found) = self.validate(Use::Average)? else { return Ok(None) };
        let Some(watched) = self.watched()? else { return Ok(None) };
        let Value::Object(mut record) =
            json!({ "kind": "eval_midway", "epoch": self.at.epochs.len() + 1, "step": self.at.step })
        else {
            unreachable!("written as an object")
        };
        record.extend(judged(&found.metrics, "eval"));
        record.insert("count".into(), json!(found.metrics.count()));
        record.extend(watched);
        self.folder.log(&Value::Object(record))?;
        self.tell_events(&found.metrics)?;
        self.at.seconds += start.elapsed().as_secs_f64();
        Ok(Some(start.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_of_known_values() {
        // Three channels over four positions: one always 0, one never, one once.
        let values = [0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 0.0];
        let found = Activations::of(&values, 3);
        assert_eq!((found.dead, found.zeros, found.max, found.channels), (1.0 / 3.0, 7.0 / 12.0, 3.0, 3));
        let mean = 8.0 / 12.0;
        assert!((found.mean - mean).abs() < 1e-12);
        let variance = (1.0 * 3.0 + 9.0 + 4.0) / 12.0 - mean * mean;
        assert!((found.std - variance.sqrt()).abs() < 1e-12);
        assert!(Activations::of(&[f32::NAN, 1.0], 1).std.is_nan());
    }
}
