//! What ranks that there are not would do, and what one rank alone is told.

mod cli_support;

use std::fs;

use cli_support::Place;
use serde_json::{Value, json};

/// A plan that a rank's work can be taken from: two buckets of a million values and statistics.
fn earlier(place: &Place) {
    let work = json!({
        "batch": 8,
        "threads": 2,
        "sums": [[1_000_000, 1.0], [1_000_000, 1.5], [1000, 2.0]],
        "update": 0.25,
        "deviation": 0.01,
    });
    let plan = json!({"net": "inception_v3", "img_size": 75, "width": 0.25, "work": work});
    fs::write(place.path("work.json"), plan.to_string()).unwrap();
}

const PLAN: [&str; 9] =
    ["dist", "plan", "inception_v3", "--img-size", "75", "--width", "0.25", "--batch-per-rank", "8"];

fn plan(place: &Place, more: &[&str]) -> Value {
    let args = [&PLAN[..], &["--work", "work.json", "--json"], more].concat();
    serde_json::from_str(&place.run(&args).expect(0)).unwrap()
}

#[test]
fn a_plan_is_what_the_formulas_say() {
    let place = Place::new();
    earlier(&place);
    let found = plan(&place, &["--ranks", "1..16", "--bandwidth", "8Mbps", "--latency", "1ms"]);
    let forecasts = found["forecasts"].as_array().unwrap();
    let counts: Vec<u64> = forecasts.iter().map(|f| f["ranks"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2, 4, 8, 16]);
    let number = |forecast: &Value, key: &str| forecast[key].as_f64().unwrap();
    assert!((number(&forecasts[0], "total") - 2.25).abs() < 1e-12);
    assert!((number(&forecasts[0], "images_per_second") - 8.0 / 2.25).abs() < 1e-9);
    // A megabyte a second: from 1 s on 4 MB, then 4 MB, then 4 kB, of which 2 ranks send each a half twice; 2 ms and two messages of
    // latency; what the slower of two is late (0.01/√π); the update.
    let expected = 1.0 + 4.0 + 4.0 + 0.004 + 0.002 + 4e-6 + 0.01 / std::f64::consts::PI.sqrt() + 0.25;
    assert!((number(&forecasts[1], "total") - expected).abs() < 1e-4, "{} {expected}", forecasts[1]);
    // Four ranks send three quarters twice; by a tree each sends all of it four times.
    assert!((number(&forecasts[2], "sums") - 1.5 * 8.004 - 3.0 * 0.002).abs() < 1e-4, "{}", forecasts[2]);
    assert!(number(&forecasts[2], "tree") > 1.0 + 4.0 * 8.004);
    let half = plan(&place, &["--ranks", "2", "--bandwidth", "1MB/s", "--latency", "1ms", "--bf16-sums"]);
    // Statistics travel as they are.
    assert!((number(&half["forecasts"][0], "sums") - 4.004 - 0.006).abs() < 1e-4, "{half}");
}

#[test]
fn a_plan_takes_the_link_of_a_doctor() {
    let place = Place::new();
    earlier(&place);
    let link = |bandwidth: f64, hosts: usize| {
        json!({"link": {"latency": 0.5, "bandwidth": bandwidth, "busy": 0.5}, "hosts": hosts}).to_string()
    };
    fs::write(place.path("doctor.json"), link(1e9, 2)).unwrap();
    let found = plan(&place, &["--ranks", "2", "--doctor", "doctor.json", "--bandwidth", "2GB/s"]);
    assert_eq!(found["link"], json!({"latency": 0.5, "bandwidth": 2e9, "busy": 0.5}));
    let run = |more: &[&str]| {
        let args =
            [&PLAN[..], &["--work", "work.json", "--ranks", "2", "--doctor", "doctor.json"], more].concat();
        place.run(&args)
    };
    fs::write(place.path("doctor.json"), link(1e9, 1)).unwrap();
    assert!(run(&[]).stderr.contains("its link is memory, which no host has to another"));
    assert!(!run(&["--ranks-per-host", "2"]).stderr.contains("memory"));
    fs::write(place.path("doctor.json"), json!({"link": null, "hosts": 1}).to_string()).unwrap();
    run(&[]).fails(65, "doctor.json: has no link");
    fs::write(place.path("doctor.json"), link(0.0, 2)).unwrap();
    run(&[]).fails(65, "doctor.json: link: `bandwidth` is no rate");
    fs::write(place.path("doctor.json"), "{}").unwrap();
    run(&[]).fails(65, "is nothing that `inception dist doctor --json` writes");
}

