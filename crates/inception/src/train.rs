//! Training: the loop, on one page.
//!
//! ```text
//! for epoch:  for batch:  lr = schedule(step);  engine.train_step;  log
//!             evaluate the average weights on val;  save last, and best where it is;  log, summary, curves
//! ```

mod report;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use inception_cpu::Device;
use inception_graph::{Spec, Weights, build};

use crate::checkpoint::Metadata;
use crate::data::{Cache, Dataset, Loader, Request, Skipped, Splits, Transform, shuffled};
use crate::engine::{Cpu, Engine, Keep, StepError, StepOptions, Use};
use crate::evaluate::evaluate;
use crate::exit::UsageError;
use crate::interrupt;
use crate::progress::{Progress, Style};
use crate::recipe::Recipe;
use crate::run_dir::RunDir;

use report::{Best, Running};
pub use report::{EpochReport, Summary};

/// Bytes of decoded pictures that stay in memory between epochs.
const CACHE: usize = 1 << 30;

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
    folder: RunDir,
    progress: Progress,
    metadata: Metadata,
    steps_per_epoch: usize,
    step: usize,
    epochs: Vec<EpochReport>,
    best: Option<Best>,
    skipped: Vec<Skipped>,
    time: Duration,
}

/// The network that a recipe asks for, with `classes` outputs.
pub fn spec(recipe: &Recipe, classes: usize) -> Result<Spec> {
    let net = recipe
        .net
        .clone()
        .ok_or_else(|| UsageError("no network: give one with -m, for example -m inception_v4".into()))?;
    Ok(Spec { net, img_size: recipe.img_size, width: recipe.width, classes: Some(classes), embedding: None })
}

impl Run {
    /// Initial weights on the CPU.
    pub fn new(job: Job, folder: RunDir) -> Result<Run> {
        let graph = build(&spec(&job.recipe, job.splits.train.classes.len())?)?;
        let weights = Weights::init(&graph, job.recipe.seed);
        let engine = Box::new(Cpu::new(graph, weights, job.device.clone()).keeping(job.keep));
        Run::with_engine(job, folder, engine)
    }

    /// Any engine, its weights as they are.
    pub fn with_engine(job: Job, folder: RunDir, engine: Box<dyn Engine>) -> Result<Run> {
        let Job { recipe, recipe_name, splits, workers, log_interval, progress, .. } = job;
        let (pictures, batch) = (splits.train.samples.len(), recipe.batch_size);
        if pictures < batch {
            let text = format!(
                "batch_size {batch} is more than the {pictures} training pictures: give -b {pictures} or less"
            );
            return Err(UsageError(text).into());
        }
        let mut metadata = Metadata::new(engine.graph(), splits.train.classes.clone(), recipe.eval);
        metadata.provenance.recipe = Some(recipe_name);
        metadata.provenance.data = splits.train.root.file_name().map(|n| n.to_string_lossy().into_owned());
        let steps_per_epoch = pictures / batch;
        Ok(Run {
            steps_per_epoch,
            progress: Progress::new(progress, (recipe.epochs * steps_per_epoch * batch) as u64),
            train: Arc::new(splits.train),
            val: Arc::new(splits.val),
            cache: Cache::new(CACHE),
            metadata,
            recipe,
            engine,
            workers,
            log_interval,
            folder,
            step: 0,
            epochs: Vec::new(),
            best: None,
            skipped: Vec::new(),
            time: Duration::ZERO,
        })
    }

