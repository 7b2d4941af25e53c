//! Several ranks under `mpirun`: the same training as one, and an end that says why. Needs Open MPI's `mpirun`.

mod cli_support;
mod ranks_support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cli_support::Place;
use ranks_support::{NET, as_root, text, trained};

/// `inception` with `args` as so many ranks in the folder of `place`.
fn mpirun(place: &Place, ranks: usize, args: &[&str]) -> Command {
    let mut command = launcher(place, ranks);
    command.arg(env!("CARGO_BIN_EXE_inception")).args(args);
    command
}

fn launcher(place: &Place, ranks: usize) -> Command {
    // Ranks that wait for each other for ever are a failure, too.
    let mut command = Command::new("timeout");
    command.args(["--foreground", "300", "mpirun"]);
    // More ranks than cores, as whoever tests: all of that is no concern of a test.
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    command.current_dir(place.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    as_root(&mut command);
    command
}

/// The process of rank `rank` among those of a launcher, once it has taken a step.
fn rank_of(place: &Place, run: &str, launcher: &mut Child, rank: usize) -> String {
    let log = place.path("out").join(run).join("log.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("\"kind\":\"step\"")) {
        if launcher.try_wait().unwrap().is_some() {
            let mut said = String::new();
            launcher.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("ended by itself: {said}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let is_it = |process: &Path| {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let has = |bytes: Vec<u8>, part: &str| bytes.split(|&b| b == 0).any(|found| found == part.as_bytes());
        has(read("environ"), &format!("OMPI_COMM_WORLD_RANK={rank}"))
            && has(read("cmdline"), run)
            && fs::read_link(process.join("cwd"))
                .is_ok_and(|folder| folder == place.dir.path().canonicalize().unwrap())
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found = processes.into_iter().find(|process| is_it(process)).expect("the rank runs");
    found.file_name().unwrap().to_string_lossy().into_owned()
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

/// Fifty steps of 8 pictures in groups of 2: the weights of 1, 2 and 4 ranks have the same bits, with mixed pictures,
/// weighted classes and statistics that are measured anew, too.
#[test]
fn one_two_and_four_ranks_train_the_same_network() {
    let place = Place::with_pictures();
    let more: [(&str, &[&str]); 3] = [
        ("plain", &["--epochs", "50"]),
        ("mixed", &["--epochs", "6", "--set", "mix.mixup=0.4", "--set", "class_weights=balanced"]),
        ("again", &["--epochs", "6", "--set", "batch_norm=recalibrate"]),
    ];
    for (name, more) in more {
        let run = |ranks: usize| {
            let run = format!("{name}-{ranks}");
            let args = [&NET[..], more, &["--experiment", &run]].concat();
            let output = mpirun(&place, ranks, &args).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            assert_eq!(text(&output).matches("best top-1 error").count(), 1, "rank 0 talks alone");
            trained(&place, &run)
        };
        let one = run(1);
        for ranks in [2, 4] {
            assert!(run(ranks) == one, "{name}: {ranks} ranks");
        }
    }
}

#[test]
fn a_signal_to_one_rank_saves_all_and_another_number_goes_on() {
    let place = Place::with_pictures();
    let args = [&NET[..], &["--epochs", "40", "--log-interval", "1", "--experiment"]].concat();
    let whole = [&args[..], &["whole"]].concat();
    assert!(mpirun(&place, 1, &whole).output().unwrap().status.success());
    let stopped = [&args[..], &["stopped"]].concat();
    let mut child = mpirun(&place, 2, &stopped).spawn().unwrap();
    signal("-TERM", &rank_of(&place, "stopped", &mut child, 1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", text(&output));
    assert!(text(&output).contains("inception train --resume out/stopped"), "{}", text(&output));
    let output = mpirun(&place, 4, &["train", "--resume", "out/stopped"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(trained(&place, "stopped") == trained(&place, "whole"), "the same end, bit by bit");
}

#[test]
fn a_rank_that_dies_ends_all_and_the_run_goes_on() {
    let place = Place::with_pictures();
    let args = [&NET[..], &["--epochs", "4000", "--log-interval", "1", "--experiment", "dies"]].concat();
    let mut child = mpirun(&place, 2, &args).spawn().unwrap();
    signal("-KILL", &rank_of(&place, "dies", &mut child, 1));
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("rank 1") && text(&output).contains("signal 9"), "{}", text(&output));
}

/// A rank that stands still without dying is found, named, and ends all.
#[test]
fn a_rank_that_does_not_answer_is_named_and_ends_all() {
    let place = Place::with_pictures();
    let more = ["--epochs", "4000", "--log-interval", "1", "--stall-timeout", "1", "--experiment", "still"];
    let mut child = mpirun(&place, 2, &[&NET[..], &more].concat()).spawn().unwrap();
    signal("-STOP", &rank_of(&place, "still", &mut child, 1));
    let output = child.wait_with_output().unwrap();
    let text = text(&output);
    assert!(!output.status.success());
    let parts = ["no progress; where the ranks are", "in `", "): does not answer", "no answer from rank 1"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn ranks_that_do_not_train_the_same_are_refused() {
    let place = Place::with_pictures();
    let other = place.path("other");
    for split in ["train", "val"] {
        for class in ["ant", "bee"] {
            let from = place.path("data").join(split).join(class);
            let to = other.join("data").join(split).join(class);
            fs::create_dir_all(&to).unwrap();
            for file in fs::read_dir(from).unwrap() {
                let file = file.unwrap().path();
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    fs::remove_file(other.join("data/train/bee/0.png")).unwrap();
    let program = env!("CARGO_BIN_EXE_inception");
    let run = |second: &[&str], folder: &str| {
        let args =
            [&NET[..], &["--epochs", "1", "--set", "batch_size=4", "--experiment", "refused"]].concat();
        let mut command = launcher(&place, 1);
        command
            .arg(program)
            .args(&args)
            .args([":", "-n", "1", "-wdir", folder, program])
            .args(&args)
            .args(second);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        text(&output)
    };
    let found = run(&[], "other");
    assert!(found.contains("rank 1") && found.contains("has other train pictures than rank 0"), "{found}");
    let found = run(&["--lr", "0.5"], ".");
    assert!(found.contains("has the recipe `lr = 0.5`"), "{found}");
    assert!(!place.path("out/refused/last.safetensors").exists());
    let output = mpirun(&place, 4, &[&NET[..], &["--set", "batch_size=3"]].concat()).output().unwrap();
    assert!(text(&output).contains("needs a picture of every batch"), "{}", text(&output));
}

/// Twelve pictures, and one that is none.
fn many_pictures() -> Place {
    let place = Place::new();
    for (class, first) in [("ant", 3), ("bee, or wasp", 20), ("cat", 41)] {
        (0..4).for_each(|i| place.picture(&format!("more/{class}/{i}.png"), first + i));
    }
    fs::write(place.path("more/cat/broken.png"), "no picture").unwrap();
    place
}

/// All that is written, whatever the number of ranks: two pictures a round, and pictures for some ranks alone.
#[test]
fn one_and_several_ranks_evaluate_to_the_same_digits() {
    let place = many_pictures();
    let logits = |ranks: usize, more: &[&str]| {
        let file = format!("logits-{ranks}-{}.safetensors", more.len());
        let args = ["eval", "-w", "net.safetensors", "more", "--on-bad", "skip", "--json", "--threads", "1"];
        let args = [&args[..], &["-b", "1", "--save-logits", &file], more].concat();
        let output = mpirun(&place, ranks, &args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(json["count"], 12);
        (json, fs::read(place.path(&file)).unwrap(), text(&output))
    };
    let crops = ["--crops", "12"];
    for more in [&[][..], &crops] {
        // Whoever averages keeps answers: those of one rank are not to be found again.
        let one = logits(1, more);
        let _ = fs::remove_dir_all(place.path("output"));
        for ranks in [2, 4] {
            let found = logits(ranks, more);
            assert!(found.0 == one.0 && found.1 == one.1, "{ranks} {more:?}");
            let again = logits(ranks, more);
            assert!(again.1 == one.1);
            assert_eq!(again.2.matches("are there already").count(), usize::from(!more.is_empty()));
            let _ = fs::remove_dir_all(place.path("output"));
        }
    }
    let output =
        mpirun(&place, 2, &["eval", "-w", "net.safetensors", "more", "--threads", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    assert_eq!(text(&output).matches("broken.png").count(), 1, "{}", text(&output));
}

#[test]
fn one_and_several_ranks_predict_the_same_rows() {
    let place = many_pictures();
    let rows = |ranks: usize, paths: &[&str], list: &str| {
        let args = ["predict", "-w", "net.safetensors", "--format", "csv", "-b", "1", "--threads", "1"];
        let mut child =
            mpirun(&place, ranks, &[&args[..], paths].concat()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{}", text(&output));
        assert!(text(&output).contains("1 of "), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let list = "more/ant/1.png\nmore/cat/2.png\nmore/cat/broken.png\nmore/ant/0.png\nmore/ant/3.png\n";
    let (folder, listed) = (rows(1, &["more"], ""), rows(1, &["-"], list));
    assert_eq!((folder.lines().count(), listed.lines().count()), (1 + 12 * 3 + 1, 1 + 4 * 3 + 1));
    for ranks in [2, 4] {
        assert_eq!(rows(ranks, &["more"], ""), folder);
        assert_eq!(rows(ranks, &["-"], list), listed);
    }
}

/// A network of those whose answers were kept is not asked again; rank 0 alone has them.
#[test]
fn ranks_average_answers_that_were_kept_with_others() {
    let place = many_pictures();
    place.network("other.safetensors", 4);
    let eval = |ranks: usize, weights: &str, more: &[&str]| {
        let args =
            ["eval", "-w", weights, "more", "--on-bad", "skip", "--json", "--threads", "1", "--crops", "10"];
        let output = mpirun(&place, ranks, &[&args[..], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        output.stdout
    };
    let both = ["--ensemble", "net.safetensors"];
    let one = eval(1, "other.safetensors", &both);
    fs::remove_dir_all(place.path("output")).unwrap();
    eval(1, "net.safetensors", &[]);
    assert!(eval(2, "other.safetensors", &both) == one);
}

#[test]
fn ranks_that_would_answer_otherwise_are_refused() {
    let place = many_pictures();
    let program = env!("CARGO_BIN_EXE_inception");
    let refused = |args: &[&str], second: &[&str], part: &str| {
        let mut command = launcher(&place, 1);
        command.arg(program).args(args).args([":", "-n", "1", program]).args(args).args(second);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(part), "{}", text(&output));
    };
    let eval = ["eval", "-w", "net.safetensors", "more", "--threads", "1"];
    refused(&eval, &["--crops", "12"], "has `crops` 12, rank 0 has 1");
    refused(&eval, &["-b", "7"], "has `batch_size` 7, rank 0 has 32");
    let predict = ["predict", "-w", "net.safetensors", "more", "--threads", "1"];
    refused(&predict, &["--precision", "exact"], "has `precision`");
    let bench = [
        "bench",
        "inception_v3",
        "--img-size",
        "75",
        "--width",
        "0.05",
        "--train",
        "-b",
        "4",
        "--threads",
        "1",
    ];
    refused(&bench, &["--micro-batch", "1"], "has `micro_batch` 1, rank 0 has null");
}

/// Lengths that are no multiple of ranks and words; other weights than those of exact sums, and twice the same.
#[test]
fn gradients_in_half_the_bytes_train_the_same_network_twice() {
    let place = Place::with_pictures();
    let run = |name: &str, more: &[&str]| {
        // Six of eight pictures.
        let mut args: Vec<&str> = NET.iter().map(|&word| if word == "8" { "6" } else { word }).collect();
        args.extend(["--epochs", "3", "--experiment", name]);
        args.extend(more);
        let output = mpirun(&place, 3, &args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        trained(&place, name).0
    };
    let half = run("half", &["--set", "bf16_sums=true"]);
    assert!(half == run("again", &["--set", "bf16_sums=true"]), "bits");
    assert!(half != run("exact", &[]), "as if they were not rounded");
}

#[test]
fn a_doctor_measures_sums_and_steps_and_says_what_is_wrong() {
    let place = Place::with_pictures();
    let doctor =
        ["dist", "doctor", "--data", "data", "--seconds", "0.5", "-m", "inception_v3", "--img-size", "75"];
    let doctor = [&doctor[..], &["--width", "0.05", "-b", "4", "--threads", "1", "--json"]].concat();
    let output = mpirun(&place, 2, &doctor).output().unwrap();
    let found: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!((found["ranks"].as_array().unwrap().len(), &found["hosts"]), (2, &1.into()));
    assert_eq!(found["ranks"][1]["data"]["Ok"][0]["pictures"], 8);
    let times: Vec<f64> =
        found["sums"].as_array().unwrap().iter().map(|sum| sum["seconds"].as_f64().unwrap()).collect();
    assert!(times.len() == 6 && times.iter().all(|&time| time > 0.0), "{times:?}");
    let together = &found["steps"]["together"];
    let (step, rate) =
        (together["median_ms"].as_f64().unwrap(), together["images_per_second"].as_f64().unwrap());
    assert!((rate * step / 1e3 - 4.0).abs() < 1e-6, "pictures of both ranks: {together}");
    assert!(together["sums"]["in_flight_ms"].as_f64().unwrap() > 0.0);
    let work = &found["steps"]["work"];
    assert_eq!((&work["batch"], &work["threads"]), (&2.into(), &1.into()));
    // What is wrong is told before all end.
    let more_threads =
        mpirun(&place, 2, &["dist", "doctor", "--threads", "999", "--seconds", "0.1"]).output().unwrap();
    let told = String::from_utf8_lossy(&more_threads.stdout);
    assert_eq!(more_threads.status.code(), Some(1), "{told}");
    assert!(told.contains("more threads than cores"), "{told}");
    let mut command = launcher(&place, 1);
    let program = env!("CARGO_BIN_EXE_inception");
    let doctor = ["dist", "doctor", "--threads", "1", "--seconds", "0.1"];
    let output = command
        .arg(program)
        .args(doctor)
        .args([":", "-n", "1", program])
        .args(doctor)
        .args(["-b", "4", "-m", "inception_v3"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(1) && told.contains("was started with other flags"),
        "{told} {}",
        text(&output)
    );
}
