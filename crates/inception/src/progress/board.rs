//! What a dashboard knows of a run: curves of bounded length, the latest values, the epochs.

use std::time::Instant;

use super::{Clock, Plan, Step};
use crate::train::EpochReport;

/// Points of the curves at most; a chart has fewer columns of dots.
const POINTS: usize = 2048;

/// Smoothed values are means over the last fiftieth of the run so far, and over so many steps at least.
const SMOOTHED: f64 = 20.0;

/// A step in the curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) step: f64,
    pub(super) loss: f64,
    /// Smoothed.
    pub(super) mean_loss: f64,
    /// Smoothed.
    pub(super) mean_error: f64,
}

/// What the run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Training,
    /// So many pictures, of so many.
    Validating(usize, usize),
}

/// All that a dashboard shows but the time and the terminal.
pub(super) struct Board {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    pub(super) phase: Phase,
    pub(super) latest: Option<Step>,
    /// Smoothed loss and error of training, and of how many steps.
    mean: (f64, f64, f64),
    pub(super) points: Vec<Point>,
    /// Every so many steps is a point.
    stride: usize,
    /// Step and validation error in percent, by epoch.
    pub(super) validated: Vec<(f64, f64)>,
    /// Epoch and error.
    pub(super) best: Option<(usize, f64)>,
    /// Step and when.
    pub(super) saved: Option<(usize, Instant)>,
}

impl Board {
    pub(super) fn new(plan: Plan, clock: Clock) -> Board {
        Board {
            plan,
            clock,
            phase: Phase::Training,
            latest: None,
            mean: (f64::NAN, f64::NAN, 0.0),
            points: Vec::new(),
            stride: 1,
            validated: Vec::new(),
            best: None,
            saved: None,
        }
    }

    /// Smoothed loss and error of training.
    pub(super) fn mean(&self) -> (f64, f64) {
        (self.mean.0, self.mean.1)
    }

    pub(super) fn step(&mut self, step: &Step, clock: Clock) {
        self.clock = clock;
        self.phase = Phase::Training;
        self.latest = Some(*step);
        let (loss, error) = (f64::from(step.loss), step.top1_error);
        if loss.is_finite() {
            let (mean_loss, mean_error, count) = self.mean;
            let part = 1.0 / (count + 1.0).min((count / 50.0).max(SMOOTHED));
            let toward =
                |mean: f64, value: f64| if count == 0.0 { value } else { mean + part * (value - mean) };
            self.mean = (toward(mean_loss, loss), toward(mean_error, error), count + 1.0);
        }
        if step.step.is_multiple_of(self.stride) {
            let (mean_loss, mean_error) = self.mean();
            self.add(Point { step: step.step as f64, loss, mean_loss, mean_error });
        }
    }

    fn add(&mut self, point: Point) {
        if self.points.len() == POINTS {
            let mut odd = false;
            self.points.retain(|_| {
                odd = !odd;
                odd
            });
            self.stride *= 2;
        }
        self.points.push(point);
    }

    pub(super) fn epoch(&mut self, report: &EpochReport, best: (usize, f64)) {
        self.phase = Phase::Training;
        self.validated.push((report.step as f64, 100.0 * report.eval_top1_error));
        self.best = Some(best);
    }

    /// The run goes on behind `step`, after `epochs`; what came later is forgotten.
    pub(super) fn go_on(&mut self, step: usize, epochs: &[EpochReport], clock: Clock) {
        self.clock = clock;
        self.phase = Phase::Training;
        self.points.retain(|point| point.step <= step as f64);
        if self.points.is_empty() {
            self.points.extend(epochs.iter().map(|epoch| Point {
                step: epoch.step as f64,
                loss: epoch.train_loss,
                mean_loss: epoch.train_loss,
                mean_error: epoch.train_top1_error,
            }));
        }
        let last = self.points.last();
        self.mean =
            last.map_or((f64::NAN, f64::NAN, 0.0), |last| (last.mean_loss, last.mean_error, SMOOTHED));
        self.latest = None;
        self.validated =
            epochs.iter().map(|epoch| (epoch.step as f64, 100.0 * epoch.eval_top1_error)).collect();
    }
}
