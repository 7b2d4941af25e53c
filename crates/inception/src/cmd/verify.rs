//! `inception verify`: the evidence that a file of weights gives the numbers of the program it came from.
//!
//! ```text
//! 1  what the file is: layout, network, preprocessing, order of the classes, what was done by rule, known by its digest?
//! 2  with weights that both sides make by a formula: what the original program was recorded to compute, endpoint by endpoint
//! 3  with the file's own weights: this engine against a naive one in f64, endpoint by endpoint
//! ```

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use inception_cpu::reference::{Mode, forward, in_f64};
use inception_cpu::{Device, Model, Scratch};
use inception_graph::Layout;
use serde::Serialize;

use super::device::DeviceArgs;
use super::weights::known;
use super::{settings, stdout, write_json};
use crate::checkpoint::{self, Checkpoint};
use crate::data::Preprocessing;
use crate::exit::{BadData, Exit};
use crate::weights::published::{self, Digests};
use crate::weights::recorded::{Comparison, SOURCES, distance, largest};
use crate::weights::{formula, imagenet};

/// Largest difference that passes: of the answer as a share of its standard deviation, of an endpoint as one of its root
/// mean square.
const BOUND: f64 = 1e-4;

/// Arguments of `inception verify`.
#[derive(clap::Args, Clone, Debug)]
pub struct VerifyArgs {
    /// File of weights, of any format
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which of several networks with the same tensors it is of [default: recognised]
    #[arg(short, long, value_name = "NET")]
    pub model: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    file: String,
    net: String,
    layout: Option<&'static str>,
    notes: Vec<String>,
    preprocessing: Preprocessing,
    /// Names of the classes in the order of the logits.
    classes: Vec<String>,
    class_order: &'static str,
    /// The published file that it is by its digest.
    published: Option<&'static str>,
    /// Accuracy that was reported, of that file or of all that it may come from.
    accuracy: Vec<String>,
    /// Whether it was recorded what an original program computes.
    recorded: bool,
    checks: Vec<Check>,
    bound: f64,
    passed: bool,
}

/// One comparison.
#[derive(Serialize)]
struct Check {
    against: String,
    /// Largest difference of each endpoint as a share of its root mean square.
    endpoints: Vec<(String, f64)>,
    /// Largest difference of the answer as a share of its standard deviation.
    output: f64,
}

impl Check {
    fn differences(&self) -> impl Iterator<Item = f64> {
        self.endpoints.iter().map(|(_, worst)| *worst).chain([self.output])
    }
}

