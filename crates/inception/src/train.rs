//! Training: the loop, on one page.
//!
//! ```text
//! for epoch:  for batch:  lr = schedule(step);  engine.train_step;  log;  save the state from time to time
//!             evaluate the average weights on val;  save last, and best where it is;  log, summary, curves, report
//! ```
//! A run that goes on from a state takes the steps that it would have taken, bit by bit: batches, distortions and rates are
//! functions of the seed and of where it stands.

mod html;
mod learning;
mod page;
mod report;
mod saving;
mod sharing;
mod start;
mod state;
mod watching;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use inception_cpu::Device;
use inception_graph::{Graph, Spec, build};
use serde_json::json;

use crate::checkpoint::Metadata;
use crate::data::{Batch, Cache, Dataset, Loader, Request, Splits, Transform, shuffled};
use crate::engine::{
    Cpu, Engine, Keep, Learning, Part as OfBatch, StepError, StepOptions, Together, Use, Wire,
};
use crate::exit::UsageError;
use crate::interrupt;
use crate::progress::{Plan, Progress, Step, Style};
use crate::ranks::{self, World};
use crate::recipe::{NormMode, Recipe};
use crate::run_dir::RunDir;
use crate::sheet;
use crate::tensorboard::Events;

use html::Judged;
pub use learning::learning;
use report::Running;
pub use report::{EpochReport, Summary};
use saving::Trouble;
pub use saving::{OnSaveError, Saving};
pub use sharing::agree;
pub use start::{Start, other_classes};
use state::{Origin, Position};

/// Bytes of decoded pictures that stay in memory between epochs.
pub(crate) const CACHE: usize = 1 << 30;

/// A loss so many times that of guessing, for so many steps in a row, is no training any more.
const EXPLODED: f32 = 10.0;
const EXPLODED_STEPS: usize = 20;

/// What is needed to train one network.
pub struct Job {
    /// All values, `net` among them.
    pub recipe: Recipe,
    /// Name of the recipe, for the checkpoint's provenance.
    pub recipe_name: String,
    /// The pictures.
    pub splits: Splits,
    /// What it runs on.
    pub device: Device,
    /// What is kept for the gradient.
    pub keep: Keep,
    /// Decoding threads.
    pub workers: usize,
    /// Steps between two records of the log.
    pub log_interval: usize,
    /// How progress is shown.
    pub progress: Style,
    /// What is kept on the disk.
    pub saving: Saving,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The epoch is done.
    Done,
    /// The user asked for an end; what there is has been saved.
    Stopped,
}

/// A network in training. Advance it with [`Run::epoch`].
pub struct Run {
    recipe: Recipe,
    engine: Box<dyn Engine>,
    train: Arc<Dataset>,
    val: Arc<Dataset>,
    cache: Cache,
    workers: usize,
    log_interval: usize,
    /// Who takes the same steps.
    world: &'static World,
    folder: RunDir,
    progress: Progress,
    metadata: Metadata,
    steps_per_epoch: usize,
    saving: Saving,
    /// How much the loss of a picture of each class counts; empty where all count alike.
    factors: Vec<f32>,
    origin: Origin,
    at: Position,
    /// When the last state was saved.
    saved: Instant,
    /// Why the latest weights are not on the disk, if they are not.
    unsaved: Option<String>,
    events: Events,
    /// The evaluation that the report shows in detail.
    judged: Option<Judged>,
}

/// Training pictures that running statistics are measured on.
pub(crate) const SAMPLE: usize = 2048;

/// Pictures of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Those that are left to learn from, distorted.
    Train,
    /// Some of them as they are in evaluation.
    Sample,
    /// Those to judge by.
    Val,
}

/// How the training part of an epoch ended.
enum Trained {
    All,
    Stopped,
    /// The run has gone back to an earlier state.
    RolledBack,
}

