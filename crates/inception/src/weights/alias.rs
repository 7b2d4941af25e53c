//! A file's names as the layouts have them: prefixes, moving averages and Keras's counters out of the way.

use std::collections::{BTreeSet, HashSet};

use inception_formats::TensorFile;
use inception_graph::numbered;

use super::prefix;

/// What a training program of TensorFlow appends to the name of a weight's moving average.
const AVERAGE: &str = "/ExponentialMovingAverage";

/// Marks the weight itself where its moving average takes its place.
pub(super) const NOT_AVERAGED: &str = " (not averaged)";

/// The standard name of each tensor, in the file's order.
pub(super) struct Standard {
    pub(super) names: Vec<String>,
    /// How many moving averages stand in for the weights.
    pub(super) averages: usize,
    /// What stood in front of them, for example `module.`.
    pub(super) prefix: Option<String>,
    /// Which names were without it and are of no network.
    pub(super) outside: Vec<bool>,
}

pub(super) fn standard(file: &TensorFile) -> Standard {
    let mut names: Vec<String> = file.tensors().iter().map(|t| t.name.clone()).collect();
    for name in &mut names {
        *name = name.replace("_layer_checkpoint_dependencies/", "layers/");
    }
    let averages = take_averages(&mut names);
    let (prefix, outside) = match prefix::take_off(&mut names) {
        Some((prefix, outside)) => (Some(prefix), outside),
        None => (None, vec![false; names.len()]),
    };
    if names.iter().any(|name| is_keras(name)) {
        names = keras(&names);
    }
    // Cadene's Inception-ResNet-v2 is timm's but for the name of its classifier.
    let cadene = names.iter().any(|n| n == "repeat_1.19.conv2d.weight")
        && !names.iter().any(|n| n == "classif.weight");
    for name in &mut names {
        if let Some(rest) = name.strip_prefix("last_linear.").filter(|_| cadene) {
            *name = format!("classif.{rest}");
        }
    }
    Standard { names, averages, prefix, outside }
}

fn take_averages(names: &mut [String]) -> usize {
    let averaged: HashSet<String> =
        names.iter().filter_map(|n| n.strip_suffix(AVERAGE)).map(String::from).collect();
    for name in names.iter_mut() {
        if let Some(weight) = name.strip_suffix(AVERAGE) {
            *name = weight.into();
        } else if averaged.contains(name) {
            name.push_str(NOT_AVERAGED);
        }
    }
    averaged.len()
}

/// `conv2d_7/conv2d_7/kernel:0`, with or without the colon.
fn is_keras(name: &str) -> bool {
    let mut parts = name.split('/');
    matches!((parts.next(), parts.next()), (Some(layer), Some(again))
        if layer.starts_with("conv") && again.starts_with("conv") && again.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_')
            == layer.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_'))
}

/// Layers that Keras numbers, old spelling and new.
const COUNTED: [(&[&str], &str); 2] = [
    (&["conv2d", "convolution2d"], "conv2d"),
    (&["batch_normalization", "batchnormalization"], "batch_normalization"),
];

/// Automatic numbers count the layers of a whole session; what tells is their order alone.
fn keras(names: &[String]) -> Vec<String> {
    let numbers: Vec<BTreeSet<usize>> = (0..COUNTED.len())
        .map(|kind| {
            names.iter().filter_map(|n| counted(layer(n))).filter(|c| c.0 == kind).map(|c| c.1).collect()
        })
        .collect();
    let renamed = |name: &String| {
        let (layer, variable) = (layer(name), name.rsplit('/').next().unwrap_or_default());
        let layer = match counted(layer) {
            Some((kind, number)) => format!("{}_{}", COUNTED[kind].1, numbers[kind].range(..=number).count()),
            None => layer.to_string(),
        };
        format!("{layer}/{layer}/{}:0", variable.trim_end_matches(":0"))
    };
    names.iter().map(|name| if name.contains('/') { renamed(name) } else { name.clone() }).collect()
}

fn layer(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Kind and number of a layer that Keras numbers; the first of a session has no number.
fn counted(layer: &str) -> Option<(usize, usize)> {
    COUNTED.iter().enumerate().find_map(|(kind, (spellings, _))| {
        spellings.iter().find_map(|spelling| match layer.strip_prefix(spelling)? {
            "" => Some((kind, 0)),
            rest => Some((kind, rest.strip_prefix('_')?.parse().ok()?)),
        })
    })
}

/// The names of a Keras file's tensors by their place among the layers, as `.weights.h5` has them, for files whose layers
/// have other names: Keras itself loads by position.
pub(super) fn by_position(names: &[String]) -> Vec<String> {
    let mut counts = [0usize; 2];
    let mut positions = vec![String::new(); names.len()];
    let mut at = 0;
    while at < names.len() {
        let end = at + names[at..].iter().take_while(|n| layer(n) == layer(&names[at])).count();
        let variables: Vec<&str> =
            names[at..end].iter().map(|n| n.rsplit('/').next().unwrap_or(n).trim_end_matches(":0")).collect();
        let norm = variables.contains(&"moving_mean");
        let dense = layer(&names[at]).starts_with(['p', 'd']) && !norm;
        let group = if dense {
            "layers/dense".to_string()
        } else if norm {
            format!("layers/{}", numbered("batch_normalization", counts[1]))
        } else {
            format!("layers/{}", numbered("conv2d", counts[0]))
        };
        if !dense {
            counts[usize::from(norm)] += 1;
        }
        for (name, variable) in positions[at..end].iter_mut().zip(variables) {
            let index = match variable {
                "kernel" | "beta" => 0,
                "bias" | "moving_mean" => 1,
                _ => 2,
            };
            *name = format!("{group}/vars/{index}");
        }
        at = end;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn kerass_counters_may_start_anywhere() {
        let expected =
            texts(&["conv2d_1/conv2d_1/kernel:0", "conv2d_2/conv2d_2/kernel:0", "conv_7b/conv_7b/kernel:0"]);
        for names in [
            ["conv2d/conv2d/kernel", "conv2d_1/conv2d_1/kernel", "conv_7b/conv_7b/kernel"],
            ["conv2d_95/conv2d_95/kernel:0", "conv2d_96/conv2d_96/kernel:0", "conv_7b/conv_7b/kernel:0"],
            [
                "convolution2d_9/convolution2d_9/kernel:0",
                "convolution2d_10/convolution2d_10/kernel:0",
                "conv_7b/kernel:0",
            ],
        ] {
            assert_eq!(keras(&texts(&names)), expected);
        }
        assert_eq!(
            keras(&texts(&["predictions/predictions_1/kernel:0"])),
            ["predictions/predictions/kernel:0"]
        );
    }

    #[test]
    fn averages_take_the_place_of_weights() {
        let mut names = texts(&["A/weights", "A/weights/ExponentialMovingAverage", "B/weights"]);
        assert_eq!(take_averages(&mut names), 1);
        assert_eq!(names, ["A/weights (not averaged)", "A/weights", "B/weights"]);
    }

    #[test]
    fn layers_of_any_name_have_positions() {
        let names = texts(&[
            "first/kernel:0",
            "its_norm/beta:0",
            "its_norm/moving_mean:0",
            "block/kernel:0",
            "block/bias:0",
            "predictions/kernel:0",
        ]);
        assert_eq!(
            by_position(&names),
            [
                "layers/conv2d/vars/0",
                "layers/batch_normalization/vars/0",
                "layers/batch_normalization/vars/1",
                "layers/conv2d_1/vars/0",
                "layers/conv2d_1/vars/1",
                "layers/dense/vars/0",
            ]
        );
    }
}
