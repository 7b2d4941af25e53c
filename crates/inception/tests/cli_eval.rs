//! `inception eval` on pictures made here.

mod cli_support;

use std::fs;
use std::process::{Child, Command, Stdio};

use cli_support::{CLASSES, Ended, Place, command};
use inception::checkpoint::{Metadata, save};
use inception::weights::imagenet;
use inception_graph::{Spec, Weights, build};
use serde_json::{Value, json};

/// Two, three and one pictures of the three classes.
fn place() -> Place {
    let place = Place::new();
    for (class, n) in CLASSES.iter().zip([2, 3, 1]) {
        (0..n).for_each(|i| place.picture(&format!("data/{class}/{i}.png"), 5 * i + n));
    }
    place
}

fn eval(place: &Place, more: &[&str]) -> Value {
    let args = [&["eval", "-w", "net.safetensors", "data", "--json"], more].concat();
    serde_json::from_str(&place.run(&args).expect(0)).unwrap()
}

/// The path and the logits of each picture in a folder by `inception predict`.
fn predictions(place: &Place, weights: &str, folder: &str) -> Vec<(String, Vec<f64>)> {
    let options = ["-k", "0", "--output-type", "logit", "--format", "jsonl"];
    let rows = place.run(&[&["predict", "-w", weights, folder], &options[..]].concat()).expect(0);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let logits = row["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
        (row["filename"].as_str().unwrap().to_string(), logits.collect())
    };
    rows.lines().map(row).collect()
}

