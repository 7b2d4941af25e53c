//! Training with an auxiliary head as a user meets it.

mod cli_support;

use std::fs;

use cli_support::{Ended, Place};

/// A run of the network `net` on pictures of `size` pixels.
fn train(place: &Place, net: &str, size: &str, more: &[&str]) -> Ended {
    let run =
        ["train", "data", "-m", net, "--img-size", size, "--width", "0.05", "-b", "4", "--output", "out"];
    place.run(&[&run[..], more].concat())
}

#[test]
fn a_network_without_a_head_says_so_and_trains() {
    let place = Place::with_pictures();
    let paper = ["--recipe", "paper", "--epochs", "1"];
    let ended = train(&place, "inception_resnet_v1", "75", &paper);
    let said = "inception_resnet_v1 has no auxiliary head: aux_weight 0.4 has no effect";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    ended.expect(0);
    let too_small = "smallest input size is 107, or train without the head: --set aux_weight=0";
    train(&place, "inception_v3", "75", &paper).fails(2, too_small);
}

#[test]
fn states_hold_the_head_and_weights_to_predict_with_do_not() {
    let place = Place::with_pictures();
    let more = ["--set", "aux_weight=0.4", "--epochs", "3", "--keep-states", "9", "--experiment"];
    let run = |name: &str| train(&place, "inception_v3", "107", &[&more[..], &[name]].concat());
    let ended = run("a");
    assert!(ended.stderr.contains("auxiliary head in training: "), "{}", ended.stderr);
    ended.expect(0);
    let file = |name: &str| place.path("out/a").join(name);
    let bits =
        || ["last.safetensors", "best.safetensors", "summary.csv"].map(|name| fs::read(file(name)).unwrap());
    let whole = bits();
    let holds = |name: &str| {
        let text = String::from_utf8_lossy(&fs::read(file(name)).unwrap()).into_owned();
        ["aux_logits/conv_2a/gamma", "aux_logits/bias"].map(|tensor| text.contains(tensor))
    };
    assert_eq!(holds("state-000000006.safetensors"), [true; 2]);
    assert_eq!([holds("last.safetensors"), holds("best.safetensors")], [[false; 2]; 2]);

    // What was evaluated is what the file holds.
    let log = fs::read_to_string(file("log.jsonl")).unwrap();
    let mut records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let logged = records.rfind(|record| record["kind"] == "eval").unwrap();
    let json = place.run(&["eval", "-w", "out/a/last.safetensors", "data", "--json", "-b", "3"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["eval_loss"], logged["eval_loss"]);

    // From the state after the first epoch to the same end.
    for step in [4, 6] {
        fs::remove_file(file(&format!("state-{step:09}.safetensors"))).unwrap();
    }
    let resumed = place.run(&["train", "--resume", "out/a"]);
    assert!(resumed.stderr.contains("going on after step 2"), "{}", resumed.stderr);
    resumed.expect(0);
    assert!(bits() == whole, "a run that goes on ends with other bits");

    // A file of weights has none, so it starts anew; the layers are called by name.
    let from =
        ["train", "data", "-w", "out/a/last.safetensors", "-b", "4", "--epochs", "1", "--output", "out"];
    let head = ["--set", "aux_weight=0.4", "--freeze", "*", "--freeze", "!aux_logits", "--experiment", "b"];
    let tuned = place.run(&[&from[..], &head].concat());
    assert!(tuned.stderr.contains("auxiliary head in training, which starts anew: "), "{}", tuned.stderr);
    tuned.expect(0);
    let weights = |run: &str| {
        inception::checkpoint::load(&place.path("out").join(run).join("last.safetensors")).unwrap().1.data
    };
    assert_eq!(weights("a"), weights("b"), "all that is saved was frozen");
}
