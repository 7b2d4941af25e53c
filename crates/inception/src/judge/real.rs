//! ImageNet judged by all classes that a picture shows, not by the one that it was filed under.
//!
//! L. Beyer, O. Hénaff, A. Kolesnikov, X. Zhai, A. van den Oord, *Are we done with ImageNet?*, 2020, whose `real.json` is in
//! <https://github.com/google-research/reassessed-imagenet>: for each of the 50,000 validation pictures, by its number, the indices of
//! the classes that people saw on it, in ImageNet's order. Pictures on which they agreed about none are not judged.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::bootstrap::{Interval, intervals};
use crate::answers::Answers;
use crate::data::{Dataset, VALIDATION_PICTURES, validation_number};
use crate::exit::{BadData, UsageError};
use crate::metrics::top_k;
use crate::weights::imagenet;

/// Errors by such labels, of the pictures that have some.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Real {
    /// Pictures judged.
    pub real_count: u64,
    /// Share of them whose first answer is no class of the picture.
    pub real_top1_error: f64,
    /// Its interval.
    pub real_top1_error_interval: Interval,
    /// Share of them of whose first five answers none is.
    pub real_top5_error: f64,
    /// Its interval.
    pub real_top5_error_interval: Interval,
    /// Pictures whose first answer is wrong, and whose first five are.
    #[serde(skip)]
    pub errors: [u64; 2],
}

/// The classes of each validation picture.
pub struct RealLabels {
    classes: Vec<Vec<usize>>,
    /// Position of the first of ImageNet's classes among the network's.
    first: usize,
}

impl RealLabels {
    /// Reads `file`, for a network whose first class of ImageNet's 1000 is at `first`; an error where it has not these in order.
    pub fn read(file: &Path, first: Option<usize>) -> Result<RealLabels> {
        let first = first.ok_or_else(|| {
            UsageError("--real-labels: expected a network with ImageNet's 1000 classes in order, as `inception info` shows them".into())
        })?;
        let bad = |problem: String| {
            BadData(format!("{}: {problem}: expected real.json of reassessed-imagenet", file.display()))
        };
        let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let classes: Vec<Vec<usize>> =
            serde_json::from_slice(&text).map_err(|e| bad(format!("no list of lists of numbers: {e}")))?;
        if classes.len() != VALIDATION_PICTURES {
            return Err(bad(format!("has {} lists, not {VALIDATION_PICTURES}", classes.len())).into());
        }
        let count = imagenet::classes().len();
        if let Some(class) = classes.iter().flatten().find(|&&class| class >= count) {
            return Err(bad(format!("has the class {class}, and ImageNet's are 0 to 999")).into());
        }
        Ok(RealLabels { classes, first })
    }

    /// An error unless every picture says by its name which of the validation pictures it is.
    pub fn check(&self, data: &Dataset) -> Result<(), UsageError> {
        let Some(other) = data.samples.iter().find(|s| validation_number(s.picture.path()).is_none()) else {
            return Ok(());
        };
        Err(UsageError(format!(
            "--real-labels: {} says not which of ImageNet's validation pictures it is: expected names like ILSVRC2012_val_00000001.JPEG",
            other.picture.name()
        )))
    }

    /// Judges the answers to pictures of `data`, all of which [`RealLabels::check`] has found.
    pub fn judge(&self, answers: &Answers, data: &Dataset) -> Real {
        let mut wrong: Vec<[bool; 2]> = Vec::new();
        for (&index, row) in answers.indices.iter().zip(answers.rows()) {
            let number = validation_number(data.samples[index].picture.path());
            let classes = number.map_or(&[][..], |number| &self.classes[number - 1]);
            if classes.is_empty() {
                continue;
            }
            // What is no finite number is no answer, as with any other label.
            let answered = row.iter().all(|logit| logit.is_finite());
            let is_right =
                |answer: &usize| answer.checked_sub(self.first).is_some_and(|c| classes.contains(&c));
            let among = |k| answered && top_k(row, k).iter().any(is_right);
            wrong.push([!among(1), !among(5)]);
        }
        let errors = |drawn: &mut dyn Iterator<Item = usize>| {
            drawn.fold([0, 0], |sum: [u64; 2], i| [0, 1].map(|k| sum[k] + u64::from(wrong[i][k])))
        };
        let count = wrong.len() as f64;
        let errors_of_all = errors(&mut (0..wrong.len()));
        let share = |errors: [u64; 2]| errors.map(|errors| errors as f64 / count);
        let [first, five] =
            intervals(wrong.len(), |drawn| share(errors(&mut drawn.iter().map(|&i| i as usize))));
        let [top1_error, top5_error] = share(errors_of_all);
        Real {
            real_count: wrong.len() as u64,
            real_top1_error: top1_error,
            real_top1_error_interval: first,
            real_top5_error: top5_error,
            real_top5_error_interval: five,
            errors: errors_of_all,
        }
    }
}
