//! What a run leaves for TensorBoard and for the browser.

mod cli_support;

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use cli_support::Place;
use serde_json::Value;

/// A class whose name HTML and SVG would take for something else.
#[cfg(unix)]
const STRANGE: &str = "<b>&\"x";
#[cfg(not(unix))]
const STRANGE: &str = "b&x";

/// Two classes, `train/` and `val/`.
fn place() -> Place {
    let place = Place::new();
    for class in ["ant", STRANGE] {
        (0..4).for_each(|i| place.picture(&format!("data/train/{class}/{i}.png"), i + 1));
        (0..8).for_each(|i| place.picture(&format!("data/val/{class}/{i}'s.png"), i + 7));
    }
    place
}

/// Two epochs of two steps, each with a record of the log and a state.
fn train(place: &Place) {
    let net =
        ["train", "data", "-m", "inception_resnet_v1", "--img-size", "75", "--width", "0.05", "-b", "4"];
    let saving = ["--log-interval", "1", "--save-interval", "0", "--keep-states", "9"];
    let more = ["--epochs", "2", "--output", "out", "--experiment", "a"];
    place.run(&[&net[..], &saving, &more].concat()).expect(0);
}

/// The log's records of a kind.
fn logged(place: &Place, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path("out/a/log.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["kind"] == kind).collect()
}

/// An event as TensorBoard reads it.
#[derive(Debug, Default)]
struct Event {
    wall_time: f64,
    step: u64,
    version: Option<String>,
    start: bool,
    scalars: BTreeMap<String, f32>,
}

/// CRC-32C bit by bit, masked.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        (0..8).for_each(|_| crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Number and content of each field of a protobuf message; numbers as 8 bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(from: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = from[0];
            *from = &from[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        panic!("a varint without end");
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, message[..length].to_vec()));
        message = &message[length..];
    }
    found
}

fn event(message: &[u8]) -> Event {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let mut event = Event::default();
    for (field, bytes) in fields(message) {
        match field {
            1 => event.wall_time = f64::from_bits(number(&bytes)),
            2 => event.step = number(&bytes),
            3 => event.version = Some(text(bytes)),
            5 => {
                for (field, value) in fields(&bytes) {
                    assert_eq!(field, 1);
                    let parts: BTreeMap<u64, Vec<u8>> = fields(&value).into_iter().collect();
                    let scalar = f32::from_le_bytes(parts[&2][..].try_into().unwrap());
                    assert!(event.scalars.insert(text(parts[&1].clone()), scalar).is_none());
                }
            }
            7 => event.start = fields(&bytes) == [(1, 1u64.to_le_bytes().to_vec())],
            other => panic!("field {other}"),
        }
    }
    event
}

/// The events of each file of the run, in the order of names.
fn events(place: &Place) -> Vec<Vec<Event>> {
    let names = fs::read_dir(place.path("out/a")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        names.filter(|path| path.to_str().unwrap().contains("events.out.tfevents.")).collect();
    files.sort();
    let read = |path| {
        let (bytes, mut events) = (fs::read(path).unwrap(), Vec::new());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let message = &rest[12..12 + length];
            assert_eq!((crc(8), crc(12 + length)), (masked_crc(&rest[..8]), masked_crc(message)));
            events.push(event(message));
            rest = &rest[16 + length..];
        }
        events
    };
    files.iter().map(read).collect()
}

/// The scalars that remain when every START has made those of its step and later ones forgotten.
fn remaining(files: &[Vec<Event>]) -> Vec<(u64, &str, f32)> {
    let mut all: Vec<(u64, &str, f32)> = Vec::new();
    for event in files.iter().flatten() {
        if event.start {
            all.retain(|&(step, ..)| step < event.step);
        }
        all.extend(event.scalars.iter().map(|(tag, &value)| (event.step, tag.as_str(), value)));
    }
    all
}

#[test]
fn events_are_those_of_the_log_whether_the_run_was_stopped_or_not() {
    let place = place();
    train(&place);
    let before = events(&place);
    assert_eq!(before.len(), 1);
    let (version, start) = (&before[0][0], &before[0][1]);
    assert_eq!((version.version.as_deref(), start.start, start.step), (Some("brain.Event:2"), true, 1));
    assert!(before[0].iter().all(|event| event.wall_time > 1.7e9 && event.wall_time < 4e9));
    check(&place, &before);
    // Without its last states, the run goes on behind step 3, in the second epoch.
    fs::remove_file(place.path("out/a/state-000000004.safetensors")).unwrap();
    place.run(&["train", "--resume", "out/a", "--log-interval", "1"]).expect(0);
    let after = events(&place);
    assert_eq!((after.len(), after[1][1].start, after[1][1].step), (2, true, 4));
    assert_eq!(after[0].len(), before[0].len(), "no file is written again");
    check(&place, &after);
    // Nothing is left to do, and nothing to tell.
    place.run(&["train", "--resume", "out/a"]).expect(0);
    assert_eq!(events(&place).len(), 2);
}