/// The network that a recipe asks for, with `classes` outputs, and with its auxiliary head where the head's loss counts.
pub fn spec(recipe: &Recipe, classes: usize) -> Result<Spec> {
    let net = recipe
        .net
        .clone()
        .ok_or_else(|| UsageError("no network: give one with -m, for example -m inception_v4".into()))?;
    let Recipe { img_size, width, residual_scale, .. } = *recipe;
    let spec = Spec { img_size, width, residual_scale, aux: recipe.aux_weight > 0.0, ..Spec::new(net) };
    Ok(spec.classes(classes))
}

/// Whether the run in `folder` is at the end of `recipe`, its last state saved.
pub fn is_finished(folder: &Path, recipe: &Recipe) -> Result<bool> {
    let Some(latest) = state::list(folder)?.into_iter().next() else { return Ok(false) };
    // A state that cannot be read is named, and passed over, by whoever goes on with the run.
    Ok(state::position(&latest).is_ok_and(|position| position.is_finished(recipe)))
}

impl Run {
    /// Initial weights on the CPU.
    pub fn new(job: Job, folder: RunDir) -> Result<Run> {
        let graph = build(&spec(&job.recipe, job.splits.train.classes.len())?)?;
        let start = Start::new(&graph, job.recipe.seed);
        Run::from(job, folder, graph, start)
    }

    /// The weights of `start` on the CPU.
    pub fn from(job: Job, folder: RunDir, graph: Graph, start: Start) -> Result<Run> {
        let Start { weights, preprocessing, file } = start;
        let engine = Box::new(Cpu::new(graph, weights, job.device.clone()).keeping(job.keep));
        let mut run = Run::with_engine(job, folder, engine)?;
        if let Some(preprocessing) = preprocessing {
            run.metadata.preprocessing = preprocessing;
        }
        run.metadata.provenance.start = file;
        run.origin.metadata = run.metadata.clone();
        Ok(run)
    }

    /// Any engine, its weights as they are.
    pub fn with_engine(job: Job, folder: RunDir, mut engine: Box<dyn Engine>) -> Result<Run> {
        let Job { recipe, recipe_name, splits, workers, log_interval, progress, saving, .. } = job;
        let world = ranks::world();
        let (pictures, batch) = (splits.train.samples.len(), recipe.batch_size);
        if batch < world.size() {
            let text = format!(
                "batch_size {batch}: each of {} ranks needs a picture of every batch: give -b {} or more",
                world.size(),
                world.size()
            );
            return Err(UsageError(text).into());
        }
        if pictures < batch {
            let text = format!(
                "batch_size {batch} is more than the {pictures} training pictures: give -b {pictures} or less"
            );
            return Err(UsageError(text).into());
        }
        let learning = learning(engine.graph(), &recipe)?;
        if learning != Learning::all(engine.graph()) {
            engine.set_learning(learning);
        }
        let mut metadata = Metadata::new(engine.graph(), splits.train.classes.clone(), recipe.eval);
        metadata.provenance.recipe = Some(recipe_name);
        metadata.provenance.data = splits.train.root.file_name().map(|n| n.to_string_lossy().into_owned());
        let steps_per_epoch = pictures / batch;
        let factors = recipe.class_weights.factors(&splits.train);
        let origin = Origin {
            metadata: metadata.clone(),
            train: splits.train.fingerprint(),
            val: splits.val.fingerprint(),
        };
        let graph = engine.graph();
        let plan = Plan {
            title: format!("{} at {} px", graph.spec().net, graph.img_size()),
            folder: folder.path().display().to_string(),
            epochs: recipe.epochs,
            steps_per_epoch,
            batch_size: batch,
            log_interval,
        };
        let run = Run {
            steps_per_epoch,
            progress: Progress::of_run(progress, plan),
            world,
            train: Arc::new(splits.train),
            val: Arc::new(splits.val),
            cache: Cache::new(CACHE),
            metadata,
            recipe,
            engine,
            workers,
            log_interval,
            events: Events::new(folder.path()),
            folder,
            saving,
            factors,
            origin,
            at: Position::default(),
            saved: Instant::now(),
            unsaved: None,
            judged: None,
        };
        run.check_space()?;
        Ok(run)
    }

