//! `inception train` and `inception demo` as a user meets them: runs, bad input, a clean stop.

mod cli_support;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use cli_support::{Ended, Place, command};

const SMALL: [&str; 12] = [
    "-m",
    "inception_resnet_v1",
    "--img-size",
    "75",
    "--width",
    "0.05",
    "-b",
    "4",
    "--epochs",
    "1",
    "--output",
    "out",
];

fn train(place: &Place, more: &[&str]) -> Ended {
    place.run(&[&["train", "data"], &SMALL[..], more].concat())
}

#[test]
fn a_run_leaves_all_its_files_and_eval_agrees_with_its_log() {
    let place = Place::with_pictures();
    train(&place, &["--experiment", "a"]).expect(0);
    for name in [
        "recipe.toml",
        "env.json",
        "log.jsonl",
        "summary.csv",
        "curves.svg",
        "last.safetensors",
        "best.safetensors",
    ] {
        assert!(place.path("out/a").join(name).exists(), "{name} is missing");
    }
    let log = fs::read_to_string(place.path("out/a/log.jsonl")).unwrap();
    let logged: serde_json::Value = log
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .rfind(|r| r["kind"] == "eval")
        .unwrap();
    let json = place.run(&["eval", "-w", "out/a/last.safetensors", "data", "--json", "-b", "3"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    for key in ["eval_loss", "eval_top1_error", "eval_top5_error", "count"] {
        assert_eq!(found[key], logged[key], "{key}");
    }
    // A run is never overwritten, and its recipe reproduces it.
    train(&place, &["--experiment", "a"]).fails(2, "never overwritten");
    place
        .run(&["train", "data", "--recipe", "out/a/recipe.toml", "--output", "out", "--experiment", "b"])
        .expect(0);
    let weights =
        |run: &str| inception::checkpoint::load(&place.path(run).join("last.safetensors")).unwrap().1.data;
    assert_eq!(weights("out/a"), weights("out/b"));
}

/// Judged by the classes in common, the numbers are those of a folder that holds only these; nothing is left out silently.
#[test]
fn splits_with_other_classes_are_judged_by_name_on_request() {
    let place = Place::with_pictures();
    (0..4).for_each(|i| place.picture(&format!("data/train/cat/{i}.png"), i + 20));
    let small: Vec<&str> = SMALL.iter().map(|word| if *word == "4" { "6" } else { word }).collect();
    let run = |more: &[&str]| place.run(&[&["train", "data"], &small[..], more].concat());
    // Hand-filtered: the folder `cat` is missing.
    run(&["--experiment", "refused"]).fails(65, "cat    known     no picture  4 pictures in train");
    let filtered = run(&["--experiment", "filtered", "--allow-missing"]);
    assert!(filtered.stderr.contains("no picture: 1 of 3 classes: cat"), "{}", filtered.stderr);
    assert!(!filtered.stderr.contains("left out"), "{}", filtered.stderr);
    filtered.expect(0);
    // The same with `cat` there, empty, and a class that training does not know, which is first by its name.
    fs::create_dir_all(place.path("data/val/cat")).unwrap();
    (0..3).for_each(|i| place.picture(&format!("data/val/aardvark/{i}.png"), i + 40));
    run(&["--experiment", "refused"]).fails(65, "aardvark  unknown   3 pictures");
    let common = run(&["--experiment", "common", "--allow-missing"]);
    let said = "left out: 3 pictures of classes that training does not know: aardvark (3)";
    assert!(common.stderr.contains(said), "{}", common.stderr);
    common.expect(0);
    let read = |name: &str| fs::read_to_string(place.path("out").join(name)).unwrap();
    let row = |name: &str| read(&format!("{name}/summary.csv"));
    assert_eq!(row("common"), row("filtered"));
    let env: serde_json::Value = serde_json::from_str(&read("common/env.json")).unwrap();
    assert_eq!(env["classes_not_judged"], serde_json::json!(["cat"]));
    assert_eq!(env["classes_left_out"], serde_json::json!([{"class": "aardvark", "pictures": 3}]));
    assert!(read("common/report.html").contains("classes_left_out"));
    // It goes on without the flag; pictures that are left out may come and go.
    fs::remove_file(place.path("data/val/aardvark/0.png")).unwrap();
    place.run(&["train", "--resume", "out/common"]).expect(0);
    place.picture("data/val/bee/new.png", 50);
    place.run(&["train", "--resume", "out/common"]).fails(65, "they were 4 and are 5");
}

#[test]
fn wrong_requests_are_refused_before_anything_is_written() {
    let place = Place::with_pictures();
    let with = |net: &str, size: &str| {
        place.run(&["train", "data", "-m", net, "--img-size", size, "--output", "out"])
    };
    with("inception-v4", "75").fails(2, "did you mean `inception_v4`?");
    with("inception_v4", "60").fails(2, "smallest input size is 75");
    place.run(&["train", "data", "--output", "out"]).fails(2, "give one with -m");
    train(&place, &["--set", "epoch=3"]).fails(2, "did you mean `epochs`?");
    train(&place, &["--set", "nonsense"]).fails(2, "KEY=VALUE");
    train(&place, &["--recipe", "none"]).fails(2, "small, paper");
    train(&place, &["--threads", "0"]).fails(2, "1 to 1024");
    train(&place, &["--set", "batch_size=64"]).fails(2, "give -b 8 or less");
}

#[test]
fn data_that_cannot_be_used_is_named() {
    let place = Place::with_pictures();
    let on = |data: &str| place.run(&[&["train", data], &SMALL[..]].concat());
    fs::create_dir_all(place.path("empty")).unwrap();
    on("empty").fails(65, "is empty");
    place.picture("one/train/only/1.png", 1);
    place.picture("one/val/only/1.png", 1);
    on("one").fails(65, "one class only");
    on("nowhere").fails(1, "nowhere");
    fs::remove_dir_all(place.path("data/val/bee")).unwrap();
    on("data").fails(65, "bee    known     no picture");
}

#[test]
fn an_unreadable_picture_stops_or_is_reported() {
    let place = Place::with_pictures();
    fs::write(place.path("data/train/ant/letter.jpg"), "Dear all,").unwrap();
    train(&place, &["--experiment", "stops"]).fails(65, "letter.jpg: is no picture but text");
    let whole =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../pictures/tests/fixtures/noise_100.jpg")).unwrap();
    fs::write(place.path("data/train/bee/half.jpg"), &whole[..whole.len() / 2]).unwrap();
    let ended = train(&place, &["--experiment", "skips", "--on-bad", "skip"]);
    assert!(ended.stderr.contains("2 pictures could not be read"), "{}", ended.stderr);
    ended.expect(0);
    let log = fs::read_to_string(place.path("out/skips/log.jsonl")).unwrap();
    assert!(log.contains("letter.jpg") && log.contains("half.jpg") && log.contains("truncated"));
}

/// A link to nothing is a picture that cannot be read, as any other.
#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_left_out() {
    let place = Place::with_pictures();
    std::os::unix::fs::symlink("nowhere", place.path("data/train/ant/gone.jpg")).unwrap();
    let all = ["--set", "batch_size=9"];
    train(&place, &[&all[..], &["--experiment", "stops"]].concat()).fails(1, "gone.jpg");
    let ended = train(&place, &[&all[..], &["--experiment", "skips", "--on-bad", "skip"]].concat());
    assert!(ended.stderr.contains("1 picture could not be read"), "{}", ended.stderr);
    ended.expect(0);
}

#[test]
fn strange_pictures_are_trained_on() {
    let place = Place::with_pictures();
    for name in ["cmyk.jpg", "grey.jpg"] {
        let from = format!("{}/../pictures/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::copy(from, place.path("data/train/ant").join(name)).unwrap();
    }
    image::RgbImage::from_pixel(1, 1, image::Rgb([1, 2, 3]))
        .save(place.path("data/train/bee/dot.png"))
        .unwrap();
    fs::rename(place.path("data/train/bee/dot.png"), place.path("data/train/bee/dot.jpg")).unwrap();
    train(&place, &["--experiment", "a"]).expect(0);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let place = Place::with_pictures();
    fs::write(place.path("file"), "").unwrap();
    place.run(&[&["train", "data"], &SMALL[..10], &["--output", "file"]].concat()).fails(1, "file");
    if cfg!(target_os = "linux") {
        // A folder in which nobody can create a file.
        let (graph, _, metadata) = inception::checkpoint::load(&place.path("net.safetensors")).unwrap();
        let weights = inception_graph::Weights::init(&graph, 1);
        let error =
            inception::checkpoint::save(std::path::Path::new("/proc/none.safetensors"), &weights, &metadata);
        assert!(error.unwrap_err().to_string().contains("/proc/none.safetensors"));
    }
}

/// A limit on the size of files fails a write in the middle of a file, as a full disk does.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_no_half_file() {
    let place = Place::with_pictures();
    // Less than a state, more than the other files.
    let ended = limited(&place, "200", &[&["data"], &SMALL[..], &["--experiment", "a"]].concat());
    assert!(ended.stderr.contains("out/a/state-000000000.safetensors"), "{}", ended.stderr);
    ended.fails(1, "nothing of an earlier one is lost");
    let names: Vec<String> = fs::read_dir(place.path("out/a"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains("safetensors")), "{names:?}");
}

/// `inception train data` with `more`, in files of at most so many blocks of 512 bytes.
#[cfg(unix)]
fn limited(place: &Place, blocks: &str, more: &[&str]) -> Ended {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    std::process::Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_inception"), "train"])
        .args(more)
        .current_dir(place.dir.path())
        .output()
        .unwrap()
        .into()
}

/// Without room for another file the run stops or goes on, as asked; what was saved before is whole.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_later_costs_nothing_that_was_saved() {
    let place = Place::with_pictures();
    let whole = run_to_its_end(&place, "whole");
    stop_with(&place, "a", "-TERM");
    let resume = ["--resume", "out/a"];
    limited(&place, "200", &resume).fails(1, "nothing of an earlier one is lost");
    let goes_on = limited(&place, "200", &[&resume[..], &["--on-save-error", "continue"]].concat());
    assert!(goes_on.stderr.contains("going on"), "{}", goes_on.stderr);
    goes_on.fails(1, "make room and go on with --resume out/a");
    place.run(&[&["train"], &resume[..]].concat()).expect(0);
    assert!(weights_of(&place, "a") == whole);
}

