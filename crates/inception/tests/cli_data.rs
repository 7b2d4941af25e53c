//! `inception data` as a user meets it: folders with everything that goes wrong in the world.

mod cli_support;
mod shards;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use cli_support::Place;
use serde_json::Value;
use shards::{bytes, record, tar};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures/tests/fixtures").join(name)).unwrap()
}

fn write(place: &Place, name: &str, bytes: &[u8]) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two classes in two splits, all sound.
fn place() -> Place {
    let place = Place::new();
    for (c, class) in ["ant", "bee"].iter().enumerate() {
        let name = |split: &str, i: usize| format!("data/{split}/{class}/{i}.png");
        (0..4).for_each(|i| noise(&place, &name("train", i), (10 * c + i) as u64, 90, 80));
        (0..2).for_each(|i| noise(&place, &name("val", i), (10 * c + i + 5) as u64, 90, 80));
    }
    place
}

/// A picture that looks like no other: squares of random colours.
fn noise(place: &Place, name: &str, seed: u64, width: u32, height: u32) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    squares(seed, width, height).save(path).unwrap();
}

fn squares(seed: u64, width: u32, height: u32) -> image::RgbImage {
    use rand::RngExt;
    let mut random = inception_graph::stream(&[seed]);
    let colours: Vec<[u8; 3]> = (0..120).map(|_| random.random()).collect();
    let square = |x, y| (y * 10 / height * 12 + x * 12 / width) as usize;
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb(colours[square(x, y)]))
}

/// A file of each kind, named, with the kind that it must be found to be.
const KINDS: [(&str, &str); 21] = [
    ("cmyk.jpg", "cmyk"),
    ("ycck.jpg", "ycck"),
    ("png_named.jpg", "wrong-extension"),
    ("jpeg_named.png", "wrong-extension"),
    ("grey.jpg", "grey"),
    ("deep.png", "sixteen-bits"),
    ("clear.png", "transparent"),
    ("turned.jpg", "rotated"),
    ("small.jpg", "tiny"),
    ("half.jpg", "truncated"),
    ("half.png", "truncated"),
    ("empty.jpg", "empty"),
    ("letter.jpg", "no-picture"),
    ("page.jpg", "no-picture"),
    ("animation.jpg", "foreign-format"),
    ("web.jpg", "foreign-format"),
    ("bitmap.png", "foreign-format"),
    ("scan.jpg", "foreign-format"),
    ("twelve.jpg", "unsupported"),
    ("bomb.png", "too-large"),
    ("damaged.png", "broken"),
];

const ERRORS: [&str; 7] =
    ["truncated", "empty", "no-picture", "foreign-format", "unsupported", "too-large", "broken"];

