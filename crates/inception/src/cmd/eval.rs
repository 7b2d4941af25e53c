//! `inception eval`: loss and errors of a checkpoint on labelled pictures, by the training loop's own code.

mod judging;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;

use super::device::DeviceArgs;
use super::weights::WeightsArgs;
use super::workers;
use crate::answers::Answers;
use crate::data::{Cache, Loader, OnBad, Request, Transform};
use crate::engine::Predictor;
use crate::exit::{BadData, Exit};
use crate::run_dir::environment;
use judging::JudgingArgs;

const NOTES: &str = "\
DATA is a folder with a folder a class, or one with `val/` inside, a list (.csv, .tsv, .txt), a tar file or TFRecord shards. Classes are joined by name with those of the checkpoint.
An error is the share of pictures whose first answer (top-1), or all of whose first five (top-5), are wrong. The 95 % are those of a bootstrap over pictures. Folders called 0 to 999 are ImageNet's classes in order, as ImageNet-V2 has them, where the checkpoint knows these.

Examples:
  inception eval -w best.safetensors pictures/
  inception eval -w best.safetensors pictures/val --json | jq .eval_top1_error
  inception eval -w best.safetensors pictures/ --report report/                  then look at report/report.html
  inception eval -w v4.safetensors imagenet/val --exclude ILSVRC2014_clsloc_validation_blacklist.txt
  inception eval -w v4.safetensors imagenet/val --real-labels real.json
  inception eval -w v4.safetensors imagenet/test --submission v4.txt --devkit ILSVRC2012_devkit_t12";

/// Arguments of `inception eval`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct EvalArgs {
    /// Labelled pictures: a folder with a folder a class
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// The weights.
    #[command(flatten)]
    pub weights: WeightsArgs,
    /// Pictures at a time; changes the speed and no digit
    #[arg(short, long, value_name = "N", default_value = "32")]
    pub batch_size: NonZeroUsize,
    /// What to do about a picture that cannot be read
    #[arg(long, value_enum, default_value_t = OnBad::Error)]
    pub on_bad: OnBad,
    #[command(flatten)]
    judging: JudgingArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads that decode pictures [default: all cores]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

/// Runs the command.
pub fn run(args: EvalArgs) -> Result<Exit> {
    let (graph, weights, metadata) = args.weights.load_with_classes()?;
    let device = args.device.device()?;
    let environment = environment(device.isa.name(), device.pool.threads());
    let pictures = args.judging.open(&args.data, &metadata)?;
    let judging = args.judging.prepare(&pictures, &metadata, args.on_bad)?;
    let dataset = &pictures.data;
    if let Some(first) = dataset.ignored.first() {
        let (n, first) = (dataset.ignored.len(), first.display());
        writeln!(
            std::io::stderr().lock(),
            "note: {n} files are no .jpg or .png and were not read, the first is {first}"
        )?;
    }
    let mut loader = Loader::new(Request {
        order: (0..dataset.samples.len()).collect(),
        dataset: dataset.clone(),
        transform: Transform::Eval,
        preprocessing: metadata.preprocessing,
        side: metadata.img_size,
        batch_size: args.batch_size.get(),
        drop_last: false,
        on_bad: args.on_bad,
        workers: workers(args.workers),
        cache: Cache::new(0),
    });
    let mut predictor = Predictor::new(&graph, weights, &device);
    let mut answers = Answers::new(graph.classes());
    while let Some(batch) = loader.next() {
        let batch = batch?;
        answers.add(&batch, &predictor.predict(&batch));
        loader.reuse(batch);
    }
    if answers.is_empty() {
        return Err(BadData(format!("no picture of {} could be evaluated", args.data.display())).into());
    }
    let skipped = loader.skipped().to_vec();
    judging.finish(&answers, pictures, skipped, &metadata, &environment)?;
    Ok(Exit::Done)
}
