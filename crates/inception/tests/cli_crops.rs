//! `--crops` and `--ensemble` of `inception eval`, `predict` and `bench`.

mod cli_support;

use std::fs;
use std::path::Path;

use cli_support::{CLASSES, Place};
use inception::checkpoint::{self, Metadata};
use inception::data::{Crops, Preprocessing, Range, Rgb, Sight};
use inception_graph::{Spec, Weights, build};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Two pictures of each class, and `other.safetensors`: another network of another size, its classes in another order.
fn place() -> Place {
    let place = Place::new();
    for class in CLASSES {
        (0..2).for_each(|i| place.picture(&format!("data/{class}/{i}.png"), 5 * i + class.len() as u32));
    }
    other(&place.path("other.safetensors"), &["cat", "ant", "bee, or wasp"], None);
    place
}

fn other(path: &Path, classes: &[&str], background: Option<usize>) {
    let graph =
        build(&Spec::new("inception_resnet_v1").img_size(80).width(0.1).classes(classes.len())).unwrap();
    let eval: inception::data::Eval =
        serde_json::from_value(json!({"crop_pct": 0.875, "interpolation": "bilinear-tf1"})).unwrap();
    let mut metadata = Metadata::new(&graph, classes.iter().map(|c| c.to_string()).collect(), eval);
    metadata.preprocessing.range = Range::Prewhiten;
    metadata.background = background;
    checkpoint::save(path, &Weights::init(&graph, 4), &metadata).unwrap();
}

fn eval(place: &Place, more: &[&str]) -> (Value, String) {
    let ended = place.run(&[&["eval", "-w", "net.safetensors", "data", "--json"], more].concat());
    let stderr = ended.stderr.clone();
    (serde_json::from_str(&ended.expect(0)).unwrap(), stderr)
}

/// Class names and their probabilities.
fn predict(place: &Place, more: &[&str]) -> Vec<Vec<f64>> {
    let args = ["predict", "-w", "net.safetensors", "data", "-k", "0", "--format", "jsonl"];
    let rows = place.run(&[&args, more].concat()).expect(0);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["probs"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect()
    };
    rows.lines().map(row).collect()
}

/// Evaluation and prediction average the same way, and an ensemble is the mean of its members by the names of classes.
#[test]
fn an_ensemble_is_the_mean_of_its_members() {
    let place = place();
    let protocol = ["--crops", "12"];
    let both = [&protocol[..], &["--ensemble", "other.safetensors"]].concat();
    let (one, ensemble) = (predict(&place, &protocol), predict(&place, &both));
    fs::rename(place.path("net.safetensors"), place.path("net1.safetensors")).unwrap();
    fs::rename(place.path("other.safetensors"), place.path("net.safetensors")).unwrap();
    let two = predict(&place, &protocol);
    fs::rename(place.path("net.safetensors"), place.path("other.safetensors")).unwrap();
    fs::rename(place.path("net1.safetensors"), place.path("net.safetensors")).unwrap();
    assert_eq!(ensemble.len(), 6);
    let mut loss = 0.0;
    for (i, ((a, b), mean)) in one.iter().zip(&two).zip(&ensemble).enumerate() {
        // `other` has cat, ant, bee.
        for (class, place) in [1, 2, 0].into_iter().enumerate() {
            assert!((mean[class] - (a[class] + b[place]) / 2.0).abs() < 1e-6, "{a:?} {b:?} {mean:?}");
        }
        loss -= mean[i / 2].ln() / 6.0;
    }
    let (report, _) = eval(&place, &both);
    assert!((report["eval_loss"].as_f64().unwrap() - loss).abs() < 1e-5, "{report} {loss}");
    assert_eq!((&report["crops"], report["members"].as_array().unwrap().len()), (&12.into(), 2));
    // Each member's digits are those of its own evaluation.
    let (alone, _) = eval(&place, &protocol);
    assert_eq!(report["members"][0]["eval_loss"], alone["eval_loss"]);
    let args = ["eval", "-w", "other.safetensors", "data", "--json", "--crops", "12"];
    let other: Value = serde_json::from_str(&place.run(&args).expect(0)).unwrap();
    for key in ["eval_loss", "eval_top1_error", "eval_top5_error"] {
        assert_eq!(report["members"][1][key], other[key], "{key}");
    }
    let text = place.run(&[&["eval", "-w", "net.safetensors", "data"], &both[..]].concat()).expect(0);
    assert!(text.lines().any(|line| line.starts_with("other.safetensors")), "{text}");
}

