//! `inception average` on checkpoints of a small network with random weights.

mod cli_support;

use std::fs;
use std::sync::Arc;

use cli_support::{CLASSES, Place};
use inception::checkpoint::{self, Metadata};
use inception::data::{Cache, Loader, OnBad, Request, Transform, folder};
use inception_graph::{Role, Spec, Weights, build};
use serde_json::Value;

/// Writes a checkpoint like `net.safetensors` with all weights drawn by `seed`, running statistics too.
fn random(place: &Place, name: &str, seed: u64) {
    let (graph, _, metadata) = checkpoint::load(&place.path("net.safetensors")).unwrap();
    let mut weights = Weights::init(&graph, seed);
    let other = Weights::init(&graph, seed + 100);
    let numbers: Vec<f32> = other.get(0).iter().map(|v| v.abs() + 0.5).collect();
    for i in 0..weights.params().len() {
        if !matches!(weights.params()[i].role, Role::Weight) {
            weights.get_mut(i).iter_mut().zip(numbers.iter().cycle()).for_each(|(to, v)| *to = *v);
        }
    }
    checkpoint::save(&place.path(name), &weights, &metadata).unwrap();
}

fn weights(place: &Place, name: &str) -> Weights {
    checkpoint::load(&place.path(name)).unwrap().1
}

#[test]
fn the_file_is_the_mean_and_says_of_what() {
    let place = Place::new();
    let names = ["a.safetensors", "b.safetensors", "c.safetensors"];
    names.iter().zip(1..).for_each(|(name, seed)| random(&place, name, seed));
    let all = names.map(|name| weights(&place, name));
    let ended = place.run(&["average", names[0], names[1], names[2], "-o", "mean.safetensors"]);
    assert!(ended.stderr.contains("measure them with --recalibrate DATA"), "{}", ended.stderr);
    let text = ended.expect(0);
    assert!(text.contains("mean.safetensors: mean of 3 checkpoints of inception_v3"), "{text}");
    for (i, value) in weights(&place, "mean.safetensors").data.iter().enumerate() {
        let sum: f64 = all.iter().map(|one| f64::from(one.data[i])).sum();
        assert_eq!(*value, (sum / 3.0) as f32);
    }
    // What is there is not overwritten unasked, and nothing else is left.
    let weighted = ["average", names[0], names[1], names[2], "-o", "mean.safetensors", "--weights", "2,1,1"];
    place.run(&weighted).fails(2, "mean.safetensors exists: choose another name, or replace it with --force");
    place.run(&[&weighted[..], &["--force"]].concat()).expect(0);
    for (i, value) in weights(&place, "mean.safetensors").data.iter().enumerate() {
        let [a, b, c] = [0, 1, 2].map(|k| f64::from(all[k].data[i]));
        assert!((f64::from(*value) - (a / 2.0 + b / 4.0 + c / 4.0)).abs() < 1e-7);
    }
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 5);
    let (_, _, expected) = checkpoint::load(&place.path("net.safetensors")).unwrap();
    let (_, _, found) = checkpoint::load(&place.path("mean.safetensors")).unwrap();
    let shares: Vec<_> =
        found.provenance.mean_of.iter().map(|part| (part.file.as_str(), part.share)).collect();
    assert_eq!(shares, [(names[0], 0.5), (names[1], 0.25), (names[2], 0.25)]);
    assert_eq!(Metadata { provenance: expected.provenance.clone(), ..found }, expected);
    let info = place.run(&["info", "mean.safetensors"]).expect(0);
    assert!(info.contains("mean of        a.safetensors (0.500), b.safetensors (0.250), c"), "{info}");
}

