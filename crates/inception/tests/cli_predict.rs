//! `inception predict` on pictures made here.

mod cli_support;

use std::fs;

use cli_support::{CLASSES, Place, published_file};
use inception_graph::{Layout, Spec, build};
use serde_json::Value;

fn objects(jsonl: &str) -> Vec<Value> {
    jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Pictures in three folders, one of them broken.
fn place() -> Place {
    let place = Place::new();
    for (name, seed) in [("one.png", 1), ("more/b.png", 2), ("more/deep/a.png", 3)] {
        place.picture(name, seed);
    }
    fs::write(place.path("broken.png"), "this is no picture").unwrap();
    place
}

#[test]
fn jsonl_has_filename_first_and_the_best_classes() {
    let out = place()
        .run(&["predict", "-w", "net.safetensors", "one.png", "--topk", "2", "--format", "jsonl"])
        .expect(0);
    assert!(out.starts_with("{\"filename\":\"one.png\",\"predictions\":[{\"index\":"), "{out}");
    let row = &objects(&out)[0];
    let best = row["predictions"].as_array().unwrap();
    assert_eq!(best.len(), 2);
    for one in best {
        assert_eq!(one["label"], CLASSES[one["index"].as_u64().unwrap() as usize]);
    }
    assert!(best[0]["prob"].as_f64() >= best[1]["prob"].as_f64());
}

#[test]
fn all_classes_in_order_as_probabilities_and_as_logits() {
    let place = place();
    let all = ["predict", "-w", "net.safetensors", "one.png", "--topk", "0", "--format", "jsonl"];
    let probs = floats(&objects(&place.run(&all).expect(0))[0]["probs"]);
    let logits = [&all[..], &["--output-type", "logit"]].concat();
    let logits = floats(&objects(&place.run(&logits).expect(0))[0]["logits"]);
    assert_eq!((probs.len(), logits.len()), (3, 3));
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    for (p, l) in probs.iter().zip(&logits) {
        assert!((p - l.exp() / sum).abs() < 1e-6, "{probs:?} {logits:?}");
    }
}

#[test]
fn precision_is_chosen_by_flag() {
    let place = place();
    let with = |precision: &str| {
        let args = ["predict", "-w", "net.safetensors", "one.png", "--topk", "0", "--format", "jsonl"];
        place.run(&[&args[..], &["--precision", precision]].concat())
    };
    let (exact, default) = (with("exact").expect(0), with("default").expect(0));
    for (a, b) in floats(&objects(&exact)[0]["probs"]).iter().zip(floats(&objects(&default)[0]["probs"])) {
        assert!((a - b).abs() < 1e-4, "{exact} {default}");
    }
    with("half").fails(2, "exact, default");
}

#[test]
fn an_unreadable_picture_keeps_its_row_and_the_others_their_answers() {
    let place = place();
    let args = ["predict", "-w", "net.safetensors", "one.png", "broken.png", "missing.png", "more/b.png"];
    let ended = place.run(&[&args[..], &["--format", "jsonl"]].concat());
    assert!(ended.stderr.contains("2 of 4 pictures could not be predicted"), "{}", ended.stderr);
    let rows = objects(&ended.expect(65));
    let has_error: Vec<_> = rows.iter().map(|r| r.get("error").is_some()).collect();
    assert_eq!(has_error, [false, true, true, false]);
    assert_eq!(rows[1]["filename"], "broken.png");

    let csv = place.run(&[&args[..], &["--format", "csv", "-k", "1"]].concat()).expect(65);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "filename,index,label,prob,error");
    assert!(lines[1].starts_with("one.png,") && lines[2].starts_with("broken.png,,,,"), "{csv}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn folders_are_searched_and_the_batch_size_changes_nothing() {
    let place = place();
    let run = |batch| {
        let args = [
            "predict",
            "-w",
            "net.safetensors",
            "more",
            "one.png",
            "-b",
            batch,
            "--format",
            "jsonl",
            "-k",
            "0",
        ];
        place.run(&args).expect(0)
    };
    let rows = run("1");
    assert_eq!(rows, run("2"));
    assert_eq!(rows, run("64"));
    let names: Vec<_> =
        objects(&rows).iter().map(|r| r["filename"].as_str().unwrap().replace('\\', "/")).collect();
    assert_eq!(names.len(), 3);
    assert!(names.contains(&"more/deep/a.png".into()) && names[2] == "one.png", "{names:?}");
    assert_eq!(rows, run("1"), "twice the same");
}

#[test]
fn a_list_on_stdin_keeps_its_order() {
    let place = place();
    let args = ["classify", "-w", "net.safetensors", "-", "--format", "jsonl"];
    let out = place.run_with(&args, "more/b.png\n\none.png\r\nmore/b.png").expect(0);
    let rows = objects(&out);
    let names: Vec<_> = rows.iter().map(|r| r["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["more/b.png", "one.png", "more/b.png"]);
    assert_eq!(rows[0]["predictions"], rows[2]["predictions"]);
}

#[test]
fn the_extension_of_the_output_chooses_the_form() {
    let place = place();
    place.run(&["predict", "-w", "net.safetensors", "one.png", "-o", "out.csv"]).expect(0);
    let csv = fs::read_to_string(place.path("out.csv")).unwrap();
    assert!(csv.starts_with("filename,index,label,prob,error\n") && csv.lines().count() == 4, "{csv}");
    let ended = place.run(&["predict", "-w", "net.safetensors", "one.png", "-o", "nowhere/out.csv"]);
    ended.fails(1, "cannot create nowhere/out.csv");
}

#[test]
fn what_is_asked_for_wrongly_leaves_files_as_they_are() {
    let place = Place::new();
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    published_file(&place.path("faces.safetensors"), Layout::FacenetPytorch, &graph);
    fs::write(place.path("out.csv"), "of yesterday").unwrap();
    place
        .run(&["predict", "-w", "faces.safetensors", "x.png", "-o", "out.csv"])
        .fails(2, "give --format jsonl");
    assert_eq!(fs::read_to_string(place.path("out.csv")).unwrap(), "of yesterday");
    // And what cannot be written is said before any work is done.
    let args = ["predict", "-w", "net.safetensors", "x.png", "--dump-input", "nowhere/x.npy"];
    place.run(&args).fails(1, "cannot create nowhere/x.npy");
}

#[test]
fn a_table_for_people() {
    let table = place().run(&["predict", "-w", "net.safetensors", "one.png", "broken.png"]).expect(65);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[4]), (6, "one.png", "broken.png"), "{table}");
    assert!(lines[1].contains('%') && lines[5].starts_with("  error: "), "{table}");
}

#[test]
fn an_empty_folder_is_said() {
    let place = place();
    fs::create_dir(place.path("empty")).unwrap();
    let out = place.run(&["predict", "-w", "net.safetensors", "empty", "--format", "jsonl"]).expect(65);
    assert_eq!(objects(&out).len(), 1);
}

#[test]
fn what_the_network_sees_can_be_written_and_changed() {
    let place = place();
    let seen = |more: &[&str]| {
        let args = ["predict", "-w", "net.safetensors", "one.png", "more/b.png", "--dump-input", "x.npy"];
        place.run(&[&args[..], more].concat()).expect(0);
        let bytes = fs::read(place.path("x.npy")).unwrap();
        let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
        let values: Vec<f32> =
            bytes[128..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (header, values)
    };
    let (header, own) = seen(&[]);
    assert!(header.contains("'shape': (2, 75, 75, 3)"), "{header}");
    assert_eq!(own.len(), 2 * 75 * 75 * 3);
    assert!(own.iter().all(|v| v.abs() <= 1.0));
    // The same bytes in another range.
    let (_, other) = seen(&["--range", "(x-127.5)/128"]);
    assert!(own.iter().zip(&other).all(|(a, b)| (a * 127.5 - b * 128.0).abs() < 1e-4));
    // The whole picture is not its centre.
    assert_ne!(seen(&["--resize", "squash"]).1, own);
    assert_eq!(seen(&["--batch-size", "1"]).1, own, "batch by batch the same");
    let (header, _) = seen(&["--img-size", "99"]);
    assert!(header.contains("'shape': (2, 99, 99, 3)"), "{header}");
    place.run(&["predict", "-w", "net.safetensors", "one.png", "--crop-pct", "0"]).fails(2, "--crop-pct 0");
}
