//! `inception data` as a user meets it: folders with everything that goes wrong in the world.

mod cli_support;
mod hostile_data;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use cli_support::Place;
use hostile_data::*;
use serde_json::Value;

/// A name in Latin-1, where names may be any bytes.
fn latin_1() -> OsString {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9.png".into());
    #[cfg(not(unix))]
    return "cafe.png".into();
}

fn assert_adds_up(report: &Value, files: u64) {
    let count = |key: &str| report["counts"][key].as_u64().unwrap();
    assert_eq!(count("files"), files);
    assert_eq!(count("ok") + count("errors") + count("warnings") + count("notes"), files);
    assert_eq!(count("files") - count("ok"), report["files"].as_array().unwrap().len() as u64);
}

#[test]
fn every_kind_is_told_and_training_leaves_out_what_is_an_error() {
    let place = hostile();
    squares(99, 70, 70).save(place.path("data/train/bee").join(latin_1())).unwrap();
    let report = check(&place, &[], 65);
    for (name, kind) in KINDS {
        let found = kinds(&report, name);
        assert!(found.iter().any(|found| found == kind), "{name}: {found:?}, expected {kind}");
        let is_error = found.iter().any(|found| ERRORS.contains(&found.as_str()));
        assert_eq!(is_error, ERRORS.contains(&kind), "{name}: {found:?}");
    }
    assert_adds_up(&report, 13 + KINDS.len() as u64);
    let errors = KINDS.iter().filter(|(_, kind)| ERRORS.contains(kind)).count() as u64;
    if cfg!(unix) {
        assert_eq!(kinds(&report, "caf\u{fffd}.png"), ["file-name"]);
    }
    assert_eq!(report["counts"]["errors"].as_u64(), Some(errors));
    assert_eq!(kinds(&report, "0.png"), [""; 0]);

    // The same on one thread, and the same files are left out in training.
    let alone = check(&place, &["-j", "1"], 65);
    assert_eq!((&alone["files"], &alone["findings"]), (&report["files"], &report["findings"]));
    // Two batches are all of the 26 training pictures; a last, smaller one would be left out.
    let small = "-m inception_resnet_v1 --img-size 75 --width 0.05 -b 13 --epochs 1";
    let small: Vec<&str> = small.split(' ').collect();
    let train = [&["train", "data", "--on-bad", "skip", "--output", "out"], &small[..]].concat();
    let ended = place.run(&train);
    let said = format!("{errors} pictures could not be read");
    assert!(ended.stderr.contains(&said), "`{said}` is not in {}", ended.stderr);
    ended.expect(0);
}

#[test]
fn sound_data_pass_and_the_text_says_so() {
    let place = place();
    let text = place.run(&["data", "check", "data"]).expect(0);
    assert!(
        text.starts_with("12 files = 12 ok + 0 with errors + 0 with warnings + 0 with notes only\n"),
        "{text}"
    );
    assert!(text.contains("12 pictures of 2 classes, equally many of each in train"), "{text}");
    assert!(text.contains("all of which stay in memory"), "{text}");
    assert!(text.ends_with("\nnothing stands in the way of training\n"), "{text}");
    // 259,200 bytes of pixels: 12 pictures of 90×80.
    assert_eq!(check(&place, &[], 0)["forecast"]["decoded_bytes"], 12 * 90 * 80 * 3);
    // 80 pixels are too few for an input of 400, and enough for one of 320.
    assert_eq!(check(&place, &["--img-size", "320"], 0)["counts"]["ok"], 12);
    let tiny = check(&place, &["--img-size", "400", "-m", "inception_v4"], 0);
    assert_eq!(
        (&tiny["counts"]["warnings"], kinds(&tiny, "0.png")),
        (&12.into(), vec!["tiny".to_string(); 4])
    );
    place.run(&["data", "check", "data", "-m", "inception-v4"]).fails(2, "did you mean `inception_v4`?");
    place.run(&["data", "check", "nowhere"]).fails(1, "nowhere: no such folder");
}