#[cfg(unix)]
const LONGER: [&str; 4] = ["--set", "epochs=15", "--save-interval", "0"];

/// The bytes of the weights of a run that nobody disturbs.
#[cfg(unix)]
fn run_to_its_end(place: &Place, name: &str) -> [Vec<u8>; 3] {
    train(place, &[&LONGER[..], &["--experiment", name, "--on-bad", "skip"]].concat()).expect(0);
    weights_of(place, name)
}

/// What a run leaves that is the same each time.
#[cfg(unix)]
fn weights_of(place: &Place, name: &str) -> [Vec<u8>; 3] {
    ["last.safetensors", "best.safetensors", "summary.csv"]
        .map(|file| fs::read(place.path("out").join(name).join(file)).unwrap())
}

/// Begins the run `name`, and sends it a signal when it is under way.
#[cfg(unix)]
fn stop_with(place: &Place, name: &str, signal: &str) {
    let args = [&["train", "data"], &SMALL[..], &LONGER[..], &["--experiment", name, "--on-bad", "skip"]];
    let mut child = command(place.dir.path(), &args.concat()).stderr(Stdio::piped()).spawn().unwrap();
    while !place.path("out").join(name).join("best.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75), "{stderr}");
    let hint = format!("inception train --resume out/{name}");
    assert!(stderr.contains("last.safetensors") && stderr.contains(&hint), "{stderr}");
    let files = fs::read_dir(place.path("out").join(name)).unwrap();
    let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("tmp")).count(), 0, "half a file is left");
}

