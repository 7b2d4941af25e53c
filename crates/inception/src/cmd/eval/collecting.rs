//! The answers of an ensemble to a data set: each network's own, asked for or read from where they were kept, then their average.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use inception_cpu::Device;
use inception_graph::Weights;
use serde_json::{Value, json};

use super::EvalArgs;
use super::judging::Pictures;
use crate::answers::Answers;
use crate::cmd::decoders;
use crate::cmd::ensemble::{EnsembleArgs, Member, average};
use crate::collect::{Blocks, Collector, Network, Shared};
use crate::data::feed::Feed;
use crate::data::{Dataset, Skipped, storage};
use crate::judge::{self, Asked};
use crate::logits::{self, Kept};
use crate::progress::{Progress, Style, counted, say};
use crate::ranks::World;

/// What becomes of logits.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct KeepArgs {
    /// Folder in which each network's logits are kept, and looked for before it is asked [default: output/eval/logits with --crops or
    /// --ensemble, otherwise none]
    #[arg(long, value_name = "DIR")]
    logits_cache: Option<PathBuf>,
    /// Ask every network, and keep no logits
    #[arg(long, conflicts_with = "logits_cache")]
    no_cache: bool,
    /// Write the logits that are judged, [pictures, classes] with labels and the pictures' names, as a safetensors file
    #[arg(long, value_name = "FILE")]
    save_logits: Option<PathBuf>,
}

impl KeepArgs {
    /// The folder where logits are kept, if they are.
    pub(super) fn folder(&self, ensemble: &EnsembleArgs) -> Option<&Path> {
        match (&self.logits_cache, self.no_cache || ensemble.is_one_view()) {
            (Some(folder), _) => Some(folder),
            (None, true) => None,
            (None, false) => Some(Path::new("output/eval/logits")),
        }
    }
}

/// What an evaluation is made of.
pub(super) struct Collected {
    /// Answers under the classes of the first network.
    pub(super) answers: Answers,
    /// Pictures that cannot be read.
    pub(super) skipped: Vec<Skipped>,
    /// Whose they are.
    pub(super) asked: Asked,
}

/// What every network of an evaluation is asked about.
struct Task<'a> {
    dataset: &'a Dataset,
    device: &'a Device,
    args: &'a EvalArgs,
    world: &'static World,
    /// All that its answers depend on beside the network.
    key: Value,
}

/// Asks all `members` about `pictures`. `None` where a signal asked for an end.
pub(super) fn collect(
    members: Vec<(Member, Weights)>,
    pictures: &Pictures,
    device: &Device,
    args: &EvalArgs,
    world: &'static World,
) -> Result<Option<Collected>> {
    let key = json!({
        "data": pictures.key,
        "crops": args.ensemble.crops.views(),
        "isa": device.isa.name(),
        "precision": format!("{:?}", device.precision),
        "on_bad": args.on_bad,
        "allow_missing": args.judging.allow_missing,
        "program": logits::program(),
    });
    let task = Task { dataset: &pictures.data, device, args, world, key };
    let (mut asked, mut kept) = (Vec::new(), Vec::new());
    let folder = args.keep.folder(&args.ensemble);
    task.agree(&members, folder.is_some())?;
    for (member, weights) in members {
        let found = match folder {
            Some(folder) => task.look_up(folder, &member, weights)?,
            None => task.ask(&member, weights)?,
        };
        let Some(found) = found else {
            let done = match (folder, kept.len()) {
                (Some(_), 1..) => "; the same command goes on after the networks that are done",
                _ => "",
            };
            say(&format!("stopped before all pictures were answered{done}"));
            return Ok(None);
        };
        kept.push(found);
        asked.push(member);
    }
    if !world.leads() {
        // Rank 0 judges, and others may have no answers of a network whose answers were kept.
        let asked = Asked { crops: args.ensemble.crops.views(), members: Vec::new() };
        return Ok(Some(Collected { answers: Answers::new(0), skipped: Vec::new(), asked }));
    }
    let collected = together(&asked, kept, args.ensemble.crops.views());
    if let Some(path) = &args.keep.save_logits {
        let Collected { answers, skipped, .. } = &collected;
        let kept = Kept { answers: answers.clone(), skipped: skipped.clone() };
        task.write(&kept, path, &Value::Null, &asked[0].metadata.classes)?;
    }
    Ok(Some(collected))
}

