//! What a training says before it begins.

use inception_graph::{Graph, Op};

use crate::cmd::say_common;
use crate::data::Splits;
use crate::progress::say;
use crate::recipe::Recipe;

/// Says what the data is, and which files are no pictures.
pub(super) fn describe(splits: &Splits) {
    let Splits { train, val, left_out } = splits;
    say(&format!(
        "{} training and {} validation pictures of {} classes",
        train.samples.len(),
        val.samples.len(),
        train.classes.len()
    ));
    say_common(val, left_out, "training");
    let ignored: Vec<_> = train.ignored.iter().chain(&val.ignored).collect();
    if let Some(first) = ignored.first() {
        say(&format!(
            "{} files are no .jpg, .jpeg or .png and are not used, {} for example",
            ignored.len(),
            first.display()
        ));
    }
}

/// Says which values of the recipe have no effect, and what an auxiliary head adds to training.
pub(super) fn describe_network(recipe: &Recipe, graph: &Graph, from_a_file: bool) {
    say_auxiliary(recipe, graph, from_a_file);
    let is_residual = |node: &inception_graph::Node| matches!(node.op, Op::Residual { .. });
    if recipe.residual_scale.is_some() && !graph.nodes().iter().any(is_residual) {
        say(&format!("{} has no residual blocks: residual_scale has no effect", graph.spec().net));
    }
}

/// Says what an auxiliary head adds to training, or that the network has none.
fn say_auxiliary(recipe: &Recipe, graph: &Graph, from_a_file: bool) {
    let (net, weight) = (&graph.spec().net, recipe.aux_weight);
    if weight == 0.0 {
        return;
    }
    if graph.aux_logits().is_none() {
        return say(&format!("{net} has no auxiliary head: aux_weight {weight} has no effect"));
    }
    let evaluated = graph.without_aux();
    say(&format!(
        "auxiliary head in training{}: {} more parameters, {:.1} M more MACs a picture; its loss counts {weight} times",
        if from_a_file { ", which starts anew" } else { "" },
        graph.parameter_count() - evaluated.parameter_count(),
        (graph.macs() - evaluated.macs()) as f64 / 1e6
    ));
}