    /// One pass over the training pictures, or what is left of one, then an evaluation.
    pub fn epoch(&mut self) -> Result<Flow> {
        // There is a state to go back to from the first step on.
        if self.at.step == 0 {
            self.save_state()?;
        }
        let exchange = self.world.exchange();
        let seconds = loop {
            let start = Instant::now();
            match self.steps_of_epoch(start)? {
                Trained::All => break start.elapsed(),
                Trained::Stopped => return Ok(Flow::Stopped),
                Trained::RolledBack => {}
            }
        };
        let exchange = self.world.exchange().since(exchange);
        let start = Instant::now();
        let lr = self.lr(self.at.step.saturating_sub(1));
        self.recalibrate()?;
        let Some(found) = self.validate(Use::Average)? else { return self.stop() };
        let Some(mut watched) = self.watched()? else { return self.stop() };
        if let Some(hidden) = exchange.hidden() {
            let [seconds, waited] = [exchange.in_flight, exchange.waited].map(|time| time.as_secs_f64());
            watched.insert("sums".into(), json!({ "seconds": seconds, "waited": waited, "hidden": hidden }));
        }
        self.at.seconds += start.elapsed().as_secs_f64();
        let report = EpochReport::new(
            self.at.epochs.len() + 1,
            self.at.step,
            &self.at.running,
            &found.metrics,
            lr,
            seconds + start.elapsed(),
        );
        (self.at.running, self.at.used) = (Running::default(), 0);
        self.check_weights()?;
        self.finish_epoch(report, found, watched)?;
        self.save_state()?;
        Ok(Flow::Done)
    }

    /// Running statistics of the average weights become those of training pictures, where the recipe wants it.
    fn recalibrate(&mut self) -> Result<()> {
        if self.recipe.batch_norm == NormMode::Recalibrate {
            self.world.doing(|| "running statistics".into());
            let mut batches = self.batches(Part::Sample);
            self.engine.recalibrate(&mut batches, self.world.peers())?;
        }
        Ok(())
    }

    /// The steps that are left of an epoch.
    fn steps_of_epoch(&mut self, start: Instant) -> Result<Trained> {
        let mut batches = self.batches(Part::Train);
        let (begun, used) = (self.at.running.count, self.at.used);
        let (mut now, mut judging, mut judged) = (start, Duration::ZERO, None);
        loop {
            self.world.doing(|| format!("reading pictures for step {}", self.at.step + 1));
            let Some(batch) = batches.next() else { break };
            // Once, though a batch without pictures is no step.
            if self.is_judged_midway() && judged != Some(self.at.step) {
                judged = Some(self.at.step);
                let Some(time) = self.judge_midway()? else {
                    self.stop()?;
                    return Ok(Trained::Stopped);
                };
                judging += time;
                now = Instant::now();
            }
            let batch = self.prepare(batch?, self.at.step);
            let options = self.step_options();
            self.world.doing(|| format!("step {}", self.at.step + 1));
            let others = self.world.peers().map(|peers| Together { part: self.part(), peers });
            let taken = match self.engine.train_step(&batch, &options, others) {
                Ok(taken) => taken,
                // No step, as where one rank alone finds nothing in a batch.
                Err(StepError::Empty) => continue,
                Err(StepError::Lost(why)) => return Err(StepError::Lost(why).into()),
                Err(error) => {
                    self.roll_back(&Trouble::Step(error), &batch.indices)?;
                    return Ok(Trained::RolledBack);
                }
            };
            let graph = self.engine.graph();
            let losses = 1.0 + graph.aux_logits().map_or(0.0, |_| options.aux_weight);
            let guessing = losses * (graph.classes() as f32).ln().max(1.0);
            self.at.exploding = if taken.loss > EXPLODED * guessing { self.at.exploding + 1 } else { 0 };
            if self.at.exploding == EXPLODED_STEPS {
                self.roll_back(&Trouble::Exploding(taken.loss), &batch.indices)?;
                return Ok(Trained::RolledBack);
            }
            self.at.step += 1;
            self.at.used = used + self.of_all(batches.position());
            self.at.running.add(&taken);
            self.at.seconds += now.elapsed().as_secs_f64();
            now = Instant::now();
            let seconds = (start.elapsed() - judging).as_secs_f64();
            let (rate, wait) =
                ((self.at.running.count - begun) as f64 / seconds, batches.waited().as_secs_f64() / seconds);
            let step = Step { lr: options.lr, images_per_s: rate, data_wait: wait, ..self.told(&taken) };
            self.progress.step(&step);
            if self.at.step.is_multiple_of(self.log_interval) {
                self.log_step(&step)?;
            }
            batches.reuse(batch);
            let flags = [interrupt::asked(), self.world.leads() && self.is_state_due()];
            let [asked, is_due] = self.world.any("signals", flags)?;
            if asked || is_due {
                self.note_skipped(batches.skipped())?;
                if asked {
                    self.stop()?;
                    return Ok(Trained::Stopped);
                }
                self.save_state()?;
            }
        }
        self.note_skipped(batches.skipped())?;
        self.at.used = used + self.of_all(batches.position());
        Ok(Trained::All)
    }

