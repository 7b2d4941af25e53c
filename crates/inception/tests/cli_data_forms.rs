//! `inception data check` and `stats` of lists, archives and ImageNet's validation folder.

mod cli_support;
mod hostile_data;
mod shards;

use std::fs;

use cli_support::Place;
use hostile_data::*;
use serde_json::Value;
use shards::{bytes, record, tar};

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
