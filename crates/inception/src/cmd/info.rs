//! `inception info`: what a network is, what a checkpoint holds.

mod training;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use inception_cpu::{Device, Needs, Precision};
use inception_graph::{Graph, Layout, NETWORKS, NetInfo, Spec, Summary, build, find};
use serde::Serialize;

use training::Training;

use super::weights::known;
use super::{settings, stdout, write_json};
use crate::checkpoint::{self, Checkpoint, Metadata};
use crate::exit::{Exit, UsageError};
use crate::weights::imagenet;
use crate::weights::published::Digests;

/// Arguments of `inception info`.
#[derive(clap::Args, Clone, Debug)]
pub struct InfoArgs {
    /// Network or checkpoint; without it, the list of all networks
    #[arg(value_name = "NET|FILE")]
    pub what: Option<PathBuf>,
    /// Which of several networks with the same tensors FILE is of [default: recognised]
    #[arg(short, long, value_name = "NET")]
    pub model: Option<String>,
    /// Show every box of the network
    #[arg(long)]
    pub layers: bool,
    /// Pictures in a batch, for the memory
    #[arg(short, long = "batch", visible_alias = "batch-size", value_name = "N", default_value = "1")]
    pub batch: std::num::NonZeroUsize,
    /// Show what training needs, too: the memory of a batch, and what each choice costs
    #[arg(long)]
    pub train: bool,
    /// Side of the input in pixels [default: the network's own]
    #[arg(long, value_name = "N")]
    pub img_size: Option<usize>,
    /// Multiplier of the channels [default: 1]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub width: Option<f64>,
    /// Classes of the classifier, 0 for none [default: the network's own]
    #[arg(long, visible_alias = "num-classes", value_name = "N")]
    pub classes: Option<usize>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// What `--json` writes about a network, and about the checkpoint that holds it.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    network: Summary,
    /// What inference needs on this CPU, for each `--precision`.
    inference: Vec<Inference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Training>,
    /// What was done by rule to read a published file.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<String>>,
    /// The checkpoint that it is, or that converting makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Contents>,
}

/// Inference on this CPU.
#[derive(Serialize)]
struct Inference {
    precision: &'static str,
    isa: &'static str,
    threads: usize,
    /// Convolutions and linear layers, and those of them that Winograd's and Strassen's algorithms compute.
    convolutions: usize,
    winograd: usize,
    strassen: usize,
    /// Bytes.
    packed_weights: usize,
    activations: usize,
}

impl Inference {
    fn of(graph: &Graph, batch: usize) -> Result<Vec<Self>> {
        let device = Device::new(None)?;
        let one = |(name, precision)| {
            let device = Device { precision, ..device.clone() };
            let needs = Needs::of(graph, &device, batch);
            Inference {
                precision: name,
                isa: device.isa.name(),
                threads: device.pool.threads(),
                convolutions: needs.convolutions,
                winograd: needs.winograd,
                strassen: needs.strassen,
                packed_weights: needs.packed_bytes,
                activations: needs.activation_bytes,
            }
        };
        Ok([("default", Precision::Default), ("exact", Precision::Exact)].map(one).into())
    }
}

/// Below the table of the network: what runs cost in memory, and what `--precision` means here.
fn write_inference(out: &mut impl Write, inference: &[Inference], batch: usize) -> io::Result<()> {
    let Some(Inference { isa, threads, .. }) = inference.first() else { return Ok(()) };
    writeln!(out, "\ninference on this CPU ({isa}, {threads} threads), batch {batch}")?;
    for Inference { precision, convolutions, winograd, strassen, packed_weights, activations, .. } in
        inference
    {
        let (how, digits) = match winograd + strassen {
            0 => ("sums of products alone".to_string(), "1e-5"),
            _ => {
                let fast = format!("Winograd's algorithm in {winograd}, Strassen's in {strassen}");
                (format!("{fast} of {convolutions} convolutions"), "1e-4")
            }
        };
        let [weights, values] = [packed_weights, activations].map(|&bytes| bytes as f64 / 1e6);
        writeln!(
            out,
            "{precision:<9} {weights:.1} MB of packed weights, {values:.1} MB of activations; {how}, logits within {digits} of their standard deviation"
        )?;
    }
    Ok(())
}

