//! `inception data pack`: what is in the shards is what was in the data set, no larger than it need be.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use cli_support::Place;
use inception::data::decode::decode;
use inception::data::folder::open_splits;
use inception::data::pack::{Format, Options, Packed, pack};
use inception::data::{Dataset, OnBad, Picture, Rgb, Splits};
use inception::progress::Style;
use inception_pictures::geometry::shorter_side;
use inception_pictures::{Filter, Resize};

/// Longest shorter side in these tests.
const SIZE: usize = 40;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures/tests/fixtures").join(name)
}

/// Two classes whose order as names is not that as numbers, and pictures of all kinds.
fn place() -> Place {
    let place = Place::new();
    for (c, class) in ["10", "9"].iter().enumerate() {
        (0..5).for_each(|i| place.picture(&format!("data/train/{class}/{i}.png"), 7 * i + c as u32 + 1));
        (0..2).for_each(|i| place.picture(&format!("data/val/{class}/{i}.jpg"), 7 * i + c as u32 + 50));
    }
    let copy = |from: &str, to: &str| fs::copy(fixture(from), place.path(to)).expect("copied");
    copy("orientation_6.jpg", "data/train/10/turned.jpg");
    copy("size_31x33.jpg", "data/train/9/small.jpg");
    copy("kind6_8.png", "data/val/9/clear.png");
    place
}

fn options(format: Format) -> Options {
    Options {
        size: SIZE,
        format,
        shard_bytes: 20_000,
        on_bad: OnBad::Error,
        decoding: inception_pictures::Options::VIEWER,
        threads: 2,
        progress: Style::None,
    }
}

/// Packs `data/` into `out`.
fn packed(place: &Place, out: &str, options: &Options) -> (Splits, Splits, Packed) {
    let (data, out) = (place.path("data"), place.path(out));
    let splits = open_splits(&data, None, 1).expect("valid");
    let packed = pack(&splits, &data, &out, options).expect("packed").expect("to the end");
    (splits, open_splits(&out, None, 1).expect("valid"), packed)
}

fn pixels(picture: &Picture) -> Rgb {
    (*decode(picture, inception_pictures::Options::VIEWER).expect("readable")).clone()
}

/// What a picture must become.
fn reduced(rgb: Rgb, size: usize) -> Rgb {
    if rgb.width.min(rgb.height) <= size {
        return rgb;
    }
    let (width, height) = shorter_side(rgb.width, rgb.height, size);
    Resize::new(width, height, Filter::Bicubic).apply(&rgb).expect("resized")
}

fn bytes_of(picture: &Picture) -> Vec<u8> {
    match picture {
        Picture::File(path) => fs::read(path).expect("readable"),
        Picture::Part { archive, start, len, .. } => {
            fs::read(archive).expect("readable")[*start as usize..(start + len) as usize].to_vec()
        }
        Picture::Memory { .. } => panic!("in a file"),
    }
}

/// Each pair of an old and its new picture, once classes and labels are the same.
fn pairs<'a>(old: &'a Dataset, new: &'a Dataset) -> Vec<(&'a Picture, &'a Picture)> {
    assert_eq!(old.classes, new.classes);
    let labels = |data: &Dataset| data.samples.iter().map(|sample| sample.label).collect::<Vec<_>>();
    assert_eq!(labels(old), labels(new));
    old.samples.iter().map(|s| &s.picture).zip(new.samples.iter().map(|s| &s.picture)).collect()
}

#[test]
fn png_shards_hold_the_resized_pictures_exactly() {
    let place = place();
    let (old, new, packed) = packed(&place, "out", &options(Format::Png));
    assert_eq!(old.train.classes, ["10", "9"], "the folders' order, which numbers alone would not have");
    assert_eq!((packed.pictures, packed.skipped.len()), ([12, 5], 0));
    let both = [pairs(&old.train, &new.train), pairs(&old.val, &new.val)].concat();
    let mut copied = 0;
    for (old, new) in both {
        assert_eq!(pixels(new), reduced(pixels(old), SIZE), "{}", old.name());
        copied += usize::from(bytes_of(old) == bytes_of(new));
    }
    assert!(packed.copied == copied && copied >= 2, "{copied} of {}", packed.copied);
}

/// Turned once, when it is packed: nothing is left in the file that would turn it again.
#[test]
fn pictures_that_are_resized_are_upright() {
    let place = place();
    let (old, new, _) = packed(&place, "out", &Options { size: 12, ..options(Format::Png) });
    let turned =
        old.train.samples.iter().position(|s| s.picture.name().ends_with("turned.jpg")).expect("there");
    let expected = reduced(pixels(&old.train.samples[turned].picture), 12);
    let picture = &new.train.samples[turned].picture;
    assert_eq!((expected.width, expected.height), (12, 18), "24 by 16 in the file");
    for how in [inception_pictures::Options::VIEWER, inception_pictures::Options::PILLOW] {
        assert_eq!(*decode(picture, how).expect("readable"), expected);
    }
}

