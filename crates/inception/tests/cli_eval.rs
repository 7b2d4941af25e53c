//! `inception eval` on pictures made here.

mod cli_support;

use std::fs;

use cli_support::{CLASSES, Place};
use serde_json::Value;

/// Two, three and one pictures of the three classes.
fn place() -> Place {
    let place = Place::new();
    for (class, n) in CLASSES.iter().zip([2, 3, 1]) {
        (0..n).for_each(|i| place.picture(&format!("data/{class}/{i}.png"), 5 * i + n));
    }
    place
}

fn json(place: &Place, more: &[&str]) -> Value {
    let args = [&["eval", "-w", "net.safetensors", "data", "--json"], more].concat();
    serde_json::from_str(&place.run(&args).expect(0)).unwrap()
}

/// Predictions and evaluation are two ways to the same numbers.
#[test]
fn the_numbers_agree_with_the_predictions() {
    let place = place();
    let report = json(&place, &[]);
    let args = [
        "predict",
        "-w",
        "net.safetensors",
        "data",
        "-k",
        "0",
        "--output-type",
        "logit",
        "--format",
        "jsonl",
    ];
    let rows = place.run(&args).expect(0);
    let (mut loss, mut wrong, mut count) = (0.0, 0, 0);
    for row in rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let name = row["filename"].as_str().unwrap();
        let label = CLASSES.iter().position(|class| name.contains(class)).unwrap();
        let logits: Vec<f64> =
            row["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        loss += logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[label];
        wrong += u32::from((0..3).any(|j| logits[j] > logits[label]));
        count += 1;
    }
    assert_eq!((count, &report["count"]), (6, &6.into()));
    assert!((report["eval_loss"].as_f64().unwrap() - loss / 6.0).abs() < 1e-9, "{report} {loss}");
    assert_eq!(report["eval_top1_error"], f64::from(wrong) / 6.0);
    assert_eq!(report["eval_top5_error"], 0.0, "five of three classes hold every label");
    let counts: Vec<_> =
        report["per_class"].as_array().unwrap().iter().map(|c| c["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [2, 3, 1]);
    assert_eq!(report["skipped"], Value::Array(Vec::new()));
}

#[test]
fn batches_and_threads_do_not_change_a_digit() {
    let place = place();
    let whole = json(&place, &[]);
    for more in [["-b", "1"], ["-b", "4"], ["--threads", "1"], ["--threads", "3"], ["-j", "1"]] {
        assert_eq!(json(&place, &more), whole, "{more:?}");
    }
}

#[test]
fn text_has_percents_and_counts() {
    let text = place().run(&["val", "-w", "net.safetensors", "data"]).expect(0);
    for part in
        ["pictures     6", "loss", "top-1 error", "top-5 error  0.00 %  (0 of 6)", "most confused with"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(CLASSES.iter().all(|class| text.lines().any(|line| line.starts_with(class))), "{text}");
}

#[test]
fn classes_are_joined_by_name() {
    let place = place();
    fs::rename(place.path("data/ant"), place.path("data/aardvark")).unwrap();
    place.run(&["eval", "-w", "net.safetensors", "data"]).fails(65, "aardvark");
    let common = json(&place, &["--allow-missing"]);
    assert_eq!(common["left_out"], serde_json::json!([{"class": "aardvark", "pictures": 2}]));
    fs::remove_dir_all(place.path("data/aardvark")).unwrap();
    place.run(&["eval", "-w", "net.safetensors", "data"]).fails(65, "ant");
    let filtered = json(&place, &["--allow-missing"]);
    assert_eq!((&filtered["count"], &filtered["left_out"]), (&4.into(), &Value::Array(Vec::new())));
    assert_eq!(
        (&common["eval_loss"], &common["per_class"]),
        (&filtered["eval_loss"], &filtered["per_class"])
    );
}

#[test]
fn a_broken_picture_ends_it_or_is_listed() {
    let place = place();
    fs::write(place.path("data/cat/broken.png"), "this is no picture").unwrap();
    place.run(&["eval", "-w", "net.safetensors", "data"]).fails(65, "broken.png");
    let report = json(&place, &["--on-bad", "skip"]);
    assert_eq!(report["count"], 6);
    assert!(report["skipped"][0]["name"].as_str().unwrap().ends_with("broken.png"), "{report}");
    let text = place.run(&["eval", "-w", "net.safetensors", "data", "--on-bad", "skip"]).expect(0);
    assert!(text.contains("skipped 1 picture") && text.contains("broken.png"), "{text}");
}

#[test]
fn nothing_to_evaluate_is_an_error() {
    let place = place();
    place.run(&["eval", "-w", "net.safetensors", "nowhere"]).fails(1, "nowhere");
    assert_eq!(place.run(&["eval", "-w", "net.safetensors", "data", "--threads", "0"]).code, 2);
}

/// What slim's weights of 1001 classes are to ImageNet: a folder for every class but the background, which no picture is of.
/// Its logit counts as any other.
#[test]
fn the_background_needs_no_pictures() {
    let place = place();
    let (_, weights, mut metadata) =
        inception::checkpoint::load(&place.path("net.safetensors")).expect("made by this test");
    fs::remove_dir_all(place.path("data/ant")).expect("removed");
    let mut with = |background| {
        metadata.background = background;
        inception::checkpoint::save(&place.path("net.safetensors"), &weights, &metadata).expect("saved");
        place.run(&["eval", "-w", "net.safetensors", "data", "--json"])
    };
    with(None).fails(65, "ant");
    with(Some(1)).fails(65, "ant");
    let report: Value = serde_json::from_str(&with(Some(0)).expect(0)).expect("JSON");
    let count = |class: usize| report["per_class"][class]["count"].as_u64();
    assert_eq!((&report["count"], count(0), count(1), count(2)), (&4.into(), Some(0), Some(3), Some(1)));
}