/// Predictions and evaluation are two ways to the same numbers.
#[test]
fn the_numbers_agree_with_the_predictions() {
    let place = place();
    let report = eval(&place, &[]);
    let (mut loss, mut wrong, mut count) = (0.0, 0, 0);
    for (name, logits) in predictions(&place, "net.safetensors", "data") {
        let label = CLASSES.iter().position(|class| name.contains(class)).unwrap();
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
    let whole = eval(&place, &[]);
    for more in [["-b", "1"], ["-b", "4"], ["--threads", "1"], ["--threads", "3"], ["-j", "1"]] {
        assert_eq!(eval(&place, &more), whole, "{more:?}");
    }
}

/// Waits until a process listens to SIGTERM.
#[cfg(target_os = "linux")]
fn wait_for_listening(child: &mut Child) {
    const SIGTERM: u64 = 1 << 14;
    let is_listening = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & SIGTERM != 0
    };
    while !is_listening(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_stops_an_evaluation_and_nothing_half_done_is_kept() {
    let place = place();
    let list: String = (0..4000).map(|i| format!("data/ant/{}.png,ant\n", i % 2)).collect();
    fs::write(place.path("many.csv"), format!("path,label\n{list}")).unwrap();
    let args = [
        "eval",
        "-w",
        "net.safetensors",
        "many.csv",
        "--json",
        "--logits-cache",
        "kept",
        "-b",
        "1",
        "--allow-missing",
    ];
    let child = command(place.dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    wait_for_listening(&mut child);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(ended.stderr.contains("stopped before all pictures were answered"), "{}", ended.stderr);
    assert_eq!(ended.expect(75), "");
    assert!(!place.path("kept").exists(), "logits of a part of the pictures are kept");
}

/// A list is named by messages, not the folder that it lies in, which has no name where it is the current one.
#[test]
fn a_list_is_named_and_its_pictures_by_their_paths_in_it() {
    let place = place();
    let list: String = CLASSES.iter().map(|class| format!("data/{class}/0.png\t{class}\n")).collect();
    fs::write(place.path("all.tsv"), &list).unwrap();
    let args = ["eval", "-w", "net.safetensors", "all.tsv", "--no-cache", "--report", "found"];
    place.run(&args).expect(0);
    let read = |name: &str| fs::read_to_string(place.path("found").join(name)).unwrap();
    assert!(read("report.html").contains("Evaluation on all.tsv"));
    assert!(read("predictions.csv").contains("\ndata/ant/0.png,"), "{}", read("predictions.csv"));
    fs::write(place.path("all.tsv"), list.lines().next().unwrap()).unwrap();
    place.run(&args).fails(65, "all.tsv: the classes of this data do not match");
}

#[test]
fn text_has_percents_and_counts() {
    let text = place().run(&["val", "-w", "net.safetensors", "data"]).expect(0);
    for part in [
        "pictures     6",
        "loss",
        "top-1 error",
        "top-5 error  0.00 %  (0 of 6; 95 %: 0.0–0.0)",
        "calibration  ",
        "most confused with",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(CLASSES.iter().all(|class| text.lines().any(|line| line.starts_with(class))), "{text}");
}

#[test]
fn classes_are_joined_by_name() {
    let place = place();
    fs::rename(place.path("data/ant"), place.path("data/aardvark")).unwrap();
    place.run(&["eval", "-w", "net.safetensors", "data"]).fails(65, "aardvark");
    let common = eval(&place, &["--allow-missing"]);
    assert_eq!(common["left_out"], json!([{"class": "aardvark", "pictures": 2}]));
    fs::remove_dir_all(place.path("data/aardvark")).unwrap();
    place.run(&["eval", "-w", "net.safetensors", "data"]).fails(65, "ant");
    let filtered = eval(&place, &["--allow-missing"]);
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
    let report = eval(&place, &["--on-bad", "skip"]);
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

/// Fields of a line of comma-separated values.
fn csv(place: &Place, file: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(place.path(file)).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
}

#[test]
fn a_report_agrees_with_the_json() {
    let place = place();
    let json = eval(&place, &["--report", "new/report"]);
    let read = |file: &str| fs::read_to_string(place.path(&format!("new/report/{file}"))).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("report.json")).unwrap(), json);

    let matrix = csv(&place, "new/report/confusion.csv");
    assert_eq!(matrix[0], [&["class"], &CLASSES[..]].concat());
    let counts: Vec<Vec<u64>> =
        matrix[1..].iter().map(|row| row[1..].iter().map(|n| n.parse().unwrap()).collect()).collect();
    assert_eq!(counts.iter().map(|row| row.iter().sum::<u64>()).collect::<Vec<_>>(), [2, 3, 1]);
    let right: u64 = (0..3).map(|i| counts[i][i]).sum();
    assert_eq!(json["eval_top1_error"], (6 - right) as f64 / 6.0);

    let predictions = csv(&place, "new/report/predictions.csv");
    assert_eq!(predictions[0], ["picture", "label", "answer", "probability", "loss", "rank"]);
    assert_eq!(predictions.len(), 1 + 6);
    assert_eq!(predictions[1][..2], ["ant/0.png", "ant"]);
    let (mut loss, mut wrong) = (0.0, 0);
    for row in &predictions[1..] {
        loss += row[4].parse::<f64>().unwrap();
        wrong += u64::from(row[1] != row[2]);
        assert_eq!(row[5] == "1", row[1] == row[2], "{row:?}");
        let at = |name: &str| CLASSES.iter().position(|class| *class == name).unwrap();
        assert!(counts[at(&row[1])][at(&row[2])] > 0);
        assert!(
            row[5] != "1"
                || (row[3].parse::<f64>().unwrap().ln() + row[4].parse::<f64>().unwrap()).abs() < 1e-9
        );
    }
    assert!((json["eval_loss"].as_f64().unwrap() - loss / 6.0).abs() < 1e-12);
    assert_eq!(6 - right, wrong);

    let classes = csv(&place, "new/report/per_class.csv");
    assert_eq!(classes[0][..3], ["class", "pictures", "top1_error"]);
    assert_eq!(
        (classes.len(), &classes[2][0], &classes[2][1]),
        (4, &CLASSES[1].to_string(), &"3".to_string())
    );

    let page = read("report.html");
    for part in
        ["Calibration error", "Confusions", "Worst mistakes", "Environment", "--report", "bee, or wasp"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(wrong == 0 || page.contains("data:image/png;base64,"));
    assert!(!page.contains("src=\"http") && !page.contains("href=") && !page.contains("<script"));
    assert!(read("confusion.svg").contains("bee, or wasp"));
}

#[test]
fn a_report_overwrites_nothing() {
    let place = place();
    fs::create_dir(place.path("report")).unwrap();
    let args = ["eval", "-w", "net.safetensors", "data", "--report", "report"];
    place.run(&args).expect(0);
    place.run(&args).fails(2, "is not empty");
    place
        .run(&["eval", "-w", "net.safetensors", "data", "--report", "net.safetensors"])
        .fails(1, "net.safetensors");
}

#[test]
fn excluded_pictures_are_not_judged() {
    let place = place();
    let exclude = |list: &str| {
        fs::write(place.path("list.txt"), list).unwrap();
        place.run(&["eval", "-w", "net.safetensors", "data", "--json", "--exclude", "list.txt"])
    };
    let report: Value =
        serde_json::from_str(&exclude("ant/0.png\ndata/bee, or wasp/2\n\n2.png\n").expect(0)).unwrap();
    assert_eq!((&report["count"], &report["excluded"]), (&4.into(), &2.into()));
    let counts: Vec<_> = (0..3).map(|i| report["per_class"][i]["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2, 1]);
    // The rest is judged as if it were alone.
    fs::remove_file(place.path("data/ant/0.png")).unwrap();
    fs::remove_file(place.path("data/bee, or wasp/2.png")).unwrap();
    let alone = eval(&place, &[]);
    assert_eq!((&alone["eval_loss"], &alone["excluded"]), (&report["eval_loss"], &0.into()));

    exclude("1.png\nnowhere.png\n17\n").fails(65, "2 lines without a picture in data: nowhere.png, 17;");
    exclude("0.png\n").fails(65, "1 line with several pictures each: 0.png");
    exclude("ant/1\nbee, or wasp/0\nbee, or wasp/1\ncat/0\n").fails(65, "excludes every picture");
    place.run(&["eval", "-w", "net.safetensors", "data", "--exclude", "no.txt"]).fails(1, "no.txt");
}

/// A network of ImageNet's classes, with the background or without, by their names; it is `imagenet.safetensors`.
fn imagenet_network(place: &Place, background: bool) {
    let classes = 1000 + usize::from(background);
    let graph = build(&Spec::new("inception_v3").img_size(75).width(0.05).classes(classes)).unwrap();
    let eval: inception::data::Eval = serde_json::from_value(json!({"crop_pct": 1.0})).unwrap();
    let mut metadata = Metadata::new(&graph, imagenet::names(classes), eval);
    metadata.background = background.then_some(0);
    save(&place.path("imagenet.safetensors"), &Weights::init(&graph, 3), &metadata).unwrap();
}

/// Logits of the pictures in a folder by `inception predict`, in ImageNet's order, by the names of their files.
fn imagenet_predictions(place: &Place, folder: &str, background: bool) -> Vec<(String, Vec<f64>)> {
    let in_order = |(path, mut logits): (String, Vec<f64>)| {
        logits.drain(..usize::from(background));
        (path.rsplit('/').next().unwrap().to_string(), logits)
    };
    predictions(place, "imagenet.safetensors", folder).into_iter().map(in_order).collect()
}

/// The best five.
fn best(logits: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order[..5].to_vec()
}

#[test]
fn real_labels_are_several_a_picture() {
    for background in [false, true] {
        let place = Place::new();
        imagenet_network(&place, background);
        let synset = imagenet::classes().nth(7).unwrap().0;
        for number in [1, 2, 3, 40, 50_000] {
            place.picture(&format!("val/{synset}/ILSVRC2012_val_{number:08}.png"), number % 97 + 3);
        }
        let predicted = imagenet_predictions(&place, "val", background);
        let answers: Vec<Vec<usize>> = predicted.iter().map(|(_, logits)| best(logits)).collect();
        // Right at once; the third answer; never; not judged; the first answer once more.
        let mut real = vec![Vec::new(); 50_000];
        real[0] = vec![999, answers[0][0], 1];
        real[1] = vec![answers[1][2]];
        real[2] = vec![(0..1000).find(|class| !answers[2].contains(class)).unwrap()];
        real[49_999] = vec![answers[4][0]];
        fs::write(place.path("real.json"), json!(real).to_string()).unwrap();
        let run = |more: &[&str]| {
            let args = ["eval", "-w", "imagenet.safetensors", "val", "--allow-missing"];
            place.run(&[&args[..], more].concat())
        };
        let report: Value =
            serde_json::from_str(&run(&["--json", "--real-labels", "real.json"]).expect(0)).unwrap();
        let keys =
            ["count", "real_count", "real_top1_error", "real_top5_error"].map(|key| report[key].clone());
        assert_eq!(keys, [json!(5), json!(4), json!(0.5), json!(0.25)]);
        assert!(report["real_top1_error_interval"][1].as_f64().unwrap() <= 1.0);
        let text = run(&["--real-labels", "real.json"]).expect(0);
        assert!(text.contains("top-1 error  50.00 %  (2 of 4 by ReaL labels; 95 %"), "{text}");
        assert!(run(&["--json"]).expect(0).find("real_").is_none());
    }
}

#[test]
fn real_labels_need_numbered_pictures_and_classes_in_order() {
    let place = place();
    let real = |list: String, weights: &str| {
        fs::write(place.path("real.json"), list).unwrap();
        let args = ["eval", "-w", weights, "data", "--allow-missing", "--real-labels", "real.json"];
        place.run(&args)
    };
    let lists = || format!("[{}[]]", "[],".repeat(49_999));
    real(lists(), "net.safetensors").fails(2, "ImageNet's 1000 classes in order");
    imagenet_network(&place, false);
    fs::remove_dir_all(place.path("data")).unwrap();
    place.picture("data/tench/a.png", 3);
    real(lists(), "imagenet.safetensors").fails(2, "a.png says not which of ImageNet's validation pictures");
    real("[[1], []]".into(), "imagenet.safetensors").fails(65, "has 2 lists, not 50000");
    real("{}".into(), "imagenet.safetensors").fails(65, "no list of lists of numbers");
    real(lists().replacen("[]", "[1000]", 1), "imagenet.safetensors").fails(65, "the class 1000");
}

/// ImageNet-V2's folders are indices; sorted as text, 10 would come before 2.
#[test]
fn folders_of_all_numbers_are_imagenets_indices() {
    let place = Place::new();
    imagenet_network(&place, true);
    (0..1000).for_each(|i| fs::create_dir_all(place.path(&format!("v2/{i}"))).unwrap());
    place.picture("v2/2/a.png", 5);
    place.picture("v2/10/b.png", 6);
    let args = ["eval", "-w", "imagenet.safetensors", "v2", "--json"];
    place.run(&args).fails(65, "no picture");
    let ended = place.run(&[&args[..], &["--allow-missing"]].concat());
    assert!(ended.stderr.contains("the classes 0 to 999 of v2 are taken for ImageNet's"), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.expect(0)).unwrap();
    let of = |class: usize| report["per_class"][class + 1].clone();
    for (index, name) in [(2, "great white shark"), (10, "brambling")] {
        assert_eq!((&of(index)["class"], &of(index)["count"]), (&json!(name), &json!(1)));
    }
    // One less, and the numbers are names.
    fs::remove_dir(place.path("v2/999")).unwrap();
    place
        .run(&[&args[..], &["--allow-missing"]].concat())
        .fails(65, "not one picture is of a class that is known");
}

/// `reference/devkit_meta.py`: the class i by ascending synset has the number 1 + (7 i + 3) mod 1000.
const META: &[u8] = include_bytes!("fixtures/meta_1000.mat");

#[test]
fn a_submission_has_the_devkits_numbers_in_the_order_of_names() {
    for background in [false, true] {
        let place = Place::new();
        imagenet_network(&place, background);
        fs::create_dir_all(place.path("devkit/data")).unwrap();
        fs::write(place.path("devkit/data/meta.mat"), META).unwrap();
        for number in [3, 20, 1, 10] {
            place.picture(&format!("test/ILSVRC2012_test_{number:08}.png"), number + 4);
        }
        let mut predicted = imagenet_predictions(&place, "test", background);
        predicted.sort_by(|a, b| a.0.cmp(&b.0));
        let expected: String = predicted
            .iter()
            .map(|(_, logits)| {
                let numbers = best(logits).into_iter().map(|class| (1 + (7 * class + 3) % 1000).to_string());
                numbers.collect::<Vec<_>>().join(" ") + "\n"
            })
            .collect();
        let args =
            ["eval", "-w", "imagenet.safetensors", "test", "--devkit", "devkit", "--submission", "out.txt"];
        let ended = place.run(&[&args[..], &["-b", "3"]].concat());
        assert!(ended.stderr.contains("wrote out.txt: 4 lines"), "{}", ended.stderr);
        assert_eq!(ended.expect(0), "", "without classes there are no errors");
        assert_eq!(fs::read_to_string(place.path("out.txt")).unwrap(), expected);
        place.run(&[&args[..], &["--report", "new"]].concat()).fails(2, "have no classes to judge by");
        assert!(!place.path("new").exists());
    }
}

#[test]
fn a_submission_says_what_it_needs() {
    let place = place();
    let run = |args: &[&str]| place.run(&[&["eval", "-w", "net.safetensors", "data"], args].concat());
    run(&["--submission", "out.txt"]).fails(2, "--devkit");
    run(&["--devkit", "."]).fails(2, "--submission");
    let both = ["--submission", "out.txt", "--devkit", "."];
    run(&both).fails(65, "holds no meta.mat");
    fs::write(place.path("meta.mat"), META).unwrap();
    run(&both).fails(2, "the network's class `bee, or wasp` is none of ImageNet's");
    run(&[&both[..], &["--on-bad", "skip"]].concat()).fails(2, "needs an answer to every picture");
    run(&["--submission", "no/out.txt", "--devkit", "."]).fails(2, "a folder that is there");
    run(&[&both[..], &["--allow-missing"]].concat()).fails(2, "--allow-missing");
    // Without a submission pictures need classes.
    place.picture("flat/a.png", 3);
    place.run(&["eval", "-w", "net.safetensors", "flat"]).fails(65, "no class folders");
}