/// Mean and variance of each channel of the first convolution's output over the pictures in `data/train`, by definition.
fn first_statistics(place: &Place, weights: &Weights) -> Vec<[f64; 2]> {
    let (_, _, metadata) = checkpoint::load(&place.path("net.safetensors")).unwrap();
    let dataset = folder::open_train(&place.path("data")).unwrap();
    let (side, count) = (metadata.img_size, dataset.samples.len());
    let mut batches = Loader::new(Request {
        order: (0..count).collect(),
        dataset: Arc::new(dataset),
        transform: Transform::Eval,
        preprocessing: metadata.preprocessing,
        side,
        batch_size: count,
        drop_last: false,
        keep_empty: false,
        on_bad: OnBad::Error,
        workers: 1,
        cache: Cache::new(0),
    });
    let pixels = batches.next().unwrap().unwrap().pixels;
    let (kernel, channels) = (weights.get(0), weights.params()[0].shape[3]);
    assert_eq!(weights.params()[0].shape[..3], [3, 3, 3]);
    let out = (side - 3) / 2 + 1;
    let at = |n: usize, y: usize, x: usize, c: usize| {
        let terms = (0..27).map(|k| {
            let (dy, dx, from) = (k / 9, k / 3 % 3, k % 3);
            let pixel = pixels[((n * side + 2 * y + dy) * side + 2 * x + dx) * 3 + from];
            f64::from(pixel) * f64::from(kernel[k * channels + c])
        });
        terms.sum::<f64>()
    };
    let statistics = |c| {
        let values: Vec<f64> =
            (0..count * out * out).map(|i| at(i / (out * out), i / out % out, i % out, c)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        [mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64]
    };
    (0..channels).map(statistics).collect()
}

#[test]
fn recalibrated_statistics_are_those_of_the_pictures() {
    let place = Place::with_pictures();
    for (name, seed) in [("a.safetensors", 1), ("copy.safetensors", 1), ("b.safetensors", 2)] {
        random(&place, name, seed);
    }
    let average = |sources: &[&str], out: &str| {
        let more = ["-o", out, "--recalibrate", "data", "-b", "8"];
        let text = place.run(&[&["average"], sources, &more].concat()).expect(0);
        assert!(text.contains("running statistics of 8 pictures of train"), "{text}");
        weights(&place, out)
    };
    let (before, twice) =
        (weights(&place, "a.safetensors"), average(&["a.safetensors", "copy.safetensors"], "aa.safetensors"));
    for (i, param) in before.params().iter().enumerate() {
        let same = before.get(i) == twice.get(i);
        assert_eq!(same, param.role.trainable(), "{}", param.name);
    }
    let first = |role: Role| {
        let i = twice.params().iter().position(|param| param.role == role).unwrap();
        twice.get(i).to_vec()
    };
    let found = first(Role::Mean).into_iter().zip(first(Role::Variance));
    for ((mean, variance), expected) in found.zip(first_statistics(&place, &twice)) {
        assert!((f64::from(mean) - expected[0]).abs() < 1e-5 * expected[1].sqrt(), "{mean} {expected:?}");
        assert!((f64::from(variance) / expected[1] - 1.0).abs() < 1e-5, "{variance} {expected:?}");
    }
    // Of a checkpoint alone the same, of two in any order the same.
    assert!(average(&["a.safetensors"], "alone.safetensors").data == twice.data);
    let pair = average(&["a.safetensors", "b.safetensors"], "ab.safetensors");
    assert!(pair.data != twice.data);
    assert!(average(&["b.safetensors", "a.safetensors"], "ba.safetensors").data == pair.data);
}

#[test]
fn other_networks_are_refused_with_a_table() {
    let place = Place::new();
    let (_, _, metadata) = checkpoint::load(&place.path("net.safetensors")).unwrap();
    let write = |name: &str, change: &dyn Fn(&mut Metadata)| {
        let mut metadata = metadata.clone();
        change(&mut metadata);
        let graph = build(&metadata.spec()).unwrap();
        checkpoint::save(&place.path(name), &Weights::init(&graph, 1), &metadata).unwrap();
    };
    write("other.safetensors", &|m| m.net = "inception_resnet_v1".into());
    write("wide.safetensors", &|m| (m.width, m.img_size) = (0.1, 96));
    write("order.safetensors", &|m| m.classes.swap(0, 2));
    write("fewer.safetensors", &|m| m.classes.truncate(2));
    write("crop.safetensors", &|m| (m.preprocessing.eval.crop_pct, m.background) = (0.5, Some(1)));
    let refused = |names: &[&str], rows: &[[&str; 4]]| {
        let ended = place.run(&[&["average", "net.safetensors"], names, &["-o", "out.safetensors"]].concat());
        assert_eq!(ended.code, 65, "{}", ended.stderr);
        let lines: Vec<Vec<&str>> = ended
            .stderr
            .lines()
            .skip(3)
            .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
            .collect();
        assert_eq!(lines, rows, "{}", ended.stderr);
        assert!(!place.path("out.safetensors").exists());
    };
    refused(
        &["other.safetensors", "net.safetensors"],
        &[["other.safetensors", "net", "inception_resnet_v1", "inception_v3"]],
    );
    refused(
        &["wide.safetensors", "order.safetensors"],
        &[
            ["wide.safetensors", "img_size", "96", "75"],
            ["wide.safetensors", "width", "0.1", "0.05"],
            ["order.safetensors", "class 0", CLASSES[2], CLASSES[0]],
            ["order.safetensors", "class 2", CLASSES[0], CLASSES[2]],
        ],
    );
    refused(
        &["fewer.safetensors", "crop.safetensors"],
        &[
            ["fewer.safetensors", "class 2", "–", CLASSES[2]],
            ["crop.safetensors", "background", "1", "none"],
            ["crop.safetensors", "crop_pct", "0.5", "1.0"],
        ],
    );
    let usage = |more: &[&str], part: &str| {
        place.run(&[&["average", "net.safetensors", "net.safetensors"], more].concat()).fails(2, part);
    };
    usage(&["-o", "out.pth"], "only safetensors files are written");
    usage(
        &["-o", "o.safetensors", "--weights", "1,2,3"],
        "--weights: 3 for 2 checkpoints: give each its share",
    );
    usage(&["-o", "o.safetensors", "--weights", "0,0"], "all are zero");
    usage(&["-o", "o.safetensors", "--weights=1,-1"], "-1 is no share");
    usage(&["-o", "o.safetensors", "--weights", "1,NaN"], "NaN is no share");
    usage(&["-o", "o.safetensors", "--weights", "1,inf"], "inf is no share");
}

/// Makes the network of `a.safetensors` always right: pictures lie under the classes that it answers, once its bias subtracts the
/// mean answer, so that each class has some.
fn pictures_as_answered(place: &Place) {
    (0..12).for_each(|i| place.picture(&format!("all/{i}.png"), 3 * i + 1));
    let args =
        ["predict", "-w", "a.safetensors", "all", "-k", "0", "--output-type", "logit", "--format", "jsonl"];
    let rows = place.run(&args).expect(0);
    let rows: Vec<(String, Vec<f64>)> = rows
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let logits = row["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            (row["filename"].as_str().unwrap().into(), logits.collect())
        })
        .collect();
    let means = [0, 1, 2].map(|c| rows.iter().map(|(_, logits)| logits[c]).sum::<f64>() / 12.0);
    let (_, mut weights, metadata) = checkpoint::load(&place.path("a.safetensors")).unwrap();
    let bias = weights.index("logits/bias").unwrap();
    weights.get_mut(bias).iter_mut().zip(means).for_each(|(bias, mean)| *bias -= mean as f32);
    checkpoint::save(&place.path("a.safetensors"), &weights, &metadata).unwrap();
    for (i, (file, logits)) in rows.iter().enumerate() {
        let above = |c: usize| logits[c] - means[c];
        let best = (0..3).max_by(|&a, &b| above(a).total_cmp(&above(b))).unwrap();
        let folder = place.path(&format!("judged/{}", CLASSES[best]));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(place.path(file), folder.join(format!("{i}.png"))).unwrap();
    }
}

