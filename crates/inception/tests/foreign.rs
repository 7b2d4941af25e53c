//! What files of other programs hold beside, around and instead of what their layouts say.

mod layout_files;

use inception::checkpoint::{self, CheckpointError, Out, TensorProblem, Values};
use inception::data::{Interpolation, Range, Resize};
use inception::weights::formula;
use inception_formats::Dtype;
use inception_graph::{Graph, Layout, Spec, build};
use layout_files::{Plain, Tensors, file, pth, tensors};
use serde_json::json;

#[test]
fn a_classifier_that_is_missing_or_renamed_is_not_taken_for_the_fid_network() {
    for renamed in [None, Some("fc.0.weight")] {
        let text = Plain::new(Layout::Torchvision, "inception_v3.torchvision", 3, |tensors| {
            let at = tensors.iter().position(|t| t.0 == "fc.weight").unwrap();
            match renamed {
                Some(name) => tensors[at].0 = name.into(),
                None => drop(tensors.remove(at)),
            }
        })
        .refusal();
        assert!(text.contains("does not fit inception_v3.torchvision in the layout torchvision"), "{text}");
        assert!(text.contains("`fc.weight` [1000, 2048] is missing"), "{text}");
    }
}

/// FaceNet's network, the smallest that needs no other size.
fn facenet() -> Graph {
    build(&Spec::new("inception_resnet_v1.facenet")).unwrap()
}

fn config(place: &Plain, config: serde_json::Value) {
    std::fs::write(place.folder.path().join("config.json"), config.to_string()).unwrap();
}