#[cfg(unix)]
#[test]
fn signals_stop_after_the_step_and_the_run_goes_on_to_the_same_end() {
    let place = Place::with_pictures();
    let whole = run_to_its_end(&place, "whole");
    for signal in ["-INT", "-TERM", "-USR1"] {
        let name = &signal[1..];
        stop_with(&place, name, signal);
        let metadata = |name: &str| {
            inception::checkpoint::load(&place.path("out").join(name).join("last.safetensors")).unwrap().2
        };
        assert!((1..30).contains(&metadata(name).step));
        place.run(&["train", "--resume", &format!("out/{name}")]).expect(0);
        assert!(weights_of(&place, name) == whole, "{signal}");
        // Once more there is nothing left to do.
        place.run(&["train", "--resume", &format!("out/{name}")]).expect(0);
        assert!(weights_of(&place, name) == whole);
    }
}

/// Killed at twenty moments, a picture in it that cannot be read, with another number of threads each time.
#[cfg(unix)]
#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_bits() {
    let place = Place::with_pictures();
    fs::write(place.path("data/train/ant/letter.jpg"), "Dear all,").unwrap();
    let whole = run_to_its_end(&place, "whole");
    let mut random = 12345u64;
    let mut kills = 0;
    for attempt in 0.. {
        let threads = ["1", "2"][attempt % 2];
        let more = ["--experiment", "a", "--on-bad", "skip", "--resume", "auto", "--threads", threads];
        let args = [&["train", "data"], &SMALL[..], &LONGER[..], &more].concat();
        let mut child = command(place.dir.path(), &args).stderr(Stdio::null()).spawn().unwrap();
        if kills < 20 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            std::thread::sleep(std::time::Duration::from_millis(10 + (random >> 33) % 120));
            child.kill().unwrap();
            kills += 1;
        }
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.code(), None, "killed, or done");
    }
    assert!(weights_of(&place, "a") == whole, "after {kills} kills");
    let log = fs::read_to_string(place.path("out/a/log.jsonl")).unwrap();
    let steps = log.lines().filter(|line| line.contains("\"kind\":\"eval\"")).count();
    assert_eq!(steps, 15, "every epoch once");
    assert!(log.contains("letter.jpg"));
}

