//! `inception train`: from a folder of pictures to a run.

mod resume;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use inception_cpu::{Device, Keep, TrainNeeds};
use inception_graph::{Graph, Op, Spec, build};

use resume::{Begun, Resume};
use serde_json::json;

use super::device::DeviceArgs;
use super::say_common;
use crate::checkpoint::{self, Checkpoint};
use crate::data::folder::{Division, divide};
use crate::data::{OnBad, Splits, storage};
use crate::exit::{BadData, Exit, UsageError};
use crate::interrupt;
use crate::memory;
use crate::progress::{Style, duration, say};
use crate::recipe::{Recipe, parse_set};
use crate::run_dir::{RunDir, environment, timestamp};
use crate::train::{Flow, Job, OnSaveError, Run, Saving, Start, other_classes, spec};

const EXAMPLES: &str = "\
Examples:
  inception train pictures/ -m inception_resnet_v1 --img-size 128 --width 0.25
  inception train pictures/ -m inception_v4 --val-split 0.1 --epochs 90 --set train.hue=0.1
  inception train pictures/ -w timm.safetensors --new-head --recipe finetune
  inception train --resume output/train/flowers                     go on with a run that was stopped
  inception train --dump-config -m inception_v4 --recipe paper      print the merged recipe";

/// Arguments of `inception train`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// Folder with train/ and val/, each with a folder a class; or with class folders, and --val-split. Lists (.csv, .tsv, .txt), tar
    /// files and TFRecord shards, too: docs/training.md
    #[arg(value_name = "DATA", required_unless_present_any = ["dump_config", "data_dir", "resume"])]
    data: Option<PathBuf>,
    /// DATA, by its name in other tools
    #[arg(long, hide = true, conflicts_with = "data", alias = "data-path")]
    data_dir: Option<PathBuf>,
    /// Network; `inception info` lists them
    #[arg(short, long, value_name = "NET")]
    model: Option<String>,
    /// File of weights to start from, ours or a published one; its network, width and preprocessing are taken over
    #[arg(short, long, value_name = "FILE", alias = "initial-checkpoint")]
    weights: Option<PathBuf>,
    /// Start a new classifier on top of the weights: the classes are those of DATA
    #[arg(long, requires = "weights")]
    new_head: bool,
    /// Layers that stay as they are: a name, or how names begin and a `*`; `!` takes one out again [recipe: freeze]
    #[arg(long, value_name = "LAYER")]
    freeze: Vec<String>,
    /// Recipe: small, paper, momentum, finetune, cifar10, or a TOML file [default: small, or that of the run that goes on]
    #[arg(long, value_name = "NAME|FILE", alias = "config")]
    recipe: Option<String>,
    /// Passes over the training pictures [recipe: epochs]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pictures a step; `auto` for as many as fit the memory that this process may have [recipe: batch_size]
    #[arg(short, long, value_name = "N|auto")]
    batch_size: Option<BatchSize>,
    /// Pictures computed at a time; their gradients add up to the batch's, and batch norm sees each group by itself
    /// [recipe: micro_batch]
    #[arg(long, value_name = "N")]
    micro_batch: Option<usize>,
    /// Keep a few activations for the gradient and compute the others again: less memory, more time, the same bits
    #[arg(long, alias = "grad-checkpointing")]
    checkpoint_activations: bool,
    /// Side of the network's input in pixels [default: the network's own]
    #[arg(long, value_name = "N", alias = "imgsz")]
    img_size: Option<usize>,
    /// Multiplier of every layer's channels [recipe: width]
    #[arg(long, value_name = "F")]
    width: Option<f64>,
    /// Update rule: sgd, rmsprop-tf or adamw [recipe: optimizer.name]
    #[arg(long, value_name = "NAME", alias = "optimizer")]
    opt: Option<String>,
    /// Largest learning rate [recipe: schedule.lr]
    #[arg(long, value_name = "F", alias = "learning-rate")]
    lr: Option<f64>,
    /// Learning rate over time, behind its warm-up: cosine, step or constant [recipe: schedule.name]
    #[arg(long, value_name = "NAME", alias = "lr-scheduler")]
    sched: Option<String>,
    /// L2 penalty on kernels [recipe: weight_decay]
    #[arg(long, value_name = "F", alias = "wd")]
    weight_decay: Option<f64>,
    /// Label smoothing [recipe: label_smoothing]
    #[arg(long, value_name = "F", alias = "label-smoothing")]
    smoothing: Option<f64>,
    /// Largest global norm of a gradient, 0 for none [recipe: clip_grad]
    #[arg(long, value_name = "F", alias = "clip-grad-norm")]
    clip_grad: Option<f64>,
    /// Decay of the weights' moving average, 0 for none [recipe: ema_decay]
    #[arg(long, value_name = "F", alias = "ema-decay")]
    model_ema_decay: Option<f64>,
    /// Seed of everything random [recipe: seed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Share of each class to hold out, where DATA has no val/
    #[arg(long, value_name = "F")]
    val_split: Option<f64>,
    /// Judge by the classes that both splits have in common: those without a validation picture are not judged, validation
    /// pictures of other classes are left out, counted and named
    #[arg(long)]
    allow_missing: bool,
    /// At a picture that cannot be read: stop, or leave it out, count and report it [recipe: on_bad]
    #[arg(long, value_enum, value_name = "error|skip")]
    on_bad: Option<OnBad>,
    /// Any value of the recipe, for example --set optimizer.momentum=0.95
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "output/train", alias = "output-dir")]
    output: PathBuf,
    /// Name of this run's folder [default: time, network, size]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Go on with a run from its latest state, bit by bit as if it had not stopped: the run of --experiment where there is one
    /// (`auto`), or the one in a folder, with its pictures and its recipe
    #[arg(long, value_name = "auto|DIR")]
    resume: Option<Resume>,
    /// Minutes between two states within an epoch; each epoch ends with one
    #[arg(long, value_name = "MIN", default_value_t = 10.0, alias = "checkpoint-interval")]
    save_interval: f64,
    /// States to keep, the latest
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    keep_states: u8,
    /// Epochs whose weights are kept, the best
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), alias = "checkpoint-hist")]
    keep_best: u16,
    /// When something cannot be saved: end the run, or say so and go on
    #[arg(long, value_enum, value_name = "stop|continue", default_value = "stop")]
    on_save_error: OnSaveError,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads that decode pictures [default: as many as compute]
    #[arg(short = 'j', long, value_name = "N")]
    workers: Option<usize>,
    /// Steps between two records of the log
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    log_interval: u32,
    /// How progress is shown
    #[arg(long, value_enum, value_name = "STYLE", default_value = "auto")]
    progress: Style,
    /// Write contact sheets into the run's folder first: images.png, each picture as in evaluation and as distorted in the first
    /// epochs, and mixed.png where pictures are mixed
    #[arg(long)]
    save_images: bool,
    /// Print the merged recipe and stop
    #[arg(long)]
    dump_config: bool,
}