#[test]
fn timms_config_counts_for_its_own_network_only() {
    let place = Plain::new(Layout::Torchvision, "inception_v3.torchvision", 2, |_| {});
    let about = json!({
        "tag": "gluon_in1k", "input_size": [3, 320, 320], "crop_pct": 1.0, "crop_mode": "squash",
        "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    });
    for described in
        [json!({"architecture": "inception_v3", "label_names": ["ant", "bee"], "pretrained_cfg": about}), {
            let mut flat = about.clone();
            flat["architecture"] = json!("gluon_inception_v3");
            flat["label_names"] = json!(["ant", "bee"]);
            flat
        }]
    {
        config(&place, described);
        let found = place.open().unwrap();
        let (preprocessing, eval) = (found.metadata.preprocessing, found.metadata.preprocessing.eval);
        assert_eq!((found.metadata.img_size, found.graph.img_size()), (320, 320));
        assert_eq!((eval.crop_pct, eval.resize), (1.0, Resize::Squash));
        assert_eq!((eval.interpolation, preprocessing.range), (Interpolation::Bilinear, Range::Imagenet));
        assert_eq!(found.metadata.classes, ["ant", "bee"]);
        assert!(
            found.report[0].contains("inception_v3.gluon_in1k, from the config.json"),
            "{:?}",
            found.report
        );
    }
    config(&place, json!({"architecture": "inception_resnet_v2", "pretrained_cfg": about}));
    let found = place.open().unwrap();
    assert_eq!((found.metadata.img_size, found.metadata.preprocessing.range), (299, Range::Signed));
    assert!(found.report[0].contains("is of inception_resnet_v2.gluon_in1k: not used"), "{:?}", found.report);
    config(&place, json!({"architecture": "inception_v3", "pretrained_cfg": {}}));
    let found = place.open().unwrap();
    assert_eq!(found.metadata.preprocessing.eval.interpolation, Interpolation::Bicubic);

    let slim = Plain::new(Layout::Slim, "inception_v3", 2, |_| {});
    config(&slim, json!({"architecture": "inception_v3", "pretrained_cfg": about}));
    let found = slim.open().unwrap();
    assert_eq!((found.metadata.img_size, found.metadata.preprocessing.range), (299, Range::Signed));
    assert_eq!(found.metadata.preprocessing.eval.interpolation, Interpolation::BilinearTf1);
}

#[test]
fn what_timms_config_says_in_an_unknown_way_needs_the_flag() {
    let place = Plain::new(Layout::Torchvision, "inception_v3.torchvision", 2, |_| {});
    image::RgbImage::new(9, 9).save(place.folder.path().join("x.png")).unwrap();
    let run = |args: &[&str]| {
        let all = [&["predict", "-w", "x.safetensors", "x.png"], args].concat();
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_inception"))
            .args(all)
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    for (field, value, flag) in [
        ("crop_pct", json!(2.5), "--crop-pct"),
        ("crop_mode", json!("border"), "--resize"),
        ("interpolation", json!("random"), "--interpolation"),
        ("mean", json!([0.1, 0.2, 0.3]), "--range"),
        ("input_size", json!([3, 299, 224]), "--img-size"),
    ] {
        config(&place, json!({"architecture": "inception_v3", "pretrained_cfg": {field: value}}));
        let (code, text) = run(&[]);
        assert_eq!(code, Some(65), "{field}: {text}");
        assert!(text.contains(field) && text.contains(&format!("say what is right with {flag}")), "{text}");
        assert!(inception::checkpoint::load(&place.path()).is_err(), "{field}");
        if field == "mean" {
            assert_eq!(run(&["--range", "imagenet"]).0, Some(0));
        }
        let found = place.open().unwrap();
        assert_eq!(found.doubts.iter().map(|d| d.setting.flag()).collect::<Vec<_>>(), [flag]);
    }
}

#[test]
fn the_averages_of_a_training_checkpoint_are_taken_and_told() {
    let (graph, layout) = (facenet(), Layout::FacenetPytorch);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let [raw, average] = [1, 2].map(|seed| formula::weights(&graph, layout, seed));
    let [raw, average_tensors] = [&raw, &average].map(|weights| tensors(layout, &graph, weights));
    pth(&path, &[("epoch", &vec![]), ("state_dict", &raw), ("state_dict_ema", &average_tensors)]);
    let found = checkpoint::open(&path, None, false).unwrap();
    assert!(found.weights.data == average.data);
    assert_eq!(
        found.report,
        ["weights of `state_dict_ema` taken", "left in the checkpoint: epoch, state_dict"]
    );
}

#[test]
fn whatever_stands_in_front_of_all_names_is_taken_off() {
    for (layout, prefix) in [
        (Layout::FacenetPytorch, "_orig_mod.module."),
        (Layout::FacenetPytorch, "net.encoder."),
        (Layout::Facenet, "tower_0/"),
    ] {
        let place = Plain::new(layout, "inception_resnet_v1.facenet", 0, |tensors| {
            tensors.iter_mut().for_each(|t| t.0.insert_str(0, prefix));
            match layout {
                Layout::Facenet => tensors.push(("global_step".into(), vec![], vec![3.0])),
                _ => tensors.push(("criterion.weight".into(), vec![2], vec![1.0, 2.0])),
            }
        });
        let found = place.open().unwrap();
        assert_eq!(found.layout, Some(layout));
        assert_eq!(found.report[0], format!("`{prefix}` taken off the names"));
        let left =
            ["1 tensor beside the network left out, the first `criterion.weight`", "global_step left out"];
        assert!(left.contains(&found.report[1].as_str()), "{:?}", found.report);
    }
}

#[test]
fn a_new_head_outside_the_prefix_is_the_networks_and_a_layer_behind_it_is_not() {
    let wrapped = |more: Option<&str>| {
        Plain::new(Layout::Torchvision, "inception_v3.torchvision", 2, |tensors| {
            tensors.iter_mut().filter(|t| !t.0.starts_with("fc.")).for_each(|t| t.0.insert_str(0, "base."));
            tensors.extend(more.map(|name| (name.into(), vec![3, 2], vec![0.5; 6])));
        })
    };
    assert_eq!(wrapped(None).open().unwrap().graph.classes(), 2);
    let text = wrapped(Some("head.weight")).refusal();
    assert!(text.contains("`head.weight` is not a tensor of the network"), "{text}");
}

#[test]
fn what_is_assumed_of_the_preprocessing_is_said() {
    for (auxiliary, said) in [(false, "assumed timm's preprocessing"), (true, "assumed torchvision's")] {
        let place = Plain::new(Layout::Torchvision, "inception_v3.torchvision", 2, |tensors| {
            tensors.extend(auxiliary.then(|| ("AuxLogits.fc.bias".to_string(), vec![2], vec![0.5; 2])));
        });
        let report = place.open().unwrap().report;
        let line = report.iter().find(|line| line.starts_with(said)).unwrap_or_else(|| panic!("{report:?}"));
        assert!(line.contains("`--range imagenet`"), "{line}");
    }
}

/// The refusal, as `net`, of a file with `count` tensors of whole numbers called `name`.
fn integers(count: usize, name: impl Fn(usize) -> String, net: &str) -> CheckpointError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let (dtype, shape, bytes) = (Dtype::I32, vec![32, 3, 3, 3], vec![0; 32 * 27 * 4]);
    let out = |i| Out { name: name(i), dtype, shape: shape.clone(), values: Values::Bytes(&bytes) };
    checkpoint::write(&path, serde_json::Map::new(), (0..count).map(out).collect()).unwrap();
    checkpoint::open(&path, Some(net), false).err().expect("refused")
}

#[test]
fn a_wrong_type_is_told_every_type_that_is_read() {
    let text = integers(1, |_| "Conv2d_1a_3x3.conv.weight".into(), "inception_v3.torchvision").to_string();
    let line = "`Conv2d_1a_3x3.conv.weight` has type I32, expected F32 or F64 or F16 or BF16";
    assert!(text.contains(line), "{text}");
}

/// The similarity of every name to every other took seconds for a thousand tensors: it is looked for where it is shown.
#[test]
fn of_many_unknown_tensors_few_get_a_suggestion() {
    let name = |i| format!("encoder.layer.{i}.attention.weight");
    let error = integers(2_000, name, "inception_resnet_v2.slim");
    assert!(error.to_string().contains("more"), "{error}");
    let CheckpointError::Tensors { problems, .. } = error else { panic!("{error}") };
    let suggested = |problem: &&TensorProblem| {
        matches!(
            problem,
            TensorProblem::Extra { nearest: Some(_), .. } | TensorProblem::Missing { nearest: Some(_), .. }
        )
    };
    let suggestions = problems.iter().filter(suggested).count();
    assert!(problems.len() > 2_000 && suggestions <= 50, "{suggestions} of {}", problems.len());
}

#[test]
fn a_variance_below_zero_is_refused_by_name() {
    let text = Plain::new(Layout::FacenetPytorch, "inception_resnet_v1.facenet", 0, |tensors| {
        let variance = tensors.iter_mut().find(|t| t.0 == "conv2d_1a.bn.running_var").unwrap();
        variance.2[5] = -0.5;
    })
    .refusal();
    assert!(text.contains("`conv2d_1a.bn.running_var` has 1 values of 32 below zero"), "{text}");
}

#[test]
fn a_checkpoint_of_objects_says_how_to_save_names() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/tests/fixtures/tf/v2_object/model");
    let error = checkpoint::open(path.as_ref(), None, false).err().expect("refused").to_string();
    assert!(error.contains("save it with model.save_weights"), "{error}");
}

/// What `keras.Sequential([InceptionV3(include_top=False), GlobalAveragePooling2D(), Dense(2, name="output")])` and the
/// functional model of the same layers save: whole models, and weights.
#[test]
fn keras_fine_tunes_open_whatever_the_head_is_called_and_however_deep_the_network_lies() {
    let dense = |tensors: &mut Tensors, name: &str| {
        tensors.retain(|t| !t.0.starts_with("predictions/") && !t.0.starts_with("layers/dense/"));
        tensors.push((format!("{name}/kernel"), vec![2048, 2], vec![0.25; 4096]));
        tensors.push((format!("{name}/bias"), vec![2], vec![0.5; 2]));
    };
    let nested = |name: &mut String| *name = format!("inception_v3/{}", name.split_once('/').unwrap().1);
    type Edit<'a> = &'a dyn Fn(&mut Tensors);
    let cases: [(&str, Layout, Edit); 3] = [
        ("flat", Layout::Keras, &|tensors| dense(tensors, "fc/fc")),
        ("nested", Layout::Keras, &|tensors| {
            tensors.iter_mut().for_each(|t| nested(&mut t.0));
            tensors.retain(|t| !t.0.starts_with("inception_v3/predictions/"));
            dense(tensors, "output/sequential/output");
        }),
        ("nested weights", Layout::Keras3, &|tensors| {
            let inside = tensors.iter_mut().filter(|t| !t.0.starts_with("layers/dense/"));
            inside.for_each(|t| t.0.insert_str(0, "layers/functional/"));
        }),
    ];
    for (what, layout, edit) in cases {
        let place = Plain::new(layout, "inception_v3", 2, |tensors| edit(tensors));
        let found = place.open().unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((found.graph.spec().net.as_str(), found.graph.classes()), ("inception_v3", 2), "{what}");
        if layout == Layout::Keras {
            let last = found.weights.params().len() - 2;
            assert_eq!(found.weights.get(last), vec![0.25; 4096], "{what}");
        }
    }
    // A second dense layer changes the answer.
    let place = Plain::new(Layout::Keras, "inception_v3", 2, |tensors| {
        dense(tensors, "fc/fc");
        tensors.push(("more/more/kernel".into(), vec![2, 3], vec![0.5; 6]));
    });
    assert!(place.refusal().contains("`more/more/kernel` is not a tensor of the network"));
}

/// FaceNet's models before 2018: 128 values, and pictures that are whitened one by one.
#[test]
fn an_embedding_has_as_many_values_as_the_file_says() {
    let graph = build(&Spec::new("inception_resnet_v1.facenet").embedding(128)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [path, own] = ["x.safetensors", "own.safetensors"].map(|name| folder.path().join(name));
    for layout in [Layout::Facenet, Layout::FacenetPytorch] {
        let weights = file(&path, layout, &graph, |_| {});
        let found = checkpoint::open(&path, None, false).unwrap();
        assert_eq!((found.graph.spec().embedding, found.metadata.embedding), (Some(128), Some(128)));
        assert!(found.weights.data == weights.data, "{layout:?}");
        assert_eq!(found.metadata.preprocessing.range, Range::Prewhiten);
        assert!(
            found.report.iter().any(|line| line.starts_with("assumed prewhitening")),
            "{:?}",
            found.report
        );
        checkpoint::save(&own, &found.weights, &found.metadata).unwrap();
        let (graph, again, _) = checkpoint::load(&own).unwrap();
        assert!(graph.spec().embedding == Some(128) && again.data == weights.data);
    }
}