/// Whether events and log say the same.
fn check(place: &Place, files: &[Vec<Event>]) {
    let mut expected = Vec::new();
    for record in logged(place, "step") {
        for key in ["loss", "top1_error", "lr", "grad_norm", "images_per_s", "data_wait"] {
            expected.push((
                record["step"].as_u64().unwrap(),
                format!("train/{key}"),
                record[key].as_f64().unwrap(),
            ));
        }
    }
    for record in logged(place, "eval") {
        for key in ["loss", "top1_error", "top5_error"] {
            let value = record[&format!("eval_{key}")].as_f64().unwrap();
            expected.push((record["step"].as_u64().unwrap(), format!("eval/{key}"), value));
        }
    }
    assert_eq!(expected.len(), 4 * 6 + 2 * 3);
    let sorted = |mut all: Vec<(u64, String, u32)>| {
        all.sort();
        all
    };
    let found =
        remaining(files).into_iter().map(|(step, tag, value)| (step, tag.to_string(), value.to_bits()));
    let expected = expected.into_iter().map(|(step, tag, value)| (step, tag, (value as f32).to_bits()));
    assert_eq!(sorted(found.collect()), sorted(expected.collect()));
}

/// The pictures of a page, decoded.
fn pictures(page: &str) -> Vec<image::RgbImage> {
    let one = |part: &str| {
        let text = part.split('"').next().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        image::load_from_memory(&bytes).unwrap().into_rgb8()
    };
    page.split("<img src=\"data:image/png;base64,").skip(1).map(one).collect()
}

#[test]
fn the_report_says_what_the_log_says_and_nothing_from_files_is_markup() {
    let place = place();
    train(&place);
    let read = || fs::read_to_string(place.path("out/a/report.html")).unwrap();
    let page = read();
    let evals = logged(&place, "eval");
    let best = evals.iter().rfind(|record| record["best"] == true).unwrap();
    let of_best = |key: &str| best[key].as_f64().unwrap();
    for (name, key) in [("Top-1 error", "eval_top1_error"), ("Top-5 error", "eval_top5_error")] {
        let fact = format!(
            "<dt>{name}</dt><dd>{:.2} % <small>epoch {}, the best<",
            100.0 * of_best(key),
            best["epoch"]
        );
        assert!(page.contains(&fact), "{fact} is not in {page}");
    }
    let which = format!("The 16 validation pictures after epoch {}, the best.", best["epoch"]);
    assert!(page.contains(&which), "{page}");
    assert!(
        page.contains("<dd>2 of 2 <")
            && page.contains("<h1>a <small>inception_resnet_v1, 75 px, width 0.05<")
    );
    // The class with the strange name, and files with a quote in theirs.
    if cfg!(unix) {
        assert!(page.contains("<bdi>&lt;b&gt;&amp;&quot;x</bdi>") && !page.contains("<b>"));
    }
    assert!(page.contains("/0&#39;s.png</bdi>") && !page.contains("0's.png"));
    assert!(page.contains("img_size = 75") && page.contains("&quot;command&quot;"));
    // One page, whole, that asks for nothing.
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let outside = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("<link"));
    assert!(!outside.contains("<script") && !outside.contains("@import") && !outside.contains("url("));
    assert!(page.contains(fs::read_to_string(place.path("out/a/curves.svg")).unwrap().trim()));
    // As many pictures as mistakes, up to twelve, in the size of the network's input.
    let wrong = (of_best("eval_top1_error") * of_best("count")).round() as usize;
    let found = pictures(&page);
    assert_eq!(found.len(), wrong.min(12));
    assert!(wrong > 0 && found.iter().all(|picture| picture.dimensions() == (75, 75)));
    // A run that is asked once more leaves it as it was.
    place.run(&["train", "--resume", "out/a"]).expect(0);
    assert!(read() == page);
    // In a process that has judged nothing there is one again, without what it does not know.
    fs::remove_file(place.path("out/a/report.html")).unwrap();
    place.run(&["train", "--resume", "out/a"]).expect(0);
    assert!(read().contains("Top-1 error") && !read().contains("Worst mistakes"));
}

/// A folder in the report's place cannot be replaced by a file.
#[test]
fn a_report_that_cannot_be_written_ends_the_run_or_not_as_asked() {
    let place = place();
    train(&place);
    for name in ["report.html", "state-000000004.safetensors", "state-000000003.safetensors"] {
        fs::remove_file(place.path("out/a").join(name)).unwrap();
    }
    fs::create_dir_all(place.path("out/a/report.html/in the way")).unwrap();
    place.run(&["train", "--resume", "out/a"]).fails(1, "report.html");
    let goes_on = place.run(&["train", "--resume", "out/a", "--on-save-error", "continue"]);
    assert!(
        goes_on.stderr.contains("report.html") && goes_on.stderr.contains("going on"),
        "{}",
        goes_on.stderr
    );
    goes_on.expect(0);
    assert!(!place.path("out/a/.report.html.tmp").exists());
}
