//! A folder with all that is known of an evaluation.
//!
//! `report.html` (one page that needs no other file), `report.json` (what `--json` writes), `confusion.csv`, `confusion.svg`,
//! `per_class.csv`, `predictions.csv`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::bootstrap::{Interval, LEVEL, RESAMPLES};
use super::findings::{Asked, Findings, Judged};
use super::{confusion, diagram, tables};
use crate::answers::Answers;
use crate::checkpoint::Metadata;
use crate::data::{Dataset, decode};
use crate::evaluate::WORST;
use crate::exit::UsageError;
use crate::html::{self, Fact, Pictured};
use crate::progress::counted;
use crate::run_dir::replace;
use crate::sheet::thumbnail;

/// A folder that was empty.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
}

/// What a report is about.
pub struct About<'a> {
    /// The answers.
    pub answers: &'a Answers,
    /// The pictures.
    pub data: &'a Dataset,
    /// The network.
    pub metadata: &'a Metadata,
    /// What the answers come to.
    pub judged: &'a Judged,
    /// What it was made with.
    pub environment: &'a Value,
}

impl Report {
    /// Makes the folder `path`; one that holds anything is refused.
    pub fn create(path: &Path) -> Result<Report> {
        let making = || format!("creating the report's folder {}", path.display());
        fs::create_dir_all(path).with_context(making)?;
        if fs::read_dir(path).with_context(making)?.next().is_some() {
            let message = format!(
                "--report {}: is not empty, and no report is overwritten: choose another",
                path.display()
            );
            return Err(UsageError(message).into());
        }
        Ok(Report { path: path.into() })
    }

    /// Fills the folder; the page comes last. Decodes the worst mistakes once more.
    pub fn write(&self, about: &About) -> Result<()> {
        let (judged, names) = (about.judged, &about.metadata.classes);
        let matrix = confusion::svg(&judged.metrics, names);
        let findings = serde_json::to_string_pretty(&judged.findings).context("writing report.json")?;
        for (file, bytes) in [
            ("report.json", findings.into_bytes()),
            ("confusion.csv", tables::confusion(judged, names)?),
            ("confusion.svg", matrix.clone().into_bytes()),
            ("per_class.csv", tables::per_class(&judged.findings.per_class)?),
            ("predictions.csv", tables::predictions(judged, about.answers, about.data, names)?),
            ("report.html", page(about, &matrix)?.into_bytes()),
        ] {
            replace(&self.path.join(file), &bytes)?;
        }
        Ok(())
    }
}

fn page(about: &About, matrix: &str) -> Result<String> {
    let About { judged, metadata, .. } = about;
    let (found, names) = (&judged.findings, &metadata.classes);
    let which = format!("{}.", counted(found.count as usize, "picture"));
    let counts = judged.metrics.per_class();
    let mut sections = html::judged(&which, counts, names);
    sections += &match html::has_matrix(names.len()) {
        true => html::confusions(&which, counts, names),
        false => html::figure("Confusion matrix", "", matrix),
    };
    let note = format!(
        "{which} Answers by their probability, in {} bins of equal width: how many of each were right.",
        found.calibration.len()
    );
    let diagram = diagram::reliability(&found.calibration, found.calibration_error);
    sections += &html::figure("Calibration", &note, &diagram);
    sections += &html::mistakes(&which, &mistakes(about)?, names);
    let unread = &found.around.skipped;
    if !unread.is_empty() {
        let lines: Vec<String> = unread.iter().map(|s| format!("{}: {}", s.name, s.reason)).collect();
        sections += &html::text("Skipped", &lines.join("\n"));
    }
    sections += &html::text("Environment", &format!("{:#}", about.environment));
    let network = match found.around.asked.members.len() {
        0 => format!("{}, {} px, width {}", metadata.net, metadata.img_size, metadata.width),
        networks => format!("ensemble of {networks} networks"),
    };
    let title = format!("Evaluation on {}", about.data.root.display());
    Ok(html::page(&title, &network, &facts(found), &sections))
}

fn facts(found: &Findings) -> Vec<Fact> {
    let fact = |name, value: String, note: String| Fact { name, value, note };
    let percent = |name, error: f64, [from, to]: Interval| {
        let note = format!("{:.2}–{:.2}", 100.0 * from, 100.0 * to);
        fact(name, format!("{:.2} %", 100.0 * error), note)
    };
    let [from, to] = found.eval_loss_interval;
    let mut facts = vec![
        percent("Top-1 error", found.eval_top1_error, found.eval_top1_error_interval),
        percent("Top-5 error", found.eval_top5_error, found.eval_top5_error_interval),
        fact("Loss", format!("{:.4}", found.eval_loss), format!("{from:.4}–{to:.4}")),
        percent("Calibration error", found.calibration_error, found.calibration_error_interval),
    ];
    if let Some(real) = &found.real {
        facts.extend([
            percent("Top-1 error, ReaL", real.real_top1_error, real.real_top1_error_interval),
            percent("Top-5 error, ReaL", real.real_top5_error, real.real_top5_error_interval),
        ]);
    }
    let left_out: usize = found.around.left_out.iter().map(|class| class.pictures).sum();
    let others = [
        (found.around.excluded, "excluded"),
        (left_out, "of unknown classes"),
        (found.around.skipped.len(), "unreadable"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others.map(|(count, why)| format!("{count} {why}")).collect();
    let Asked { crops, members } = &found.around.asked;
    let alone =
        members.iter().map(|m| format!("{:.2} %", 100.0 * m.scores.eval_top1_error)).collect::<Vec<_>>();
    if !members.is_empty() {
        facts.push(fact(
            "Networks",
            members.len().to_string(),
            format!("top-1 errors alone: {}", alone.join(", ")),
        ));
    }
    facts.extend([
        fact("Views", crops.to_string(), "of each picture".into()),
        fact("Pictures", found.count.to_string(), others.join(", ")),
        fact("Classes", found.per_class.len().to_string(), String::new()),
        fact("Intervals", format!("{:.0} %", 100.0 * LEVEL), format!("bootstrap, {RESAMPLES} resamples")),
    ]);
    facts
}

/// The wrong answers with the largest losses, the worst first, the earlier picture first among equals.
fn mistakes(about: &About) -> Result<Vec<Pictured>> {
    let About { answers, data, metadata, judged, .. } = about;
    let (verdicts, side, how) = (&judged.verdicts, metadata.img_size, &metadata.preprocessing);
    let mut wrong: Vec<usize> =
        (0..verdicts.len()).filter(|&i| !verdicts[i].within(1) && verdicts[i].answer.is_some()).collect();
    wrong.sort_by(|&a, &b| verdicts[b].loss.total_cmp(&verdicts[a].loss));
    let picture = |&i: &usize| -> Result<Pictured> {
        let (verdict, label, index) = (&verdicts[i], answers.labels[i] as usize, answers.indices[i]);
        let picture = &data.samples[index].picture;
        let rgb = decode::decode(picture, how.decoding()).context("decoding the worst mistakes once more")?;
        let pixels = how.apply(&rgb, side).with_context(|| picture.name())?;
        Ok(Pictured {
            name: data.name(index),
            label,
            answer: verdict.answer.unwrap_or(label),
            probability: verdict.probability,
            loss: verdict.loss,
            png: thumbnail(&pixels, side, how.range)?,
        })
    };
    wrong.iter().take(WORST).map(picture).collect()
}
