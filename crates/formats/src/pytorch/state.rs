//! Which of a checkpoint's dictionaries holds the weights.
//!
//! ```text
//! {"epoch": 90, "state_dict": {"conv.weight": T, …}, "optimizer": {"state": {0: {"momentum": T}}}} ─▶ ["state_dict"]
//! ```
//! A dictionary with a tensor among its own values is a candidate. One under a name of [`NAMES`] wins, by the order of that
//! list; then the outermost dictionary; then the one with most tensors. Where moving averages of all of its tensors lie
//! under a name of [`AVERAGES`], they take its place, as in timm's evaluation. What was taken and what was left are told.

use std::rc::Rc;

use super::value::{Id, Node, Values, View};
use crate::Problem;

/// Names under which training scripts keep the weights, the usual ones first.
const NAMES: [&str; 10] = [
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "model_state",
    "generator",
];
/// Names under which they keep the moving averages of the weights, timm's first.
const AVERAGES: [&str; 6] =
    ["state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema"];
/// Names whose dictionaries hold tensors that are no weights.
const NOT_WEIGHTS: [&str; 7] =
    ["optimizer", "optim", "optimizer_state_dict", "scheduler", "lr_scheduler", "scaler", "amp"];
/// How deep a state dictionary may lie.
const DEEPEST: usize = 4;
/// Most items of dictionaries that are looked at.
const MOST: usize = 1_000_000;
/// Most names of things left that are told.
const MOST_LEFT: usize = 100;
/// Characters of a name; longer ones are cut.
const LONGEST_NAME: usize = 1_000;

struct Candidate {
    path: Vec<String>,
    tensors: usize,
    dict: Id,
}

/// What was found.
pub(crate) struct State<'a> {
    /// Names and tensors, in the dictionary's order.
    pub(crate) tensors: Vec<(String, &'a Rc<View>)>,
    /// What was taken and what was left, where there was a choice.
    pub(crate) texts: Vec<(String, String)>,
}

/// The state dictionary in `root`.
pub(crate) fn find(values: &Values, root: Id) -> Result<State<'_>, Problem> {
    let mut found = Vec::new();
    let mut looked = 0;
    candidates(values, root, &mut Vec::new(), &mut found, &mut looked);
    let Some(best) = found.iter().min_by_key(|candidate| rank(candidate)) else {
        return Err(Problem::Refused("it holds no dictionary of tensors: save model.state_dict()".into()));
    };
    let averages = found.iter().filter(|c| c.named(&NOT_WEIGHTS).is_none() && c.tensors >= best.tensors);
    let averages = averages.filter_map(|c| Some((c.named(&AVERAGES)?, c))).min_by_key(|(at, _)| *at);
    let best = averages.map_or(best, |(_, averages)| averages);
    let mut tensors = Vec::new();
    let mut left = Vec::new();
    for (key, value) in items(values, best.dict) {
        match values.get(value) {
            Node::Tensor(view) => tensors.push((key, view)),
            _ if left.len() < MOST_LEFT => left.push([best.path.as_slice(), &[key]].concat().join("/")),
            _ => {}
        }
    }
    if let Some(top) = best.path.first() {
        left.extend(items(values, root).map(|(key, _)| key).filter(|key| key != top).take(MOST_LEFT));
    }
    let mut texts = Vec::new();
    if !best.path.is_empty() {
        texts.push(("taken".into(), best.path.join("/")));
    }
    if !left.is_empty() {
        texts.push(("left".into(), left.join(", ")));
    }
    Ok(State { tensors, texts })
}

impl Candidate {
    /// Place among `names` of the first part of its path that is one of them.
    fn named(&self, names: &[&str]) -> Option<usize> {
        self.path.iter().find_map(|part| names.iter().position(|name| name == part))
    }
}

/// Smaller is better.
fn rank(candidate: &Candidate) -> (usize, usize, usize) {
    let more_tensors_first = usize::MAX - candidate.tensors;
    if candidate.named(&NOT_WEIGHTS).is_some() {
        return (3, 0, more_tensors_first);
    }
    match candidate.named(&NAMES) {
        Some(at) => (0, at, candidate.path.len()),
        None if candidate.path.is_empty() => (1, 0, 0),
        None => (2, 0, more_tensors_first),
    }
}

fn candidates(
    values: &Values,
    dict: Id,
    path: &mut Vec<String>,
    found: &mut Vec<Candidate>,
    looked: &mut usize,
) {
    let Node::Dict(pairs) = values.get(dict) else { return };
    *looked += 1 + pairs.len();
    if path.len() > DEEPEST || *looked > MOST {
        return;
    }
    let tensors = pairs.iter().filter(|(_, value)| matches!(values.get(*value), Node::Tensor(_))).count();
    if tensors > 0 {
        found.push(Candidate { path: path.clone(), tensors, dict });
    }
    for (key, value) in items(values, dict) {
        if matches!(values.get(value), Node::Dict(_)) {
            path.push(key);
            candidates(values, value, path, found, looked);
            path.pop();
        }
    }
}

fn items(values: &Values, dict: Id) -> impl Iterator<Item = (String, Id)> {
    let pairs = match values.get(dict) {
        Node::Dict(pairs) => pairs.as_slice(),
        _ => &[],
    };
    pairs.iter().map(|&(key, value)| (name(values, key), value))
}

fn name(values: &Values, key: Id) -> String {
    match values.get(key) {
        Node::Text(text) => text.chars().take(LONGEST_NAME).collect(),
        Node::Int(number) => number.to_string(),
        Node::Bool(value) => value.to_string(),
        _ => "?".into(),
    }
}
