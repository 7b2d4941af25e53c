//! The paper's comparison in a minute: a plain network and its residual twin of about equal cost, on digits.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use inception_cpu::{Device, Keep};
use inception_graph::{Spec, build};

use crate::compare::{PAIRS, width_at_cost};
use crate::data::digits::digits;
use crate::data::{Dataset, Picture};
use crate::figures::{self, Curve, Figure};
use crate::progress::{Style, blocks};
use crate::recipe::Recipe;
use crate::run_dir::{RunDir, environment};
use crate::sheet::save_png;
use crate::train::{Flow, Job, Run, Saving, Summary};

/// Width of the plain networks.
const WIDTH: f64 = 0.25;

/// What a demo is asked for.
pub struct Demo {
    /// The second pair as well.
    pub all: bool,
    /// Changes to the recipe `demo`.
    pub sets: Vec<(String, String)>,
    /// Folder that will hold everything; must not exist.
    pub folder: PathBuf,
    /// What it runs on.
    pub device: Device,
}

/// One demo's outcome, a summary a network; fewer where the user stopped it.
pub struct Outcome {
    /// Finished networks, in the order of the pairs.
    pub networks: Vec<Summary>,
    /// Whether the user stopped it.
    pub stopped: bool,
    /// Pictures to try the networks on.
    pub samples: Vec<PathBuf>,
}

impl Demo {
    /// Trains each pair, both networks epoch by epoch in turn, and writes a row an epoch to `out`.
    pub fn run(&self, out: &mut dyn Write) -> Result<Outcome> {
        let pairs = if self.all { &PAIRS[..] } else { &PAIRS[..1] };
        let (mut networks, mut stopped) = (Vec::new(), false);
        for pair in pairs {
            let (summaries, flow) = self.pair(*pair, out)?;
            networks.extend(summaries);
            self.draw(&networks)?;
            if flow == Flow::Stopped {
                stopped = true;
                break;
            }
        }
        let seed = Recipe::load("demo", &self.sets)?.seed;
        let samples = write_samples(&digits(seed)?.val, &self.folder.join("samples"))?;
        Ok(Outcome { networks, stopped, samples })
    }

    fn pair(&self, [plain, residual]: [&str; 2], out: &mut dyn Write) -> Result<(Vec<Summary>, Flow)> {
        let base = Recipe::load("demo", &self.sets)?;
        let side = base.img_size;
        let spec = |net| Spec { img_size: side, ..Spec::new(net).width(WIDTH).classes(10) };
        let width = width_at_cost(&spec(residual), build(&spec(plain))?.macs())?;
        let mut runs = [self.start(plain, WIDTH, &base)?, self.start(residual, width, &base)?];
        writeln!(out, "\n{:>5} {:>6}  {:<30}  {:<30}", "epoch", "steps", plain, residual)?;
        while !runs[1].is_finished() {
            for run in &mut runs {
                if run.epoch()? == Flow::Stopped {
                    let [first, second] = runs;
                    return Ok((vec![first.finish()?, second.finish()?], Flow::Stopped));
                }
            }
            let row = runs.each_ref().map(|run| run.epochs()[run.epochs().len() - 1].clone());
            let [left, right] = row.each_ref().map(|epoch| bar(epoch.eval_top1_error));
            writeln!(out, "{:>5} {:>6}  {left}  {right}", row[0].epoch, row[0].step)?;
            out.flush()?;
        }
        let [first, second] = runs;
        Ok((vec![first.finish()?, second.finish()?], Flow::Done))
    }

    fn start(&self, net: &str, width: f64, base: &Recipe) -> Result<Run> {
        let recipe = Recipe { net: Some(net.into()), width, ..base.clone() };
        let env = environment(self.device.isa.name(), self.device.pool.threads());
        let folder = RunDir::create(&self.folder, net, &recipe.dump(), &env)?;
        let job = Job {
            splits: digits(recipe.seed)?,
            workers: 1,
            recipe,
            recipe_name: "demo".into(),
            device: self.device.clone(),
            keep: Keep::default(),
            log_interval: 10,
            progress: Style::None,
            saving: Saving::default(),
        };
        Run::new(job, folder)
    }

    /// One figure a pair, plain and residual, as the paper's Figures 21 and 23.
    fn draw(&self, networks: &[Summary]) -> Result<()> {
        let figures: Vec<Figure> = networks
            .chunks(2)
            .map(|pair| Figure {
                title: "Top-1 error on held-out handwritten digits".into(),
                y_label: "top-1 error, %".into(),
                curves: pair
                    .iter()
                    .map(|s| {
                        let points = s.epochs.iter().map(|e| (e.step as f64, 100.0 * e.eval_top1_error));
                        Curve::new(s.net.clone(), points.collect())
                    })
                    .collect(),
                ..Figure::default()
            })
            .collect();
        figures::draw(&self.folder.join("curves.svg"), &figures)
    }
}

/// An error of 90 %, that of guessing among ten digits, fills 20 cells.
fn bar(error: f64) -> String {
    format!("{:<21} {:>6.2} %", blocks(error / 0.9, 20), 100.0 * error)
}

/// The first picture of each class, as PNG files.
fn write_samples(val: &Dataset, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut files = Vec::new();
    for (label, class) in val.classes.iter().enumerate() {
        let Some(sample) = val.samples.iter().find(|s| s.label as usize == label) else { continue };
        if let Picture::Memory { rgb, .. } = &sample.picture {
            let path = folder.join(format!("{class}.png"));
            save_png(&path, rgb.width, rgb.height, &rgb.pixels)?;
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bars_grow_with_the_error() {
        assert_eq!(super::bar(0.0), format!("{:<21} {:>6} %", " ", "0.00"));
        assert_eq!(super::bar(0.45).matches('█').count(), 10);
        assert_eq!(super::bar(1.0).matches('█').count(), 20);
        assert!([0.0, 0.013, 0.5, 0.9, 1.0].iter().all(|&e| super::bar(e).chars().count() == 30));
    }
}
