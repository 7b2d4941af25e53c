//! `inception predict`: what is on pictures.
//!
//! ```text
//! paths ─ a thread lists ─▶ feed: the network's threads decode the next batch between its steps ─▶ predictor ─▶ rows
//! ```
//!
//! At most three batches are in memory, however many pictures there are; rows come in the order of the paths.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use inception_kernels::Pool;

use super::device::DeviceArgs;
use super::stdout;
use super::weights::WeightsArgs;
use crate::data::feed::{Decoded, Feed, Listed, Squares};
use crate::data::{Batch, folder};
use crate::engine::Predictor;
use crate::exit::{BadData, Exit, UsageError};
use crate::npy;
use crate::predict::{Format, OutputType, Writer};

const FORMATS: &str = "\
Forms of the output:
  table   the picture, then a line for each of its classes, best first
  csv     header `filename,index,label,prob,error`, a line for each picture and class, best first
  jsonl   an object a picture: {\"filename\": …, \"predictions\": [{\"index\": …, \"label\": …, \"prob\": …}, …]}
With `--output-type logit` the column and the key are called `logit`.
A network without classes writes {\"filename\": …, \"embedding\": [...]} in jsonl.
With `--topk 0` all classes are written in class order, in jsonl as {\"filename\": …, \"probs\": [...]} (or `logits`).
A picture that cannot be read keeps its row, with an `error`; the others are predicted, and the exit code is 65.

Examples:
  inception predict -w best.safetensors cat.jpg
  inception predict -w best.safetensors pictures/ -o predictions.csv
  find . -name '*.png' | inception predict -w best.safetensors - --format jsonl --topk 0 --output-type logit";

/// Arguments of `inception predict`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = FORMATS)]
pub struct PredictArgs {
    /// Pictures, folders of pictures (with all folders inside), or `-` for a list of paths on stdin, one a line
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The weights.
    #[command(flatten)]
    pub weights: WeightsArgs,
    /// Classes shown for each picture, best first; 0 shows all of them in class order
    #[arg(short = 'k', long, value_name = "K", default_value_t = 5)]
    pub topk: usize,
    /// Probabilities or logits
    #[arg(long, value_enum, default_value_t = OutputType::Prob)]
    pub output_type: OutputType,
    /// Form of the output [default: by the extension of OUT, otherwise table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// File to write to instead of stdout
    #[arg(short, long, value_name = "OUT", alias = "results-file")]
    pub output: Option<PathBuf>,
    /// Write what the network sees, [pictures, side, side, 3], as a NumPy file
    #[arg(long, value_name = "X.npy")]
    pub dump_input: Option<PathBuf>,
    /// Pictures at a time
    #[arg(short, long, value_name = "N", default_value = "16")]
    pub batch_size: NonZeroUsize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads that decode pictures, beside the network's [default: the network's own, between its steps]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

const DUMPING: &str = "writing what the network sees";

/// Runs the command.
pub fn run(args: PredictArgs) -> Result<Exit> {
    let (graph, weights, metadata) = args.weights.load()?;
    let graph_classes = graph.classes();
    let device = args.device.device()?;
    let format = args.format.unwrap_or_else(|| by_extension(args.output.as_deref()));
    if graph_classes == 0 && format != Format::Jsonl {
        let message = format!("{} answers with an embedding: give --format jsonl", metadata.net);
        return Err(UsageError(message).into());
    }
    let out: Box<dyn Write> = match &args.output {
        Some(path) if path != Path::new("-") => Box::new(BufWriter::new(
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?,
        )),
        _ => Box::new(stdout()),
    };
    let mut writer = Writer::new(out, metadata.classes, args.topk, args.output_type, format)?;
    let side = metadata.img_size;
    let dump = |path: &PathBuf| {
        npy::Writer::create(path, &[side, side, 3])
            .with_context(|| format!("cannot create {}", path.display()))
    };
    let mut seen = args.dump_input.as_ref().map(dump).transpose()?;

    let squares = Squares { how: metadata.preprocessing, side, batch: args.batch_size.get() };
    // One more: the thread that waits for pictures helps, and it is the network's.
    let pool = args.workers.map_or_else(|| device.pool.clone(), |n| Arc::new(Pool::new(n.get() + 1)));
    let feed = Feed::new(args.paths.into_iter().flat_map(expand), squares, pool)
        .context("starting the thread that lists pictures")?;
    let mut predictor = Predictor::new(&graph, weights, &device);
    let (total, bad) = answer_all(&mut predictor, feed, side, &mut writer, &mut seen)?;
    seen.map(npy::Writer::finish).transpose().context(DUMPING)?;
    if bad > 0 {
        return Err(BadData(format!("{bad} of {total} pictures could not be predicted")).into());
    }
    Ok(Exit::Done)
}

/// Predicts batch after batch; how many pictures there were, and how many without an answer.
fn answer_all<W: Write>(
    predictor: &mut Predictor,
    batches: Feed,
    side: usize,
    writer: &mut Writer<W>,
    seen: &mut Option<npy::Writer>,
) -> Result<(usize, usize)> {
    let (mut total, mut bad) = (0, 0);
    let mut batch = Batch { side, ..Batch::default() };
    for mut pictures in batches {
        let n = batch.fill(&mut pictures);
        if let Some(seen) = seen {
            seen.append(&batch.pixels).context(DUMPING)?;
        }
        let logits = if n > 0 { predictor.predict(&batch) } else { Vec::new() };
        let mut rows = logits.chunks_exact((logits.len() / n.max(1)).max(1));
        for Decoded { name, pixels, .. } in &pictures {
            let answer = match pixels {
                Ok(_) => Ok(rows.next().expect("a row for every picture of the batch")),
                Err(error) => Err(error.as_str()),
            };
            bad += usize::from(!writer.write(name, answer)?);
        }
        total += pictures.len();
        writer.flush()?;
    }
    Ok((total, bad))
}

fn by_extension(output: Option<&Path>) -> Format {
    match output.and_then(Path::extension).and_then(|e| e.to_str()) {
        Some("csv") => Format::Csv,
        Some("jsonl" | "json" | "ndjson") => Format::Jsonl,
        _ => Format::Table,
    }
}

/// What a path of the command line stands for.
fn expand(path: PathBuf) -> Box<dyn Iterator<Item = Listed> + Send> {
    let failed =
        |name: &Path, error: String| Box::new(std::iter::once(Err((name.display().to_string(), error))));
    if path == Path::new("-") {
        let lines = BufReader::new(io::stdin()).split(b'\n').map(|line| match line {
            Ok(line) => Ok(PathBuf::from(String::from_utf8_lossy(&line).trim_end_matches('\r'))),
            Err(e) => Err(("-".to_string(), e.to_string())),
        });
        // Reading on after an error may give it again for ever.
        let mut sound = true;
        let lines = lines.take_while(move |line| std::mem::replace(&mut sound, line.is_ok()));
        return Box::new(lines.filter(|line| line.as_ref().map_or(true, |p| !p.as_os_str().is_empty())));
    }
    if !path.is_dir() {
        return Box::new(std::iter::once(Ok(path)));
    }
    match folder::list_pictures(std::slice::from_ref(&path)) {
        Ok(pictures) => Box::new(pictures.into_iter().map(Ok)),
        Err(error) => failed(&path, error.to_string()),
    }
}
