//! `inception bench`: that its numbers belong together, not how large they are.

mod cli_support;

use cli_support::{Ended, command};
use serde_json::Value;

fn run(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    command(dir.path(), args).output().unwrap().into()
}

const SMALL: [&str; 8] =
    ["bench", "inception_v4", "--img-size", "139", "--width", "0.25", "--seconds", "0.01"];

fn json(more: &[&str]) -> Value {
    let out = run(&[&SMALL, more, &["--json"]].concat()).expect(0);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn times_rates_and_sizes_belong_together() {
    let report = json(&["-b", "2", "--train"]);
    let number =
        |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    for (what, share) in [("/inference", 1.0), ("/training", 3.0)] {
        let at = |field: &str| number(&format!("{what}/{field}"));
        assert!(at("median_ms") <= at("p90_ms") && at("p90_ms") <= at("p99_ms") && at("runs") >= 2.0);
        let flop = share * 2.0 * number("/gflop") * 1e9;
        assert!((at("gflops") / (flop / at("median_ms") / 1e6) - 1.0).abs() < 1e-9);
        assert!((at("images_per_second") / (2e3 / at("median_ms")) - 1.0).abs() < 1e-9);
    }
    assert!(number("/activation_bytes") > 0.0 && number("/packed_bytes") > 0.0);
    assert!(number("/peak_gflops/0") > 0.0 && number("/peak_gflops/1") > 0.0);
    if cfg!(target_os = "linux") {
        assert!(number("/peak_memory_bytes") > number("/packed_bytes"));
    }
}

/// One algorithm of each convolution is the chosen one, and exactly that runs.
#[test]
fn layers_name_their_algorithms() {
    for (precision, winograd) in [("exact", false), ("default", true)] {
        let report = json(&["--layers", "--precision", precision]);
        let layers = report["layers"].as_array().unwrap();
        let convolutions: Vec<&Value> = layers.iter().filter(|l| l["algorithm"].is_string()).collect();
        assert_eq!(convolutions.len(), 150, "149 convolutions and the classifier");
        for layer in &convolutions {
            let chosen: Vec<&Value> =
                layer["alternatives"].as_array().unwrap().iter().filter(|a| a["chosen"] == true).collect();
            assert_eq!(chosen.len(), 1, "{layer}");
            assert_eq!(chosen[0]["algorithm"], layer["algorithm"]);
        }
        let found = convolutions.iter().any(|l| l["algorithm"].as_str().unwrap().starts_with("winograd"));
        assert_eq!(found, winograd, "{precision}");
    }
    let text = run(&[&SMALL[..], &["--layers"]].concat()).expect(0);
    assert_eq!(text.matches("<--").count(), 150);
    assert!(text.contains("images/s") && text.contains("GFLOP/s of multiply–adds"));
}

/// A folder with a folder `pictures` of three in two folders, a text beside them, one folder without pictures and one with
/// a picture that is none.
fn folders() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["pictures/deep", "empty", "broken"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for name in ["pictures/a.png", "pictures/b.jpg", "pictures/deep/c.png"] {
        let pixel = |x, y| image::Rgb([x, y, x * y].map(|v: u32| (v % 256) as u8));
        image::RgbImage::from_fn(90, 80, pixel).save(dir.path().join(name)).unwrap();
    }
    for name in ["pictures/notes.txt", "empty/notes.txt", "broken/x.jpg"] {
        std::fs::write(dir.path().join(name), "this is no picture").unwrap();
    }
    dir
}

#[test]
fn from_files_to_labels() {
    let dir = folders();
    for (batch, threads) in [("1", "2"), ("8", "1")] {
        let more = ["--images", "pictures", "-b", batch, "--threads", threads];
        let out: Ended =
            command(dir.path(), &[&SMALL, &more[..], &["--json"]].concat()).output().unwrap().into();
        let report: Value = serde_json::from_str(&out.expect(0)).unwrap();
        let images = &report["images"];
        let number = |field: &str| images[field].as_f64().unwrap_or_else(|| panic!("{field}: {images}"));
        assert_eq!(number("pictures"), 3.0, "more of a batch than the folder has come from the start again");
        assert!(number("median_ms") <= number("p90_ms") && number("p90_ms") <= number("p99_ms"));
        let a_picture = 1e3 / number("images_per_second");
        assert!(number("network_ms") + number("waited_ms") <= a_picture * 1.001, "{images}");
        let share = number("decode_ms") / a_picture / threads.parse::<f64>().unwrap();
        assert!(share > 0.0 && (number("decode_share") / share - 1.0).abs() < 1e-6, "{images}");
        assert!(number("of_inference") > 0.0, "{report}");
    }
    let out: Ended =
        command(dir.path(), &[&SMALL[..], &["--images", "pictures"]].concat()).output().unwrap().into();
    let text = out.expect(0);
    assert!(text.contains("images/s from files to labels") && text.contains("ms of decoding"), "{text}");
}

/// The parts of the median step add up to its time, that of waiting for pictures among them.
#[test]
fn training_on_files_shows_the_wait() {
    let dir = folders();
    let more = ["--train", "--images", "pictures", "-b", "2", "--json"];
    let out: Ended = command(dir.path(), &[&SMALL[..], &more].concat()).output().unwrap().into();
    let report: Value = serde_json::from_str(&out.expect(0)).unwrap();
    let parts = report["training"]["parts"].as_array().unwrap();
    let ms = |part: &Value| part["ms"].as_f64().unwrap();
    let data = parts.iter().find(|part| part["name"] == "data").expect("a part of its own");
    assert!(ms(data) > 0.0, "{data}");
    let (sum, median) =
        (parts.iter().map(ms).sum::<f64>(), report["training"]["median_ms"].as_f64().unwrap());
    assert!(sum <= median * 1.01 && sum > 0.5 * median, "{sum} of {median} ms: {parts:?}");
    let without = json(&["--train"]);
    let parts = without["training"]["parts"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["name"] != "data"), "a batch that stays is not waited for");
}

#[test]
fn pictures_that_cannot_be_measured_are_named() {
    let dir = folders();
    let bench = |folder: &str| -> Ended {
        command(dir.path(), &[&SMALL[..], &["--images", folder]].concat()).output().unwrap().into()
    };
    bench("nowhere").fails(65, "--images nowhere: nowhere: no such folder: check how it is spelt");
    bench("empty").fails(65, "--images empty: empty: no .jpg, .jpeg or .png file in this folder or below");
    bench("pictures/a.png").fails(65, "is a file: expected a folder of .jpg, .jpeg or .png files");
    let broken = bench("broken");
    assert!(broken.stderr.contains("measures pictures that can be read: remove it"), "{}", broken.stderr);
    broken.fails(65, "x.jpg");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    run(&["bench", "inception_v5"]).fails(2, "inception_v4");
    run(&["bench", "inception_v4", "--seconds", "0"]).fails(2, "more than 0 and at most 3600");
    run(&["bench", "inception_v4", "--threads", "0"]).fails(2, "expected 1 to 1024");
    run(&["bench", "inception_resnet_v1.facenet", "--train", "--seconds", "0.01", "--img-size", "96"])
        .fails(2, "no classes to train on");
}
