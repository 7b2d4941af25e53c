//! `inception average`: the mean of the weights of several checkpoints.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use inception_cpu::Device;
use inception_graph::{Align, Graph, Table, Weights};
use serde::Serialize;

use super::device::DeviceArgs;
use super::{check_output, say_common, stdout, workers, write_json};
use crate::average::{Tried, differences, greedy, judge, mean, recalibrate};
use crate::checkpoint::{self, Checkpoint, Metadata, Provenance, Share};
use crate::data::{Cache, Dataset, OnBad, Request, Transform, folder, shuffled};
use crate::exit::{BadData, Exit, UsageError};
use crate::metrics::Scores;
use crate::progress::{counted, say};
use crate::train::{CACHE, SAMPLE};

const NOTES: &str = "\
The checkpoints must be of the same network, width, size, classes in the same order, and preprocessing; what differs is listed.
Averaged weights need running statistics of their own: --recalibrate measures them on training pictures. Without it they are
means of the checkpoints' own, which can be far off.
DATA is a folder with a folder a class, or with train/ and val/ inside, a list, a tar file or TFRecord shards: --recalibrate takes
its train/, --val and --greedy its val/, where there are any.

Examples:
  inception average output/train/a/epoch-*.safetensors -o mean.safetensors --recalibrate photos/ --val photos/
  inception average a.safetensors b.safetensors c.safetensors --weights 0.5,0.3,0.2 -o mean.safetensors --recalibrate photos/
  inception average tuned/*.safetensors -o soup.safetensors --greedy photos/ --recalibrate photos/ --val test/";

/// Arguments of `inception average`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct AverageArgs {
    /// Files to read, of one network
    #[arg(value_name = "CHECKPOINT", required = true)]
    pub checkpoints: Vec<PathBuf>,
    /// File to write, a .safetensors
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Share of each checkpoint, divided by their sum [default: all alike]
    #[arg(long, value_name = "F,F,…", value_delimiter = ',', conflicts_with = "greedy")]
    pub weights: Option<Vec<f64>>,
    /// Measure running statistics on the training pictures of DATA, as they are in evaluation
    #[arg(long, value_name = "DATA")]
    pub recalibrate: Option<PathBuf>,
    /// How many of them, at most [default: 2048]
    #[arg(long, value_name = "N", requires = "recalibrate")]
    pub pictures: Option<NonZeroUsize>,
    /// Decides which these are
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Leave out what makes it worse: one after the other, the best first, a checkpoint is added if the mean's top-1 error on the
    /// pictures of DATA does not grow
    #[arg(long, value_name = "DATA")]
    pub greedy: Option<PathBuf>,
    /// Report the errors of all checkpoints and of their mean on the pictures of DATA
    #[arg(long, value_name = "DATA")]
    pub val: Option<PathBuf>,
    /// Judge by the classes that DATA and the checkpoints have in common: classes without a picture are not judged, pictures of
    /// unknown classes are left out, counted and named
    #[arg(long)]
    pub allow_missing: bool,
    /// Pictures at a time
    #[arg(short, long, value_name = "N", default_value = "32")]
    pub batch_size: NonZeroUsize,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads that decode pictures [default: all cores]
    #[arg(short = 'j', long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
}

/// What was averaged, and what came of it, as it is written to JSON.
#[derive(Serialize)]
struct Report {
    output: PathBuf,
    net: String,
    checkpoints: Vec<Source>,
    /// What `--greedy` tried, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    greedy: Option<Vec<Tried>>,
    /// Of the mean with means of running statistics.
    mean: Option<Errors>,
    /// Of the mean with running statistics of its own.
    recalibrated: Option<Errors>,
    /// Pictures that these were measured on.
    statistics: Option<String>,
}

/// A checkpoint.
#[derive(Serialize)]
struct Source {
    file: String,
    share: f64,
    errors: Option<Errors>,
}

/// An evaluation of `count` pictures.
#[derive(Clone, Copy, Serialize)]
struct Errors {
    count: u64,
    #[serde(flatten)]
    scores: Scores,
}

/// The checkpoints, which fit, and what they are measured with.
struct Average<'a> {
    args: &'a AverageArgs,
    graph: Graph,
    metadata: Metadata,
    /// Of each checkpoint.
    names: Vec<String>,
    provenances: Vec<Provenance>,
    device: Device,
    sample: Option<Request>,
}

/// Runs the command.
pub fn run(args: AverageArgs) -> Result<Exit> {
    check_output(&args.output, args.force)?;
    let asked = shares(&args)?;
    let average = Average::open(&args)?;
    let [trial, val] = [&args.greedy, &args.val].map(|data| data.as_deref().map(|data| average.judges(data)));
    let (trial, val) = (trial.transpose()?, val.transpose()?);
    let (shares, tried) = match &trial {
        Some(request) => average.greedy(request).map(|(shares, tried)| (shares, Some(tried)))?,
        None => (asked, None),
    };
    let mut weights = average.mean(&shares)?;
    let (mut mean, mut recalibrated, mut sources) = (None, None, vec![None; average.names.len()]);
    if let Some(val) = &val {
        for (i, errors) in sources.iter_mut().enumerate() {
            *errors = Some(average.errors_of(i, val)?);
        }
        mean = Some(average.errors(val, weights.clone(), "mean")?);
    }
    if average.sample.is_some() {
        weights = average.recalibrated(weights)?;
        if let Some(val) = &val {
            recalibrated = Some(average.errors(val, weights.clone(), "mean, recalibrated")?);
        }
    } else if shares.iter().filter(|share| **share > 0.0).count() > 1 {
        say(
            "the running statistics are means of the checkpoints' own, which are not those of averaged weights: measure them with --recalibrate DATA",
        );
    }
    let total: f64 = shares.iter().sum();
    let sources = average.names.iter().zip(&shares).zip(sources);
    let report = Report {
        output: args.output.clone(),
        net: average.metadata.net.clone(),
        checkpoints: sources
            .map(|((file, share), errors)| Source { file: file.clone(), share: share / total, errors })
            .collect(),
        greedy: tried,
        mean,
        recalibrated,
        statistics: average.statistics(),
    };
    checkpoint::save(&args.output, &weights, &average.metadata(&report))?;
    let mut out = stdout();
    match args.json {
        true => write_json(&mut out, &report)?,
        false => write_text(&mut out, &report)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What `--weights` says.
fn shares(args: &AverageArgs) -> Result<Vec<f64>, UsageError> {
    let count = args.checkpoints.len();
    let Some(shares) = &args.weights else { return Ok(vec![1.0; count]) };
    let bad = |problem: String| Err(UsageError(format!("--weights: {problem}")));
    match shares.iter().find(|share| !(0.0..=1e9).contains(*share)) {
        _ if shares.len() != count => {
            bad(format!("{} for {}: give each its share", shares.len(), counted(count, "checkpoint")))
        }
        Some(share) => bad(format!("{share} is no share: expected a number from 0 to 1e9")),
        None if shares.iter().all(|share| *share == 0.0) => {
            bad("all are zero: give one at least a share".into())
        }
        None => Ok(shares.clone()),
    }
}

impl<'a> Average<'a> {
    /// Reads the checkpoints, to see that they fit.
    fn open(args: &'a AverageArgs) -> Result<Self> {
        let (mut graph, mut all) = (None, Vec::new());
        for path in &args.checkpoints {
            let found = open(path)?;
            found.report.iter().for_each(|line| say(&format!("{}: {line}", path.display())));
            all.push((path.display().to_string(), found.metadata));
            graph.get_or_insert(found.graph);
        }
        if let Some(table) = differences(&all)? {
            return Err(BadData(format!("only checkpoints of the same network have a mean:\n{table}")).into());
        }
        let (Some(graph), Some((_, metadata))) = (graph, all.first().cloned()) else {
            bail!("no checkpoint");
        };
        let data = [&args.greedy, &args.val, &args.recalibrate];
        if metadata.classes.is_empty() && data.iter().any(|data| data.is_some()) {
            let problem =
                "ends in features and knows no classes: its mean can be neither judged nor recalibrated";
            return Err(UsageError(format!("{} {problem}", metadata.net)).into());
        }
        let (names, provenances) =
            all.into_iter().map(|(name, metadata)| (name, metadata.provenance)).unzip();
        let device = args.device.device()?;
        let mut average = Average { args, graph, metadata, names, provenances, device, sample: None };
        average.sample = args.recalibrate.as_deref().map(|data| average.sample(data)).transpose()?;
        Ok(average)
    }

    /// All pictures of a data set in the geometry of evaluation.
    fn request(&self, dataset: Dataset) -> Result<Request> {
        let Metadata { preprocessing, img_size, .. } = &self.metadata;
        if dataset.samples.is_empty() {
            return Err(BadData(format!("{} has no picture for this", dataset.root.display())).into());
        }
        Ok(Request {
            order: (0..dataset.samples.len()).collect(),
            dataset: Arc::new(dataset),
            transform: Transform::Eval,
            preprocessing: *preprocessing,
            side: *img_size,
            batch_size: self.args.batch_size.get(),
            drop_last: false,
            keep_empty: false,
            on_bad: OnBad::Error,
            workers: workers(self.args.workers),
            cache: Cache::new(CACHE),
        })
    }

    /// Pictures that running statistics are measured on: whole batches, for a batch norm needs one.
    fn sample(&self, data: &Path) -> Result<Request> {
        let mut request = self.request(folder::open_train(data)?)?;
        let most = self.args.pictures.map_or(SAMPLE, NonZeroUsize::get).min(request.order.len());
        request.batch_size = request.batch_size.min(most);
        request.order = shuffled(request.order.len(), self.args.seed, 0);
        request.order.truncate(most - most % request.batch_size);
        Ok(request)
    }

    /// Pictures to judge by.
    fn judges(&self, data: &Path) -> Result<Request> {
        let Metadata { classes, background, .. } = &self.metadata;
        let dataset = folder::open_single(data)?;
        if !self.args.allow_missing {
            return self.request(dataset.join(classes, |label| *background == Some(label))?);
        }
        let (dataset, left_out) = dataset.join_by_name(classes)?;
        say_common(&dataset, &left_out, "the checkpoints");
        self.request(dataset)
    }

    fn mean(&self, shares: &[f64]) -> Result<Weights> {
        let found = mean(shares, |i| Ok::<_, anyhow::Error>(open(&self.args.checkpoints[i])?.weights))?;
        Ok(found.expect("some share is above zero"))
    }

    /// The weights with running statistics of their own, where that is asked for.
    fn recalibrated(&self, weights: Weights) -> Result<Weights> {
        match &self.sample {
            Some(sample) => Ok(recalibrate(sample, &self.graph, weights, &self.device)?),
            None => Ok(weights),
        }
    }

    fn errors(&self, request: &Request, weights: Weights, what: &str) -> Result<Errors> {
        let found = judge(request, &self.graph, weights, &self.device, what)?;
        Ok(Errors { count: found.count(), scores: found.scores() })
    }

    fn errors_of(&self, i: usize, request: &Request) -> Result<Errors> {
        self.errors(request, open(&self.args.checkpoints[i])?.weights, &self.names[i])
    }

    /// The shares of a greedy soup, and what was tried for it.
    fn greedy(&self, request: &Request) -> Result<(Vec<f64>, Vec<Tried>)> {
        let alone = |i| self.errors_of(i, request).map(|errors| errors.scores.eval_top1_error);
        let alone = (0..self.names.len()).map(alone).collect::<Result<Vec<f64>>>()?;
        let error_of = |shares: &[f64]| {
            // The best alone, its statistics its own, has been judged.
            if self.sample.is_none() && shares.iter().sum::<f64>() == 1.0 {
                return Ok(alone.iter().copied().fold(f64::INFINITY, f64::min));
            }
            let weights = self.recalibrated(self.mean(shares)?)?;
            Ok::<_, anyhow::Error>(self.errors(request, weights, "mean")?.scores.eval_top1_error)
        };
        let mut all = Vec::new();
        let shares = greedy(&alone, error_of, |tried| {
            let Tried { checkpoint, alone, mean, added } = tried;
            let [alone, mean] = [alone, mean].map(|error| format!("{:.2} %", 100.0 * error));
            let verdict = if added { "added" } else { "left out" };
            say(&format!(
                "{}: top-1 error {alone}, of the mean with it {mean}: {verdict}",
                self.names[checkpoint]
            ));
            all.push(tried);
        })?;
        Ok((shares, all))
    }

    /// The pictures of `--recalibrate`.
    fn statistics(&self) -> Option<String> {
        let sample = self.sample.as_ref()?;
        let data = sample.dataset.root.file_name().unwrap_or_default().to_string_lossy();
        Some(format!("{} of {data}", counted(sample.order.len(), "picture")))
    }

    /// The metadata of the mean: what all checkpoints have in common, and which they are.
    fn metadata(&self, report: &Report) -> Metadata {
        let common = |of: fn(&Provenance) -> &Option<String>| {
            let first = of(&self.provenances[0]);
            first.clone().filter(|_| self.provenances.iter().all(|other| of(other) == first))
        };
        let file =
            |path: &str| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let used = report.checkpoints.iter().filter(|source| source.share > 0.0);
        let provenance = Provenance {
            recipe: common(|p| &p.recipe),
            data: common(|p| &p.data),
            start: common(|p| &p.start),
            mean_of: used.map(|source| Share { file: file(&source.file), share: source.share }).collect(),
            statistics: report.statistics.clone(),
            ..Provenance::default()
        };
        let errors = report.recalibrated.or(report.mean);
        let metrics = errors.map(|Errors { scores, .. }| {
            [
                ("eval_loss", scores.eval_loss),
                ("eval_top1_error", scores.eval_top1_error),
                ("eval_top5_error", scores.eval_top5_error),
            ]
        });
        let metrics = metrics.into_iter().flatten().map(|(key, value)| (key.to_string(), value)).collect();
        Metadata { provenance, metrics, step: 0, epoch: 0, ..self.metadata.clone() }
    }
}

/// Reads a checkpoint that has all that is needed.
fn open(path: &Path) -> Result<Checkpoint> {
    let found = checkpoint::open(path, None, false)?;
    match found.doubts.first() {
        None => Ok(found),
        Some(doubt) => {
            let path = path.display();
            Err(BadData(format!("{path}: {}; correct it there, or move it away", doubt.reason)).into())
        }
    }
}

fn write_text(out: &mut impl Write, report: &Report) -> Result<()> {
    let mut table = Table::new([Align::Left, Align::Right, Align::Right, Align::Right, Align::Right]);
    table.head(["", "share", "top-1 error", "top-5 error", "loss"]);
    let mut row = |name: &str, share: String, errors: Option<Errors>| {
        let scores = errors.map(|errors| errors.scores);
        let percent =
            |of: fn(Scores) -> f64| scores.map_or("–".into(), |s| format!("{:.2} %", 100.0 * of(s)));
        let loss = scores.map_or("–".into(), |s| format!("{:.4}", s.eval_loss));
        table.row([name.into(), share, percent(|e| e.eval_top1_error), percent(|e| e.eval_top5_error), loss]);
    };
    for Source { file, share, errors } in &report.checkpoints {
        row(file, format!("{share:.3}"), *errors);
    }
    if report.mean.is_some() {
        row("mean", String::new(), report.mean);
    }
    if report.recalibrated.is_some() {
        row("mean, recalibrated", String::new(), report.recalibrated);
    }
    writeln!(out, "{table}")?;
    let count = report.checkpoints.iter().filter(|source| source.share > 0.0).count();
    let statistics = report.statistics.as_ref().map(|pictures| format!(", running statistics of {pictures}"));
    let (path, count) = (report.output.display(), counted(count, "checkpoint"));
    writeln!(out, "{path}: mean of {count} of {}{}", report.net, statistics.unwrap_or_default())?;
    Ok(())
}
