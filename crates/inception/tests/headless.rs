//! Networks without a classifier, as Keras publishes them under `notop`.

mod cli_support;

use std::path::Path;

use cli_support::{Ended, command, published_file};
use inception::checkpoint;
use inception::weights::formula;
use inception_graph::{Layout, Spec, build};
use serde_json::Value;

fn run(dir: &Path, args: &[&str]) -> Ended {
    command(dir, args).output().unwrap().into()
}

#[test]
fn keras_files_without_a_classifier_are_their_networks_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notop.safetensors");
    for layout in [Layout::Keras, Layout::Keras3] {
        for &net in layout.nets() {
            let graph = build(&Spec::new(net).classes(0)).unwrap();
            published_file(&path, layout, &graph);
            let found = checkpoint::open(&path, None, false).unwrap();
            assert_eq!((found.layout, found.metadata.net.as_str()), (Some(layout), net));
            assert_eq!((found.graph.classes(), found.metadata.classes.len()), (0, 0));
            assert_eq!(found.weights.data, formula::weights(&graph, layout, 5).data, "{layout:?} {net}");
        }
    }
}

/// A classifier is missed by its name in every other layout.
#[test]
fn a_lost_classifier_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lost.safetensors");
    published_file(&path, Layout::Timm, &build(&Spec::new("inception_v4").classes(0)).unwrap());
    run(dir.path(), &["info", "lost.safetensors"]).fails(65, "`last_linear.weight` [1000, 1536] is missing");
}

#[test]
fn features_are_predicted_verified_converted_and_not_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let graph = build(&Spec::new("inception_v3").classes(0)).unwrap();
    published_file(&at("notop.safetensors"), Layout::Keras, &graph);
    let pixel = |x: u32, y: u32| image::Rgb([x, y, x + y].map(|v| (v % 256) as u8));
    image::RgbImage::from_fn(90, 80, pixel).save(at("x.png")).unwrap();

    let predict =
        |file: &str| run(dir.path(), &["predict", "-w", file, "x.png", "--format", "jsonl"]).expect(0);
    let features = predict("notop.safetensors");
    let row: Value = serde_json::from_str(&features).unwrap();
    assert_eq!(row["embedding"].as_array().unwrap().len(), 2048);
    run(dir.path(), &["eval", "-w", "notop.safetensors", "."]).fails(2, "knows no classes");

    let text = run(dir.path(), &["verify", "notop.safetensors"]).expect(0);
    let reported = "none: it has no classifier, of the published inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5";
    assert!(text.contains(reported) && text.contains("\npassed: "), "{text}");

    run(dir.path(), &["convert", "notop.safetensors", "own.safetensors"]).expect(0);
    assert_eq!(predict("own.safetensors"), features);
    run(dir.path(), &["convert", "own.safetensors", "back.safetensors", "--layout", "keras"]).expect(0);
    assert_eq!(predict("back.safetensors"), features);
}