#[test]
fn a_plan_says_what_batches_mean_for_the_rate() {
    let place = Place::new();
    earlier(&place);
    let args = ["--work", "work.json", "--ranks", "4,8,2048", "--bandwidth", "10Gbit", "--latency", "30us"];
    let text = place.run(&[&PLAN[..], &args].concat()).expect(0);
    // The recipe has 0.1 for 32 pictures.
    assert!(text.contains("-b 32 --lr 0.1  no warm-up"), "{text}");
    assert!(text.contains("-b 64 --lr 0.2 --set schedule.start=0.5000"), "{text}");
    assert!(
        text.contains("arXiv:1706.02677") && text.contains("errors rise beyond 8,192 pictures"),
        "{text}"
    );
}

#[test]
fn what_a_plan_cannot_use_is_refused() {
    let place = Place::new();
    earlier(&place);
    let run = |more: &[&str]| place.run(&[&PLAN[..], &["--work", "work.json"], more].concat());
    run(&["--ranks", "2"]).fails(2, "--bandwidth");
    run(&["--ranks", "0", "--bandwidth", "1GB/s", "--latency", "1us"]).fails(2, "`0` is no number of ranks");
    run(&["--ranks", "2", "--bandwidth", "10", "--latency", "1us"]).fails(2, "expected for example 10Gbit");
    let link = ["--ranks", "2", "--bandwidth", "1GB/s", "--latency", "1us"];
    let less = ["dist", "plan", "inception_v3", "--img-size", "75", "--width", "0.25", "--work", "work.json"];
    place.run(&[&less[..], &link].concat()).fails(65, "was measured with --batch-per-rank 8, not 32");
    let other = ["dist", "plan", "inception_v4", "--work", "work.json", "--batch-per-rank", "8"];
    place.run(&[&other[..], &link].concat()).fails(65, "is about inception_v3 at 75 px");
    let broken =
        fs::read_to_string(place.path("work.json")).unwrap().replace("\"threads\":2", "\"threads\":0");
    fs::write(place.path("work.json"), broken).unwrap();
    run(&link).fails(65, "work.json: work: `threads` is 0");
    run(&[&link[..], &["--recipe", "nonsense"]].concat()).fails(2, "nonsense");
    fs::write(place.path("work.json"), "[]").unwrap();
    run(&link).fails(65, "is no plan of `inception dist plan --json`");
}

#[test]
fn one_rank_alone_has_nothing_to_sum() {
    let place = Place::with_pictures();
    let text = place.run(&["dist", "doctor", "--data", "data", "--threads", "1"]).expect(0);
    assert!(text.contains("start it with mpirun -n 2") && text.contains("nothing is wrong"), "{text}");
    let ended = place.run(&["dist", "doctor", "--data", "nowhere", "--threads", "1"]);
    assert!(ended.stdout.contains("cannot read the pictures: nowhere"), "{}", ended.stdout);
    ended.expect(1);
}

/// Each of several ranks would train alone, over the others' files.
#[cfg(not(feature = "mpi"))]
#[test]
fn one_of_several_ranks_is_refused_without_mpi() {
    let place = Place::with_pictures();
    let commands: [&[&str]; 5] = [
        &["train", "data", "-m", "inception_v3"],
        &["eval", "-w", "net.safetensors", "data"],
        &["predict", "-w", "net.safetensors", "data"],
        &["bench", "inception_v3", "--train"],
        &["dist", "doctor"],
    ];
    for command in commands {
        for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
            let mut run = cli_support::command(place.dir.path(), command);
            let ended: cli_support::Ended = run.env(variable, "2").output().unwrap().into();
            ended.fails(2, "this build has no `mpi` feature");
        }
    }
}
