//! Figures of a comparison: means over seeds, and from the least to the largest of them.

use std::path::Path;

use anyhow::Result;

use super::arms::{groups, label};
use super::points::{Comparison, Point};
use super::spread::Spread;
use crate::figures::{self, Curve, Figure};

/// What a figure shows of each evaluation.
#[derive(Clone, Copy)]
struct Shown {
    /// In the name of the file.
    file: &'static str,
    title: &'static str,
    y_label: &'static str,
    /// `None` where it was not measured.
    value: fn(&Point) -> Option<f64>,
    /// The same of the weights without averaging.
    raw: Option<fn(&Point) -> Option<f64>>,
}

const SHOWN: [Shown; 6] = [
    Shown {
        file: "top1",
        title: "Top-1 error",
        y_label: "top-1 error, %",
        value: |p| Some(100.0 * p.eval_top1_error),
        raw: None,
    },
    Shown {
        file: "top5",
        title: "Top-5 error",
        y_label: "top-5 error, %",
        value: |p| Some(100.0 * p.eval_top5_error),
        raw: None,
    },
    Shown {
        file: "average",
        title: "Top-1 error of the moving average and of raw weights",
        y_label: "top-1 error, %",
        value: |p| p.raw_top1_error.and(Some(100.0 * p.eval_top1_error)),
        raw: Some(|p| Some(100.0 * p.raw_top1_error?)),
    },
    Shown {
        file: "loss",
        title: "Training loss",
        y_label: "loss",
        // Of interest where the layers are.
        value: |p| p.dead.and(p.train_loss),
        raw: None,
    },
    Shown {
        file: "dead",
        title: "Always zero: units of the last layer before the pooling",
        y_label: "share of units, %",
        value: |p| Some(100.0 * p.dead?),
        raw: None,
    },
    Shown {
        file: "spread",
        title: "Activations of the last layer before the pooling",
        y_label: "standard deviation",
        value: |p| p.std,
        raw: None,
    },
];

/// Values of several runs at the steps that all of them have: the mean, and from the least to the largest.
fn mean_curve(name: String, runs: &[Vec<&Point>], value: fn(&Point) -> Option<f64>) -> Curve {
    let mut curve = Curve { name, ..Curve::default() };
    for point in runs.first().into_iter().flatten() {
        let same =
            |run: &Vec<&Point>| run.iter().find(|other| other.step == point.step).and_then(|p| value(p));
        let Some(values) = runs.iter().map(same).collect::<Option<Vec<f64>>>() else { continue };
        let Some(spread) = Spread::of(&values) else { continue };
        curve.points.push((point.step as f64, spread.mean));
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        curve.band.push((low, high));
    }
    if runs.len() < 2 {
        curve.band.clear();
    }
    curve
}

/// A figure and the name of its file.
fn figure(
    whole: &Comparison,
    (group, who): &(String, Vec<usize>),
    shown: &Shown,
    asked: Option<f64>,
) -> Option<(String, Figure)> {
    let names = whole.names();
    let mut curves = Vec::new();
    for &arm in who {
        let runs = whole.runs(&names[arm]);
        let curve =
            |suffix: &str, value| mean_curve(format!("{}{suffix}", label(&names[arm], group)), &runs, value);
        let solid = curve("", shown.value);
        if solid.points.is_empty() {
            continue;
        }
        curves.push(solid);
        if let Some(raw) = shown.raw {
            curves.push(Curve { dashed: true, band: Vec::new(), ..curve(", raw", raw) });
        }
    }
    let seeds = who.iter().map(|&arm| whole.runs(&names[arm]).len()).max().unwrap_or(0);
    let about = &whole.about;
    let spread = if seeds > 1 {
        format!(" Lines are means over {seeds} seeds, bands go from the least to the largest.")
    } else {
        String::new()
    };
    let pictures = inception_graph::thousands(whole.points.first().map_or(0, |point| point.count));
    // What was asked for, or the error at which the first one ends; and when others are there.
    let first = curves.first().filter(|_| shown.file.starts_with("top") && curves.len() > 1);
    let end = first.and_then(|first| first.points.last()).map(|point| point.1);
    let is_reached = |target: &f64| curves.iter().skip(1).any(|curve| curve.reaches(*target).is_some());
    let target = asked.filter(|_| shown.file == "top1").or(end.filter(is_reached));
    // Where all lines are of one network, none says of which.
    let is_one = who.iter().all(|&arm| names[arm].split(' ').next() == Some(group.as_str()));
    let figure = Figure {
        title: shown.title.into(),
        y_label: if is_one { format!("{group}: {}", shown.y_label) } else { shown.y_label.into() },
        target,
        note: format!("{pictures} validation pictures, {} px.{spread} {}", about.img_size, about.command),
        curves,
    };
    (!figure.curves.is_empty())
        .then(|| (format!("{}-{}.svg", group.replace(['.', ' '], "_"), shown.file), figure))
}

/// Writes all figures into `folder`; their files, in order. The first top-1 error of `asked`, in percent, is drawn across.
pub fn draw(whole: &Comparison, asked: &[f64], folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for group in groups(&whole.names()) {
        for shown in &SHOWN {
            if let Some((file, figure)) = figure(whole, &group, shown, asked.first().copied()) {
                figures::draw(&folder.join(&file), &[figure])?;
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The top-1 error of one run, in percent.
pub(super) fn run_curve(run: &[&Point]) -> Curve {
    let points = run.iter().map(|point| (point.step as f64, 100.0 * point.eval_top1_error));
    Curve::new("", points.collect())
}
