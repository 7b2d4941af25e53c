//! What runs have logged, as one table: a row an evaluation.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::BadData;

/// One evaluation of one run. Errors are shares; what was not watched, or is no finite number, is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the log: docs/training.md")]
pub struct Point {
    pub arm: String,
    pub seed: u64,
    pub step: usize,
    pub epoch: usize,
    /// Validation pictures.
    pub count: u64,
    /// Mean of the logged training losses since the evaluation before.
    pub train_loss: Option<f64>,
    pub eval_loss: Option<f64>,
    pub eval_top1_error: f64,
    pub eval_top5_error: f64,
    pub raw_loss: Option<f64>,
    pub raw_top1_error: Option<f64>,
    pub raw_top5_error: Option<f64>,
    pub dead: Option<f64>,
    pub zeros: Option<f64>,
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub max: Option<f64>,
}

/// What one arm is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmFacts {
    /// Its name.
    pub name: String,
    /// Width of the network.
    pub width: f64,
    /// Trainable parameters.
    pub parameters: usize,
    /// Multiply-accumulates a picture.
    pub macs: u64,
}

/// What was compared, where and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The command that trains and draws it again.
    pub command: String,
    /// Processor, threads, version of the program.
    pub machine: String,
    /// A word of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Side of the pictures in pixels.
    pub img_size: usize,
    /// Training and evaluation of all runs.
    pub seconds: f64,
    /// The arms, in order.
    pub arms: Vec<ArmFacts>,
}

/// All that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What was compared.
    pub about: About,
    /// Evaluations, by arm, seed and step.
    pub points: Vec<Point>,
}

/// The evaluations in the `log.jsonl` of a run, and the seconds that its epochs took.
pub fn of_log(file: &Path, arm: &str, seed: u64) -> Result<(Vec<Point>, f64)> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let (mut points, mut losses, mut seconds) = (Vec::new(), Vec::new(), 0.0);
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = || BadData(format!("{}: line {number} is no record of a run", file.display()));
        let record: Value = serde_json::from_str(line).map_err(|_| wrong())?;
        let number = |key: &str| record[key].as_f64();
        match record["kind"].as_str() {
            Some("step") => losses.extend(number("loss")),
            Some("eval" | "eval_midway") => {
                let of = |key: &str| record["activations"][key].as_f64();
                let whole = |key: &str| record[key].as_u64().map(|n| n as usize).ok_or_else(wrong);
                let mean = losses.iter().sum::<f64>() / losses.len() as f64;
                points.push(Point {
                    arm: arm.into(),
                    seed,
                    step: whole("step")?,
                    epoch: whole("epoch")?,
                    count: record["count"].as_u64().ok_or_else(wrong)?,
                    train_loss: Some(mean).filter(|mean| mean.is_finite()),
                    eval_loss: number("eval_loss"),
                    eval_top1_error: number("eval_top1_error").ok_or_else(wrong)?,
                    eval_top5_error: number("eval_top5_error").ok_or_else(wrong)?,
                    raw_loss: number("raw_loss"),
                    raw_top1_error: number("raw_top1_error"),
                    raw_top5_error: number("raw_top5_error"),
                    dead: of("dead"),
                    zeros: of("zeros"),
                    mean: of("mean"),
                    std: of("std"),
                    max: of("max"),
                });
                losses.clear();
                seconds += number("seconds").unwrap_or(0.0);
            }
            _ => {}
        }
    }
    Ok((points, seconds))
}

/// What the line with [`About`] begins with.
const MARK: &str = "# ";

impl Comparison {
    /// A line of JSON behind `# `, then CSV.
    pub fn to_csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        self.points.iter().try_for_each(|point| writer.serialize(point))?;
        let rows = String::from_utf8(writer.into_inner()?)?;
        Ok(format!("{MARK}{}\n{rows}", serde_json::to_string(&self.about)?))
    }

    /// Reads the file that [`Comparison::to_csv`] was written to.
    pub fn read(file: &Path) -> Result<Comparison> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let wrong = |why: String| {
            BadData(format!("{}: {why}; expected what `inception compare` writes", file.display()))
        };
        let (first, rows) = text.split_once('\n').unwrap_or_default();
        let about = first
            .strip_prefix(MARK)
            .ok_or_else(|| wrong("the first line does not begin with `# `".into()))?;
        let about: About = serde_json::from_str(about).map_err(|e| wrong(format!("line 1: {e}")))?;
        let points =
            csv::Reader::from_reader(rows.as_bytes()).into_deserialize().collect::<Result<Vec<Point>, _>>();
        let points = points.map_err(|e| wrong(e.to_string()))?;
        if let Some(point) = points.iter().find(|point| !about.arms.iter().any(|arm| arm.name == point.arm)) {
            return Err(wrong(format!("`{}` is none of its arms", point.arm)).into());
        }
        Ok(Comparison { about, points })
    }

    /// Names of the arms.
    pub fn names(&self) -> Vec<String> {
        self.about.arms.iter().map(|arm| arm.name.clone()).collect()
    }

    /// The runs of an arm, each its points by step.
    pub fn runs(&self, arm: &str) -> Vec<Vec<&Point>> {
        let mut seeds: Vec<u64> = self.points.iter().filter(|p| p.arm == arm).map(|p| p.seed).collect();
        seeds.dedup();
        let run = |&seed: &u64| self.points.iter().filter(|p| p.arm == arm && p.seed == seed).collect();
        seeds.iter().map(run).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_rows_and_rows_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log.jsonl");
        let lines = [
            r#"{"kind":"step","step":1,"loss":2.0}"#,
            r#"{"kind":"step","step":2,"loss":1.0}"#,
            r#"{"kind":"eval_midway","epoch":1,"step":2,"count":10,"eval_loss":null,"eval_top1_error":0.9,"eval_top5_error":0.5}"#,
            r#"{"kind":"eval","epoch":1,"step":4,"count":10,"seconds":1.5,"eval_loss":1.25,"eval_top1_error":0.1,"eval_top5_error":0.0,"raw_top1_error":0.2,"activations":{"dead":0.5,"std":2.0}}"#,
        ];
        fs::write(&log, lines.join("\n")).expect("written");
        let (points, seconds) = of_log(&log, "a b=1", 3).expect("a log");
        assert_eq!((seconds, points[0].count), (1.5, 10));
        assert_eq!((points[0].train_loss, points[0].eval_loss, points[0].step), (Some(1.5), None, 2));
        assert_eq!(
            (points[1].train_loss, points[1].raw_top1_error, points[1].dead),
            (None, Some(0.2), Some(0.5))
        );
        let arm = ArmFacts { name: "a b=1".into(), width: 0.25, parameters: 10, macs: 20 };
        let about = About {
            command: "inception compare \"x\"".into(),
            machine: "m".into(),
            note: None,
            img_size: 75,
            seconds: 1.5,
            arms: vec![arm],
        };
        let whole = Comparison { about, points };
        let file = folder.path().join("compare.csv");
        fs::write(&file, whole.to_csv().expect("writable")).expect("written");
        assert_eq!(Comparison::read(&file).expect("readable"), whole);
        assert_eq!(whole.runs("a b=1").len(), 1);
        for (from, to) in [("\"a b=1\"", "\"c\""), ("0.25", "x"), ("# ", ""), ("a b=1,3,2", "a b=1,3,zwei")] {
            fs::write(&file, whole.to_csv().expect("writable").replacen(from, to, 1)).expect("written");
            let error = Comparison::read(&file).expect_err(from).to_string();
            assert!(error.contains("compare.csv") && error.contains("inception compare"), "{error}");
        }
    }
}