    /// One pass over the training pictures, then an evaluation.
    pub fn epoch(&mut self) -> Result<Flow> {
        let start = Instant::now();
        let mut running = Running::default();
        let mut batches = self.batches(true);
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let options = self.step_options();
            let taken = self.engine.train_step(&batch, &options).map_err(|e| self.diverged(e))?;
            self.step += 1;
            running.add(&taken, batch.len());
            let state = self.state(&running, options.lr);
            self.progress.advance(batch.len(), &state);
            if self.step.is_multiple_of(self.log_interval) {
                let wait = batches.waited().as_secs_f64() / start.elapsed().as_secs_f64();
                self.log_step(
                    &taken,
                    batch.len(),
                    options.lr,
                    running.count as f64 / start.elapsed().as_secs_f64(),
                    wait,
                )?;
            }
            if interrupt::asked() {
                self.time += start.elapsed();
                self.save("last.safetensors")?;
                return Ok(Flow::Stopped);
            }
        }
        self.note_skipped(batches.skipped());
        let lr = self.recipe.schedule.lr(self.step.saturating_sub(1), self.steps_per_epoch, self.steps());
        let mut batches = self.batches(false);
        let classes = self.engine.graph().classes();
        let found = evaluate(classes, |batch| self.engine.predict(batch, Use::Average), batches.by_ref())?;
        self.note_skipped(batches.skipped());
        self.time += start.elapsed();
        self.finish_epoch(EpochReport::new(
            self.epochs.len() + 1,
            self.step,
            &running,
            &found.metrics,
            lr,
            start.elapsed(),
        ))?;
        Ok(Flow::Done)
    }

    /// Whether all epochs are done.
    pub fn is_finished(&self) -> bool {
        self.epochs.len() >= self.recipe.epochs
    }

    /// Steps of the whole run.
    fn steps(&self) -> usize {
        self.recipe.epochs * self.steps_per_epoch
    }

    fn step_options(&self) -> StepOptions {
        let Recipe { weight_decay, clip_grad, label_smoothing, bn_decay, ema_decay, seed, .. } = self.recipe;
        // TensorFlow's warm-up of a moving average; batch norm's running statistics need it as much, or evaluation of
        // the first epochs meets statistics that are still half their initial values, layer upon layer.
        let early = (1.0 + self.step as f32) / (10.0 + self.step as f32);
        StepOptions {
            optimizer: self.recipe.optimizer.rule(),
            lr: self.recipe.schedule.lr(self.step, self.steps_per_epoch, self.steps()) as f32,
            weight_decay,
            clip_grad: (clip_grad > 0.0).then_some(clip_grad),
            label_smoothing,
            bn_decay: bn_decay.min(early),
            ema_decay: (ema_decay > 0.0).then_some(ema_decay.min(early)),
            random: [seed, self.step as u64],
            micro_batch: NonZeroUsize::new(self.recipe.micro_batch),
        }
    }

    /// Batches of the next epoch's training, or of the evaluation.
    fn batches(&self, training: bool) -> Loader {
        let epoch = self.epochs.len() as u64;
        let dataset = if training { &self.train } else { &self.val }.clone();
        let count = dataset.samples.len();
        let seed = self.recipe.seed;
        Loader::new(Request {
            order: if training { shuffled(count, seed, epoch) } else { (0..count).collect() },
            transform: if training {
                Transform::Train(self.recipe.train, [seed, epoch])
            } else {
                Transform::Eval
            },
            preprocessing: self.metadata.preprocessing,
            dataset,
            side: self.engine.graph().img_size(),
            batch_size: self.recipe.batch_size,
            drop_last: training,
            on_bad: self.recipe.on_bad,
            workers: self.workers,
            cache: self.cache.clone(),
        })
    }

    fn diverged(&self, error: StepError) -> anyhow::Error {
        let saved = match self.epochs.last() {
            Some(epoch) => format!(
                "epoch {} is saved in {}",
                epoch.epoch,
                self.folder.file("last.safetensors").display()
            ),
            None => "no epoch was finished, so nothing is saved".into(),
        };
        anyhow!(error).context(format!(
            "step {} of epoch {} was not taken ({saved}); lower the rate (--lr, now {}), clip gradients (--clip-grad 2) or lengthen the warm-up",
            self.step + 1,
            self.epochs.len() + 1,
            self.recipe.schedule.lr,
        ))
    }

    /// Saves the weights that are evaluated.
    fn save(&mut self, name: &str) -> Result<()> {
        self.metadata.step = self.step as u64;
        self.metadata.epoch = self.epochs.len() as u64;
        let path = self.folder.file(name);
        let save = crate::checkpoint::save(&path, &self.engine.weights(Use::Average), &self.metadata);
        save.context("saving a checkpoint; nothing of an earlier one is lost")
    }
}
