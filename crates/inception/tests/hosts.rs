//! Ranks on hosts with a wire between them: network namespaces that `reference/hosts.py` makes. Needs root, Open MPI's `mpirun`, iproute2
//! and Python, and so is run by `cargo test --features mpi --test hosts -- --include-ignored` alone.

mod cli_support;
mod ranks_support;

use std::process::{Command, Output};

use cli_support::Place;
use ranks_support::{NET, as_root, text, trained};

/// `inception` with `args` as a rank on each of two hosts, whose wire is as `wire` says.
fn hosts(place: &Place, wire: &[&str], args: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../reference/hosts.py");
    let mut command = Command::new("timeout");
    command.args(["300", "python3", script, "2"]).args(wire);
    command.args(["--", "mpirun", "{mpi}", "-n", "2", env!("CARGO_BIN_EXE_inception")]).args(args);
    as_root(&mut command);
    command.current_dir(place.dir.path()).output().unwrap()
}

fn train<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&NET[..], &["--experiment", run], more].concat()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_slow_and_lossy_wire_changes_no_bit() {
    let place = Place::with_pictures();
    let alone = train("alone", &["--epochs", "4"]);
    assert_eq!(place.run(&alone).code, 0);
    for (run, wire) in [("lossy", &["--loss", "3", "--delay", "3"][..]), ("narrow", &["--rate", "20"])] {
        let output = hosts(&place, wire, &train(run, &["--epochs", "4"]));
        assert!(output.status.success(), "{run}: {}", text(&output));
        assert!(trained(&place, run) == trained(&place, "alone"), "{run}");
    }
}

/// Half a second to one of two: all wait for it, nothing is wrong, and whoever waits for longer than asked is told for whom.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_rank_that_is_far_away_is_waited_for() {
    let place = Place::with_pictures();
    assert_eq!(place.run(&train("alone", &["--epochs", "2"])).code, 0);
    let output =
        hosts(&place, &["--delay-of", "1=500"], &train("far", &["--epochs", "2", "--stall-timeout", "1"]));
    assert!(output.status.success(), "{}", text(&output));
    assert!(trained(&place, "far") == trained(&place, "alone"));
    let text = text(&output);
    assert!(text.contains("no progress; where the ranks are") && text.contains("host-1"), "{text}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_host_that_is_gone_ends_all_and_the_run_goes_on() {
    let place = Place::with_pictures();
    let more = ["--epochs", "4000", "--log-interval", "1", "--stall-timeout", "2"];
    let output = hosts(&place, &["--cut", "1=8"], &train("cut", &more));
    let said = text(&output);
    assert!(![0, 124].contains(&output.status.code().unwrap()), "{said}");
    assert!(said.contains("): does not answer") || said.contains("lost communication"), "{said}");
    let mut again = Command::new("timeout");
    again.args([
        "--preserve-status",
        "--signal=TERM",
        "5",
        env!("CARGO_BIN_EXE_inception"),
        "train",
        "--resume",
        "out/cut",
    ]);
    let output = again.current_dir(place.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", text(&output));
    assert!(text(&output).contains("going on after step"), "{}", text(&output));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_doctor_sees_the_wire() {
    let place = Place::new();
    let args = ["dist", "doctor", "--threads", "1", "--seconds", "2", "--json"];
    let output = hosts(&place, &["--delay", "20", "--rate", "400"], &args);
    assert!(output.status.success(), "{}", text(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let hosts: Vec<&str> =
        found["ranks"].as_array().unwrap().iter().map(|rank| rank["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["host-0", "host-1"]);
    let (latency, bandwidth) =
        (found["link"]["latency"].as_f64().unwrap(), found["link"]["bandwidth"].as_f64().unwrap());
    // Twenty milliseconds at least, and at most the 50 MB/s of the wire.
    assert!((0.02..0.1).contains(&latency), "{latency}");
    assert!(bandwidth > 5e6 && bandwidth < 6e7, "{bandwidth}");
}