#[test]
fn jpeg_shards_are_near_and_small_jpegs_the_same() {
    let place = place();
    let (old, new, packed) = packed(&place, "out", &options(Format::Jpeg));
    for (old, new) in [pairs(&old.train, &new.train), pairs(&old.val, &new.val)].concat() {
        let (expected, found) = (reduced(pixels(old), SIZE), pixels(new));
        assert_eq!((found.width, found.height), (expected.width, expected.height));
        let error = expected.pixels.iter().zip(&found.pixels).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let error = error.sum::<f64>() / expected.pixels.len() as f64;
        assert!(error < 4.0, "{}: {error}", old.name());
        if old.name().ends_with("small.jpg") {
            assert_eq!(bytes_of(old), bytes_of(new));
        }
        assert!(new.name().ends_with(".jpg"));
    }
    assert!(packed.copied >= 1);
    // Where a picture came from is told beside it.
    let shard = fs::read(place.path("out/train-000000.tar")).expect("there");
    let text = String::from_utf8_lossy(&shard);
    assert!(
        text.contains("000000000.json")
            && text.contains("{\"label\":\"10\",\"path\":\"")
            && text.contains("data/train/10/0.png\"}")
    );
    assert_eq!(fs::read_to_string(place.path("out/classes.txt")).expect("there"), "10\n9\n");
}

#[test]
fn shards_are_of_the_size_and_the_same_on_any_number_of_threads() {
    let place = place();
    let shards = |name: &str, threads: usize| {
        let (_, _, packed) = packed(&place, name, &Options { threads, ..options(Format::Png) });
        let mut files: Vec<_> =
            fs::read_dir(place.path(name)).expect("there").map(|f| f.expect("there").path()).collect();
        files.sort();
        let tars = files.iter().filter(|file| file.extension().is_some_and(|e| e == "tar")).count();
        assert_eq!((packed.shards, packed.shards > 3), (tars, true), "several of each split");
        let contents: Vec<_> = files
            .iter()
            .map(|file| (file.file_name().map(|n| n.to_os_string()), fs::read(file).expect("there")))
            .collect();
        assert!(contents.iter().all(|(_, bytes)| bytes.len() < 22_000), "20,000 and the end of a file");
        let sum: u64 = contents.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(packed.bytes, sum - "10\n9\n".len() as u64);
        contents
    };
    let one = shards("one", 1);
    assert!(one == shards("three", 3));
    assert!(!place.path("one.partial").exists());
}

/// From the command line: refused, or left out and named; nothing half is left, and a network trains on what was made.
#[test]
fn a_broken_picture_stops_it_or_is_named() {
    let place = place();
    fs::write(place.path("data/train/9/broken.jpg"), "no picture").expect("written");
    let run = |more: &[&str]| place.run(&[&["data", "pack", "data", "--size", "75"], more].concat());
    run(&["-o", "out"]).fails(65, "broken.jpg");
    assert!(!place.path("out").exists() && !place.path("out.partial").exists());
    let text = run(&["-o", "out", "--on-bad", "skip", "--shard-size", "1"]).expect(0);
    assert!(text.starts_with("12 pictures + 5 in 2 shards"), "{text}");
    assert!(
        text.contains("left out 1 picture that cannot be read:") && text.contains("broken.jpg: "),
        "{text}"
    );
    run(&["-o", "out", "--on-bad", "skip"]).fails(65, "nothing is overwritten");
    run(&["-o", "data/out", "--on-bad", "skip"]).fails(65, "lies in data");
    fs::create_dir(place.path("left.partial")).expect("made");
    run(&["-o", "left", "--on-bad", "skip"]).fails(65, "left.partial: is what an earlier");
    fs::create_dir(place.path("empty")).expect("made");
    let json = run(&["-o", "empty", "--on-bad", "skip", "--json", "-m", "inception_v4"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["pictures"], &json["skipped"].as_array().map(Vec::len)),
        (&serde_json::json!([12, 5]), &Some(1))
    );
    let small =
        ["-m", "inception_resnet_v1", "--img-size", "75", "--width", "0.05", "-b", "6", "--epochs", "1"];
    let trained = place.run(&[&["train", "out", "--output", "runs"], &small[..]].concat());
    assert!(
        trained.stderr.contains("12 training and 5 validation pictures of 2 classes"),
        "{}",
        trained.stderr
    );
    assert!(!trained.stderr.contains("not used"), "{}", trained.stderr);
    trained.expect(0);
    // A class that is lost on the way is named.
    for name in ["0.png", "1.png", "2.png", "3.png", "4.png", "small.jpg"] {
        fs::write(place.path("data/train/9").join(name), "no picture").expect("written");
    }
    let text = run(&["-o", "lost", "--on-bad", "skip"]).expect(0);
    assert!(
        text.contains("no picture is left to learn from of: 9\n") && text.contains("left out 7 pictures"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(place.path("lost/classes.txt")).expect("there"), "10\n");
    // What training would hold out is packed apart.
    let whole = place
        .run(&["data", "pack", "data/val", "-o", "held", "--val-split", "0.5", "--size", "20"])
        .expect(0);
    assert!(
        whole.starts_with("3 pictures + 2 in 2 shards") || whole.starts_with("2 pictures + 3 in 2 shards"),
        "{whole}"
    );
    place.run(&["data", "pack", "data/val", "-o", "other"]).fails(65, "--val-split");
}