impl Task<'_> {
    /// Refuses ranks that would answer otherwise than rank 0, or in other rounds.
    fn agree(&self, members: &[(Member, Weights)], keeps: bool) -> Result<()> {
        let Task { dataset, device, args, world, .. } = self;
        if world.size() == 1 {
            return Ok(());
        }
        let mut asked = self.key.clone();
        // A change of a file is one of this machine's.
        asked["data"] = json!(dataset.fingerprint());
        asked["batch_size"] = json!(args.batch_size);
        asked["logits_kept"] = json!(keeps);
        asked["networks"] = members.iter().map(|(member, weights)| member.key(weights)).collect();
        world.agree_on("evaluate", device.isa.name(), &asked)
    }

    /// The answers of a network that are kept in `folder`, or its answers now, which are kept there.
    fn look_up(&self, folder: &Path, member: &Member, weights: Weights) -> Result<Option<Kept>> {
        let Member { file, graph, metadata, .. } = member;
        let mut key = self.key.clone();
        if let (Value::Object(key), Value::Object(own)) = (&mut key, member.key(&weights)) {
            key.extend(own);
        }
        let name = format!("{}-{}", metadata.net, key["crops"]);
        let path = logits::file_of(folder, &name, &key);
        let mut found = None;
        if self.world.leads() && path.exists() {
            let kept = Kept::read(&path, &key, graph.classes());
            match kept.and_then(|kept| self.checked(kept)) {
                Ok(kept) => found = Some(kept),
                Err(error) => {
                    say(&format!("{} is passed over: {error:#}; computed anew", path.display()));
                }
            }
        }
        // Of those that rank 0 has, the others need none.
        if self.world.any("kept logits", [found.is_some()])?[0] {
            say(&format!("{}: logits of {} are there already", file.display(), path.display()));
            let none = Kept { answers: Answers::new(graph.classes()), skipped: Vec::new() };
            return Ok(Some(found.unwrap_or(none)));
        }
        let Some(mut kept) = self.ask(member, weights)? else { return Ok(None) };
        own_labels(member, &mut kept.answers);
        if !self.world.leads() {
            return self.checked(kept).map(Some);
        }
        let written = std::fs::create_dir_all(folder).map_err(anyhow::Error::from);
        let written = written.and_then(|()| self.write(&kept, &path, &key, &metadata.classes));
        if let Err(error) = written {
            say(&format!("logits are not kept, pass another --logits-cache or --no-cache: {error:#}"));
        }
        self.checked(kept).map(Some)
    }

    /// Answers that are about pictures of the data set, under its labels.
    fn checked(&self, mut kept: Kept) -> Result<Kept> {
        let samples = &self.dataset.samples;
        let label = |&index: &usize| samples.get(index).map(|sample| sample.label);
        kept.answers.labels = kept
            .answers
            .indices
            .iter()
            .map(label)
            .collect::<Option<_>>()
            .context("it is of other pictures")?;
        Ok(kept)
    }

    fn write(&self, kept: &Kept, path: &Path, key: &Value, classes: &[String]) -> Result<()> {
        kept.write(path, key, classes, |i| self.dataset.samples[i].picture.name())
    }

    /// What a network answers to every picture. `None` where a signal asked for an end.
    fn ask(&self, member: &Member, weights: Weights) -> Result<Option<Kept>> {
        let Task { dataset, device, args, .. } = self;
        // A store lets a thread wait that the network would miss.
        let remote = || std::thread::available_parallelism().ok().filter(|_| storage::is_remote(&args.data));
        let (batch, sight) = (args.batch_size.get(), member.sight(args.ensemble.crops));
        let blocks = Blocks::new(self.world, batch, args.ensemble.crops.views());
        let own = dataset.samples.iter().enumerate().filter(|(place, _)| blocks.is_own(*place));
        let pictures: Vec<_> = own.map(|(_, sample)| Ok(sample.picture.clone())).collect();
        let feed =
            Feed::new(pictures.into_iter(), &[sight], batch, decoders(args.workers.or_else(remote), device))
                .context("starting the thread that lists pictures")?;
        let collector = Collector::new(feed, vec![Network::of(&member.graph, weights, device)], batch);
        let mut collector = Shared::new(collector, self.world, blocks, dataset.samples.len());
        let mut kept = Kept { answers: Answers::new(member.graph.classes()), skipped: Vec::new() };
        let mut progress = Progress::new(Style::Auto, dataset.samples.len() as u64);
        let state = counted(dataset.samples.len(), "picture");
        let mut index = 0;
        while let Some(answered) = collector.next_answer()? {
            if collector.is_stopped() {
                return Ok(None);
            }
            match answered.rows {
                Ok(rows) => kept.answers.add(index, dataset.samples[index].label, &rows[0]),
                Err(error) => kept.skipped.push(args.on_bad.judge(error)?),
            }
            index += 1;
            progress.advance(1, &state);
        }
        // A round that a signal has ended early has fewer.
        Ok((index == dataset.samples.len()).then_some(kept))
    }
}

/// The average of what the members answered, to the pictures that all of them could read.
fn together(members: &[Member], mut kept: Vec<Kept>, crops: usize) -> Collected {
    let mut skipped: Vec<Skipped> = Vec::new();
    for one in kept.iter().flat_map(|kept| &kept.skipped) {
        if !skipped.iter().any(|other| other.name == one.name) {
            skipped.push(one.clone());
        }
    }
    if kept.len() == 1 {
        let answers = kept.remove(0).answers;
        return Collected { answers, skipped, asked: Asked { crops, members: Vec::new() } };
    }
    if !skipped.is_empty() {
        let read: Vec<HashSet<usize>> =
            kept.iter().map(|kept| kept.answers.indices.iter().copied().collect()).collect();
        kept.iter_mut().for_each(|kept| kept.answers.retain(|i| read.iter().all(|read| read.contains(&i))));
    }
    let first = &kept[0].answers;
    let mut answers = Answers::new(first.classes);
    let mut rows: Vec<_> = kept.iter().map(|kept| kept.answers.rows()).collect();
    for (&index, &label) in first.indices.iter().zip(&first.labels) {
        let rows = rows.iter_mut().map(|rows| rows.next().expect("a row for every picture"));
        let rows: Vec<_> = members.iter().map(|member| &member.places[..]).zip(rows).collect();
        answers.add(index, label, &average(&rows));
    }
    drop(rows);
    let members = members.iter().zip(kept).map(|(member, kept)| alone(member, kept.answers));
    Collected { answers, skipped, asked: Asked { crops, members: members.collect() } }
}

/// Puts labels of the first network's classes under those of `member`.
fn own_labels(member: &Member, answers: &mut Answers) {
    for label in &mut answers.labels {
        let place = member.places[*label as usize].expect("no picture is of a class that is left out");
        *label = place as u32;
    }
}

/// The digits that an evaluation of this network alone gives.
fn alone(member: &Member, mut answers: Answers) -> judge::Member {
    own_labels(member, &mut answers);
    judge::Member {
        weights: member.file.display().to_string(),
        net: member.metadata.net.clone(),
        scores: answers.metrics().scores(),
    }
}
