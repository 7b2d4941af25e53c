//! The flags of `inception eval` about what is made of answers.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{say_common, stdout, write_json};
use crate::answers::Answers;
use crate::checkpoint::Metadata;
use crate::data::{Dataset, OnBad, Skipped, folder};
use crate::exit::UsageError;
use crate::judge::exclude::exclude;
use crate::judge::real::RealLabels;
use crate::judge::report::{About, Report};
use crate::judge::submission::Submission;
use crate::judge::{Around, Asked, Judged, write_text};
use crate::progress::{counted, say};
use crate::weights::imagenet;

/// What is judged, by what, and where it is written to.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct JudgingArgs {
    /// Write JSON, with the training log's keys
    #[arg(long)]
    pub json: bool,
    /// Judge by the classes that DATA and the checkpoint have in common: classes without a picture are not judged, pictures of
    /// unknown classes are left out, counted and named
    #[arg(long)]
    pub allow_missing: bool,
    /// Fill this new or empty folder with a page (report.html), the confusion matrix, tables of the classes and of every picture
    #[arg(long, value_name = "DIR", help_heading = "Judging")]
    pub report: Option<PathBuf>,
    /// Leave out the pictures of a list: a line is a path, the name of a file, or the number of an ImageNet validation picture
    #[arg(long, value_name = "LIST", help_heading = "Judging")]
    pub exclude: Option<PathBuf>,
    /// Judge ImageNet's validation pictures by several right classes each, too: real.json of reassessed-imagenet
    #[arg(long, value_name = "real.json", help_heading = "Judging")]
    pub real_labels: Option<PathBuf>,
    /// Write the five best classes of every picture, by the devkit's numbers, as ILSVRC's server takes them; then pictures in one
    /// folder need no classes, and no errors are computed
    #[arg(long, value_name = "FILE", help_heading = "Judging", requires = "devkit")]
    #[arg(conflicts_with_all = ["exclude", "allow_missing"])]
    pub submission: Option<PathBuf>,
    /// Folder of the unpacked ILSVRC2012_devkit_t12, whose meta.mat numbers the classes
    #[arg(long, value_name = "DIR", help_heading = "Judging", requires = "submission")]
    pub devkit: Option<PathBuf>,
}

/// The pictures to be judged.
pub(super) struct Pictures {
    pub(super) data: Dataset,
    /// What tells them from others, where that was asked for.
    pub(super) key: Option<Value>,
    /// Whether their classes are known.
    labelled: bool,
    around: Around,
}

/// What was asked for, read and found possible before the first picture is.
pub(super) struct Judging {
    args: JudgingArgs,
    report: Option<Report>,
    real: Option<RealLabels>,
    submission: Option<Submission>,
}

impl JudgingArgs {
    /// Opens the pictures at `root` under the classes of a network; what tells them from others is found out only `with_key`.
    pub(super) fn open(&self, root: &Path, metadata: &Metadata, with_key: bool) -> Result<Pictures> {
        let (classes, background) = (&metadata.classes, metadata.background);
        let key = |data: &Dataset| with_key.then(|| json!([data.fingerprint(), data.last_changes()]));
        // No picture is of the background.
        let label = u32::from(background == Some(0));
        if self.submission.is_some()
            && let Some(data) = folder::open_unlabelled(root, classes, label)?
        {
            return Ok(Pictures { key: key(&data), data, labelled: false, around: Around::default() });
        }
        let mut data = folder::open_single(root)?;
        let first = imagenet::first(classes, background);
        if first.is_some_and(|first| data.name_numbers(classes, first)) {
            say(&format!(
                "note: the classes 0 to 999 of {} are taken for ImageNet's, in its order",
                root.display()
            ));
        }
        let (data, excluded) = match &self.exclude {
            Some(list) => exclude(data, list)?,
            None => (data, 0),
        };
        let key = key(&data);
        let (data, left_out) = match self.allow_missing {
            true => data.join_by_name(classes)?,
            false => (data.join(classes, |label| background == Some(label))?, Vec::new()),
        };
        if self.allow_missing {
            say_common(&data, &left_out, "the checkpoint");
        }
        let around = Around { excluded, left_out, ..Around::default() };
        Ok(Pictures { data, key, labelled: true, around })
    }

    /// Reads what judging needs; an error where it cannot be done.
    pub(super) fn prepare(self, pictures: &Pictures, metadata: &Metadata, on_bad: OnBad) -> Result<Judging> {
        let (classes, background) = (&metadata.classes, metadata.background);
        let unlabelled = [("--report", self.report.is_some()), ("--real-labels", self.real_labels.is_some())];
        if let Some((flag, _)) = unlabelled.iter().find(|(_, given)| *given && !pictures.labelled) {
            let root = pictures.data.root.display();
            let message = format!("{flag}: the pictures of {root} have no classes to judge by: leave it out");
            return Err(UsageError(message).into());
        }
        if self.submission.is_some() && on_bad != OnBad::Error {
            let message = "--submission: needs an answer to every picture: leave out --on-bad";
            return Err(UsageError(message.into()).into());
        }
        let real = match &self.real_labels {
            Some(file) => Some(RealLabels::read(file, imagenet::first(classes, background))?),
            None => None,
        };
        real.as_ref().map(|real| real.check(&pictures.data)).transpose()?;
        let submission = match (&self.submission, &self.devkit) {
            (Some(file), Some(devkit)) => Some(Submission::new(file, devkit, classes, background)?),
            _ => None,
        };
        let report = self.report.as_deref().map(Report::create).transpose()?;
        Ok(Judging { args: self, report, real, submission })
    }
}

impl Judging {
    /// Judges the answers to the pictures, but for those `skipped`, and writes what was asked for.
    pub(super) fn finish(
        &self,
        answers: &Answers,
        pictures: Pictures,
        asked: Asked,
        skipped: Vec<Skipped>,
        metadata: &Metadata,
        environment: &Value,
    ) -> Result<()> {
        let Pictures { data, labelled, around, .. } = pictures;
        if let Some(submission) = &self.submission {
            submission.write(answers, &data)?;
            say(&format!("wrote {}: {}", submission.path().display(), counted(answers.len(), "line")));
        }
        let mut out = stdout();
        if !labelled {
            if self.args.json {
                write_json(&mut out, &json!({ "count": answers.len() }))?;
            }
            return Ok(out.flush()?);
        }
        let real = self.real.as_ref().map(|real| real.judge(answers, &data));
        let judged = Judged::new(answers, &metadata.classes, real, Around { asked, skipped, ..around });
        let about = About { answers, data: &data, metadata, judged: &judged, environment };
        // The numbers come out whatever becomes of the folder.
        let reported = self.report.as_ref().map_or(Ok(()), |report| report.write(&about));
        match self.args.json {
            true => write_json(&mut out, &judged.findings)?,
            false => write_text(&mut out, &judged)?,
        }
        out.flush()?;
        reported
    }
}