#[test]
fn copies_are_found_within_and_across_splits_and_classes() {
    let place = place();
    let copy = |from: &str, to: &str| fs::copy(place.path(from), place.path(to)).unwrap();
    copy("data/train/ant/0.png", "data/train/ant/again.png");
    copy("data/train/ant/1.png", "data/val/ant/leak.png");
    copy("data/train/bee/2.png", "data/train/ant/both.png");
    // The same squares at another size, as JPEG: other bytes, the same look.
    for (name, seed) in [("data/val/bee/alike.jpg", 13), ("data/train/bee/alike.jpg", 10)] {
        squares(seed, 180, 160).save(place.path(name)).unwrap();
    }
    squares(3, 180, 160).save(place.path("data/train/bee/doubt.jpg")).unwrap();
    let report = check(&place, &[], 0);
    assert_adds_up(&report, 18);
    let remark = |name: &str| {
        let files = report["files"].as_array().unwrap();
        let file =
            files.iter().find(|file| file["path"] == name).unwrap_or_else(|| panic!("{name}: {files:?}"));
        let remarks = file["remarks"].as_array().unwrap();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        let text = |key: &str| remarks[0][key].as_str().unwrap().to_string();
        (text("kind"), text("detail"))
    };
    for (name, kind, detail) in [
        ("train/ant/again.png", "copy", "the same as train/ant/0.png"),
        ("val/ant/leak.png", "copy-across-splits", "the same as train/ant/1.png"),
        ("train/bee/2.png", "copy-across-classes", "the same as train/ant/both.png"),
        ("val/bee/alike.jpg", "alike-across-splits", "looks like train/bee/3.png"),
        ("train/bee/doubt.jpg", "alike-across-classes", "looks like train/ant/3.png"),
        ("train/bee/alike.jpg", "alike", "looks like train/bee/0.png"),
    ] {
        assert_eq!(remark(name), (kind.into(), detail.into()), "{name}");
    }
    assert_eq!(kinds(&report, "both.png"), [""; 0], "the first of a pair is the original");
    let text = place.run(&["data", "check", "data"]).expect(0);
    assert!(text.contains("2 pictures of both splits"), "{text}");
}

#[test]
fn folders_at_fault_are_all_named() {
    let place = place();
    fs::create_dir_all(place.path("data/train/cat")).unwrap();
    write(&place, "data/train/dog/note.txt", b"no picture yet");
    write(&place, "data/train/ant/photo.jpe", &fixture("noise_1.jpg"));
    write(&place, "data/train/stray.jpg", &fixture("noise_1.jpg"));
    let report = check(&place, &[], 65);
    assert_adds_up(&report, 15);
    let folders = report["folders"].as_array().unwrap();
    let found: Vec<_> =
        folders.iter().map(|f| (f["path"].as_str().unwrap(), f["kind"].as_str().unwrap())).collect();
    assert_eq!(
        found,
        [("train/cat", "empty-class"), ("train/dog", "empty-class"), ("val", "classes-differ")]
    );
    let table = folders[2]["detail"].as_str().unwrap();
    assert!(table.contains("cat    known     no picture  no picture in train"), "{table}");
    assert_eq!(kinds(&report, "note.txt"), ["ignored"]);
    assert_eq!(kinds(&report, "photo.jpe"), ["ignored-picture"]);
    assert_eq!(kinds(&report, "stray.jpg"), ["stray"]);
    let text = place.run(&["data", "check", "data"]).expect(65);
    assert!(text.contains("put 3 errors right by hand"), "{text}");
    // What only opening finds is found, too.
    noise(&place, "one/only/1.png", 1, 50, 50);
    let one = place.run(&["data", "check", "one"]).expect(65);
    assert!(one.contains("has one class only, `only`"), "{one}");
    let split = place.run(&["data", "check", "data/train", "--val-split", "2"]).expect(65);
    assert!(split.contains("class folder without a picture"), "{split}");
}

#[cfg(unix)]
#[test]
fn links_in_circles_and_names_of_any_bytes_stop_nothing() {
    use std::ffi::OsStr;
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let place = place();
    symlink(place.path("data/train/ant"), place.path("data/train/ant/again")).unwrap();
    fs::create_dir(place.path("data/val").join(OsStr::from_bytes(b"b\xe9e"))).unwrap();
    let report = check(&place, &[], 65);
    let folders = report["folders"].as_array().unwrap();
    let found: Vec<_> = folders.iter().map(|f| f["kind"].as_str().unwrap()).collect();
    symlink("nowhere.jpg", place.path("data/train/bee/link.jpg")).unwrap();
    let report = check(&place, &["--fix"], 65);
    assert_eq!(kinds(&report, "link.jpg"), ["unreadable"]);
    // It may be a disk that is not mounted.
    assert_eq!(report["fix"]["moved"], serde_json::json!([]));
    assert!(place.path("data/train/bee/link.jpg").is_symlink());
    for kind in ["loop", "folder-name", "empty-class"] {
        assert!(found.contains(&kind), "{kind}: {found:?}");
    }
}