#[cfg(unix)]
#[test]
fn a_run_goes_on_with_its_own_recipe_and_pictures_alone() {
    let place = Place::with_pictures();
    let whole = run_to_its_end(&place, "whole");
    stop_with(&place, "a", "-TERM");
    let resume = |more: &[&str]| place.run(&[&["train", "--resume", "out/a"], more].concat());
    resume(&["--lr", "0.3"]).fails(2, "schedule.lr is 0.1 there and 0.3 was asked for");
    resume(&["--set", "train.hue=0.1", "--epochs", "9"]).fails(2, "epochs is 15 there");
    place.run(&["train", "--resume", "nowhere"]).fails(2, "expected the folder of a run");
    place.run(&["train", "data", "-m", "inception_v4", "--resume", "auto"]).fails(2, "--experiment flowers");
    // Pictures that were added, or are others under the same name.
    place.picture("data/train/ant/new.png", 50);
    resume(&[]).fails(65, "they were 8 and are 9");
    fs::remove_file(place.path("data/train/ant/new.png")).unwrap();
    let old = fs::read(place.path("data/val/ant/0.png")).unwrap();
    fs::write(place.path("data/val/ant/0.png"), [&old[..], b"more"].concat()).unwrap();
    resume(&[]).fails(65, "a name, a size or a class is another");
    fs::write(place.path("data/val/ant/0.png"), old).unwrap();
    // The folder may move, with its pictures.
    fs::rename(place.path("data"), place.path("moved")).unwrap();
    resume(&[]).fails(1, "data");
    place.run(&["train", "moved", "--resume", "out/a"]).expect(0);
    let bits = weights_of(&place, "a");
    assert!(bits[2] == whole[2], "the same numbers; the checkpoint names another folder");
}

#[cfg(unix)]
#[test]
fn a_damaged_state_is_passed_over_with_a_word() {
    let place = Place::with_pictures();
    let whole = run_to_its_end(&place, "whole");
    stop_with(&place, "a", "-TERM");
    let mut states: Vec<_> = fs::read_dir(place.path("out/a"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("state-"))
        .collect();
    states.sort();
    assert_eq!(states.len(), 2);
    let good = fs::read(&states[0]).unwrap();
    let damage = |path: &std::path::Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - at;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    damage(&states[1], 1000);
    damage(&states[0], 5);
    let ended = place.run(&["train", "--resume", "out/a"]);
    ended.fails(65, "none of the 2 states in out/a can be read");
    fs::write(&states[0], good).unwrap();
    let ended = place.run(&["train", "--resume", "out/a"]);
    assert!(
        ended.stderr.contains("its checksum is") && ended.stderr.contains("passed over"),
        "{}",
        ended.stderr
    );
    ended.expect(0);
    assert!(weights_of(&place, "a") == whole);
}

#[test]
fn distortions_can_be_looked_at() {
    let place = Place::with_pictures();
    let more = ["--experiment", "a", "--save-images", "--set", "mix.cutmix=1", "--set", "train.erase=1"];
    train(&place, &more).expect(0);
    // 8 pictures in 8 columns, and two batches of 4; 4 pixels around each.
    for (name, width, height) in [("images.png", 8 * 79 + 4, 8 * 79 + 4), ("mixed.png", 8 * 79 + 4, 83)] {
        let sheet = image::open(place.path("out/a").join(name)).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (width, height), "{name}");
        assert_eq!(sheet.get_pixel(0, 0).0, [255; 3]);
        assert_ne!(sheet.get_pixel(40, 40).0, [255; 3]);
    }
}