#[test]
fn a_greedy_soup_leaves_noise_out() {
    let place = Place::new();
    random(&place, "a.safetensors", 4);
    random(&place, "noise.safetensors", 5);
    pictures_as_answered(&place);
    let (_, mut near, metadata) = checkpoint::load(&place.path("a.safetensors")).unwrap();
    near.data.iter_mut().for_each(|value| *value *= 1.0 + 1e-6);
    checkpoint::save(&place.path("near.safetensors"), &near, &metadata).unwrap();
    let soup = |more: &[&str]| {
        let args = [
            "average",
            "noise.safetensors",
            "a.safetensors",
            "near.safetensors",
            "-o",
            "soup.safetensors",
            "--force",
        ];
        place.run(&[&args[..], &["--greedy", "judged", "--val", "judged"], more].concat())
    };
    let ended = soup(&["--json"]);
    assert!(
        ended.stderr.contains("a.safetensors: top-1 error 0.00 %, of the mean with it 0.00 %: added"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .lines()
            .any(|line| line.starts_with("noise.safetensors: ") && line.ends_with(": left out"))
    );
    let report: Value = serde_json::from_str(&ended.expect(0)).unwrap();
    let tried: Vec<_> = report["greedy"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["checkpoint"].as_u64().unwrap(), t["added"] == true))
        .collect();
    assert_eq!(tried, [(1, true), (2, true), (0, false)]);
    let shares: Vec<_> =
        report["checkpoints"].as_array().unwrap().iter().map(|c| c["share"].as_f64().unwrap()).collect();
    assert_eq!(shares, [0.0, 0.5, 0.5]);
    place.run(&["average", "a.safetensors", "near.safetensors", "-o", "pair.safetensors"]).expect(0);
    assert!(weights(&place, "soup.safetensors").data == weights(&place, "pair.safetensors").data);
    // The errors are those of `inception eval`, of the sources and of what was written.
    let eval = |file: &str| -> Value {
        serde_json::from_str(&place.run(&["eval", "-w", file, "judged", "--json"]).expect(0)).unwrap()
    };
    let agree = |errors: &Value, file: &str| {
        let judged = eval(file);
        for key in ["count", "eval_loss", "eval_top1_error", "eval_top5_error"] {
            assert_eq!(errors[key], judged[key], "{key} of {file}");
        }
    };
    agree(&report["checkpoints"][0]["errors"], "noise.safetensors");
    agree(&report["checkpoints"][1]["errors"], "a.safetensors");
    agree(&report["mean"], "soup.safetensors");
    assert_eq!(report["recalibrated"], Value::Null);
    assert!(report["checkpoints"][0]["errors"]["eval_top1_error"].as_f64().unwrap() > 0.3);

    let report: Value =
        serde_json::from_str(&soup(&["--json", "--recalibrate", "judged", "-b", "6"]).expect(0)).unwrap();
    agree(&report["recalibrated"], "soup.safetensors");
    assert_eq!(report["statistics"], "12 pictures of judged");
    let (_, _, metadata) = checkpoint::load(&place.path("soup.safetensors")).unwrap();
    assert_eq!(report["recalibrated"]["eval_loss"], metadata.metrics["eval_loss"]);
    assert_eq!(metadata.provenance.statistics.as_deref(), Some("12 pictures of judged"));
    let text = soup(&[]).expect(0);
    assert!(text.contains("top-1 error") && text.lines().any(|line| line.starts_with("mean ")), "{text}");
}

#[test]
fn a_network_without_classes_is_averaged_and_not_judged() {
    let place = Place::with_pictures();
    let graph = build(&Spec::new("inception_resnet_v1.facenet").img_size(75).width(0.05).classes(0)).unwrap();
    let (_, _, metadata) = checkpoint::load(&place.path("net.safetensors")).unwrap();
    let metadata = Metadata::new(&graph, Vec::new(), metadata.preprocessing);
    checkpoint::save(&place.path("face.safetensors"), &Weights::init(&graph, 1), &metadata).unwrap();
    let args = ["average", "face.safetensors", "face.safetensors", "-o", "out.safetensors"];
    for flag in ["--greedy", "--recalibrate"] {
        place.run(&[&args[..], &[flag, "data"]].concat()).fails(2, "neither judged nor recalibrated");
    }
    place.run(&args).expect(0);
    assert!(weights(&place, "out.safetensors").data == weights(&place, "face.safetensors").data);
}
