//! Data from object stores and web servers: the same as from files, and what happens when a network or a store does not do its part.
//!
//! A test's own server is the store; what the environment must say is said to a process of its own, the program or this one again.
#![cfg(feature = "cloud")]

mod cli_support;
mod cloud_support;
mod shards;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cli_support::{Ended, Place, command};
use cloud_support::{Act, Server};
use inception::data::folder::{open_single, open_splits};
use inception::data::{
    Batch, Cache, Dataset, Eval, Interpolation, Loader, OnBad, Request, Resize, Train, Transform,
};
use inception::recipe::Recipe;
use serde_json::Value;
use shards::{bytes, feature, field, record, tar, varint};

/// `train/` and `val/` with the classes of the checkpoint, some names with blanks.
fn place() -> Place {
    let place = Place::new();
    for class in cli_support::CLASSES {
        (0..3).for_each(|i| place.picture(&format!("data/train/{class}/{i}.png"), i + 1));
        (0..2).for_each(|i| place.picture(&format!("data/val/{class}/a {i}.png"), i + 7));
    }
    fs::write(place.path("data/train/README.txt"), "about").unwrap();
    place
}

/// The same pictures in two tar files, one TFRecord shard and a list.
fn archives(place: &Place) {
    let picture = |class: &str, i: u32| {
        place.picture("one.png", i + 11);
        (format!("{class}{i}.png"), fs::read(place.path("one.png")).unwrap())
    };
    for (split, numbers) in [("train", 0..4), ("val", 4..6)] {
        let (mut members, mut records, mut rows) = (Vec::new(), Vec::new(), String::from("path,label\n"));
        for (i, class) in numbers.flat_map(|i| [(i, "ant"), (i, "cat")]) {
            let (name, png) = picture(class, i);
            members.push((name.clone(), png.clone()));
            members.push((format!("{class}{i}.cls"), class.into()));
            let number = feature("image/class/label", 3, &field(1, &varint(u64::from(class == "cat"))));
            records.extend(record(&[bytes("image/encoded", &png), number]));
            fs::create_dir_all(place.path("lists/pictures")).unwrap();
            fs::write(place.path(&format!("lists/pictures/{name}")), png).unwrap();
            rows += &format!("pictures/{name},{class}\n");
        }
        let members: Vec<(&str, Vec<u8>)> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        for folder in ["tars", "records"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        fs::write(place.path(&format!("tars/{split}-000.tar")), tar(&members)).unwrap();
        fs::write(place.path(&format!("records/{split}.tfrecord")), records).unwrap();
        fs::write(place.path(&format!("lists/{split}.csv")), rows).unwrap();
    }
    fs::write(place.path("tars/classes.txt"), "cat\nant\n").unwrap();
    fs::write(place.path("records/labels.txt"), "0:ant\n1:cat\n").unwrap();
}

fn batches(data: &Dataset, transform: Transform) -> Vec<Batch> {
    let eval = Eval { crop_pct: 1.0, interpolation: Interpolation::Bilinear, resize: Resize::Shorter };
    let loader = Loader::new(Request {
        dataset: Arc::new(data.clone()),
        order: (0..data.samples.len()).rev().collect(),
        transform,
        preprocessing: eval.into(),
        side: 40,
        batch_size: 4,
        drop_last: false,
        keep_empty: false,
        on_bad: OnBad::Error,
        workers: 3,
        cache: Cache::new(0),
    });
    loader.map(|batch| batch.expect("readable")).collect()
}

/// Classes, labels, names below the root, files that are ignored, and the values of all batches.
fn assert_same(local: &Dataset, remote: &Dataset, roots: [&str; 2]) {
    let names = |data: &Dataset, root: &str| -> Vec<(String, u32)> {
        let name =
            |name: String| name.strip_prefix(root).unwrap_or_else(|| panic!("{name} in {root}")).to_string();
        let pictures = data.samples.iter().map(|sample| (name(sample.picture.name()), sample.label));
        pictures.chain(data.ignored.iter().map(|path| (name(path.display().to_string()), 0))).collect()
    };
    assert_eq!(local.classes, remote.classes);
    assert_eq!(names(local, roots[0]), names(remote, roots[1]));
    let train: Train = Recipe::load("small", &[]).unwrap().train;
    for transform in [Transform::Eval, Transform::Train(train, [1, 2])] {
        let (local, remote) = (batches(local, transform), batches(remote, transform));
        assert!(!local.is_empty());
        assert_eq!(local, remote);
    }
}

/// Not a test by itself: run with `LOCAL` and `REMOTE`, two roots that must hold the same.
#[test]
fn child_compares() {
    let (Ok(local), Ok(remote)) = (std::env::var("LOCAL"), std::env::var("REMOTE")) else { return };
    let folder = |root: &'static str| match Path::new(root).extension() {
        Some(_) => root.rsplit_once('/').unwrap().0,
        None => root.trim_end_matches('/'),
    };
    let (local, remote): (&str, &str) = (local.leak(), remote.leak());
    let folders = [folder(local), folder(remote)];
    let single = |root: &str| open_single(Path::new(root)).expect("opened");
    assert_same(&single(local), &single(remote), folders);
    if std::env::var_os("SPLITS").is_some() {
        let splits = |root: &str| open_splits(Path::new(root), None, 1).expect("opened");
        let (here, there) = (splits(local), splits(remote));
        assert_same(&here.train, &there.train, folders);
        assert_same(&here.val, &there.val, folders);
        assert_eq!(there.train.fingerprint(), splits(remote).train.fingerprint());
    }
}

