//! The flags of every command that trains.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use inception_cpu::Keep;

use crate::cmd::device::DeviceArgs;
use crate::data::OnBad;
use crate::exit::UsageError;
use crate::progress::Style;
use crate::recipe::parse_set;
use crate::train::{OnSaveError, Saving};

/// How networks are trained, on what, and what is kept.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// Recipe: small, paper, momentum, finetune, cifar10, or a TOML file [default: small, or that of the run that goes on]
    #[arg(long, value_name = "NAME|FILE", alias = "config")]
    pub recipe: Option<String>,
    /// Passes over the training pictures [recipe: epochs]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Pictures a step; `auto` for as many as fit the memory that this process may have [recipe: batch_size]
    #[arg(short, long, value_name = "N|auto")]
    pub batch_size: Option<BatchSize>,
    /// Pictures computed at a time; their gradients add up to the batch's, and batch norm sees each group by itself
    /// [recipe: micro_batch]
    #[arg(long, value_name = "N")]
    pub micro_batch: Option<usize>,
    /// Keep a few activations for the gradient and compute the others again: less memory, more time, the same bits
    #[arg(long, alias = "grad-checkpointing")]
    pub checkpoint_activations: bool,
    /// Side of the network's input in pixels [default: the network's own]
    #[arg(long, value_name = "N", alias = "imgsz")]
    pub img_size: Option<usize>,
    /// Multiplier of every layer's channels [recipe: width]
    #[arg(long, value_name = "F")]
    pub width: Option<f64>,
    /// Update rule: sgd, rmsprop-tf or adamw [recipe: optimizer.name]
    #[arg(long, value_name = "NAME", alias = "optimizer")]
    pub opt: Option<String>,
    /// Largest learning rate [recipe: schedule.lr]
    #[arg(long, value_name = "F", alias = "learning-rate")]
    pub lr: Option<f64>,
    /// Learning rate over time, behind its warm-up: cosine, step or constant [recipe: schedule.name]
    #[arg(long, value_name = "NAME", alias = "lr-scheduler")]
    pub sched: Option<String>,
    /// L2 penalty on kernels [recipe: weight_decay]
    #[arg(long, value_name = "F", alias = "wd")]
    pub weight_decay: Option<f64>,
    /// Label smoothing [recipe: label_smoothing]
    #[arg(long, value_name = "F", alias = "label-smoothing")]
    pub smoothing: Option<f64>,
    /// Largest global norm of a gradient, 0 for none [recipe: clip_grad]
    #[arg(long, value_name = "F", alias = "clip-grad-norm")]
    pub clip_grad: Option<f64>,
    /// Decay of the weights' moving average, 0 for none [recipe: ema_decay]
    #[arg(long, value_name = "F", alias = "ema-decay")]
    pub model_ema_decay: Option<f64>,
    /// Share of each class to hold out, where DATA has no val/
    #[arg(long, value_name = "F")]
    pub val_split: Option<f64>,
    /// Judge by the classes that both splits have in common: those without a validation picture are not judged, validation
    /// pictures of other classes are left out, counted and named
    #[arg(long)]
    pub allow_missing: bool,
    /// At a picture that cannot be read: stop, or leave it out, count and report it [recipe: on_bad]
    #[arg(long, value_enum, value_name = "error|skip")]
    pub on_bad: Option<OnBad>,
    /// Any value of the recipe, for example --set optimizer.momentum=0.95
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Minutes between two states within an epoch; each epoch ends with one
    #[arg(long, value_name = "MIN", default_value_t = 10.0, alias = "checkpoint-interval")]
    pub save_interval: f64,
    /// States to keep, the latest
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    pub keep_states: u8,
    /// Epochs whose weights are kept, the best
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), alias = "checkpoint-hist")]
    pub keep_best: u16,
    /// When something cannot be saved: end the run, or say so and go on
    #[arg(long, value_enum, value_name = "stop|continue", default_value = "stop")]
    pub on_save_error: OnSaveError,
    /// What it runs on.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Threads that decode pictures [default: as many as compute]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<usize>,
    /// Steps between two records of the log
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub log_interval: u32,
    /// How progress is shown
    #[arg(long, value_enum, value_name = "STYLE", default_value = "auto")]
    pub progress: Style,
}

/// `--batch-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// As many pictures as fit the memory.
    Auto,
    /// So many.
    Of(usize),
}

impl BatchSize {
    /// The number that was given.
    pub fn number(self) -> Option<usize> {
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

impl RunArgs {
    /// What is kept on the disk.
    pub fn saving(&self) -> Result<Saving, UsageError> {
        let every = Duration::try_from_secs_f64(60.0 * self.save_interval).map_err(|_| {
            UsageError(format!("--save-interval {}: expected minutes, 0 or more", self.save_interval))
        })?;
        let (states, best) = (self.keep_states.into(), self.keep_best.into());
        Ok(Saving { every, states, best, on_error: self.on_save_error })
    }

    /// What is kept for the gradient.
    pub fn keep(&self) -> Keep {
        if self.checkpoint_activations { Keep::Checkpoints } else { Keep::Outputs }
    }

    /// Flags as values of the recipe, then `--set`, which wins.
    pub fn sets(&self) -> Result<Vec<(String, String)>> {
        let flags = [
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
            pair("on_bad", &self.on_bad.map(|o| if o == OnBad::Skip { "skip" } else { "error" })),
        ];
        let mut sets: Vec<(String, String)> = flags.into_iter().flatten().collect();
        for set in &self.sets {
            sets.push(parse_set(set)?);
        }
        Ok(sets)
    }
}

/// A value of the recipe that a flag gives, if it does.
pub(in crate::cmd) fn pair(key: &str, value: &Option<impl ToString>) -> Option<(String, String)> {
    value.as_ref().map(|v| (key.to_string(), v.to_string()))
}
