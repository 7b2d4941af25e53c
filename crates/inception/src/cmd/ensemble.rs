//! The flags of every command that shows several views of a picture to one network or several, and the networks that they name.
//!
//! ```text
//! logits ─ softmax ─▶ mean over the views of a picture ─▶ mean over the networks ─ ln ─▶ the ensemble's logits
//! ```
//! All views count alike, and all networks. Classes are joined by name. A class that stands for none of the others, the background of
//! slim's weights, is left out of all networks where one of them lacks it: what is left is the probability of each class given that
//! it is not the background.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use inception_graph::{Graph, Weights};
use serde_json::{Value, json};

use super::named;
use super::weights::WeightsArgs;
use crate::checkpoint::Metadata;
use crate::data::{Crops, Sight};
use crate::exit::{BadData, UsageError};
use crate::logits;
use crate::metrics::MeanProbability;
use crate::progress::say;

/// Views and networks that are averaged.
#[derive(clap::Args, Clone, Debug)]
pub struct EnsembleArgs {
    /// Views of each picture whose probabilities are averaged: 1 as the weights say; 144, GoogLeNet's four scales, three squares,
    /// six crops and their mirror images; 12, of these the centre square at the first scale; 10, without the whole square
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "1|10|12|144")]
    pub crops: Crops,
    /// Another network whose probabilities are averaged with those of -w, each with its own input and preprocessing; may be
    /// repeated. Classes are joined by name. Flags for a file of weights are for that of -w
    #[arg(long, value_name = "FILE")]
    pub ensemble: Vec<PathBuf>,
}

/// A network of an ensemble.
pub struct Member {
    /// Its file.
    pub file: PathBuf,
    /// The network.
    pub graph: Graph,
    /// What is needed to use it.
    pub metadata: Metadata,
    /// For each class of the first network where it is among this one's; `None` for a background that not all know.
    pub places: Vec<Option<usize>>,
}

impl EnsembleArgs {
    /// Reads the network of -w, then the others, whose classes must be the same. Networks without classes are refused where their
    /// answers are averaged, or `judged`.
    pub fn load(&self, weights: &WeightsArgs, judged: bool) -> Result<Vec<(Member, Weights)>> {
        let judged = judged || !self.is_one_view();
        let mut members = vec![self.member(weights, judged)?];
        for file in &self.ensemble {
            let args = WeightsArgs { weights: file.clone(), ..WeightsArgs::default() };
            let member = self.member(&args, judged);
            members.push(member.with_context(|| format!("--ensemble {}", file.display()))?);
        }
        if members.len() > 1 {
            join(&mut members)?;
        }
        Ok(members)
    }

    fn member(&self, args: &WeightsArgs, judged: bool) -> Result<(Member, Weights)> {
        let (graph, weights, metadata) = args.load(self.crops)?;
        let (file, places) = (args.weights.clone(), (0..graph.classes()).map(Some).collect());
        if judged && graph.classes() == 0 {
            let (net, file) = (&metadata.net, file.display());
            let message = format!("{net} of {file} ends in features and knows no classes");
            return Err(UsageError(message).into());
        }
        Ok((Member { file, graph, metadata, places }, weights))
    }

    /// Whether one network sees one view.
    pub fn is_one_view(&self) -> bool {
        self.crops == Crops::Single && self.ensemble.is_empty()
    }
}

impl Member {
    /// How it sees pictures.
    pub fn sight(&self, crops: Crops) -> Sight {
        Sight { how: self.metadata.preprocessing, side: self.metadata.img_size, crops }
    }

    /// All that its answers depend on beside the pictures and the machine.
    pub fn key(&self, weights: &Weights) -> Value {
        let Member { graph, metadata, .. } = self;
        json!({
            "network": [json!(graph.spec()), json!(logits::digest_of(weights))],
            "classes": metadata.classes,
            "side": metadata.img_size,
            "preprocessing": metadata.preprocessing,
        })
    }

    fn background(&self) -> Option<&str> {
        self.metadata.background.map(|class| self.metadata.classes[class].as_str())
    }
}

