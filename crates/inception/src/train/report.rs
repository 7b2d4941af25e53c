//! What a run tells: log records, events, the summary, curves, a page, the line after an epoch.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::Run;
use crate::data::Skipped;
use crate::engine::StepReport;
use crate::evaluate::Evaluation;
use crate::metrics::Metrics;
use crate::progress::{Step, counted, duration, say};
use crate::recipe::Measure;

/// Sums over the steps of an epoch so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Running {
    loss: f64,
    wrong: usize,
    pub(super) count: usize,
}

impl Running {
    pub(super) fn add(&mut self, taken: &StepReport) {
        self.loss += f64::from(taken.loss) * taken.count as f64;
        self.wrong += taken.count - taken.correct;
        self.count += taken.count;
    }
    fn loss(&self) -> f64 {
        self.loss / self.count.max(1) as f64
    }
    fn error(&self) -> f64 {
        self.wrong as f64 / self.count.max(1) as f64
    }
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) epoch: usize,
    pub(super) error: f64,
    merit: (f64, f64),
}

/// What an epoch came to. Errors are shares, not percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: usize,
    /// Steps taken by its end.
    pub step: usize,
    /// Mean loss of its training steps, label smoothing included.
    #[serde(deserialize_with = "or_nan")]
    pub train_loss: f64,
    /// Share of distorted training pictures that were wrong.
    pub train_top1_error: f64,
    /// Mean cross-entropy on the validation pictures.
    #[serde(deserialize_with = "or_nan")]
    pub eval_loss: f64,
    /// Share of validation pictures whose label was not the first answer.
    pub eval_top1_error: f64,
    /// Nor among the first five.
    pub eval_top5_error: f64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Training and evaluation.
    pub seconds: f64,
    count: u64,
}

impl EpochReport {
    pub(super) fn new(
        epoch: usize,
        step: usize,
        running: &Running,
        found: &Metrics,
        lr: f64,
        time: Duration,
    ) -> Self {
        EpochReport {
            epoch,
            step,
            train_loss: running.loss(),
            train_top1_error: running.error(),
            eval_loss: found.loss(),
            eval_top1_error: found.top1_error(),
            eval_top5_error: found.top5_error(),
            lr,
            seconds: time.as_secs_f64(),
            count: found.count(),
        }
    }

    /// The record of it in `log.jsonl`.
    pub(crate) fn record(&self, is_best: bool) -> Value {
        json!({
            "kind": "eval",
            "epoch": self.epoch,
            "step": self.step,
            "train_loss": self.train_loss,
            "train_top1_error": self.train_top1_error,
            "eval_loss": self.eval_loss,
            "eval_top1_error": self.eval_top1_error,
            "eval_top5_error": self.eval_top5_error,
            "count": self.count,
            "lr": self.lr,
            "best": is_best,
            "seconds": self.seconds,
        })
    }

    /// The line after it; `best` is the best epoch so far, and its error.
    pub(crate) fn line(&self, epochs: usize, best: (usize, f64)) -> String {
        format!(
            "epoch {}/{epochs}  loss {:.3}  train error {:.1} %  val loss {:.3}  top-1 error {:.2} %  top-5 error {:.2} %  (best {:.2} % at {})  {}",
            self.epoch,
            self.train_loss,
            100.0 * self.train_top1_error,
            self.eval_loss,
            100.0 * self.eval_top1_error,
            100.0 * self.eval_top5_error,
            100.0 * best.1,
            best.0,
            duration(self.seconds)
        )
    }

    /// The smaller the better. Among equal errors the smaller loss is the better network.
    pub(super) fn merit(&self, by: Measure) -> (f64, f64) {
        // What is no number is worse than any.
        let or_worst = |value: f64| if value.is_finite() { value } else { f64::MAX };
        let first = match by {
            Measure::Top1Error => self.eval_top1_error,
            Measure::Top5Error => self.eval_top5_error,
            Measure::Loss => self.eval_loss,
        };
        (or_worst(first), or_worst(self.eval_loss))
    }
}

/// JSON has `null` for what is no number.
fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Name of the network.
    pub net: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// Multiply-accumulates for one picture.
    pub macs: u64,
    /// All epochs.
    pub epochs: Vec<EpochReport>,
    /// The best of them, from 1.
    pub best_epoch: usize,
    /// Time in training and evaluation.
    pub seconds: f64,
    /// Pictures left out.
    pub skipped: usize,
}

impl Run {
    /// A step that was taken, but for its rates.
    pub(super) fn told(&self, taken: &StepReport) -> Step {
        Step {
            epoch: self.at.epochs.len() + 1,
            step: self.at.step,
            lr: 0.0,
            loss: taken.loss,
            top1_error: 1.0 - taken.correct as f64 / taken.count as f64,
            grad_norm: taken.grad_norm,
            images_per_s: 0.0,
            data_wait: 0.0,
            mean_loss: self.at.running.loss(),
            mean_error: self.at.running.error(),
        }
    }

