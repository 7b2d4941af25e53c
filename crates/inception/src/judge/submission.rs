//! Answers as ILSVRC's server takes them: a line a picture in the order of the files' names, its five best classes separated by blanks.
//!
//! A class is its `ILSVRC2012_ID`, which the devkit's `meta.mat` gives for its synset: neither an index by ascending synset, as
//! networks have, nor one more than that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::answers::Answers;
use crate::data::{Dataset, devkit_numbers};
use crate::exit::{BadData, UsageError};
use crate::metrics::top_k;
use crate::run_dir::replace;
use crate::weights::imagenet;

/// Classes of a line.
const BEST: usize = 5;

/// A file to be written.
pub struct Submission {
    path: PathBuf,
    /// The devkit's number of each class; none of the background.
    numbers: Vec<Option<u32>>,
}

impl Submission {
    /// The file `path`, for a network with these `classes`, numbered by the `devkit`. An error where a class has no number.
    pub fn new(path: &Path, devkit: &Path, classes: &[String], background: Option<usize>) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
            let message =
                format!("--submission {}: expected a file in a folder that is there", path.display());
            return Err(UsageError(message).into());
        }
        let by_synset = devkit_numbers(devkit)?;
        let synsets: HashMap<&str, &str> =
            imagenet::classes().flat_map(|(synset, name)| [(synset, synset), (name, synset)]).collect();
        let number = |(class, name): (usize, &String)| {
            if background == Some(class) {
                return Ok(None);
            }
            let synset = *synsets.get(name.as_str()).ok_or_else(|| {
                UsageError(format!("--submission: the network's class `{name}` is none of ImageNet's"))
            })?;
            let number = by_synset.get(synset);
            number.map(|&number| Some(number)).ok_or_else(|| {
                let devkit = devkit.display();
                BadData(format!(
                    "{devkit}: meta.mat has no number for {synset}, the network's class `{name}`"
                ))
                .into()
            })
        };
        let numbers = classes.iter().enumerate().map(number).collect::<Result<Vec<_>>>()?;
        if numbers.iter().flatten().count() < BEST {
            let message = format!("--submission: expected a network of {BEST} classes or more");
            return Err(UsageError(message).into());
        }
        Ok(Submission { path: path.into(), numbers })
    }

    /// Writes the answers to all pictures of `data`. An error where one has none.
    pub fn write(&self, answers: &Answers, data: &Dataset) -> Result<()> {
        let mut rows: Vec<(&Path, &[f32])> =
            answers.indices.iter().map(|&i| data.samples[i].picture.path()).zip(answers.rows()).collect();
        rows.sort_by_key(|(path, _)| (path.file_name(), *path));
        let mut text = String::new();
        for (path, row) in rows {
            if row.iter().any(|logit| !logit.is_finite()) {
                let message =
                    format!("--submission: {}: the network answers no finite numbers", path.display());
                return Err(BadData(message).into());
            }
            // One more where the background is among them.
            let best = top_k(row, BEST + 1).into_iter().filter_map(|class| self.numbers[class]).take(BEST);
            text += &best.map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
            text.push('\n');
        }
        replace(&self.path, text.as_bytes())
    }

    /// Where it is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