/// Runs the command.
pub fn run(args: VerifyArgs) -> Result<Exit> {
    let device = args.device.device()?;
    let found = checkpoint::open(&args.file, known(args.model.as_ref())?, false)?;
    let digests = Digests::of(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let published = digests.and_then(|digests| digests.published());
    let net = found.metadata.net.clone();
    let layout = found.origin();
    let mut checks = Vec::new();
    for source in SOURCES.iter().filter(|s| s.net == net && layout.is_none_or(|l| same_program(l, s.layout)))
    {
        let Comparison { framework, endpoints, output } = source.compare(&device);
        checks.push(Check { against: format!("{framework}, recorded, formula weights"), endpoints, output });
    }
    let recorded = !checks.is_empty();
    checks.push(against_f64(&found, &device));
    let accuracy = match (published, layout) {
        (Some(p), _) => vec![p.accuracy.to_string()],
        (None, Some(layout)) => published::of(layout, &net, found.graph.classes())
            .map(|p| format!("{}, of the published {}", p.accuracy, p.name))
            .collect(),
        (None, None) => Vec::new(),
    };
    let passed = checks.iter().all(|c| c.differences().all(|d| d < BOUND));
    let report = Report {
        file: args.file.display().to_string(),
        net,
        layout: layout.map(Layout::name),
        notes: found.report,
        preprocessing: found.metadata.preprocessing,
        class_order: imagenet::order(&found.metadata.classes),
        classes: found.metadata.classes,
        published: published.map(|p| p.name),
        accuracy,
        recorded,
        checks,
        bound: BOUND,
        passed,
    };
    let mut out = stdout();
    if args.json {
        write_json(&mut out, &report)?;
    } else {
        text(&mut out, &report)?;
    }
    out.flush()?;
    if !report.passed {
        return Err(BadData(format!("{}: the numbers differ by more than {BOUND:e}", report.file)).into());
    }
    Ok(Exit::Done)
}

/// Layouts of one program's computation under several names.
fn same_program(layout: Layout, recorded: Layout) -> bool {
    layout == recorded
        || (layout, recorded) == (Layout::Keras3, Layout::Keras)
        || (layout, recorded) == (Layout::Inception2015, Layout::PytorchFid)
}

/// The engine with the file's weights against naive `f64`, on the formula's picture.
fn against_f64(found: &Checkpoint, device: &Device) -> Check {
    let graph = &found.graph;
    let input = formula::input(graph.img_size(), 0);
    let expected = forward(graph, &in_f64(&found.weights), &input, 1, Mode::Inference);
    let output = graph.outputs().first().expect("every network has an output").1;
    let model = Model::new(graph, &found.weights, device);
    let endpoints: Vec<_> = graph.endpoints().map(|(id, _)| id).collect();
    let (mut rows, mut answer) = (Vec::new(), f64::NAN);
    model.run_and_see(&input, output, &mut Scratch::default(), |id, view| {
        let values = view.to_vec();
        let expected = &expected[id.0];
        if endpoints.contains(&id) {
            let rms = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
            let worst = largest(values.iter().zip(expected).map(|(a, b)| f64::from(*a) - b));
            rows.push((graph.node(id).name.clone(), worst / rms.max(f64::MIN_POSITIVE)));
        }
        if id == output {
            answer = distance(&values, &expected.iter().map(|&v| v as f32).collect::<Vec<_>>());
        }
    });
    Check { against: "f64, the file's own weights".into(), endpoints: rows, output: answer }
}

fn text(out: &mut impl Write, report: &Report) -> Result<()> {
    writeln!(out, "file           {}", report.file)?;
    writeln!(out, "network        {}, layout {}", report.net, report.layout.unwrap_or("canonical"))?;
    report.notes.iter().try_for_each(|note| writeln!(out, "               {note}"))?;
    writeln!(out, "preprocessing  {}", settings(&report.preprocessing)?)?;
    if let [first @ .., last] = &report.classes[..] {
        let first: String = first.iter().take(3).map(|name| format!("{name}, ")).collect();
        let gap = if report.classes.len() > 4 { "…, " } else { "" };
        writeln!(out, "classes        {}: {first}{gap}{last}", report.classes.len())?;
        writeln!(out, "               {}", report.class_order)?;
    }
    match report.published {
        Some(name) => writeln!(out, "published      it is {name}, by its digest")?,
        None => writeln!(out, "published      no file that is known here by its digest")?,
    }
    report.accuracy.iter().try_for_each(|line| writeln!(out, "reported       {line}"))?;
    if !report.recorded {
        let layout = report.layout.map(|layout| format!(" in the layout {layout}")).unwrap_or_default();
        writeln!(
            out,
            "recorded       no program that computes {}{layout}: only the engine is checked",
            report.net
        )?;
    }
    for check in &report.checks {
        writeln!(out, "\nagainst {}: largest difference", check.against)?;
        for (name, worst) in &check.endpoints {
            writeln!(out, "  {name:<14} {worst:8.1e} of its root mean square")?;
        }
        writeln!(out, "  {:<14} {:8.1e} of its standard deviation", "answer", check.output)?;
    }
    let word = match (report.passed, report.recorded) {
        (true, true) => "passed",
        (true, false) => "passed, not recorded",
        (false, _) => "FAILED",
    };
    writeln!(out, "\n{word}: the bound of all these numbers is {:.0e}", report.bound)?;
    Ok(())
}
