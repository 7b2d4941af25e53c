//! Published weights: the recorded numbers of the original programs, files in every layout, and what is refused.

mod layout_files;

use inception::checkpoint::{self, CheckpointError, Out, Values};
use inception::weights::formula;
use inception::weights::recorded::SOURCES;
use inception_cpu::Device;
use inception_formats::Dtype;
use inception_graph::{Layout, Spec, build};
use layout_files::{Tensors, file};

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

/// A file of FaceNet's network, the smallest that needs no other size, changed by `edit`; how it was received.
fn facenet(edit: impl FnOnce(&mut Tensors)) -> Result<checkpoint::Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    file(&path, Layout::FacenetPytorch, &graph, edit);
    checkpoint::open(&path, None, true)
}

#[test]
fn what_does_not_fit_is_listed_with_the_nearest_name() {
    let error = facenet(|tensors| {
        tensors[0].0 = "conv2d_1a.conv.weights".into();
        tensors[1].1 = vec![8, 4];
        tensors[2].2[3] = f32::NAN;
    })
    .err()
    .expect("refused");
    let CheckpointError::Tensors { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 3, "{error}");
    let text = error.to_string();
    assert!(text.contains(
        "`conv2d_1a.conv.weight` [32, 3, 3, 3] is missing; the nearest is `conv2d_1a.conv.weights`"
    ));
    assert!(
        text.contains("`conv2d_1a.conv.weights` is not a tensor of the network; the nearest is"),
        "{text}"
    );
    assert!(text.contains("has shape [8, 4], expected [32]"), "{text}");

    let error = facenet(|tensors| tensors[2].2[3] = f32::NAN).err().expect("refused").to_string();
    assert!(error.contains("1 values of 32 that are infinite or not a number"), "{error}");
}

#[test]
fn what_is_beside_the_network_is_reported_and_kept() {
    let found = facenet(|tensors| {
        tensors.push(("conv2d_1a.bn.num_batches_tracked".into(), vec![], vec![7.0]));
        tensors.push(("logits.weight".into(), vec![5, 512], vec![0.5; 5 * 512]));
        tensors.push(("logits.bias".into(), vec![5], vec![0.5; 5]));
    })
    .unwrap();
    assert_eq!(found.report.len(), 2, "{:?}", found.report);
    assert!(found.report.iter().any(|line| line.contains("classifier of identities: 2 tensors left out")));
    assert_eq!(
        found.extras.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
        ["conv2d_1a.bn.num_batches_tracked", "logits.weight", "logits.bias",]
    );
    assert_eq!(found.metadata.preprocessing.range, inception::data::Range::Facenet);
}

/// timm's file, canonical, timm's file again: the same tensors under the same names.
#[test]
fn converting_there_and_back_gives_the_same_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    file(&at("in.safetensors"), Layout::FacenetPytorch, &graph, |tensors| {
        tensors.push(("logits.bias".into(), vec![5], vec![0.5; 5]));
    });
    let run = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_inception"))
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    assert_eq!(run(&["convert", "in.safetensors", "own.safetensors"]), (0, String::new()));
    let back = ["convert", "own.safetensors", "out.safetensors", "--layout", "facenet-pytorch"];
    assert_eq!(run(&back), (0, String::new()));
    let tensors = |name: &str| {
        let mut file = inception_formats::open(&at(name)).unwrap();
        let mut all: Vec<_> = (0..file.tensors().len())
            .map(|i| {
                (
                    file.tensors()[i].name.clone(),
                    file.tensors()[i].shape.clone(),
                    file.bytes(i).unwrap().to_vec(),
                )
            })
            .collect();
        all.sort();
        all
    };
    assert!(tensors("in.safetensors") == tensors("out.safetensors"));

    // The same for a checkpoint with moving averages, which are what is used.
    let mut averages = Vec::new();
    file(&at("ema.safetensors"), Layout::Facenet, &graph, |tensors| {
        for (name, shape, values) in tensors.iter_mut().filter(|t| !t.0.ends_with("moving_mean")) {
            averages.push((format!("{name}/ExponentialMovingAverage"), shape.clone(), values.clone()));
            values.fill(9.0);
        }
        tensors.extend(averages.clone());
        tensors.push(("global_step".into(), vec![], vec![3.0]));
    });
    let found = checkpoint::open(&at("ema.safetensors"), None, false).unwrap();
    assert_eq!(found.weights.data, formula::weights(&graph, Layout::Facenet, 5).data);
    assert!(found.report.iter().any(|line| line.contains("moving averages taken in place of the weights")));
    assert_eq!(run(&["convert", "ema.safetensors", "ema-own.safetensors"]), (0, String::new()));
    let there = ["convert", "ema-own.safetensors", "ema-out.safetensors", "--layout", "facenet"];
    assert_eq!(run(&there), (0, String::new()));
    assert!(tensors("ema.safetensors") == tensors("ema-out.safetensors"));

    // A second time nothing is overwritten; layouts that have no such network, or no scale, say so.
    assert!(run(&back).1.contains("--force"));
    let other = |layout| run(&["convert", "own.safetensors", "x.safetensors", "--layout", layout]);
    let slim = other("slim").1;
    assert!(slim.contains("inception_resnet_v1.facenet is in facenet, facenet-pytorch"), "{slim}");
    assert!(other("facenet").1.contains("has no scale in its batch norms"));
    assert!(other("pickle").1.contains("expected canonical, slim"));
}

#[test]
fn other_networks_and_other_files_each_have_their_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let tensor = |name: &str| Out {
        name: name.into(),
        dtype: Dtype::F32,
        shape: vec![2],
        values: Values::F32(&[1.0, 2.0]),
    };
    checkpoint::write(
        &path,
        serde_json::Map::new(),
        vec![tensor("layer1.0.conv1.weight"), tensor("fc.bias")],
    )
    .unwrap();
    let open = |net| checkpoint::open(&path, net, false).err().expect("refused").to_string();
    assert!(open(None).contains("2 tensors of no network that is known here"), "{}", open(None));
    // A network that is asked for: every difference, and no guess.
    assert!(
        open(Some("inception_v4")).contains("does not fit inception_v4"),
        "{}",
        open(Some("inception_v4"))
    );
    std::fs::write(&path, "<!DOCTYPE html><html>").unwrap();
    assert!(open(None).contains("web page"));
    // What `pickle.dumps` makes of an object whose `__reduce__` asks for os.system("true").
    std::fs::write(&path, b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")
        .unwrap();
    assert!(open(None).contains("posix.system"), "{}", open(None));
}