    /// Saves where the run stands, to go on from there another time.
    fn stop(&mut self) -> Result<Flow> {
        self.save_state()?;
        self.save_weights(false)?;
        Ok(Flow::Stopped)
    }

    /// Whether all epochs are done.
    pub fn is_finished(&self) -> bool {
        self.at.is_finished(&self.recipe)
    }

    /// Whether the run ends before its time, because no epoch has been better than the best for long.
    pub fn has_lost_patience(&self) -> bool {
        self.at.has_lost_patience(&self.recipe)
    }

    /// A batch as the step takes it: its pictures mixed, its classes weighted.
    fn prepare(&self, mut batch: Batch, step: usize) -> Batch {
        let Recipe { micro_batch, seed, .. } = self.recipe;
        let size = if micro_batch > 0 { micro_batch } else { batch.len() };
        self.recipe.mix.apply(&mut batch, size, [seed, step as u64, self.part().first as u64]);
        if !self.factors.is_empty() {
            let factor = |label: u32| self.factors[label as usize];
            let weight = |i: usize| {
                let own = factor(batch.labels[i]);
                batch.mixed.get(i).map_or(own, |other| own + other.share * (factor(other.label) - own))
            };
            batch.weights = (0..batch.len()).map(weight).collect();
        }
        batch
    }

    /// Contact sheets in the run's folder: distorted pictures in `images.png`, the first batches as they are mixed in `mixed.png`.
    pub fn save_images(&self) -> Result<()> {
        let Recipe { train, seed, mix, .. } = &self.recipe;
        let (preprocessing, side) = (&self.metadata.preprocessing, self.engine.graph().img_size());
        let path = self.folder.file("images.png");
        sheet::distortions(&path, &self.train, train, preprocessing, side, *seed)?;
        if mix.mixup + mix.cutmix > 0.0 {
            let first = self.batches(Part::Train).zip(self.at.step..);
            let mixed = first.map(|(batch, step)| Ok(self.prepare(batch?, step)));
            sheet::batches(&self.folder.file("mixed.png"), mixed, preprocessing, side)?;
        }
        Ok(())
    }

    /// Steps of the whole run.
    fn steps(&self) -> usize {
        self.recipe.epochs * self.steps_per_epoch
    }

    /// Learning rate of the step after `step` others.
    fn lr(&self, step: usize) -> f64 {
        self.at.lr_factor * self.recipe.schedule.lr(step, self.steps_per_epoch, self.steps())
    }

