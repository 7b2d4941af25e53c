//! From what is asked for to a run that can begin, or go on.

use std::path::{Path, PathBuf};

use anyhow::Result;
use inception_cpu::{Device, Keep, TrainNeeds};
use inception_graph::{Graph, Spec, build};
use serde_json::json;

use super::flags::{BatchSize, RunArgs};
use super::resume::Begun;
use super::telling::{describe, describe_network};
use crate::checkpoint::{self, Checkpoint};
use crate::data::folder::{Division, divide};
use crate::data::storage;
use crate::exit::{BadData, UsageError};
use crate::interrupt;
use crate::memory;
use crate::progress::say;
use crate::ranks;
use crate::recipe::Recipe;
use crate::run_dir::{RunDir, environment, timestamp};
use crate::train::{Job, Run, Start, agree, other_classes, spec};

/// A run that is asked for.
pub(in crate::cmd) struct Asked<'a> {
    /// Flags.
    pub(in crate::cmd) args: &'a RunArgs,
    /// All values.
    pub(in crate::cmd) recipe: Recipe,
    /// Name of the recipe that they began with.
    pub(in crate::cmd) recipe_name: String,
    /// Where the pictures are; where the run that goes on has them, if not given.
    pub(in crate::cmd) data: Option<PathBuf>,
    /// Weights to start from.
    pub(in crate::cmd) weights: Option<PathBuf>,
    /// Whether a new classifier is put on them.
    pub(in crate::cmd) new_head: bool,
    /// Folder of the run's folder.
    pub(in crate::cmd) output: &'a Path,
    /// The name of that.
    pub(in crate::cmd) name: Option<String>,
    /// The run that goes on.
    pub(in crate::cmd) begun: Option<Begun>,
}

impl Asked<'_> {
    /// The run, where it begins or goes on, and the folder of its pictures.
    pub(in crate::cmd) fn prepare(self) -> Result<(Run, PathBuf)> {
        let Asked { args, mut recipe, recipe_name, begun, .. } = self;
        let weights = self.weights.or_else(|| begun.as_ref()?.weights());
        let new_head = self.new_head || begun.as_ref().is_some_and(Begun::has_new_head);
        let checkpoint = weights.as_ref().map(|file| open_start(file, args, &mut recipe)).transpose()?;
        // Names and sizes are judged before the pictures are looked at.
        network(&recipe, 2)?;
        let (device, keep, saving) = (args.device.device()?, args.keep(), args.saving()?);
        let root = self.data.or_else(|| begun.as_ref()?.data());
        let root = root.ok_or_else(|| UsageError("no DATA folder".into()))?;
        let val_split = args.val_split.or_else(|| begun.as_ref()?.val_split());
        let allow_missing = args.allow_missing || begun.as_ref().is_some_and(Begun::may_miss_classes);
        let mut splits = divide(&root, Division { val_split, seed: recipe.seed, allow_missing })?;
        if let Some(Checkpoint { metadata, .. }) = checkpoint.as_ref().filter(|_| !new_head) {
            if let Some(problem) = other_classes(metadata, &splits.train.classes) {
                return Err(UsageError(problem).into());
            }
            splits.train = splits.train.join(&metadata.classes, |_| false)?;
            splits.val = splits.val.join(&metadata.classes, |_| allow_missing)?;
        }
        describe(&splits);
        let graph = network(&recipe, splits.train.classes.len())?;
        let start = match (&checkpoint, &weights) {
            (Some(checkpoint), Some(file)) => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                Start::from(checkpoint, &name, &graph, new_head, recipe.seed)?
            }
            _ => Start::new(&graph, recipe.seed),
        };
        drop(checkpoint);
        let world = ranks::world();
        if args.batch_size == Some(BatchSize::Auto) && world.size() > 1 {
            return Err(UsageError(
                "--batch-size auto is of one rank: give a number, pictures of all ranks".into(),
            )
            .into());
        }
        if args.batch_size == Some(BatchSize::Auto) {
            recipe.batch_size = match begun.as_ref().and_then(Begun::recipe) {
                Some(begun) => begun.batch_size,
                None => largest_batch(&recipe, &graph, &device, keep, splits.train.samples.len())?,
            };
        }
        agree(world, &recipe, device.isa.name(), &splits)?;
        let net = graph.spec().net.clone();
        let mut env = environment(device.isa.name(), device.pool.threads());
        env["data"] = json!(storage::absolute(&root).to_string_lossy());
        env["val_split"] = json!(val_split);
        env["allow_missing"] = json!(allow_missing);
        env["classes_not_judged"] = json!(splits.val.empty_classes());
        env["classes_left_out"] = json!(splits.left_out);
        env["weights"] = json!(
            weights.map(|file| std::path::absolute(&file).unwrap_or(file).to_string_lossy().into_owned())
        );
        env["new_head"] = json!(new_head);
        env["ranks"] = json!(world.size());
        let folder = match &begun {
            _ if !world.leads() => RunDir::of_another(self.output.join(self.name.unwrap_or_default())),
            Some(begun) => {
                begun.check(&recipe)?;
                RunDir::reopen(begun.folder.clone(), &recipe.dump(), &env)?
            }
            None => {
                let name = self.name.unwrap_or_else(|| format!("{}-{net}-{}", timestamp(), graph.img_size()));
                RunDir::create(self.output, &name, &recipe.dump(), &env)?
            }
        };
        let evaluated = graph.without_aux();
        say(&format!(
            "{net} at {} px, width {}: {} parameters, {:.1} M MACs a picture; run folder {}",
            graph.img_size(),
            recipe.width,
            evaluated.parameter_count(),
            evaluated.macs() as f64 / 1e6,
            folder.path().display()
        ));
        describe_network(&recipe, &graph, start.file.is_some());
        interrupt::catch()?;
        let job = Job {
            workers: args.workers.unwrap_or(device.pool.threads()).max(1),
            recipe,
            recipe_name,
            splits,
            device,
            keep,
            log_interval: args.log_interval as usize,
            progress: args.progress,
            saving,
        };
        let mut run = Run::from(job, folder, graph, start)?;
        run.share_weights()?;
        if begun.is_some() {
            match run.resume(&env)? {
                Some(step) => say(&format!("going on after step {step}, epoch {}", run.epochs().len() + 1)),
                None => say("nothing was saved yet: the run begins"),
            }
        }
        Ok((run, root))
    }
}