#[test]
fn a_trained_network_learns_other_classes() {
    let place = Place::with_pictures();
    train(&place, &["--experiment", "base"]).expect(0);
    let with = |data: &str, more: &[&str]| {
        let fixed = ["-w", "out/base/last.safetensors", "-b", "4", "--epochs", "2", "--output", "out"];
        place.run(&[&["train", data], &fixed[..], more].concat())
    };
    // The same classes go on with their classifier, whatever their order.
    with("data", &["--experiment", "same", "--freeze", "*", "--freeze", "!logits"]).expect(0);
    let open = |run: &str| {
        inception::checkpoint::load(&place.path("out").join(run).join("last.safetensors")).unwrap()
    };
    let [base, same] = ["base", "same"].map(open);
    assert_eq!((&same.2.net, same.2.img_size, same.2.width), (&base.2.net, 75, 0.05));
    assert_eq!(same.2.provenance.start.as_deref(), Some("last.safetensors"));
    for (i, param) in base.1.params().iter().enumerate() {
        let head = param.name.starts_with("logits/");
        assert_eq!(same.1.get(i) == base.1.get(i), !head, "{}", param.name);
    }
    for class in ["ant", "cow", "dog"] {
        (0..3).for_each(|i| place.picture(&format!("other/train/{class}/{i}.png"), i + 1));
        place.picture(&format!("other/val/{class}/0.png"), 9);
    }
    with("other", &[]).fails(2, "the file knows 2 classes and this data has 3, 2 of them others: --new-head");
    let tuned = ["--new-head", "--recipe", "finetune", "--experiment", "tuned", "--img-size", "96"];
    with("other", &tuned).expect(0);
    let tuned = open("tuned").2;
    assert_eq!((tuned.classes, tuned.img_size), (["ant", "cow", "dog"].map(String::from).to_vec(), 96));
    // Nothing is left to do, and nothing is asked for again.
    place.run(&["train", "--resume", "out/tuned"]).expect(0);
    with("data", &["-m", "inception_v4"]).fails(65, "not of the inception_v4");
    with("data", &["--width", "0.5"]).fails(2, "are of width 0.05");
    with("data", &["--freeze", "mixed_9"]).fails(2, "no layer of inception_resnet_v1 is called `mixed_9`");
    place.run(&[&["train", "data"], &SMALL[..], &["--new-head"]].concat()).fails(2, "--weights");
}

#[test]
fn the_merged_recipe_can_be_seen() {
    let place = Place::with_pictures();
    let text = place
        .run(&["train", "--dump-config", "-m", "inception_v4", "--recipe", "paper", "--lr", "1"])
        .expect(0);
    assert!(text.contains("net = \"inception_v4\"") && text.contains("lr = 1.0"), "{text}");
}

#[test]
fn a_demo_of_one_epoch() {
    let place = Place::new();
    let shorter = ["--set", "schedule.lr=0.05", "--set", "batch_size=128"];
    let text = place.run(&[&["demo", "--epochs", "1", "--output", "demo"], &shorter[..]].concat()).expect(0);
    let folder = fs::read_dir(place.path("demo")).unwrap().next().unwrap().unwrap().path();
    for name in
        ["curves.svg", "inception_v3/best.safetensors", "inception_resnet_v1/log.jsonl", "samples/7.png"]
    {
        assert!(folder.join(name).exists(), "{name}");
    }
    // The line to type next works as printed.
    let line = text.lines().find(|l| l.trim().starts_with("inception predict")).expect("a line to type");
    let args: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert!(place.run(&args).expect(0).contains("7.png"));
}