    fn step_options(&self) -> StepOptions {
        let Recipe { weight_decay, clip_grad, label_smoothing, aux_weight, .. } = self.recipe;
        let Recipe { bn_decay, ema_decay, seed, .. } = self.recipe;
        // TensorFlow's warm-up of a moving average; batch norm's running statistics need it as much, or evaluation of
        // the first epochs meets statistics that are still half their initial values, layer upon layer.
        let step = self.at.step;
        let early = (1.0 + step as f32) / (10.0 + step as f32);
        StepOptions {
            optimizer: self.recipe.optimizer.rule(),
            lr: self.lr(step) as f32,
            weight_decay,
            clip_grad: (clip_grad > 0.0).then_some(clip_grad),
            label_smoothing,
            aux_weight,
            bn_decay: bn_decay.min(early),
            ema_decay: (ema_decay > 0.0).then_some(ema_decay.min(early)),
            random: [seed, step as u64],
            micro_batch: NonZeroUsize::new(self.recipe.micro_batch),
            sync_norm: self.recipe.sync_norm,
            wire: if self.recipe.bf16_sums { Wire::Bf16 } else { Wire::F32 },
        }
    }

    /// Which pictures of a batch are this rank's.
    fn part(&self) -> OfBatch {
        let batch = self.recipe.batch_size;
        OfBatch { first: self.world.share(batch).start, batch }
    }

    /// Positions of all ranks where this one's loader has come to `position` of its own.
    fn of_all(&self, position: usize) -> usize {
        position / self.world.share(self.recipe.batch_size).len() * self.recipe.batch_size
    }

    /// Some validation pictures once more, one a batch.
    fn again(&self, order: Vec<usize>) -> Loader {
        Loader::new(Request { order, batch_size: 1, ..self.request(Part::Val) })
    }

    /// The pictures of this rank.
    fn batches(&self, part: Part) -> Loader {
        Loader::new(self.request(part))
    }

    fn request(&self, part: Part) -> Request {
        let epoch = self.at.epochs.len() as u64;
        let (seed, batch) = (self.recipe.seed, self.recipe.batch_size);
        let own = self.world.share(batch);
        let dataset = if part == Part::Val { &self.val } else { &self.train }.clone();
        let count = dataset.samples.len();
        let mut order = match part {
            Part::Train => self.recipe.sampling.order(&dataset, seed, epoch),
            Part::Sample => shuffled(count, seed, epoch),
            Part::Val => (0..count).collect(),
        };
        match part {
            Part::Train => {
                // Whole batches, of which the first have had their turn.
                order.truncate(self.steps_per_epoch * batch);
                order.drain(..self.at.used.min(order.len()));
                order = order.chunks(batch).flat_map(|batch| &batch[own.clone()]).copied().collect();
            }
            // Whole batches for each.
            Part::Sample => {
                order.truncate((SAMPLE / batch).max(1) * batch);
                order =
                    order.chunks(batch).flat_map(|batch| batch.get(own.clone())).flatten().copied().collect();
            }
            Part::Val => order = order[self.world.share(count)].to_vec(),
        }
        Request {
            order,
            transform: match part {
                Part::Train => Transform::Train(self.recipe.train, [seed, epoch]),
                Part::Sample | Part::Val => Transform::Eval,
            },
            preprocessing: self.metadata.preprocessing,
            dataset,
            side: self.engine.graph().img_size(),
            // Statistics are those of groups as they are trained.
            batch_size: match self.recipe.micro_batch {
                size @ 1.. if part == Part::Sample => size.min(own.len()),
                _ => own.len(),
            },
            drop_last: part != Part::Val,
            // All take part in every step.
            keep_empty: part == Part::Train && self.world.size() > 1,
            on_bad: self.recipe.on_bad,
            workers: self.workers,
            cache: self.cache.clone(),
        }
    }
}
