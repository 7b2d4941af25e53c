//! What the original networks compute with the weights of [`super::formula`], recorded by `reference/published_torch.py`
//! and `reference/published_tf.py`.

use inception_cpu::{Device, Model, Scratch};
use inception_graph::{Graph, Layout, Spec, build};
use serde::Deserialize;

use super::formula;

/// A network of a published program, and what it computed.
pub struct Source {
    /// Its name in the reference scripts.
    pub name: &'static str,
    /// The layout of its files.
    pub layout: Layout,
    /// Our network.
    pub net: &'static str,
    /// Classes it was recorded with.
    pub classes: usize,
    record: &'static str,
}

/// Everything that was recorded.
pub const SOURCES: &[Source] = &[
    source("slim-v3", Layout::Slim, "inception_v3", 1001, include_str!("recorded/slim-v3.json")),
    source("slim-v4", Layout::Slim, "inception_v4", 1001, include_str!("recorded/slim-v4.json")),
    source(
        "slim-resnet-v2",
        Layout::Slim,
        "inception_resnet_v2.slim",
        1001,
        include_str!("recorded/slim-resnet-v2.json"),
    ),
    source(
        "facenet",
        Layout::Facenet,
        "inception_resnet_v1.facenet",
        0,
        include_str!("recorded/facenet.json"),
    ),
    source("keras-v3", Layout::Keras, "inception_v3", 1000, include_str!("recorded/keras-v3.json")),
    source(
        "keras-resnet-v2",
        Layout::Keras,
        "inception_resnet_v2.slim",
        1000,
        include_str!("recorded/keras-resnet-v2.json"),
    ),
    source(
        "torchvision-v3",
        Layout::Torchvision,
        "inception_v3.torchvision",
        1000,
        include_str!("recorded/torchvision-v3.json"),
    ),
    source(
        "pytorch-fid",
        Layout::PytorchFid,
        "inception_v3.fid",
        1008,
        include_str!("recorded/pytorch-fid.json"),
    ),
    source("timm-v4", Layout::Timm, "inception_v4", 1000, include_str!("recorded/timm-v4.json")),
    source(
        "timm-resnet-v2",
        Layout::Timm,
        "inception_resnet_v2.slim",
        1000,
        include_str!("recorded/timm-resnet-v2.json"),
    ),
    source(
        "facenet-pytorch",
        Layout::FacenetPytorch,
        "inception_resnet_v1.facenet",
        0,
        include_str!("recorded/facenet-pytorch.json"),
    ),
];

const fn source(
    name: &'static str,
    layout: Layout,
    net: &'static str,
    classes: usize,
    record: &'static str,
) -> Source {
    Source { name, layout, net, classes, record }
}

#[derive(Deserialize)]
struct Record {
    framework: String,
    img_size: usize,
    endpoints: serde_json::Map<String, serde_json::Value>,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Sample {
    size: usize,
    rms: f64,
    values: Vec<f32>,
}

/// How far we are from what was recorded.
pub struct Comparison {
    /// Program and version that was recorded.
    pub framework: String,
    /// Largest difference of each recorded endpoint, as a share of its root mean square, in order.
    pub endpoints: Vec<(String, f64)>,
    /// Largest difference of the logits (or the embedding), as a share of their standard deviation.
    pub output: f64,
}

impl Source {
    /// The network that was recorded.
    pub fn graph(&self) -> Graph {
        build(&Spec::new(self.net).classes(self.classes)).expect("a known network at its own size")
    }

    /// Runs the formula's weights on `device` and compares.
    pub fn compare(&self, device: &Device) -> Comparison {
        let record: Record = serde_json::from_str(self.record).expect("written by the reference script");
        let graph = self.graph();
        let model = Model::consuming(&graph, formula::weights(&graph, self.layout, 0), device);
        let output = graph.outputs().first().expect("every network has an output").1;
        let (mut endpoints, mut answer) = (Vec::new(), Vec::new());
        model.run_and_see(
            &formula::input(record.img_size, 0),
            output,
            &mut Scratch::default(),
            |id, view| {
                let name = &graph.node(id).name;
                if let Some(sample) = record.endpoints.get(name) {
                    let sample: Sample =
                        serde_json::from_value(sample.clone()).expect("written by the reference script");
                    let found = view.to_vec();
                    let pairs = formula::sample(sample.size).into_iter().zip(&sample.values);
                    let worst = match found.len() == sample.size {
                        true => largest(pairs.map(|(at, &v)| f64::from(found[at] - v))),
                        false => f64::NAN,
                    };
                    endpoints.push((name.clone(), worst / sample.rms));
                }
                if id == output {
                    answer = view.to_vec();
                }
            },
        );
        Comparison { framework: record.framework, endpoints, output: distance(&answer, &record.logits) }
    }
}

/// Largest of `differences`, their signs aside; NaN where any is NaN.
pub fn largest(differences: impl Iterator<Item = f64>) -> f64 {
    differences.map(f64::abs).fold(0.0, |largest, d| if d > largest || d.is_nan() { d } else { largest })
}

/// Largest difference as a share of the standard deviation of `expected`; NaN where the lengths differ.
pub fn distance(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let n = expected.len() as f64;
    let mean = expected.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let deviation = (expected.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    largest(found.iter().zip(expected).map(|(a, b)| f64::from(a - b))) / deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_that_is_no_number_makes_the_distance_none() {
        assert_eq!(distance(&[1.0, 5.0], &[1.0, 3.0]), 2.0);
        for place in 0..3 {
            let mut found = [1.0, 5.0, 2.0];
            found[place] = f32::NAN;
            assert!(distance(&found, &[1.0, 3.0, 2.0]).is_nan(), "NaN at {place}");
        }
        assert!(distance(&[1.0], &[1.0, 2.0]).is_nan());
        assert_eq!(largest([0.5, f64::NEG_INFINITY, 2.0].into_iter()), f64::INFINITY);
    }
}
