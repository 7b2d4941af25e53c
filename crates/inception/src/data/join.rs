//! Labels by the names of classes.
//!
//! The position of a folder among its siblings says nothing: one folder more or less, and every label after it would
//! silently mean another class. So a data set takes its labels from an authority, the checkpoint or the training split,
//! and disagreement is an error that shows which classes and how many pictures. On request the two are joined by the names that
//! they have in common: classes without a picture are not judged, pictures of others are left out and counted.

use std::collections::HashMap;

use serde::Serialize;

use super::dataset::Dataset;
use super::error::DataError;
use crate::weights::imagenet;

/// A class that a data set has and its authority does not know: its pictures are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub class: String,
    /// How many pictures it has.
    pub pictures: usize,
}

impl Dataset {
    /// The same pictures under the labels of a network's `classes`, joined by name; folders that are all called like
    /// ImageNet's synsets, `n01440764`, count as their names. A class that `classes` lacks is an error, and so is one of
    /// `classes` without a picture unless it `may_miss`.
    pub fn join(
        mut self,
        classes: &[String],
        may_miss: impl Fn(usize) -> bool,
    ) -> Result<Dataset, DataError> {
        if let Some(named) = self.synset_names().filter(|named| named.iter().all(|n| classes.contains(n))) {
            self.classes = named;
        }
        let rows = self.disagreements(classes, may_miss, |_| String::new());
        let advice = match rows.iter().any(|row| !classes.contains(&row.class)) {
            true => {
                "rename or remove the unknown folders, train a network that knows them, or pass --allow-missing to leave them out"
            }
            false => "add pictures of these classes, or pass --allow-missing where a class may be absent",
        };
        self.relabel(classes, rows, ["class", "network", "this data"], advice)
    }

    /// The pictures of those classes that `classes` has, too, under its labels; those left out come second. An error where
    /// that leaves none.
    pub fn join_by_name(mut self, classes: &[String]) -> Result<(Dataset, Vec<LeftOut>), DataError> {
        if let Some(named) = self.synset_names().filter(|named| named.iter().any(|n| classes.contains(n))) {
            self.classes = named;
        }
        let known: Vec<bool> = self.classes.iter().map(|class| classes.contains(class)).collect();
        let kept = self.filtered(|i| known[self.samples[i].label as usize]);
        let head = ["class", "known?", "this data"];
        if kept.samples.is_empty() {
            let rows = self.disagreements(classes, |_| true, |_| String::new());
            return self
                .relabel(classes, rows, head, "not one picture is of a class that is known")
                .map(|d| (d, vec![]));
        }
        let unknown = self.classes.iter().zip(self.counts()).zip(&known).filter(|(_, known)| !**known);
        let left_out = unknown.map(|((class, pictures), _)| LeftOut { class: class.clone(), pictures });
        let left_out = left_out.collect();
        Ok((kept.relabel(classes, Vec::new(), head, "")?, left_out))
    }

