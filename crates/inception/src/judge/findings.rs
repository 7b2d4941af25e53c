//! All numbers of an evaluation, as they are written to JSON.

use serde::Serialize;

use super::bootstrap::{Interval, intervals};
use super::calibration::{self, Bin, Point};
use super::classes::{ClassReport, per_class};
use super::real::Real;
use crate::answers::Answers;
use crate::data::{LeftOut, Skipped};
use crate::metrics::{Metrics, Scores, Verdict};

/// What an evaluation found. Intervals hold 95 % of the bootstrap's resamples.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Pictures.
    pub count: u64,
    /// Mean cross-entropy in nats.
    pub eval_loss: f64,
    /// Its interval.
    pub eval_loss_interval: Interval,
    /// Share of pictures whose first answer is wrong.
    pub eval_top1_error: f64,
    /// Its interval.
    pub eval_top1_error_interval: Interval,
    /// Share of pictures whose first five answers are all wrong.
    pub eval_top5_error: f64,
    /// Its interval.
    pub eval_top5_error_interval: Interval,
    /// Expected calibration error.
    pub calibration_error: f64,
    /// Its interval.
    pub calibration_error_interval: Interval,
    /// What it was computed from.
    pub calibration: Vec<Bin>,
    /// The same errors by several right classes a picture, where they are known.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub real: Option<Real>,
    /// Every class.
    pub per_class: Vec<ClassReport>,
    /// Whose answers were judged, and which pictures were not.
    #[serde(flatten)]
    pub around: Around,
}

/// Whose answers are judged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asked {
    /// Views of each picture that were averaged.
    pub crops: usize,
    /// Networks that were averaged; none where it is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// What a network of an ensemble reaches alone.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// Its file.
    pub weights: String,
    /// Its network.
    pub net: String,
    /// What it reaches.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Whose answers were judged, and which pictures were not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Around {
    /// Whose answers.
    #[serde(flatten)]
    pub asked: Asked,
    /// Pictures that a list excluded.
    pub excluded: usize,
    /// Pictures of unknown classes.
    pub left_out: Vec<LeftOut>,
    /// Pictures that cannot be read.
    pub skipped: Vec<Skipped>,
}

/// Answers that have been judged.
pub struct Judged {
    /// What became of each picture, in the order of the answers.
    pub verdicts: Vec<Verdict>,
    /// Sums over them.
    pub metrics: Metrics,
    /// All numbers.
    pub findings: Findings,
}

impl Judged {
    /// Judges the answers of a network with classes of these `names` by the pictures' own classes.
    pub fn new(answers: &Answers, names: &[String], real: Option<Real>, around: Around) -> Judged {
        let verdict = |(row, &label): (&[f32], &u32)| Verdict::of(row, label as usize);
        let verdicts: Vec<Verdict> = answers.rows().zip(&answers.labels).map(verdict).collect();
        let metrics = answers.metrics();
        let [loss, top1, top5, calibration_error] = spread(&verdicts);
        let findings = Findings {
            count: metrics.count(),
            eval_loss: metrics.loss(),
            eval_loss_interval: loss,
            eval_top1_error: metrics.top1_error(),
            eval_top1_error_interval: top1,
            eval_top5_error: metrics.top5_error(),
            eval_top5_error_interval: top5,
            calibration_error: calibration::error(&verdicts),
            calibration_error_interval: calibration_error,
            calibration: calibration::bins(&verdicts),
            real,
            per_class: per_class(metrics.per_class(), names),
            around,
        };
        Judged { verdicts, metrics, findings }
    }
}

/// Intervals of loss, top-1 error, top-5 error and calibration error.
fn spread(verdicts: &[Verdict]) -> [Interval; 4] {
    let points: Vec<_> = verdicts.iter().map(|v| (v.loss, v.within(1), v.within(5), Point::of(v))).collect();
    let count = points.len() as f64;
    intervals(points.len(), |drawn| {
        let (mut loss, mut top1, mut top5) = (0.0, 0u32, 0u32);
        for &i in drawn {
            let (picture, first, five, _) = points[i as usize];
            loss += picture;
            top1 += u32::from(!first);
            top5 += u32::from(!five);
        }
        let gap = calibration::gap(points.len(), drawn.iter().map(|&i| points[i as usize].3));
        [loss / count, f64::from(top1) / count, f64::from(top5) / count, gap]
    })
}
