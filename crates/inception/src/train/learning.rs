//! Which layers a recipe lets learn.
//!
//! ```text
//! freeze = ["*", "!logits"]     all layers but the classifier stay as they are
//! freeze = ["conv_*", "mixed_5b"]   the convolutions of that name, and all inside the box
//! [lr_scale]  logits = 10.0     ten times the learning rate
//! ```
//! A pattern is the name of a box or layer, or what such names begin with and a `*`. Of several that match, the last
//! decides for `freeze` and the longest for `lr_scale`.

use inception_graph::{Graph, NodeId};

use crate::engine::Learning;
use crate::exit::UsageError;
use crate::recipe::{NormMode, Recipe};

/// What `recipe` says about the layers of `graph`; a pattern that no layer has is an error.
pub fn learning(graph: &Graph, recipe: &Recipe) -> Result<Learning, UsageError> {
    let mut learning = Learning::all(graph);
    let layers: Vec<NodeId> = graph.ids().filter(|&id| !graph.node_params(id).is_empty()).collect();
    let find = |key: &str, pattern: &str| {
        let found: Vec<NodeId> =
            layers.iter().copied().filter(|&id| matches(pattern, &graph.node(id).name)).collect();
        if found.is_empty() { Err(unknown(graph, &layers, key, pattern)) } else { Ok(found) }
    };
    let mut frozen = vec![false; graph.nodes().len()];
    for pattern in &recipe.freeze {
        let (name, freezes) = match pattern.strip_prefix('!') {
            Some(name) => (name, false),
            None => (pattern.as_str(), true),
        };
        find("freeze", name)?.into_iter().for_each(|id| frozen[id.0] = freezes);
    }
    let mut factors = vec![1.0; graph.nodes().len()];
    let mut scales: Vec<_> = recipe.lr_scale.iter().collect();
    scales.sort_by_key(|(pattern, _)| pattern.len());
    for (pattern, &factor) in scales {
        if !(factor >= 0.0 && factor.is_finite()) {
            return Err(UsageError(format!("lr_scale.{pattern} is {factor}: expected 0 or more")));
        }
        find("lr_scale", pattern)?.into_iter().for_each(|id| factors[id.0] = factor);
    }
    for (param, rate) in graph.params().iter().zip(&mut learning.rates) {
        *rate = if frozen[param.node.0] { 0.0 } else { factors[param.node.0] };
    }
    if learning.rates.iter().all(|&rate| rate == 0.0) {
        return Err(UsageError(
            "every layer is frozen: leave one out, for example --freeze '*' --freeze '!logits'".into(),
        ));
    }
    for (fixed, frozen) in learning.fixed_norms.iter_mut().zip(frozen) {
        *fixed = frozen || recipe.batch_norm == NormMode::Frozen;
    }
    Ok(learning)
}

/// Whether `name` is that of `pattern`, of something inside it, or begins as it says.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn unknown(graph: &Graph, layers: &[NodeId], key: &str, pattern: &str) -> UsageError {
    let boxes = layers.iter().map(|&id| {
        let name = &graph.node(id).name;
        name.split_once('/').map_or(name.as_str(), |(first, _)| first)
    });
    let alike = |name: &str| strsim::jaro_winkler(pattern.trim_end_matches('*'), name);
    let nearest = boxes.max_by(|a, b| alike(a).total_cmp(&alike(b))).unwrap_or_default();
    UsageError(format!(
        "{key}: no layer of {} is called `{pattern}`, did you mean `{nearest}`? (`inception info {0} --layers` lists them)",
        graph.spec().net
    ))
}

#[cfg(test)]
mod tests {
    use inception_graph::{Spec, build};

    use super::*;

    fn of(sets: &[(&str, &str)]) -> Result<(Vec<String>, Learning), UsageError> {
        let graph =
            build(&Spec::new("inception_resnet_v1").img_size(96).width(0.1).classes(3)).expect("valid");
        let sets: Vec<_> = sets.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let learning = learning(&graph, &Recipe::load("small", &sets).expect("valid"))?;
        let names = graph.params().into_iter().map(|param| param.name);
        let frozen = names.zip(&learning.rates).filter(|(_, rate)| **rate == 0.0).map(|(name, _)| name);
        Ok((frozen.collect(), learning))
    }

    #[test]
    fn patterns_name_layers() {
        let (frozen, learning) = of(&[]).expect("valid");
        assert!(frozen.is_empty() && learning.fixed_norms.iter().all(|fixed| !fixed));
        let (frozen, _) = of(&[("freeze", r#"["conv_1a"]"#)]).expect("valid");
        let parameters = ["weight", "gamma", "beta", "mean", "variance"];
        assert_eq!(frozen, parameters.map(|name| format!("conv_1a/{name}")));
        let (frozen, learning) = of(&[("freeze", r#"["*", "!logits"]"#)]).expect("valid");
        assert_eq!(frozen.len() + 2, learning.rates.len());
        let (frozen, _) = of(&[("freeze", r#"["block35_1"]"#)]).expect("valid");
        assert!(frozen.iter().all(|name| name.starts_with("block35_1/")) && !frozen.is_empty());
        let (_, learning) = of(&[("lr_scale.logits", "10"), ("batch_norm", "frozen")]).expect("valid");
        assert_eq!(learning.rates.iter().filter(|&&rate| rate == 10.0).count(), 2);
        assert!(learning.fixed_norms.iter().all(|&fixed| fixed));
        let (_, learning) =
            of(&[("lr_scale.\"*\"", "0.1"), ("lr_scale.logits", "2")]).expect("the longer pattern decides");
        assert_eq!(learning.rates.iter().filter(|&&rate| rate == 2.0).count(), 2);
    }

    #[test]
    fn patterns_that_nothing_matches_are_refused() {
        let error = |sets: &[(&str, &str)]| of(sets).expect_err("refused").0;
        assert!(
            error(&[("freeze", r#"["conv_9"]"#)])
                .contains("no layer of inception_resnet_v1 is called `conv_9`")
        );
        assert!(error(&[("lr_scale.logit", "2")]).contains("did you mean `logits`?"));
        assert!(error(&[("lr_scale.logits", "-1")]).contains("lr_scale.logits is -1"));
        assert!(error(&[("freeze", r#"["*"]"#)]).contains("every layer is frozen"));
    }
}