fn content(name: &str) -> Vec<u8> {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    match name {
        "cmyk.jpg" => fixture("cmyk.jpg"),
        "ycck.jpg" => fixture("ycck.jpg"),
        "png_named.jpg" => fixture("png_named.JPEG"),
        "jpeg_named.png" => fixture("jpeg_named.png"),
        "grey.jpg" => fixture("grey.jpg"),
        "deep.png" => fixture("kind2_16.png"),
        "clear.png" => fixture("kind6_8.png"),
        "turned.jpg" => fixture("orientation_6.jpg"),
        "small.jpg" => fixture("size_31x33.jpg"),
        "half.jpg" => half(fixture("noise_100.jpg")),
        "half.png" => half(fixture("kind2_8.png")),
        "empty.jpg" => Vec::new(),
        "letter.jpg" => b"Dear all,".into(),
        "page.jpg" => b"<!DOCTYPE html><p>404".into(),
        "animation.jpg" => b"GIF89a\x01\0\x01\0\0\0\0;".into(),
        "web.jpg" => b"RIFF\x10\0\0\0WEBPVP8 ".into(),
        "bitmap.png" => b"BM\x36\0\0\0\0\0\0\0".into(),
        "scan.jpg" => b"II*\0\x08\0\0\0".into(),
        "twelve.jpg" => fixture("refused_12_bits.jpg"),
        "bomb.png" => {
            let mut bytes = fixture("kind2_8.png");
            // 65,535 columns and rows, and the checksum of that.
            bytes[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
            let checksum = crc32(&bytes[12..29]).to_be_bytes();
            bytes[29..33].copy_from_slice(&checksum);
            bytes
        }
        _ => {
            let mut bytes = fixture("kind2_8.png");
            let at = bytes.windows(4).position(|name| name == b"IDAT").unwrap() + 10;
            bytes[at..at + 4].copy_from_slice(b"oops");
            bytes
        }
    }
}

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

/// A name in Latin-1, where names may be any bytes.
fn latin_1() -> OsString {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9.png".into());
    #[cfg(not(unix))]
    return "cafe.png".into();
}

fn hostile() -> Place {
    let place = place();
    for (i, (name, _)) in KINDS.iter().enumerate() {
        let class = if i % 2 == 0 { "ant" } else { "bee" };
        let split = if i % 5 == 4 { "val" } else { "train" };
        write(&place, &format!("data/{split}/{class}/{name}"), &content(name));
    }
    place
}

fn check(place: &Place, more: &[&str], code: i32) -> Value {
    let json = place.run(&[&["data", "check", "data", "--json"], more].concat()).expect(code);
    serde_json::from_str(&json).unwrap()
}

/// The kinds found in the file called `name`.
fn kinds(report: &Value, name: &str) -> Vec<String> {
    let files = report["files"].as_array().unwrap().iter();
    let is = |file: &&Value| file["path"].as_str().unwrap().rsplit(['/', '\\']).next() == Some(name);
    let remarks = files.filter(is).flat_map(|file| file["remarks"].as_array().unwrap());
    remarks.map(|remark| remark["kind"].as_str().unwrap().into()).collect()
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

/// Split, class, name and bytes of every picture of `data/`, in the order of training.
fn pictures(place: &Place) -> Vec<([String; 3], Vec<u8>)> {
    let mut found = Vec::new();
    for split in ["train", "val"] {
        for class in ["ant", "bee"] {
            let mut paths: Vec<_> = fs::read_dir(place.path(&format!("data/{split}/{class}")))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            paths.sort();
            for path in paths {
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                found.push(([split.into(), class.into(), name], fs::read(path).unwrap()));
            }
        }
    }
    found
}

/// The same data set as a list with a column `split`, as two lists, as tar files of class folders and as TFRecord shards.
fn in_other_forms(place: &Place) -> [&'static str; 4] {
    let pictures = pictures(place);
    fs::create_dir_all(place.path("lists")).unwrap();
    let row = |[split, class, name]: &[String; 3]| format!("data/{split}/{class}/{name},{class},{split}\n");
    let all: String = pictures.iter().map(|(key, _)| row(key)).collect();
    fs::write(place.path("all.csv"), format!("path,label,split\n{all}")).unwrap();
    for split in ["train", "val"] {
        let of_split = || pictures.iter().filter(|(key, _)| key[0] == split);
        let list: String = of_split().map(|(key, _)| format!("../{}", row(key))).collect();
        write(place, &format!("lists/{split}.csv"), format!("path,label,x\n{list}").as_bytes());
        let members: Vec<(String, Vec<u8>)> =
            of_split().map(|([_, class, name], bytes)| (format!("{class}/{name}"), bytes.clone())).collect();
        let members: Vec<(&str, Vec<u8>)> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        write(place, &format!("tars/{split}-0.tar"), &tar(&members));
        let record = |([_, class, name], image): &([String; 3], Vec<u8>)| {
            record(&[
                bytes("image/encoded", image),
                bytes("image/class/text", class.as_bytes()),
                bytes("image/filename", name.as_bytes()),
            ])
        };
        let shard: Vec<u8> = of_split().flat_map(record).collect();
        write(place, &format!("records/{split}-00000-of-00001"), &shard);
    }
    ["all.csv", "lists", "tars", "records"]
}

/// Name, split, class, size and kinds of every file with a remark, sorted.
fn found(report: &Value) -> Vec<String> {
    let file = |file: &Value| {
        let path = file["path"].as_str().unwrap();
        let name = path.rsplit(['/', '\\', ':']).next().unwrap();
        let kinds: Vec<_> =
            file["remarks"].as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap()).collect();
        format!("{name} {} {} {} {} {kinds:?}", file["split"], file["class"], file["bytes"], file["width"])
    };
    let mut all: Vec<String> = report["files"].as_array().unwrap().iter().map(file).collect();
    all.sort();
    all
}

#[test]
fn lists_and_archives_are_judged_as_class_folders_are() {
    let place = hostile();
    fs::copy(place.path("data/train/ant/1.png"), place.path("data/val/ant/leak.png")).unwrap();
    let expected = check(&place, &[], 65);
    let stats = |data: &str| place.run(&["data", "stats", data, "--img-size", "40", "--json"]).expect(0);
    for data in in_other_forms(&place) {
        let report = place.run(&["data", "check", data, "--json"]).expect(65);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(found(&report), found(&expected), "{data}");
        for key in ["counts", "findings", "classes", "folders", "imbalance"] {
            assert_eq!(report[key], expected[key], "{data}: {key}");
        }
        for key in ["disk_bytes", "decoded_bytes"] {
            assert_eq!(report["forecast"][key], expected["forecast"][key], "{data}: {key}");
        }
        assert_eq!(stats(data), stats("data"), "{data}");
    }
    let text = place.run(&["data", "check", "tars"]).expect(65);
    assert!(text.contains("val-0.tar:ant/leak.png: the same as train-0.tar:ant/1.png"), "{text}");
    assert!(text.contains("`inception data pack tars -o OUT --on-bad skip` leaves them out"), "{text}");
}

#[test]
fn fixing_writes_new_lists_and_leaves_archives_alone() {
    let place = hostile();
    in_other_forms(&place);
    let fix = |data: &str| place.run(&["data", "check", data, "--fix", "--json"]);
    let broken = KINDS.iter().filter(|(_, kind)| ERRORS.contains(kind)).count();
    let before = pictures(&place);
    for (data, cleaned, lists) in [("all.csv", "cleaned/all.csv", 1), ("lists", "lists/cleaned", 2)] {
        let old = fs::read(place.path("all.csv")).unwrap();
        let report: Value = serde_json::from_str(&fix(data).expect(0)).unwrap();
        let written = report["fix"]["lists"].as_array().unwrap();
        assert_eq!(written.len(), lists);
        let sum = |key: &str| written.iter().map(|list| list[key].as_u64().unwrap() as usize).sum::<usize>();
        assert_eq!((sum("removed"), sum("kept")), (broken, before.len() - broken), "{data}");
        assert_eq!(
            (&report["fix"]["moved"], &report["fix"]["left"]),
            (&Value::Array(vec![]), &Value::Array(vec![]))
        );
        assert_eq!(fs::read(place.path("all.csv")).unwrap(), old);
        let again: Value =
            serde_json::from_str(&place.run(&["data", "check", cleaned, "--json"]).expect(0)).unwrap();
        assert_eq!((&again["counts"]["errors"], &again["counts"]["files"]), (&0.into(), &sum("kept").into()));
        let splits = inception::data::folder::open_splits(&place.path(cleaned), None, 1).unwrap();
        assert_eq!(
            (splits.train.classes.len(), splits.train.samples.len() + splits.val.samples.len()),
            (2, sum("kept"))
        );
        fix(data).fails(65, "nothing is overwritten");
    }
    assert!(pictures(&place) == before, "pictures stay where they are");
    for data in ["tars", "records"] {
        fix(data).fails(65, "inception data pack");
    }
}

/// Groups stay together in the new list, and what is held out is what training holds out.
#[test]
fn held_out_pictures_of_lists_and_archives_are_those_of_training() {
    let place = Place::new();
    let mut text = String::from("path,label,group\n");
    for i in 0..24 {
        noise(&place, &format!("images/{i}.png"), i, 40, 40);
        text += &format!("images/{i}.png,{},g{}\n", ["ant", "bee"][i as usize % 2], i / 4);
    }
    write(&place, "images/broken.png", b"");
    fs::write(place.path("all.csv"), text + "images/broken.png,ant,g5\n").unwrap();
    let run = |more: &[&str]| place.run(&[&["data", "check", "all.csv", "--json"], more].concat()).expect(65);
    let report: Value = serde_json::from_str(&run(&["--val-split", "0.3"])).unwrap();
    let splits = inception::data::folder::open_splits(&place.path("all.csv"), Some(0.3), 1).unwrap();
    let counts: Vec<_> = splits.train.counts().into_iter().zip(splits.val.counts()).collect();
    let expected =
        |i: usize, name: &str| serde_json::json!({"class": name, "train": counts[i].0, "val": counts[i].1});
    assert_eq!(report["classes"], serde_json::json!([expected(0, "ant"), expected(1, "bee")]));
    place.run(&["data", "check", "all.csv", "--fix"]).expect(0);
    let cleaned = inception::data::folder::open_splits(&place.path("cleaned/all.csv"), Some(0.3), 1).unwrap();
    assert_eq!(cleaned.train.samples.len() + cleaned.val.samples.len(), 24);
    assert!(cleaned.train.groups.iter().all(|group| !cleaned.val.groups.contains(group)));
}

/// What cannot be opened is named, and the rest is looked at all the same.
#[test]
fn a_damaged_shard_and_an_odd_list_are_findings() {
    let place = Place::new();
    let picture = |seed: u64| {
        noise(&place, "one.png", seed, 50, 50);
        fs::read(place.path("one.png")).unwrap()
    };
    let whole = tar(&[("ant/1.png", picture(1)), ("bee/2.png", picture(2)), ("bee/3.png", b"oops".into())]);
    write(&place, "shards/0001.tar", &whole);
    write(&place, "shards/0002.tar", &whole[..300]);
    let report: Value =
        serde_json::from_str(&place.run(&["data", "check", "shards", "--json"]).expect(65)).unwrap();
    assert_eq!((&report["counts"]["files"], &report["counts"]["errors"]), (&3.into(), &1.into()));
    assert_eq!(
        (&report["folders"][0]["path"], &report["folders"][0]["kind"]),
        (&"0002.tar".into(), &"layout".into())
    );
    assert_eq!(report["files"][0]["path"], "0001.tar:bee/3.png");
    assert_eq!(kinds(&report, "3.png"), ["no-picture"]);
    fs::write(place.path("odd.csv"), "path,label,split\none.png,ant,dev\n").unwrap();
    let text = place.run(&["data", "check", "odd.csv"]).expect(65);
    assert!(text.contains("1 pictures have the split `dev`"), "{text}");
    fs::write(place.path("gone.csv"), "one.png,ant\ntwo.png,bee\n").unwrap();
    let report: Value =
        serde_json::from_str(&place.run(&["data", "check", "gone.csv", "--json"]).expect(65)).unwrap();
    assert_eq!(kinds(&report, "two.png"), ["unreadable"]);
    // A class that only training would miss.
    fs::write(place.path("one.csv"), "one.png,ant\n").unwrap();
    let text = place.run(&["data", "check", "one.csv"]).expect(65);
    assert!(text.contains("has one class only, `ant`"), "{text}");
    // ImageNet's validation pictures, flat.
    for i in 1..=2 {
        noise(&place, &format!("val/ILSVRC2012_val_0000000{i}.JPEG"), i, 50, 50);
    }
    let text = place.run(&["data", "check", "val"]).expect(65);
    assert!(text.contains("LOC_val_solution.csv"), "{text}");
    write(&place, "val.txt", b"ILSVRC2012_val_00000001.JPEG 7\nILSVRC2012_val_00000002.JPEG 0\n");
    let report: Value =
        serde_json::from_str(&place.run(&["data", "check", "val", "--json"]).expect(0)).unwrap();
    assert_eq!(report["classes"][0], serde_json::json!({"class": "n01440764", "train": 1, "val": 0}));
}