#[test]
fn batches_and_threads_do_not_change_a_digit() {
    let place = place();
    let run = |more: &[&str]| {
        let args = ["--crops", "12", "--ensemble", "other.safetensors", "--no-cache"];
        eval(&place, &[&args, more].concat()).0
    };
    let whole = run(&[]);
    for more in [["-b", "5"], ["--threads", "3"], ["-j", "2"]] {
        assert_eq!(run(&more), whole, "{more:?}");
    }
    assert!(!place.path("output").exists());
}

/// What is kept is used again, unless anything is different or it is damaged.
#[test]
fn logits_are_kept() {
    let place = place();
    let protocol = ["--crops", "10"];
    let (first, said) = eval(&place, &protocol);
    assert!(!said.contains("are there already"), "{said}");
    let (again, said) = eval(&place, &protocol);
    assert!(said.contains("are there already") && again == first, "{said}");
    let (both, said) = eval(&place, &["--crops", "10", "--ensemble", "other.safetensors"]);
    assert_eq!(said.matches("are there already").count(), 1, "{said}");
    assert_eq!(both["members"][0]["eval_loss"], first["eval_loss"]);
    labels_are_the_networks_own(&place.path("output/eval/logits"));
    for more in
        [&["--crops", "10", "--interpolation", "bicubic"][..], &["--crops", "10", "--precision", "exact"]]
    {
        assert!(!eval(&place, more).1.contains("are there already"), "{more:?}");
    }
    for file in fs::read_dir(place.path("output/eval/logits")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let (repaired, said) = eval(&place, &protocol);
    assert!(said.contains("is passed over") && repaired == first, "{said}");
    // One view costs little: nothing is kept unless it is asked for.
    assert!(!eval(&place, &[]).1.contains("are there already"));
    eval(&place, &["--logits-cache", "kept"]);
    assert!(eval(&place, &["--logits-cache", "kept"]).1.contains("are there already"));
    // Other pictures.
    place.picture("data/ant/0.png", 77);
    let (other, said) = eval(&place, &["--logits-cache", "kept"]);
    assert!(!said.contains("are there already") && other["eval_loss"] != first["eval_loss"], "{said}");
}

/// Whatever the order of its classes among those of the ensemble.
fn labels_are_the_networks_own(folder: &Path) {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for path in files {
        let mut file = inception_formats::open(&path).unwrap();
        let text = |key: &str| -> Vec<String> {
            serde_json::from_str(&file.texts().iter().find(|(k, _)| k == key).unwrap().1).unwrap()
        };
        let (classes, names) = (text("classes"), text("pictures"));
        let labels = file.tensors().iter().position(|t| t.name == "labels").unwrap();
        let labels = file.bytes(labels).unwrap().as_chunks().0.iter().map(|&b| i64::from_le_bytes(b));
        assert_eq!(names.len(), 6);
        names
            .iter()
            .zip(labels)
            .for_each(|(name, label)| assert!(name.contains(&classes[label as usize]), "{name}"));
    }
}

#[test]
fn logits_are_written_with_names() {
    let place = place();
    let both = ["--ensemble", "other.safetensors", "--save-logits", "rows.safetensors", "--on-bad", "skip"];
    fs::write(place.path("data/ant/1.png"), "this is no picture").unwrap();
    let (report, _) = eval(&place, &both);
    assert_eq!((&report["count"], report["skipped"].as_array().unwrap().len()), (&5.into(), 1));
    let mut file = inception_formats::open(&place.path("rows.safetensors")).unwrap();
    let text = |key: &str| -> Vec<String> {
        serde_json::from_str(&file.texts().iter().find(|(k, _)| k == key).unwrap().1).unwrap()
    };
    assert_eq!(text("classes"), CLASSES);
    let names = text("pictures");
    assert!(names.len() == 5 && names[0].ends_with("0.png") && names[0].contains("ant"), "{names:?}");
    let logits = file.tensors().iter().position(|t| t.name == "logits").unwrap();
    assert_eq!(file.tensors()[logits].shape, [5, 3]);
    let rows = file.values(logits).unwrap();
    let sums = rows.chunks(3).map(|row| row.iter().map(|v| f64::from(*v).exp()).sum::<f64>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-6), "logarithms of probabilities");
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = place();
    let refused = |more: &[&str], code, part: &str| {
        place.run(&[&["eval", "-w", "net.safetensors", "data"], more].concat()).fails(code, part);
    };
    refused(&["--crops", "12", "--crop-pct", "0.9"], 2, "--crop-pct says nothing with --crops 12");
    refused(&["--crops", "144", "--resize", "squash"], 2, "--resize says nothing with --crops 144");
    refused(&["--crops", "13"], 2, "13");
    refused(&["--ensemble", "nowhere.safetensors"], 1, "--ensemble nowhere.safetensors");
    other(&place.path("unlike.safetensors"), &["ant", "cat", "dog"], None);
    refused(&["--ensemble", "unlike.safetensors"], 65, "1 that it lacks: bee, or wasp; 1 that -w lacks: dog");
    let args = [
        "predict",
        "-w",
        "net.safetensors",
        "--ensemble",
        "other.safetensors",
        "--dump-input",
        "x.npy",
        "data",
    ];
    assert_eq!(place.run(&args).code, 2);
}