#[test]
fn held_out_pictures_are_those_of_training() {
    let place = place();
    let whole = check(&place, &[], 0);
    assert_eq!(whole["classes"][0]["val"], 2);
    fs::remove_dir_all(place.path("data/val")).unwrap();
    fs::copy(place.path("data/train/ant/0.png"), place.path("data/train/ant/1.png")).unwrap();
    let all = check(&place, &[], 0);
    assert_eq!((&all["classes"][0]["train"], &all["classes"][0]["val"]), (&4.into(), &0.into()));
    let report = check(&place, &["--val-split", "0.5"], 0);
    assert_eq!(report["classes"][1], serde_json::json!({"class": "bee", "train": 2, "val": 2}));
    let splits = inception::data::folder::open_splits(&place.path("data"), Some(0.5), 1).unwrap();
    let held_out = |name: &str| {
        splits.val.samples.iter().any(|sample| sample.picture.name().ends_with(&format!("ant/{name}")))
    };
    let across = held_out("0.png") != held_out("1.png");
    let kind = if across { "copy-across-splits" } else { "copy" };
    assert!(report["files"].as_array().unwrap().iter().any(|f| f["remarks"][0]["kind"] == kind), "{report}");
}

#[test]
fn fixing_moves_what_is_broken_and_nothing_else() {
    let place = hostile();
    let before = check(&place, &[], 65);
    let broken = before["counts"]["errors"].as_u64().unwrap();
    // A name that is taken is not overwritten.
    write(&place, "data.quarantine/train/ant/empty.jpg", b"of an earlier day");
    write(&place, "data.quarantine/train/bee/empty.jpg", b"of an earlier day");
    let fixed = check(&place, &["--fix"], 0);
    let moved = fixed["fix"]["moved"].as_array().unwrap();
    assert_eq!((moved.len() as u64, &fixed["fix"]["errors_remain"]), (broken, &false.into()));
    for row in moved {
        let [from, to] = ["from", "to"].map(|key| Path::new(row[key].as_str().unwrap()));
        assert!(!from.exists() && to.exists(), "{row}");
        let name = from.file_name().unwrap().to_str().unwrap();
        assert_eq!(fs::read(to).unwrap(), content(name), "{row}");
        if name == "empty.jpg" {
            assert!(to.ends_with("empty-1.jpg"), "{row}");
        }
    }
    assert_eq!(fs::read(place.path("data.quarantine/train/ant/empty.jpg")).unwrap(), b"of an earlier day");
    let list = fs::read_to_string(place.path("data.quarantine/moved.csv")).unwrap();
    assert_eq!(list.lines().next(), Some("from,to,reason"));
    assert_eq!(list.lines().count() as u64, 1 + broken);
    assert!(list.lines().any(|row| row.contains("half.png") && row.ends_with(",truncated")), "{list}");
    // The rest is as it was, and sound.
    let after = check(&place, &[], 0);
    assert_eq!(after["counts"]["warnings"], before["counts"]["warnings"]);
    assert_eq!(after["counts"]["errors"], 0);
    // Nothing left to do: no row more.
    let again = check(&place, &["--fix"], 0);
    assert_eq!(again["fix"]["moved"], serde_json::json!([]));
    assert_eq!(fs::read_to_string(place.path("data.quarantine/moved.csv")).unwrap(), list);
}

#[test]
fn a_class_that_fixing_empties_is_an_error_that_remains() {
    let place = place();
    for split in ["train", "val"] {
        write(&place, &format!("data/{split}/cat/1.jpg"), b"");
    }
    let fixed = place.run(&["data", "check", "data", "--fix"]);
    assert!(fixed.stderr.contains("moved ") && fixed.stderr.contains("zero bytes"), "{}", fixed.stderr);
    let text = fixed.expect(65);
    assert!(text.contains("moved 2 files to") && text.contains("errors remain"), "{text}");
}

