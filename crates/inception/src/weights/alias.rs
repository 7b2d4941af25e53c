//! A file's names as the layouts have them: prefixes, moving averages Keras's counters and heads out of the way.

use std::collections::{BTreeSet, HashMap, HashSet};

use inception_formats::{Tensor, TensorFile};
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
    if is_keras(&names) {
        unnest(&mut names);
        names = keras(&names);
        name_head(&mut names, file.tensors());
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

/// `conv2d_7/conv2d_7/kernel:0`, with or without the colon; TensorFlow's own programs say `weights`.
pub(super) fn is_keras(names: &[String]) -> bool {
    names.iter().any(|name| name.trim_end_matches(":0").ends_with("/kernel"))
}

/// Most variables of a layer: those of a batch norm.
const LARGEST_LAYER: usize = 4;

/// `inception_v3/conv2d_7/kernel:0`: a group that holds more than a layer is a model in the model.
fn unnest(names: &mut [String]) {
    let mut sizes: HashMap<String, usize> = HashMap::new();
    names.iter().for_each(|name| *sizes.entry(layer(name).into()).or_default() += 1);
    for name in names {
        let nested = sizes[layer(name)] > LARGEST_LAYER;
        if let Some((_, rest)) = name.split_once('/').filter(|(_, rest)| nested && rest.contains('/')) {
            *name = rest.into();
        }
    }
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

/// Calls the only dense layer of a Keras file as the published ones do.
fn name_head(names: &mut [String], tensors: &[Tensor]) {
    let dense = names.iter().zip(tensors).filter(|(n, t)| n.ends_with("/kernel:0") && t.shape.len() == 2);
    let heads: Vec<String> = dense.map(|(name, _)| layer(name).to_string()).collect();
    if let [head] = heads.as_slice() {
        for name in names.iter_mut().filter(|name| layer(name) == head) {
            *name = format!("predictions/predictions/{}", name.rsplit('/').next().unwrap_or_default());
        }
    }
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
/// have other names: Keras itself loads by position. A kernel of two extents is that of a dense layer.
pub(super) fn by_position(names: &[String], tensors: &[Tensor]) -> Vec<String> {
    let variable = |i: usize| names[i].rsplit('/').next().unwrap_or_default().trim_end_matches(":0");
    let mut counts = [0usize; 3];
    let mut positions = Vec::with_capacity(names.len());
    let places: Vec<usize> = (0..names.len()).collect();
    for group in places.chunk_by(|&a, &b| layer(&names[a]) == layer(&names[b])) {
        let norm = group.iter().any(|&i| variable(i) == "moving_mean");
        let dense = group.iter().any(|&i| variable(i) == "kernel" && tensors[i].shape.len() == 2);
        let (kind, class) = match (norm, dense) {
            (true, _) => (0, "batch_normalization"),
            (false, true) => (1, "dense"),
            (false, false) => (2, "conv2d"),
        };
        let layer = numbered(class, counts[kind]);
        counts[kind] += 1;
        positions.extend(group.iter().map(|&i| {
            let index = match variable(i) {
                "kernel" | "beta" => 0,
                "bias" | "moving_mean" => 1,
                _ => 2,
            };
            format!("layers/{layer}/vars/{index}")
        }));
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
    fn a_model_in_a_model_is_taken_out_of_its_group() {
        let layer = ["conv2d/kernel", "batch_normalization/beta", "batch_normalization/moving_mean"];
        let more = ["batch_normalization/moving_variance", "conv2d_1/kernel"];
        let mut names: Vec<String> = layer.iter().chain(&more).map(|n| format!("inception_v3/{n}")).collect();
        names.push("output/sequential/output/kernel".into());
        unnest(&mut names);
        assert_eq!(names[..3], texts(&layer));
        assert_eq!(names[5], "output/sequential/output/kernel");
    }

    #[test]
    fn averages_take_the_place_of_weights() {
        let mut names = texts(&["A/weights", "A/weights/ExponentialMovingAverage", "B/weights"]);
        assert_eq!(take_averages(&mut names), 1);
        assert_eq!(names, ["A/weights (not averaged)", "A/weights", "B/weights"]);
    }

    #[test]
    fn layers_of_any_name_have_positions() {
        let all = [
            ("first/kernel:0", 4),
            ("its_norm/beta:0", 1),
            ("its_norm/moving_mean:0", 1),
            ("block/kernel:0", 4),
            ("block/bias:0", 1),
            ("softmax/kernel:0", 2),
        ];
        let names = texts(&all.map(|(name, _)| name));
        let tensor = |(name, rank): &(&str, usize)| Tensor {
            name: (*name).into(),
            dtype: inception_formats::Dtype::F32,
            shape: vec![1; *rank],
        };
        let tensors: Vec<Tensor> = all.iter().map(tensor).collect();
        assert_eq!(
            by_position(&names, &tensors),
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