/// Finds the classes of the first member in every other.
fn join(members: &mut [(Member, Weights)]) -> Result<()> {
    let knows = |class: &str| members.iter().all(|(m, _)| m.metadata.classes.iter().any(|c| c == class));
    let backgrounds = members.iter().filter_map(|(member, _)| member.background());
    let mut left_out: Vec<String> = backgrounds.filter(|class| !knows(class)).map(String::from).collect();
    left_out.dedup();
    let first = members[0].0.metadata.classes.clone();
    for (Member { file, metadata, places, .. }, _) in members {
        let other: HashMap<&str, usize> = metadata.classes.iter().map(String::as_str).zip(0..).collect();
        let is_left_out = |class: &String| left_out.contains(class);
        let missing = first.iter().filter(|c| !other.contains_key(c.as_str()) && !is_left_out(c));
        let missing: Vec<String> = missing.cloned().collect();
        let unknown = metadata.classes.iter().filter(|c| !first.contains(c) && !is_left_out(c));
        let unknown: Vec<String> = unknown.cloned().collect();
        if !missing.is_empty() || !unknown.is_empty() {
            let list = |what: &str, names: Vec<String>| match names.len() {
                0 => String::new(),
                n => format!("; {n} {what}: {}", named(names)),
            };
            return Err(BadData(format!(
                "--ensemble {}: its classes are not those of -w, by name{}{}",
                file.display(),
                list("that it lacks", missing),
                list("that -w lacks", unknown)
            ))
            .into());
        }
        // Names that come twice are joined by their order, where that is the same.
        let is_same = metadata.classes == first;
        let place = |(i, class): (usize, &String)| {
            let place = if is_same { Some(i) } else { other.get(class.as_str()).copied() };
            place.filter(|_| !is_left_out(class))
        };
        *places = first.iter().enumerate().map(place).collect();
    }
    if !left_out.is_empty() {
        say(&format!("left out of all networks, for not all have it: {}", named(left_out)));
    }
    Ok(())
}

/// The answer of an ensemble to a picture, from where the classes are in each member's row, and the row: logits of the first one's
/// classes. That of one member is its row as it is.
pub fn average(rows: &[(&[Option<usize>], &[f32])]) -> Vec<f32> {
    if let [(_, row)] = rows {
        return row.to_vec();
    }
    let mut mean = MeanProbability::default();
    for (places, row) in rows {
        let known: Vec<f32> = places.iter().flatten().map(|&place| row[place]).collect();
        mean.add(&known, 1.0);
    }
    let mut logits = mean.logits().into_iter();
    // A class that is left out of one is left out of all.
    rows[0].0.iter().map(|place| place.and_then(|_| logits.next()).unwrap_or(f32::MIN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_averaged_under_the_first_ones_classes() {
        // (1/4, 3/4) and, its classes turned about, (1/2, 1/2).
        let (a, b) = ([Some(0), Some(1)], [Some(1), Some(0)]);
        let rows = [(&a[..], &[0.0, 3f32.ln()][..]), (&b[..], &[2.0, 2.0])];
        let found = average(&rows);
        assert!((found[0] - 0.375f32.ln()).abs() < 1e-6 && (found[1] - 0.625f32.ln()).abs() < 1e-6);
        // A background of the second alone takes nothing from the others, one of the first has no share.
        let rows = [
            (&[None, Some(1), Some(2)][..], &[9.0, 0.0, 3f32.ln()][..]),
            (&[None, Some(2), Some(0)], &[7.0, 50.0, 7.0]),
        ];
        let found = average(&rows);
        assert!((found[1] - 0.375f32.ln()).abs() < 1e-6 && (found[2] - 0.625f32.ln()).abs() < 1e-6);
        assert_eq!((found[0], crate::metrics::softmax(&found)[0]), (f32::MIN, 0.0));
        // One alone stays as it is.
        assert_eq!(average(&[(&a[..], &[5.0, 6.0][..])]), [5.0, 6.0]);
    }
}