/// Compares a folder or file of `place` with the same at `remote`.
fn compare(place: &Place, server: &Server, name: &str, remote: &str, splits: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_compares", "--nocapture"]).envs(server.environment());
    child.env("LOCAL", place.path(name)).env("REMOTE", remote);
    if splits {
        child.env("SPLITS", "1");
    }
    let output = child.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{remote}: {said}");
}

#[test]
fn class_folders_of_a_bucket_are_those_of_a_folder() {
    let place = place();
    let server = Server::new(place.dir.path());
    compare(&place, &server, "data", "s3://bucket/data", true);
    // What was listed is not asked for again, one by one.
    assert_eq!(server.count("HEAD"), 0);
    compare(&place, &server, "data/val", "s3://bucket/data/val/", false);
}

#[test]
fn archives_and_lists_of_a_bucket_are_those_of_a_folder() {
    let place = Place::new();
    archives(&place);
    let server = Server::new(place.dir.path());
    for name in ["tars", "records", "lists"] {
        compare(&place, &server, name, &format!("s3://bucket/{name}"), true);
    }
    for name in ["tars/train-000.tar", "records/val.tfrecord", "lists/val.csv"] {
        compare(&place, &server, name, &format!("s3://bucket/{name}"), false);
    }
}

#[test]
fn single_files_of_a_web_server_are_those_of_a_folder() {
    let place = Place::new();
    archives(&place);
    let server = Server::new(place.dir.path());
    for name in ["tars/train-000.tar", "records/val.tfrecord", "lists/val.csv"] {
        compare(&place, &server, name, &format!("http://{}/web/{name}", server.host()), false);
    }
    // A list of this machine may name pictures elsewhere.
    let rows =
        |start: &str| format!("{start}/lists/pictures/ant0.png,ant\n{start}/lists/pictures/cat0.png,cat\n");
    fs::write(place.path("here.csv"), rows(".")).unwrap();
    fs::write(place.path("there.csv"), rows(&format!("http://{}/web", server.host()))).unwrap();
    let stats = |list| run(&place, &server, &["data", "stats", list, "--json"], &[]).expect(0);
    assert_eq!(stats("here.csv"), stats("there.csv"));
}

/// Runs the program with `server` as its S3 and `more` in its environment.
fn run(place: &Place, server: &Server, args: &[&str], more: &[(&str, &str)]) -> Ended {
    let mut command = command(place.dir.path(), args);
    command.envs(server.environment()).envs(more.iter().copied()).stdin(Stdio::null());
    command.output().unwrap().into()
}