    pub(super) fn log_step(&mut self, step: &Step) -> Result<()> {
        self.folder.log(&step.record())?;
        let scalars = [
            ("train/loss", f64::from(step.loss)),
            ("train/top1_error", step.top1_error),
            ("train/lr", f64::from(step.lr)),
            ("train/grad_norm", f64::from(step.grad_norm)),
            ("train/images_per_s", step.images_per_s),
            ("train/data_wait", step.data_wait),
        ];
        self.tell(&scalars)
    }

    fn tell(&mut self, scalars: &[(&str, f64)]) -> Result<()> {
        if !self.world.leads() {
            return Ok(());
        }
        let told = self.events.add(self.at.step, scalars);
        self.judge(told)
    }

    /// Tells TensorBoard of an evaluation.
    pub(super) fn tell_events(&mut self, found: &Metrics) -> Result<()> {
        let scalars = [
            ("eval/loss", found.loss()),
            ("eval/top1_error", found.top1_error()),
            ("eval/top5_error", found.top5_error()),
        ];
        self.tell(&scalars)
    }

    /// Saves, logs and draws what an epoch came to; `watched` is what its record holds besides.
    pub(super) fn finish_epoch(
        &mut self,
        report: EpochReport,
        found: Evaluation,
        watched: Map<String, Value>,
    ) -> Result<()> {
        let r = &report;
        let named = found.metrics.named().map(|(key, value)| (format!("eval_{key}"), value));
        self.metadata.metrics = named.into();
        let now = Best { epoch: r.epoch, error: r.eval_top1_error, merit: r.merit(self.recipe.best_by) };
        let better = self.at.best.is_none_or(|best| now.merit < best.merit);
        let percent = |error: f64| 100.0 * (1.0 - error);
        let row = [r.train_loss, r.eval_loss, percent(r.eval_top1_error), percent(r.eval_top5_error), r.lr];
        let mut record = r.record(better);
        watched.into_iter().for_each(|(key, value)| record[key] = value);
        self.folder.log(&record)?;
        self.folder.summarize(&row, r.epoch)?;
        self.at.epochs.push(report);
        if better {
            self.at.best = Some(now);
        }
        self.save_weights(better)?;
        self.tell_events(&found.metrics)?;
        // The best epoch is shown, or the latest where the best was in another process.
        let best = self.at.best.unwrap_or(now).epoch;
        if self.world.leads() {
            if better || self.judged.as_ref().is_none_or(|judged| judged.epoch != best) {
                self.judged = Some(self.pictured(found)?);
            }
            let written = self.draw();
            self.judge(written)?;
        }
        let best = self.at.best.unwrap_or(now);
        self.progress.epoch(&self.at.epochs[self.at.epochs.len() - 1], (best.epoch, best.error));
        Ok(())
    }

    /// Remembers the pictures that were left out, those of all ranks.
    pub(super) fn note_skipped(&mut self, skipped: &[Skipped]) -> Result<()> {
        let mut new: Vec<Skipped> =
            skipped.iter().filter(|s| !self.at.skipped.contains(s)).cloned().collect();
        if self.world.size() > 1 {
            let all = self.world.gather("pictures left out", serde_json::to_vec(&new)?)?;
            let all = all.iter().map(|part| serde_json::from_slice::<Vec<Skipped>>(part));
            new = all.collect::<Result<Vec<_>, _>>()?.concat();
            new.retain(|skipped| !self.at.skipped.contains(skipped));
        }
        new.iter().for_each(|s| self.progress.line(&format!("left out: {}: {}", s.name, s.reason)));
        self.at.skipped.extend(new);
        Ok(())
    }

    /// Ends the run: the number of pictures left out goes to the log, and all that is known comes back.
    pub fn finish(mut self) -> Result<Summary> {
        self.progress.finish();
        // A report of another process is not replaced by one that knows less.
        if self.world.leads() && (self.judged.is_some() || !self.folder.file("report.html").exists()) {
            let written = self.draw();
            self.judge(written)?;
        }
        let skipped = &self.at.skipped;
        if !skipped.is_empty() {
            self.folder.log(&json!({ "kind": "skipped", "count": skipped.len(), "pictures": skipped }))?;
            say(&format!(
                "{} could not be read: left out, and listed in log.jsonl",
                counted(skipped.len(), "picture")
            ));
        }
        if let Some(reason) = self.unsaved {
            bail!(
                "the weights of the last epoch are not saved: {reason}; make room and go on with --resume {}",
                self.folder.path().display()
            );
        }
        let graph = self.engine.graph().without_aux();
        Ok(Summary {
            net: self.metadata.net.clone(),
            parameters: graph.parameter_count(),
            macs: graph.macs(),
            best_epoch: self.at.best.map_or(0, |best| best.epoch),
            seconds: self.at.seconds,
            skipped: skipped.len(),
            epochs: self.at.epochs,
        })
    }

    /// Epochs finished so far.
    pub fn epochs(&self) -> &[EpochReport] {
        &self.at.epochs
    }

    /// The run's folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Error of the best epoch so far.
    pub fn best_error(&self) -> Option<f64> {
        self.at.best.map(|best| best.error)
    }
}