/// What is in a file, whatever it is of.
#[derive(Serialize)]
struct Contents {
    format: &'static str,
    layout: &'static str,
    /// Digest; none of a checkpoint of several files.
    sha256: Option<String>,
    /// The published file that it is by its digest.
    published: Option<&'static str>,
    /// How many tensors there are of each type.
    tensors: BTreeMap<&'static str, usize>,
}

/// One row of the list of networks.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    img_size: usize,
    classes: usize,
    parameters: usize,
    macs: u64,
}

/// Runs the command.
pub fn run(args: InfoArgs) -> Result<Exit> {
    let Some(what) = &args.what else { return list(args.json) };
    // A name first: a folder may well be called like the network that was trained in it.
    let network = what.to_str().is_some_and(|name| find(name).is_ok());
    // A TensorFlow checkpoint may be called by the beginning of its files' names.
    let bundle = std::path::PathBuf::from(format!("{}.index", what.display()));
    let like_a_file = what.exists()
        || bundle.exists()
        || what.components().count() > 1
        || what.extension().is_some_and(|e| e == "safetensors");
    let (graph, found) = if !network && like_a_file {
        let found = of_file(what, &args)?;
        (found.0.graph.clone(), Some(found))
    } else {
        if args.model.is_some() {
            let message =
                format!("{}: -m says of which network a file is, and this is no file", what.display());
            return Err(UsageError(message).into());
        }
        let name = what.to_string_lossy();
        let spec = Spec {
            img_size: args.img_size,
            width: args.width.unwrap_or(1.0),
            classes: args.classes,
            ..Spec::new(name)
        };
        (build(&spec)?, None)
    };
    let mut out = stdout();
    if args.json {
        let mut network = graph.describe(args.batch.get());
        if !args.layers {
            network.layers.clear();
        }
        let (found, file) = found.unzip();
        let (notes, checkpoint) = found.map(|f| (f.report, f.metadata)).unzip();
        let inference = Inference::of(&graph, args.batch.get())?;
        let training = args.train.then(|| Training::of(&graph, args.batch.get())).transpose()?;
        write_json(&mut out, &Report { network, inference, training, notes, checkpoint, file })?;
    } else {
        if let Some((found, contents)) = &found {
            describe(&mut out, what, found, contents)?;
        }
        writeln!(out, "{}", graph.summary(args.batch.get(), args.layers).trim_end())?;
        write_inference(&mut out, &Inference::of(&graph, args.batch.get())?, args.batch.get())?;
        if args.train {
            training::write(&mut out, &Training::of(&graph, args.batch.get())?)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn of_file(path: &Path, args: &InfoArgs) -> Result<(Checkpoint, Contents)> {
    if args.img_size.is_some() || args.width.is_some() || args.classes.is_some() {
        let message = "a checkpoint has its own input size, width and classes; leave out the flags for them";
        return Err(UsageError(message.into()).into());
    }
    let net = known(args.model.as_ref())?;
    // Digests take about as long as the weights.
    let (found, digests) = std::thread::scope(|scope| {
        let digests = scope.spawn(|| Digests::of(path));
        (checkpoint::open(path, net, false), digests.join().expect("reading gives errors, not panics"))
    });
    let (found, file) = (found?, inception_formats::open(path)?);
    let digests = digests.with_context(|| format!("reading {}", path.display()))?;
    let mut tensors = BTreeMap::new();
    file.tensors().iter().for_each(|t| *tensors.entry(t.dtype.name()).or_default() += 1);
    let contents = Contents {
        format: file.format().name(),
        layout: found.layout.map_or("canonical", Layout::name),
        published: digests.as_ref().and_then(|d| d.published()).map(|p| p.name),
        sha256: digests.map(|d| d.sha256),
        tensors,
    };
    Ok((found, contents))
}

/// What a file holds beside its weights.
fn describe(out: &mut impl Write, path: &Path, found: &Checkpoint, contents: &Contents) -> Result<()> {
    let metadata = &found.metadata;
    let provenance = &metadata.provenance;
    writeln!(out, "checkpoint     {}", path.display())?;
    writeln!(out, "format         {}, layout {}", contents.format, contents.layout)?;
    if let Some(sha256) = &contents.sha256 {
        writeln!(out, "SHA-256        {sha256}")?;
    }
    if let Some(name) = contents.published {
        writeln!(out, "published      it is {name}, by its digest")?;
    }
    let tensors: Vec<_> = contents.tensors.iter().map(|(dtype, n)| format!("{n} of {dtype}")).collect();
    writeln!(out, "tensors        {}", tensors.join(", "))?;
    if found.layout.is_none() {
        let origin = [("recipe", &provenance.recipe), ("data", &provenance.data)];
        let origin = origin.iter().filter_map(|(what, name)| Some(format!(", {what} {}", name.as_ref()?)));
        writeln!(out, "written by     {}{}", provenance.tool, origin.collect::<String>())?;
        let shares = provenance.mean_of.iter().map(|part| format!("{} ({:.3})", part.file, part.share));
        match &provenance.source {
            Some(source) => writeln!(out, "source         {source}")?,
            None if shares.len() > 0 => {
                writeln!(out, "mean of        {}", shares.collect::<Vec<_>>().join(", "))?;
            }
            None => writeln!(out, "trained        {} steps, {} epochs", metadata.step, metadata.epoch)?,
        }
        if let Some(pictures) = &provenance.statistics {
            writeln!(out, "statistics of  {pictures}")?;
        }
    }
    found.report.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    for (name, value) in &metadata.metrics {
        writeln!(out, "  {name:<20} {value}")?;
    }
    writeln!(out, "preprocessing  {}", settings(&metadata.preprocessing)?)?;
    if let Some(background) = metadata.background {
        writeln!(out, "background     class {background}")?;
    }
    if !metadata.classes.is_empty() {
        writeln!(out, "classes        {}: {}", metadata.classes.len(), shortened(&metadata.classes, 20))?;
        writeln!(out, "               {}", imagenet::order(&metadata.classes))?;
    }
    writeln!(out)?;
    Ok(())
}

/// The first `n` names.
fn shortened(names: &[String], n: usize) -> String {
    let first = names[..n.min(names.len())].join(", ");
    if names.len() > n { format!("{first}, … ({} more, see --json)", names.len() - n) } else { first }
}

fn list(json: bool) -> Result<Exit> {
    let row = |net: &NetInfo| -> Result<Row> {
        let graph = build(&Spec::new(net.name))?;
        let (parameters, macs) = (graph.parameter_count(), graph.macs());
        let NetInfo { name, about, img_size, classes, .. } = *net;
        Ok(Row { name, about, img_size, classes, parameters, macs })
    };
    let rows = NETWORKS.iter().map(row).collect::<Result<Vec<_>>>()?;
    let mut out = stdout();
    if json {
        write_json(&mut out, &rows)?;
    } else {
        table(&mut out, &rows)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let longest = rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
    writeln!(out, "{:<longest$}  input  parameters  multiply-adds", "network")?;
    for row in rows {
        let (parameters, macs) = (row.parameters as f64 / 1e6, row.macs as f64 / 1e9);
        writeln!(
            out,
            "{:<longest$}  {:>5}  {parameters:>8.2} M  {macs:>11.2} G  {}",
            row.name, row.img_size, row.about
        )?;
    }
    Ok(())
}