fn eval(place: &Place, server: &Server, more: &[&str], env: &[(&str, &str)]) -> Ended {
    let args = [&["eval", "-w", "net.safetensors", "s3://bucket/data/val", "--json"], more].concat();
    run(place, server, &args, env)
}

#[test]
fn the_commands_say_the_same_of_a_bucket_as_of_a_folder() {
    let place = place();
    let server = Server::new(place.dir.path());
    let local = place.run(&["eval", "-w", "net.safetensors", "data", "--json"]).expect(0);
    assert_eq!(
        run(&place, &server, &["eval", "-w", "net.safetensors", "s3://bucket/data", "--json"], &[]).expect(0),
        local
    );
    let stats = |data| run(&place, &server, &["data", "stats", data, "--json"], &[]).expect(0);
    assert_eq!(stats("s3://bucket/data"), stats("data"));
    let checked = |data| -> Value {
        let json = run(&place, &server, &["data", "check", data, "--json"], &[]).expect(0);
        serde_json::from_str(&json).unwrap()
    };
    let (there, here) = (checked("s3://bucket/data"), checked("data"));
    for key in ["counts", "findings", "classes", "files"] {
        assert_eq!(there[key], here[key], "{key}");
    }
    run(&place, &server, &["data", "check", "s3://bucket/data", "--fix"], &[])
        .fails(65, "of this machine only");
    run(&place, &server, &["data", "pack", "s3://bucket/data", "-o", "packed"], &[]).expect(0);
    assert!(place.path("packed/classes.txt").exists());
    let bench = ["data", "bench", "s3://bucket/data/val", "--img-size", "32", "--seconds", "0.2", "-j", "2"];
    assert!(run(&place, &server, &bench, &[]).expect(0).contains("images/s"));
}

#[test]
fn training_from_a_bucket_is_training_from_a_folder_and_goes_on() {
    let place = place();
    let server = Server::new(place.dir.path());
    let train = |data: &str, name: &str| {
        let small =
            ["-m", "inception_resnet_v1", "--img-size", "75", "--width", "0.05", "-b", "4", "--epochs", "1"];
        let args = [&["train", data], &small[..], &["--output", "out", "--experiment", name]].concat();
        run(&place, &server, &args, &[]).expect(0);
        inception::checkpoint::load(&place.path("out").join(name).join("last.safetensors")).unwrap().1.data
    };
    assert_eq!(train("data", "here"), train("s3://bucket/data", "there"));
    let said = run(&place, &server, &["train", "--resume", "out/there", "--epochs", "1"], &[]);
    assert!(said.stderr.contains("going on after step"), "{}", said.stderr);
    // Other bytes under the same name are other pictures.
    place.picture("data/train/ant/0.png", 77);
    run(&place, &server, &["train", "--resume", "out/there"], &[]).fails(65, "pictures");
}

#[test]
fn a_missing_picture_is_a_bad_one_and_a_refused_one_ends_all() {
    let place = place();
    let server = Server::new(place.dir.path());
    server.rule("GET /bucket/data/val/ant/a 0.png", Act::Status(404), 1);
    eval(&place, &server, &[], &[])
        .fails(1, "s3://bucket/data/val/ant/a 0.png: there is no such object (404)");
    server.rule("GET /bucket/data/val/ant/a 0.png", Act::Status(404), 1);
    let report: Value =
        serde_json::from_str(&eval(&place, &server, &["--on-bad", "skip"], &[]).expect(0)).unwrap();
    assert_eq!((&report["count"], report["skipped"].as_array().unwrap().len()), (&5.into(), 1));
    server.rule("GET /bucket/data/val/ant/a 0.png", Act::Status(403), 1);
    eval(&place, &server, &["--on-bad", "skip"], &[]).fails(1, "access is refused (403)");
    server.rule("list-type", Act::Status(403), 1);
    eval(&place, &server, &[], &[]).fails(1, "AWS_ACCESS_KEY_ID");
}