/// `--batch-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchSize {
    Auto,
    Of(usize),
}

impl BatchSize {
    fn number(self) -> Option<usize> {
        match self {
            BatchSize::Auto => None,
            BatchSize::Of(number) => Some(number),
        }
    }
}

impl FromStr for BatchSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(BatchSize::Auto),
            _ => {
                text.parse().map(BatchSize::Of).map_err(|_| "expected a number of pictures, or `auto`".into())
            }
        }
    }
}

impl TrainArgs {
    fn saving(&self) -> Result<Saving, UsageError> {
        let every = Duration::try_from_secs_f64(60.0 * self.save_interval).map_err(|_| {
            UsageError(format!("--save-interval {}: expected minutes, 0 or more", self.save_interval))
        })?;
        let (states, best) = (self.keep_states.into(), self.keep_best.into());
        Ok(Saving { every, states, best, on_error: self.on_save_error })
    }

    fn keep(&self) -> Keep {
        if self.checkpoint_activations { Keep::Checkpoints } else { Keep::Outputs }
    }

    /// Flags as values of the recipe, then `--set`, which wins.
    fn sets(&self) -> Result<Vec<(String, String)>> {
        fn pair(key: &str, value: &Option<impl ToString>) -> Option<(String, String)> {
            value.as_ref().map(|v| (key.to_string(), v.to_string()))
        }
        let flags = [
            pair("net", &self.model),
            pair("epochs", &self.epochs),
            pair("batch_size", &self.batch_size.and_then(BatchSize::number)),
            pair("micro_batch", &self.micro_batch),
            pair("img_size", &self.img_size),
            pair("width", &self.width),
            pair("optimizer.name", &self.opt),
            pair("schedule.lr", &self.lr),
            pair("schedule.name", &self.sched),
            pair("weight_decay", &self.weight_decay),
            pair("label_smoothing", &self.smoothing),
            pair("clip_grad", &self.clip_grad),
            pair("ema_decay", &self.model_ema_decay),
            pair("seed", &self.seed),
            pair("freeze", &(!self.freeze.is_empty()).then(|| json!(self.freeze))),
            pair("on_bad", &self.on_bad.map(|o| if o == OnBad::Skip { "skip" } else { "error" })),
        ];
        let mut sets: Vec<(String, String)> = flags.into_iter().flatten().collect();
        for set in &self.sets {
            sets.push(parse_set(set)?);
        }
        Ok(sets)
    }
}

