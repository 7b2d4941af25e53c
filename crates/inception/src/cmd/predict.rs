//! `inception predict`: what is on pictures.
//!
//! ```text
//! paths ─ a thread lists ─▶ feed: the network's threads decode the next pictures between its steps ─▶ collector ─▶ rows
//! ```
//!
//! At most three batches are in memory, however many pictures there are; rows come in the order of the paths.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::device::DeviceArgs;
use super::ensemble::{EnsembleArgs, Member, average};
use super::ranks::RanksArgs;
use super::weights::WeightsArgs;
use super::{decoders, stdout};
use crate::collect::{Blocks, Collector, Network, SEEING, Shared};
use crate::data::feed::{Feed, Listed};
use crate::data::{DataError, Picture, files};
use crate::exit::{BadData, Exit, UsageError};
use crate::npy;
use crate::predict::{Format, OutputType, Writer};
use crate::ranks::World;

const FORMATS: &str = "\
Forms of the output:
  table   the picture, then a line for each of its classes, best first
  csv     header `filename,index,label,prob,error`, a line for each picture and class, best first
  jsonl   an object a picture: {\"filename\": …, \"predictions\": [{\"index\": …, \"label\": …, \"prob\": …}, …]}
With `--output-type logit` the column and the key are called `logit`.
A network without classes writes {\"filename\": …, \"embedding\": [...]} in jsonl.
With `--topk 0` all classes are written in class order, in jsonl as {\"filename\": …, \"probs\": [...]} (or `logits`).
With --crops or --ensemble the probabilities are averages, and a `logit` is the natural logarithm of one.
A picture that cannot be read keeps its row, with an `error`; the others are predicted, and the exit code is 65.

Examples:
  inception predict -w best.safetensors cat.jpg
  inception predict -w best.safetensors pictures/ -o predictions.csv
  inception predict -w best.safetensors --crops 12 --ensemble other.safetensors cat.jpg
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
    #[command(flatten)]
    ensemble: EnsembleArgs,
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
    /// Write what the network sees, [pictures, side, side, 3], as a NumPy file; with --crops view after view, those that coincide
    /// once
    #[arg(long, value_name = "X.npy", conflicts_with = "ensemble")]
    pub dump_input: Option<PathBuf>,
    /// Pictures, or views of them, at a time
    #[arg(short, long, value_name = "N", default_value = "16")]
    pub batch_size: NonZeroUsize,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Threads that decode pictures, beside the network's [default: the network's own, between its steps]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

/// Runs the command.
pub fn run(args: PredictArgs) -> Result<Exit> {
    let world = args.ranks.join()?;
    if world.size() > 1 && args.dump_input.is_some() {
        return Err(UsageError("--dump-input needs one rank: start it without mpirun".into()).into());
    }
    let members = args.ensemble.load(&args.weights, false)?;
    let first = &members[0].0;
    let device = args.device.device()?;
    let format = args.format.unwrap_or_else(|| by_extension(args.output.as_deref()));
    if first.graph.classes() == 0 && format != Format::Jsonl {
        let message = format!("{} answers with an embedding: give --format jsonl", first.metadata.net);
        return Err(UsageError(message).into());
    }
    let out: Box<dyn Write> = match &args.output {
        _ if !world.leads() => Box::new(io::sink()),
        Some(path) if path != Path::new("-") => Box::new(BufWriter::new(
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?,
        )),
        _ => Box::new(stdout()),
    };
    let mut writer = Writer::new(out, first.metadata.classes.clone(), args.topk, args.output_type, format)?;
    let side = first.metadata.img_size;
    let dump = |path: &PathBuf| {
        npy::Writer::create(path, &[side, side, 3])
            .with_context(|| format!("cannot create {}", path.display()))
    };
    let seen = args.dump_input.as_ref().map(dump).transpose()?;

    let sights: Vec<_> = members.iter().map(|(member, _)| member.sight(args.ensemble.crops)).collect();
    let (batch, pool) = (args.batch_size.get(), decoders(args.workers, &device));
    let blocks = Blocks::new(world, batch, args.ensemble.crops.views());
    if world.size() > 1 {
        let networks: Vec<_> = members.iter().map(|(member, weights)| member.key(weights)).collect();
        let precision = format!("{:?}", device.precision);
        let asked = json!({
            "networks": networks,
            "crops": args.ensemble.crops.views(),
            "block": blocks.size(),
            "precision": precision,
        });
        world.agree_on("predict", device.isa.name(), &asked)?;
        world.doing(|| "listing pictures".into());
    }
    let (pictures, count) = list(args.paths, world, blocks)?;
    let feed =
        Feed::new(pictures, &sights, batch, pool).context("starting the thread that lists pictures")?;
    let (members, networks): (Vec<Member>, _) = members
        .into_iter()
        .map(|(member, weights)| {
            let network = Network::of(&member.graph, weights, &device);
            (member, network)
        })
        .unzip();
    let mut collector = Collector::new(feed, networks, batch);
    collector.seen = seen;
    let mut collector = Shared::new(collector, world, blocks, count);
    let (mut total, mut bad) = (0, 0);
    while let Some(answered) = collector.next_answer()? {
        let row = answered.rows.map(|rows| {
            let rows: Vec<_> =
                members.iter().map(|m| &m.places[..]).zip(rows.iter().map(|r| &r[..])).collect();
            average(&rows)
        });
        let row = row.as_deref().map_err(ToString::to_string);
        bad += usize::from(!writer.write(&answered.name, row.as_deref().map_err(String::as_str))?);
        total += 1;
        writer.flush()?;
    }
    collector.own().seen.take().map(npy::Writer::finish).transpose().context(SEEING)?;
    if bad > 0 && !world.leads() {
        // Rank 0 says so.
        return Ok(Exit::Done);
    }
    if bad > 0 {
        return Err(BadData(format!("{bad} of {total} pictures could not be predicted")).into());
    }
    Ok(Exit::Done)
}

fn by_extension(output: Option<&Path>) -> Format {
    match output.and_then(Path::extension).and_then(|e| e.to_str()) {
        Some("csv") => Format::Csv,
        Some("jsonl" | "json" | "ndjson") => Format::Jsonl,
        _ => Format::Table,
    }
}

/// The pictures of this rank, and how many all ranks have. Alone they are listed while the first ones are decoded, and not counted.
fn list(
    paths: Vec<PathBuf>,
    world: &World,
    blocks: Blocks,
) -> Result<(Box<dyn Iterator<Item = Listed> + Send>, usize)> {
    let listed = paths.into_iter().flat_map(expand);
    if world.size() == 1 {
        return Ok((Box::new(listed.map(|path| path.map(Picture::File))), 0));
    }
    // As rank 0 finds them; nobody else has stdin.
    let mut bytes = Vec::new();
    if world.leads() {
        bytes = serde_json::to_vec(&listed.map(tellable).collect::<Vec<_>>())?;
    }
    world.broadcast("list of pictures", &mut bytes)?;
    let all: Vec<Found> = serde_json::from_slice(&bytes)?;
    let count = all.len();
    let own = all.into_iter().enumerate().filter(move |(place, _)| blocks.is_own(*place));
    Ok((Box::new(own.map(|(_, path)| path.map(Picture::File))), count))
}

/// A path that ranks can tell each other.
fn tellable(found: Found) -> Found {
    match found {
        Ok(path) if path.to_str().is_none() => {
            let name = path.display().to_string();
            let problem = "its name is not UTF-8: rename it, or start inception without mpirun".into();
            Err((name.clone(), DataError::Picture { name, problem }))
        }
        found => found,
    }
}

/// A path of a picture, or a name and what is wrong in its place.
type Found = Result<PathBuf, (String, DataError)>;

/// What a path of the command line stands for.
fn expand(path: PathBuf) -> Box<dyn Iterator<Item = Found> + Send> {
    if path == Path::new("-") {
        let lines = BufReader::new(io::stdin()).split(b'\n').map(|line| match line {
            Ok(line) => Ok(PathBuf::from(String::from_utf8_lossy(&line).trim_end_matches('\r'))),
            Err(source) => Err(("-".to_string(), DataError::Io { path: "-".into(), source })),
        });
        // Reading on after an error may give it again for ever.
        let mut sound = true;
        let lines = lines.take_while(move |line| std::mem::replace(&mut sound, line.is_ok()));
        let lines = lines.filter(|line| line.as_ref().map_or(true, |p| !p.as_os_str().is_empty()));
        return Box::new(lines);
    }
    if !path.is_dir() {
        return Box::new(std::iter::once(Ok(path)));
    }
    match files::list_pictures(std::slice::from_ref(&path)) {
        Ok(pictures) => Box::new(pictures.into_iter().map(Ok)),
        Err(error) => Box::new(std::iter::once(Err((path.display().to_string(), error)))),
    }
}