/// The network that `recipe` asks for, with `classes` outputs.
pub(in crate::cmd) fn network(recipe: &Recipe, classes: usize) -> Result<Graph> {
    let spec = spec(recipe, classes)?;
    build(&spec).map_err(|error| match build(&Spec { aux: false, ..spec }) {
        Ok(_) => UsageError(format!("{error}, or train without the head: --set aux_weight=0")).into(),
        Err(error) => error.into(),
    })
}

/// Opens the file that the training starts from; `recipe` gets its network, width and size.
fn open_start(file: &Path, args: &RunArgs, recipe: &mut Recipe) -> Result<Checkpoint> {
    let checkpoint = checkpoint::open(file, recipe.net.as_deref(), false)?;
    let metadata = &checkpoint.metadata;
    if let Some(doubt) = checkpoint.doubts.first() {
        return Err(BadData(format!(
            "{}: {}; convert it first, with {}",
            file.display(),
            doubt.reason,
            doubt.setting.flag()
        ))
        .into());
    }
    if let Some(width) = args.width.filter(|&width| width != metadata.width) {
        let text =
            format!("--width {width}: the weights in {} are of width {}", file.display(), metadata.width);
        return Err(UsageError(text).into());
    }
    if let Some(embedding) = metadata.embedding {
        let text = format!(
            "-w {}: its embedding of {embedding} values is not the network's own, and such networks cannot be fine-tuned",
            file.display()
        );
        return Err(UsageError(text).into());
    }
    recipe.net = Some(metadata.net.clone());
    recipe.width = metadata.width;
    recipe.residual_scale = metadata.residual_scale;
    recipe.img_size = recipe.img_size.or(Some(metadata.img_size));
    Ok(checkpoint)
}

/// `--batch-size auto`.
fn largest_batch(
    recipe: &Recipe,
    graph: &Graph,
    device: &Device,
    keep: Keep,
    pictures: usize,
) -> Result<usize> {
    let none = "--batch-size auto: this system does not say how much memory there is; give a number";
    let allowed = memory::available().ok_or_else(|| UsageError(none.into()))?;
    let (rule, average) = (recipe.optimizer.rule(), recipe.ema_decay > 0.0);
    let batch = memory::largest_batch(graph, device, keep, &rule, average, allowed, pictures);
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let batch = batch.ok_or_else(|| {
        let needs = TrainNeeds::of(graph, device, 2, Keep::Checkpoints).bytes(&rule, average);
        UsageError(format!(
            "--batch-size auto: not even two pictures fit {:.1} GB of memory; --checkpoint-activations needs {:.1} GB for two, a smaller --img-size or --width less",
            gb(allowed),
            gb(needs as u64)
        ))
    })?;
    say(&format!(
        "batches of {batch} pictures, the most that fit {:.1} GB of memory and the training pictures",
        gb(allowed)
    ));
    Ok(batch)
}