/// slim's 1001 classes beside 1000 of others.
#[test]
fn a_background_that_not_all_know_is_left_out() {
    let place = place();
    let classes = ["background", "ant", "bee, or wasp", "cat"];
    other(&place.path("slim.safetensors"), &classes, Some(0));
    let with = ["--ensemble", "slim.safetensors"];
    let rows = predict(&place, &with);
    assert!(rows.iter().all(|row| row.len() == 3 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
    let (report, said) = eval(&place, &with);
    assert!(said.contains("left out of all networks, for not all have it: background"), "{said}");
    let args = ["eval", "-w", "slim.safetensors", "data", "--json"];
    let alone: Value = serde_json::from_str(&place.run(&args).expect(0)).unwrap();
    assert_eq!(report["members"][1]["eval_loss"], alone["eval_loss"], "as it counts alone");
    let args = [&args[..], &["--ensemble", "net.safetensors"]].concat();
    let turned: Value = serde_json::from_str(&place.run(&args).expect(0)).unwrap();
    let loss = |report: &Value| report["eval_loss"].as_f64().unwrap();
    assert!((loss(&turned) - loss(&report)).abs() < 1e-6, "{turned} {report}");
}

#[test]
fn the_cost_of_crops_is_measured() {
    let place = place();
    let args =
        ["bench", "inception_v3", "--img-size", "75", "--width", "0.05", "--seconds", "0.01", "-b", "7"];
    let with = |more: &[&str]| place.run(&[&args, more].concat());
    let report = with(&["--images", "data", "--eval", "--crops", "144", "--json"]).expect(0);
    let images = &serde_json::from_str::<Value>(&report).unwrap()["images"];
    let number = |field: &str| images[field].as_f64().unwrap_or_else(|| panic!("{field}: {images}"));
    assert_eq!(images["crops"], 144);
    assert!((number("of_single_views") * number("of_inference") - 1.0).abs() < 1e-9);
    // Batches of seven: a picture's last views wait for the next's.
    assert!((number("views_per_second") / number("images_per_second") - 144.0).abs() <= 7.0, "{images}");
    let text = with(&["--images", "data", "--eval", "--crops", "12"]).expect(0);
    assert!(text.contains("12 views a picture"), "{text}");
    assert_eq!(with(&["--images", "data", "--crops", "12"]).code, 2);
}

/// SHA-256 of all views of pictures, as Pillow and PyTorch make them: `python reference/crops.py record`.
#[test]
fn views_are_those_of_pillow_and_torch() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("fixtures/crops.json")).unwrap();
    assert_eq!(recorded.len(), 5 * 5 * 3);
    for case in recorded {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let (width, height, side) = (size("width"), size("height"), size("side"));
        let how: Preprocessing = serde_json::from_value(json!({
            "crop_pct": 1.0, "interpolation": case["interpolation"], "range": "(x-128)/128", "channels": "RGB", "exif": false
        }))
        .unwrap();
        let crops = match size("crops") {
            10 => Crops::Ten,
            12 => Crops::Twelve,
            _ => Crops::OneFortyFour,
        };
        let views = Sight { how, side, crops }.of(&waves(width, height)).unwrap();
        let mut values = Vec::new();
        let mut hash = Sha256::new();
        let mut count = 0;
        for view in 0..views.len() {
            values.clear();
            views.append(view, &mut values);
            values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            count += views.count(view);
        }
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((count, views.len()), (size("crops"), size("distinct")), "{case}");
        assert_eq!(case["sha256"], found, "{case}");
    }
}

/// The reference's picture: whole numbers alone, smooth with edges.
fn waves(width: usize, height: usize) -> Rgb {
    let byte = |i: usize| {
        let (x, y, c) = (i / 3 % width, i / 3 / width, i % 3);
        ((x * (3 + c) + y * (5 - c) + x * y / 7 + 40 * (x / 9 % 2)) % 256) as u8
    };
    Rgb { width, height, pixels: (0..width * height * 3).map(byte).collect() }
}