    /// Calls the classes by the names of ImageNet's where they are all of the numbers `0` to `999`, as the folders of ImageNet-V2 are,
    /// which stand for ImageNet's classes in order; `names` are a network's that has these from the position `first` on. Whether
    /// that is so.
    pub fn name_numbers(&mut self, names: &[String], first: usize) -> bool {
        let count = imagenet::classes().len();
        let number = |class: &String| {
            class.parse().ok().filter(|number: &usize| *number < count && number.to_string() == *class)
        };
        // As text, 10 stands before 2: only what they say counts. Names of folders differ, so that many numbers are all numbers.
        let numbers: Option<Vec<usize>> = self.classes.iter().map(number).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == count);
        let Some(numbers) = numbers else { return false };
        self.classes = numbers.into_iter().map(|number| names[first + number].clone()).collect();
        true
    }

    /// What the classes are called in words, where all of them are called like ImageNet's synsets.
    fn synset_names(&self) -> Option<Vec<String>> {
        let names: HashMap<&str, &str> = imagenet::classes().collect();
        self.classes.iter().map(|class| names.get(class.as_str()).map(|name| name.to_string())).collect()
    }

    /// The classes that have no picture.
    pub fn empty_classes(&self) -> Vec<&str> {
        let counted = self.classes.iter().zip(self.counts());
        counted.filter(|(_, count)| *count == 0).map(|(class, _)| class.as_str()).collect()
    }

    /// The same pictures, a validation split, under the labels of the training split.
    pub fn join_train(self, train: &Dataset) -> Result<Dataset, DataError> {
        let counts = train.counts();
        let rows = self.disagreements(
            &train.classes,
            |_| false,
            |label| format!("  {} in train", pictures(counts[label])),
        );
        let advice = "give both splits the same class folders, each with pictures, or judge what they have in common with --allow-missing";
        self.relabel(&train.classes, rows, ["class", "train", "val"], advice)
    }

    /// The classes without a picture here, each with a remark, then those that the authority lacks.
    fn disagreements(
        &self,
        authority: &[String],
        may_miss: impl Fn(usize) -> bool,
        remark: impl Fn(usize) -> String,
    ) -> Vec<Row> {
        let here: HashMap<&str, usize> =
            self.classes.iter().map(String::as_str).zip(self.counts()).filter(|c| c.1 > 0).collect();
        let missing = authority.iter().enumerate();
        let missing =
            missing.filter(|&(label, class)| !here.contains_key(class.as_str()) && !may_miss(label));
        let missing = missing.map(|(label, class)| Row {
            class: class.clone(),
            authority: "known",
            here: pictures(0),
            remark: remark(label),
        });
        let unknown = self.classes.iter().filter(|class| !authority.contains(class)).map(|class| {
            let alike = |a: &String| strsim::jaro_winkler(&a.to_lowercase(), &class.to_lowercase());
            let nearest = authority.iter().map(|a| (alike(a), a)).max_by(|a, b| a.0.total_cmp(&b.0));
            let nearest = nearest.filter(|near| near.0 > ALIKE);
            Row {
                class: class.clone(),
                authority: "unknown",
                here: pictures(here.get(class.as_str()).copied().unwrap_or(0)),
                remark: nearest.map_or(String::new(), |(_, name)| format!("  did you mean `{name}`?")),
            }
        });
        missing.chain(unknown).collect()
    }

    fn relabel(
        mut self,
        authority: &[String],
        rows: Vec<Row>,
        head: [&str; 3],
        advice: &str,
    ) -> Result<Dataset, DataError> {
        if !rows.is_empty() {
            return Err(DataError::Classes { path: self.root, table: table(&rows, head) + advice });
        }
        let labels: HashMap<&str, u32> = authority.iter().map(String::as_str).zip(0..).collect();
        // An empty folder of a class that may be missing has no label and needs none.
        let labels: Vec<u32> = self
            .classes
            .iter()
            .map(|class| labels.get(class.as_str()).copied().unwrap_or_default())
            .collect();
        self.samples.iter_mut().for_each(|s| s.label = labels[s.label as usize]);
        self.classes = authority.to_vec();
        Ok(self)
    }
}

/// Names this similar (Jaro-Winkler, case aside) are taken for slips of each other.
const ALIKE: f64 = 0.85;

/// A class about which a data set and its authority disagree.
struct Row {
    class: String,
    authority: &'static str,
    here: String,
    remark: String,
}

fn pictures(count: usize) -> String {
    match count {
        0 => "no picture".into(),
        1 => "1 picture".into(),
        n => format!("{n} pictures"),
    }
}

fn table(rows: &[Row], [class, authority, here]: [&str; 3]) -> String {
    let width = rows.iter().map(|r| r.class.chars().count()).max().unwrap_or(0).max(class.len());
    let line = |a: &str, b: &str, c: &str, d: &str| format!("  {a:width$}  {b:8}  {c}{d}\n");
    rows.iter().fold(line(class, authority, here, ""), |text, r| {
        text + &line(&r.class, r.authority, &r.here, &r.remark)
    })
}
