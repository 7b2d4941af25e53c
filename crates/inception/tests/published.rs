//! Published weights: the recorded numbers of the original programs, files in every layout, and what is refused.

use std::path::Path;

use inception::checkpoint::{self, CheckpointError, Out, TensorProblem, Values};
use inception::weights::formula;
use inception::weights::recorded::SOURCES;
use inception_cpu::Device;
use inception_formats::Dtype;
use inception_graph::{Graph, Layout, Spec, Weights, build};

/// The layouts' names, batch norm without a scale, padding, scales of the residuals, the last block and the embedding
/// are right only if all of this holds: a wrong name gives other weights and so other numbers.
#[test]
fn every_network_computes_what_the_original_was_recorded_to_compute() {
    let device = Device::new(None).unwrap();
    let mut wrong = Vec::new();
    for source in SOURCES {
        let found = source.compare(&device);
        let far = |d: f64| d.is_nan() || d >= 1e-4;
        let first = found.endpoints.iter().find(|(_, d)| far(*d));
        if far(found.output) || first.is_some() {
            wrong.push(format!("{}: answer {:.1e}, first endpoint {first:?}", source.name, found.output));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `model.layers` of the two Keras networks, recorded from Keras: which layer `.weights.h5` calls `conv2d_7`.
#[test]
fn keras_orders_its_layers_as_recorded() {
    for (net, recorded) in [
        ("inception_v3", include_str!("../src/weights/recorded/keras-v3.order.json")),
        ("inception_resnet_v2.slim", include_str!("../src/weights/recorded/keras-resnet-v2.order.json")),
    ] {
        let graph = build(&Spec::new(net)).unwrap();
        let order: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let (created, placed) = (Layout::Keras.names(&graph), Layout::Keras3.names(&graph));
        let mut checked = 0;
        for (created, placed) in created.iter().flatten().zip(placed.iter().flatten()) {
            let layer = placed.name.split('/').nth(1).unwrap();
            let kind = if layer.starts_with("conv2d") { "conv2d" } else { "batch_normalization" };
            if layer == "dense" {
                continue;
            }
            let at: usize = layer[kind.len()..].trim_start_matches('_').parse().unwrap_or(0);
            assert_eq!(order[kind][at], created.name.split('/').next().unwrap(), "{net}: {}", placed.name);
            checked += 1;
        }
        assert!(checked > 300);
    }
}

/// A file of the formula's weights in `layout`, changed by `edit`.
fn file(
    path: &Path,
    layout: Layout,
    graph: &Graph,
    edit: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<f32>)>),
) -> Weights {
    let weights = formula::weights(graph, layout, 5);
    let names = layout.names(graph);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = names
        .iter()
        .enumerate()
        .filter_map(|(i, foreign)| {
            let (foreign, shape) = (foreign.as_ref()?, &weights.params()[i].shape);
            Some((
                foreign.name.clone(),
                foreign.axes.shape(shape),
                foreign.axes.to_foreign(shape, weights.get(i)),
            ))
        })
        .collect();
    edit(&mut tensors);
    let out = tensors.iter().map(|(name, shape, values)| Out {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape.clone(),
        values: Values::F32(values),
    });
    checkpoint::write(path, serde_json::Map::new(), out.collect()).unwrap();
    weights
}

#[test]
fn every_layout_is_recognised_and_loads_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    for layout in Layout::ALL {
        for &net in layout.nets() {
            let classes = if net == "inception_v3.fid" { 1008 } else { 7 };
            let graph = match net {
                "inception_resnet_v1.facenet" => build(&Spec::new(net)),
                _ => build(&Spec::new(net).classes(classes)),
            }
            .unwrap();
            let weights = file(&path, layout, &graph, |_| {});
            let asked = (net == "inception_v3" && layout == Layout::Torchvision).then_some(net);
            let found =
                checkpoint::open(&path, asked, true).unwrap_or_else(|e| panic!("{layout:?} {net}: {e}"));
            assert_eq!((found.layout, found.metadata.net.as_str()), (Some(layout), net));
            assert_eq!(found.weights.data, weights.data, "{layout:?} {net}");
            assert!(found.extras.is_empty());
        }
    }
}