#[test]
fn what_passes_is_asked_for_again_and_changes_nothing() {
    let place = place();
    let server = Server::new(place.dir.path());
    let expected = eval(&place, &server, &[], &[]).expect(0);
    for act in [Act::Status(500), Act::Status(503), Act::Status(429), Act::Truncate, Act::Wait(2500)] {
        server.rule("ant/a 0.png", act, 2);
        server.rule("list-type", act, 1);
        assert_eq!(eval(&place, &server, &[], &[("AWS_TIMEOUT", "1s")]).expect(0), expected, "{act:?}");
    }
}

#[test]
fn an_outage_ends_a_command_however_bad_pictures_are_treated() {
    let place = place();
    let server = Server::new(place.dir.path());
    for (act, cause) in
        [(Act::Status(500), "500"), (Act::Truncate, "no whole answer"), (Act::Wait(3000), "no whole answer")]
    {
        let begun = Instant::now();
        server.rule("bee, or wasp/", act, 100);
        let ended = eval(&place, &server, &["--on-bad", "skip"], &[("INCEPTION_RETRY_SECONDS", "1")]);
        assert!(ended.stderr.contains("s3://bucket/data/val/bee, or wasp/a "), "{}", ended.stderr);
        assert!(ended.stderr.contains("INCEPTION_RETRY_SECONDS"), "{}", ended.stderr);
        ended.fails(1, cause);
        let args = ["data", "check", "s3://bucket/data/val"];
        run(&place, &server, &args, &[("INCEPTION_RETRY_SECONDS", "1")]).fails(1, "no whole answer");
        assert!(begun.elapsed() < Duration::from_secs(40), "{act:?}: {:?}", begun.elapsed());
        server.behave();
    }
    let nobody = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("INCEPTION_RETRY_SECONDS", "1")];
    eval(&place, &server, &[], &nobody).fails(1, "AWS_ENDPOINT_URL");
    eval(&place, &server, &[], &[("INCEPTION_RETRY_SECONDS", "soon")])
        .fails(1, "expected a number of seconds");
}

#[test]
fn what_cannot_be_opened_says_why() {
    let place = place();
    archives(&place);
    let server = Server::new(place.dir.path());
    let web = format!("http://{}/web", server.host());
    let open = |url: &str, says: &str| {
        run(&place, &server, &["eval", "-w", "net.safetensors", url], &[]).fails(1, says);
    };
    open("s3://bucket/nothing", "there is no such object, and none below");
    open("s3://bucket/nothing.tar", "there is no such object, and none below");
    open("s3://bucket/../x", "leads out");
    open(&format!("{web}/data"), "there is no such object (404)");
    open(&format!("{web}/tars/x.tar?token=1"), "a query");
    server.rule("val-000.tar", Act::Whole, 2);
    open(&format!("{web}/tars/val-000.tar"), "understands `Range`");
    // Opened, then written over: offsets into it mean nothing any more.
    server.rule("HEAD /web/tars/val-000.tar", Act::Wait(0), 1);
    server.rule("GET /web/tars/val-000.tar", Act::Wait(0), 1);
    server.rule("GET /web/tars/val-000.tar", Act::Changed, 100);
    run(
        &place,
        &server,
        &[
            "eval",
            "-w",
            "net.safetensors",
            &format!("{web}/tars/val-000.tar"),
            "--allow-missing",
            "--on-bad",
            "skip",
        ],
        &[],
    )
    .fails(1, "is another than at the start");
}

#[test]
fn without_credentials_there_is_an_error_at_once() {
    let place = place();
    let mut command = command(place.dir.path(), &["eval", "-w", "net.safetensors", "s3://bucket/data"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let begun = Instant::now();
    let ended: Ended = command.stdin(Stdio::null()).output().unwrap().into();
    // On a machine in a cloud there may be some.
    if !ended.stderr.contains("no such bucket") {
        ended.fails(1, "AWS_SKIP_SIGNATURE");
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}