/// A link leads out of the data set; what it leads to is somebody else's.
#[cfg(unix)]
#[test]
fn fixing_leaves_alone_what_lies_behind_a_link() {
    let place = place();
    // Within the data set one is moved, and once, by whichever way it was found.
    write(&place, "data/train/bee/letter.jpg", b"Dear all,");
    std::os::unix::fs::symlink(place.path("data/train/bee"), place.path("data/train/ant/more")).unwrap();
    write(&place, "elsewhere/broken.jpg", b"");
    noise(&place, "elsewhere/1.png", 50, 60, 60);
    for split in ["train", "val"] {
        let link = place.path(&format!("data/{split}/cat"));
        std::os::unix::fs::symlink(place.path("elsewhere"), link).unwrap();
    }
    let fixed = check(&place, &["--fix"], 65);
    assert_eq!(fixed["fix"]["moved"].as_array().unwrap().len(), 1);
    assert_eq!(fixed["fix"]["left"].as_array().unwrap().len(), 1);
    assert!(place.path("elsewhere/broken.jpg").exists());
    assert!(place.path("data.quarantine/train/bee/letter.jpg").exists());
}

#[test]
fn stats_are_the_pictures() {
    let place = Place::new();
    for (class, colour, sizes) in
        [("ant", [255, 0, 51], &[(40, 20), (40, 40)][..]), ("bee", [0, 0, 51], &[(80, 40)])]
    {
        for (i, &(w, h)) in sizes.iter().enumerate() {
            let path = place.path(&format!("data/{class}/{i}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(w, h, image::Rgb(colour)).save(path).unwrap();
        }
    }
    write(&place, "data/bee/1.jpg", b"");
    let run = |more: &[&str]| place.run(&[&["data", "stats", "data", "--img-size", "30"], more].concat());
    let stats: Value = serde_json::from_str(&run(&["--json"]).expect(0)).unwrap();
    assert_eq!((&stats["unreadable"], &stats["measured"]), (&1.into(), &3.into()));
    assert_eq!(stats["splits"][0]["pictures"], 4);
    assert_eq!(stats["formats"], serde_json::json!([{"format": "PNG rgb, 8 bits", "pictures": 3}]));
    let close = |key: &str, expected: [f64; 3]| {
        for (found, expected) in stats[key].as_array().unwrap().iter().zip(expected) {
            assert!((found.as_f64().unwrap() - expected).abs() < 1e-6, "{key}: {}", stats[key]);
        }
    };
    close("mean", [2.0 / 3.0, 0.0, 0.2]);
    close("std", [(2.0f64 / 9.0).sqrt(), 0.0, 0.0]);
    let width = &stats["sizes"][0];
    assert_eq!((&width["of"], &width["min"], &width["max"]), (&"width".into(), &40.0.into(), &80.0.into()));
    assert_eq!(stats["sizes"][2]["median"], 2.0);
    let bytes: u64 = fs::metadata(place.path("data/bee/0.png")).unwrap().len();
    assert_eq!(stats["class_bytes"][1], bytes);
    let text = run(&[]).expect(0);
    assert!(text.contains("mean  0.6667  0.0000  0.2000") && text.contains("cannot be read"), "{text}");
    assert_eq!(run(&["--json", "-j", "1"]).expect(0), run(&["--json", "-j", "3"]).expect(0));
}

#[test]
fn the_rate_of_pictures_is_measured_for_folders_of_any_kind() {
    let place = place();
    let run = |data: &str, more: &[&str]| {
        let args = ["data", "bench", data, "--img-size", "32", "-b", "4"];
        let seconds: &[&str] =
            if more.iter().any(|arg| arg.starts_with("--seconds")) { &[] } else { &["--seconds=0.05"] };
        place.run(&[&args[..], seconds, more].concat())
    };
    let found: Value = serde_json::from_str(&run("data", &["--json", "-j", "2"]).expect(0)).unwrap();
    assert_eq!(
        (&found["pictures"], &found["workers"], &found["img_size"]),
        (&12.into(), &2.into(), &32.into())
    );
    let [rate, each, measured] =
        ["images_per_second", "ms_per_image", "measured"].map(|key| found[key].as_f64().unwrap());
    assert!((rate * each / 2000.0 - 1.0).abs() < 1e-9 && measured >= 4.0, "{found}");
    // Pictures that lie in no class folder will do.
    let text = run("data/train/ant", &["--recipe", "small", "-j", "1"]).expect(0);
    assert!(text.contains("images/s") && text.contains("at 32 px, recipe small, 1 thread"), "{text}");
    run("data", &["--recipe", "smal"]).fails(1, "no recipe `smal`");
    run("data", &["--seconds=0"]).fails(2, "--seconds 0");
    write(&place, "data/val/bee/half.jpg", b"");
    run("data", &[]).fails(65, "half.jpg");
    let ended = run("data", &[]);
    assert!(ended.stderr.contains("`inception data check` finds the rest"), "{}", ended.stderr);
}