/// Runs the command.
pub fn run(args: TrainArgs) -> Result<Exit> {
    args.progress.begin();
    let begun = Begun::find(args.resume.as_ref(), &args.output, args.experiment.as_deref())?;
    let recipe_name = args.recipe.clone().unwrap_or_else(|| "small".into());
    let base = begun.as_ref().filter(|_| args.recipe.is_none()).and_then(Begun::recipe_file);
    let base = base.as_ref().unwrap_or(&recipe_name);
    let mut recipe = Recipe::load(base, &args.sets()?).map_err(|e| UsageError(format!("{e:#}")))?;
    if args.dump_config {
        use std::io::Write;
        std::io::stdout().lock().write_all(recipe.dump().as_bytes())?;
        return Ok(Exit::Done);
    }
    let weights = args.weights.clone().or_else(|| begun.as_ref()?.weights());
    let new_head = args.new_head || begun.as_ref().is_some_and(Begun::has_new_head);
    let checkpoint = weights.as_ref().map(|file| open_start(file, &args, &mut recipe)).transpose()?;
    // Names and sizes are judged before the pictures are looked at.
    network(&recipe, 2)?;
    let (device, keep, saving) = (args.device.device()?, args.keep(), args.saving()?);
    let root = args.data.or(args.data_dir).or_else(|| begun.as_ref()?.data());
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
    if args.batch_size == Some(BatchSize::Auto) {
        recipe.batch_size = match begun.as_ref().and_then(Begun::recipe) {
            Some(begun) => begun.batch_size,
            None => largest_batch(&recipe, &graph, &device, keep, splits.train.samples.len())?,
        };
    }
    let net = graph.spec().net.clone();
    let mut env = environment(device.isa.name(), device.pool.threads());
    env["data"] = json!(storage::absolute(&root).to_string_lossy());
    env["val_split"] = json!(val_split);
    env["allow_missing"] = json!(allow_missing);
    env["classes_not_judged"] = json!(splits.val.empty_classes());
    env["classes_left_out"] = json!(splits.left_out);
    env["weights"] =
        json!(weights.map(|file| std::path::absolute(&file).unwrap_or(file).to_string_lossy().into_owned()));
    env["new_head"] = json!(new_head);
    let folder = match &begun {
        Some(begun) => {
            begun.check(&recipe)?;
            RunDir::reopen(begun.folder.clone(), &recipe.dump(), &env)?
        }
        None => {
            let name =
                args.experiment.unwrap_or_else(|| format!("{}-{net}-{}", timestamp(), graph.img_size()));
            RunDir::create(&args.output, &name, &recipe.dump(), &env)?
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
    say_auxiliary(&recipe, &graph, start.file.is_some());
    if recipe.residual_scale.is_some()
        && !graph.nodes().iter().any(|node| matches!(node.op, Op::Residual { .. }))
    {
        say(&format!("{net} has no residual blocks: residual_scale has no effect"));
    }
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
    if begun.is_some() {
        match run.resume(&env)? {
            Some(step) => say(&format!("going on after step {step}, epoch {}", run.epochs().len() + 1)),
            None => say("nothing was saved yet: the run begins"),
        }
    }
    if args.save_images {
        run.save_images()?;
    }
    while !run.is_finished() {
        if run.epoch()? == Flow::Stopped {
            let folder = run.folder().to_path_buf();
            run.finish()?;
            say(&format!(
                "stopped; the weights so far are in {}\n\ninception train --resume {}",
                folder.join("last.safetensors").display(),
                folder.display()
            ));
            return Ok(Exit::Stopped);
        }
    }
    let folder = run.folder().to_path_buf();
    if run.has_lost_patience() {
        say(&format!(
            "ended after {} epochs: none of the last was better (recipe: patience)",
            run.epochs().len()
        ));
    }
    let summary = run.finish()?;
    let best = &summary.epochs[summary.best_epoch - 1];
    say(&format!(
        "best top-1 error {:.2} % at epoch {} of {}, {} in all\n\ninception eval -w {} {}",
        100.0 * best.eval_top1_error,
        best.epoch,
        summary.epochs.len(),
        duration(summary.seconds),
        folder.join("best.safetensors").display(),
        root.display()
    ));
    Ok(Exit::Done)
}

/// The network that `recipe` asks for, with `classes` outputs.
fn network(recipe: &Recipe, classes: usize) -> Result<Graph> {
    let spec = spec(recipe, classes)?;
    build(&spec).map_err(|error| match build(&Spec { aux: false, ..spec }) {
        Ok(_) => UsageError(format!("{error}, or train without the head: --set aux_weight=0")).into(),
        Err(error) => error.into(),
    })
}

/// Says what an auxiliary head adds to training, or that the network has none.
fn say_auxiliary(recipe: &Recipe, graph: &Graph, from_a_file: bool) {
    let (net, weight) = (&graph.spec().net, recipe.aux_weight);
    if weight == 0.0 {
        return;
    }
    if graph.aux_logits().is_none() {
        return say(&format!("{net} has no auxiliary head: aux_weight {weight} has no effect"));
    }
    let evaluated = graph.without_aux();
    say(&format!(
        "auxiliary head in training{}: {} more parameters, {:.1} M more MACs a picture; its loss counts {weight} times",
        if from_a_file { ", which starts anew" } else { "" },
        graph.parameter_count() - evaluated.parameter_count(),
        (graph.macs() - evaluated.macs()) as f64 / 1e6
    ));
}

/// Opens the file that the training starts from; `recipe` gets its network, width and size.
fn open_start(file: &Path, args: &TrainArgs, recipe: &mut Recipe) -> Result<Checkpoint> {
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

/// Says what the data is, and which files are no pictures.
fn describe(splits: &Splits) {
    let Splits { train, val, left_out } = splits;
    say(&format!(
        "{} training and {} validation pictures of {} classes",
        train.samples.len(),
        val.samples.len(),
        train.classes.len()
    ));
    say_common(val, left_out, "training");
    let ignored: Vec<_> = train.ignored.iter().chain(&val.ignored).collect();
    if let Some(first) = ignored.first() {
        say(&format!(
            "{} files are no .jpg, .jpeg or .png and are not used, {} for example",
            ignored.len(),
            first.display()
        ));
    }
}
