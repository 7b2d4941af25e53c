//! What a run draws after every epoch: its curves, and all that is known of it on one page.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

use super::Run;
use super::html::{Judged, Page, page};
use super::report::EpochReport;
use crate::evaluate::Evaluation;
use crate::figures::{self, Curve, Figure};
use crate::html::{Fact, Pictured};
use crate::progress::duration;
use crate::run_dir::replace;
use crate::sheet::thumbnail;

impl Run {
    /// The evaluation after the latest epoch, its worst mistakes as small pictures.
    pub(super) fn pictured(&self, found: Evaluation) -> Result<Judged> {
        let (side, range) = (self.engine.graph().img_size(), self.metadata.preprocessing.range);
        let mut pictures = HashMap::new();
        for picture in self.again(found.mistakes.iter().map(|mistake| mistake.index).collect()) {
            let picture = picture.context("reading the worst mistakes once more")?;
            pictures.insert(picture.indices[0], picture.pixels);
        }
        let there =
            found.mistakes.iter().filter_map(|mistake| Some((mistake, pictures.get(&mistake.index)?)));
        let mistakes = there.map(|(mistake, pixels)| {
            Ok(Pictured {
                name: self.val.name(mistake.index),
                label: mistake.label,
                answer: mistake.answer,
                probability: mistake.probability,
                loss: mistake.loss,
                png: thumbnail(pixels, side, range)?,
            })
        });
        let mistakes = mistakes.collect::<Result<_>>()?;
        Ok(Judged { epoch: self.at.epochs.len(), metrics: found.metrics, mistakes })
    }

    /// Writes `curves.svg` and `report.html`.
    pub(super) fn draw(&self) -> Result<()> {
        let curves = figures::svg(&self.figures());
        replace(&self.folder.file("curves.svg"), curves.as_bytes())?;
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
        // A file that somebody has taken away is left out.
        let text = |file| Some((file, fs::read_to_string(self.folder.file(file)).ok()?));
        let page = page(&Page {
            name: &name,
            network: format!(
                "{}, {} px, width {}",
                self.metadata.net,
                self.engine.graph().img_size(),
                self.metadata.width
            ),
            facts: self.facts(),
            curves: &curves,
            classes: &self.metadata.classes,
            judged: self.judged.as_ref(),
            which: self.judged.as_ref().map_or(String::new(), |judged| self.which(judged)),
            texts: ["recipe.toml", "env.json"].into_iter().filter_map(text).collect(),
        });
        replace(&self.folder.file("report.html"), page.as_bytes())
    }

    fn which(&self, judged: &Judged) -> String {
        let place = match self.at.best {
            Some(best) if best.epoch == judged.epoch => ", the best",
            _ if judged.epoch == self.at.epochs.len() => ", the latest",
            _ => "",
        };
        format!("The {} validation pictures after epoch {}{place}.", judged.metrics.count(), judged.epoch)
    }

    fn facts(&self) -> Vec<Fact> {
        let (graph, recipe, metadata) = (self.engine.graph().without_aux(), &self.recipe, &self.metadata);
        let fact = |name, value: String, note: String| Fact { name, value, note };
        let epochs = &self.at.epochs;
        let best = self.at.best.and_then(|best| epochs.iter().find(|e| e.epoch == best.epoch));
        let of_best = |value: fn(&EpochReport) -> String| best.map_or("–".into(), value);
        let note = best.map_or(String::new(), |best| format!("epoch {}, the best", best.epoch));
        let early = if self.has_lost_patience() { "ended early: none of the last was better" } else { "" };
        let left_out = match self.at.skipped.len() {
            0 => String::new(),
            count => format!(", {count} left out"),
        };
        let pictures = format!("{} + {}", self.train.samples.len(), self.val.samples.len());
        let macs = format!("{:.1} M", graph.macs() as f64 / 1e6);
        vec![
            fact("Top-1 error", of_best(|e| format!("{:.2} %", 100.0 * e.eval_top1_error)), note.clone()),
            fact("Top-5 error", of_best(|e| format!("{:.2} %", 100.0 * e.eval_top5_error)), note.clone()),
            fact("Loss", of_best(|e| format!("{:.4}", e.eval_loss)), note),
            fact("Epochs", format!("{} of {}", epochs.len(), recipe.epochs), early.into()),
            fact("Time", duration(self.at.seconds), format!("{} steps", self.at.step)),
            fact("Parameters", graph.parameter_count().to_string(), "trainable".into()),
            fact("MACs", macs, "a picture".into()),
            fact("Pictures", pictures, format!("training + validation{left_out}")),
            fact("Classes", metadata.classes.len().to_string(), String::new()),
        ]
    }

    fn figures(&self) -> [Figure; 2] {
        let curve = |name: &str, value: fn(&EpochReport) -> f64| {
            Curve::new(name, self.at.epochs.iter().map(|e| (e.step as f64, value(e))).collect())
        };
        let net = &self.metadata.net;
        let errors = Figure {
            title: format!("{net}: top-1 error"),
            y_label: "top-1 error, %".into(),
            curves: vec![
                curve("training, distorted pictures", |e| 100.0 * e.train_top1_error),
                curve("validation", |e| 100.0 * e.eval_top1_error),
            ],
            ..Figure::default()
        };
        let losses = Figure {
            title: format!("{net}: cross-entropy"),
            y_label: "loss".into(),
            curves: vec![
                curve("training, smoothed labels", |e| e.train_loss),
                curve("validation", |e| e.eval_loss),
            ],
            ..Figure::default()
        };
        [errors, losses]
    }
}
