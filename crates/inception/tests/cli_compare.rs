//! `inception compare` as a user meets it.

mod cli_support;

use std::fs;
use std::time::SystemTime;

use cli_support::{Ended, Place};

const PAIR: [&str; 5] = ["-m", "inception_v3", "-m", "inception_resnet_v1", "--equal-cost"];

fn compare(place: &Place, more: &[&str]) -> Ended {
    let fixed = "compare data --img-size 75 --width 0.05 -b 4 --epochs 2 --seeds 2 --threads 2 -j 1 --output out --experiment c --progress plain";
    place.run(&[&fixed.split(' ').collect::<Vec<_>>(), more].concat())
}

#[test]
fn a_pair_is_trained_tabled_and_drawn_and_nothing_is_done_twice() {
    let place = Place::with_pictures();
    let more =
        [&PAIR[..], &["--set", "watch.eval_steps=1", "--set", "watch.raw=true", "--target", "95"]].concat();
    let table = compare(&place, &more).expect(0);
    let read = |name: &str| fs::read_to_string(place.path("out/c").join(name)).unwrap();
    for name in ["top1", "top5", "average"] {
        assert!(read(&format!("inception_v3-inception_resnet_v1-{name}.svg")).starts_with("<svg"), "{name}");
    }
    let page = read("compare.md");
    assert!(page.contains("inception compare data --img-size 75") && page.contains(&table), "{page}");
    assert!(page.contains("inception_v3-inception_resnet_v1-top1.svg"));
    // What the table says is what `summary.csv` of the runs says.
    let error = |net: &str, seed: usize| -> f64 {
        let summary = read(&format!("{net}-seed{seed}/summary.csv"));
        100.0 - summary.lines().last().unwrap().split(',').nth(3).unwrap().parse::<f64>().unwrap()
    };
    for net in ["inception_v3", "inception_resnet_v1"] {
        let [a, b] = [error(net, 1), error(net, 2)];
        let expected = format!("{:.2} ± {:.2}", (a + b) / 2.0, (a - b).abs() / 2f64.sqrt());
        let row = table.lines().find(|line| line.starts_with(&format!("| {net} "))).unwrap();
        assert!(row.contains(&expected), "{expected}: {row}");
    }
    assert!(table.contains("Steps to a top-1 error of") && table.contains("95 %"), "{table}");
    // Each seed has the same pictures in the same order for both, and the run is that of `train`.
    let recipe = read("inception_resnet_v1-seed2/recipe.toml");
    fs::write(place.path("again.toml"), &recipe).unwrap();
    place
        .run(&["train", "data", "--recipe", "again.toml", "--output", "out", "--experiment", "t", "-j", "1"])
        .expect(0);
    let weights = |run: &str| fs::read(place.path("out").join(run).join("last.safetensors")).unwrap();
    let texts = |bytes: Vec<u8>| {
        // But for the name of the recipe in its provenance.
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + length..].to_vec()
    };
    assert!(
        texts(weights("c/inception_resnet_v1-seed2")) == texts(weights("t")),
        "another run than that of train"
    );

    // A run that is there is not repeated; one that is not begins.
    let written = |run: &str| -> SystemTime {
        fs::metadata(place.path("out/c").join(run).join("last.safetensors")).unwrap().modified().unwrap()
    };
    let before = written("inception_v3-seed1");
    let all = read("compare.csv");
    fs::remove_dir_all(place.path("out/c/inception_v3-seed2")).unwrap();
    compare(&place, &more).expect(0);
    assert_eq!(written("inception_v3-seed1"), before);
    let points = |csv: &str| csv.lines().skip(1).map(String::from).collect::<Vec<_>>();
    assert_eq!(
        points(&read("compare.csv")),
        points(&all),
        "the run that was taken away is made again, to the same digits"
    );

    // One that was killed before its end was on the disk ends once more, to the same bits.
    let run = place.path("out/c/inception_v3-seed2");
    let last = fs::read(run.join("last.safetensors")).unwrap();
    fs::remove_file(run.join("state-000000004.safetensors")).unwrap();
    fs::write(run.join("last.safetensors"), "an epoch old").unwrap();
    compare(&place, &more).expect(0);
    assert!(fs::read(run.join("last.safetensors")).unwrap() == last);
    assert_eq!(points(&read("compare.csv")), points(&all));

    // Page and figures are made of compare.csv alone.
    fs::create_dir(place.path("kept")).unwrap();
    fs::copy(place.path("out/c/compare.csv"), place.path("kept/compare.csv")).unwrap();
    place.run(&["compare", "--redraw", "kept", "--target", "95"]).expect(0);
    let kept = |name: &str| fs::read_to_string(place.path("kept").join(name)).unwrap();
    for name in ["compare.md", "inception_v3-inception_resnet_v1-top1.svg"] {
        assert_eq!(kept(name), read(name), "{name}");
    }

    // Another recipe is no run of this comparison.
    compare(&place, &[&more[..], &["--lr", "0.5"]].concat()).fails(2, "schedule.lr");
}

#[test]
fn variations_of_a_recipe_are_compared() {
    let place = Place::with_pictures();
    let more = [
        "-m",
        "inception_resnet_v1",
        "--vary",
        "residual_scale=1,0.1",
        "--set",
        "watch.activations=true",
        "--epochs",
        "1",
    ];
    let fixed = "compare data --img-size 75 --width 0.05 -b 4 --seeds 1 --output out --experiment v --progress plain --log-interval 1";
    let table = place.run(&[&fixed.split(' ').collect::<Vec<_>>()[..], &more].concat()).expect(0);
    assert!(
        table.contains("inception_resnet_v1 residual_scale=1 ") && table.contains("residual_scale=0.1"),
        "{table}"
    );
    for name in ["top1", "dead", "spread", "loss"] {
        assert!(place.path(&format!("out/v/inception_resnet_v1-{name}.svg")).exists(), "{name}");
    }
    let checkpoint = "out/v/inception_resnet_v1-residual_scale=1-seed1/last.safetensors";
    let info = place.run(&["info", checkpoint, "--json"]).expect(0);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert!(info.to_string().contains("\"residual_scale\":1.0"), "{info}");
}

#[test]
fn wrong_requests_say_what_is_right() {
    let place = Place::with_pictures();
    compare(&place, &["-m", "inception_v5"]).fails(2, "inception_v4");
    compare(&place, &["-m", "inception_v3", "-m", "inception_v3"]).fails(2, "twice");
    compare(&place, &["-m", "inception_resnet_v1", "--equal-cost"]).fails(2, "-m inception_v3");
    compare(&place, &["-m", "inception_v3", "--vary", "epoch=1,2"]).fails(2, "did you mean `epochs`");
    compare(&place, &["-m", "inception_v3", "--vary", "epochs=1"]).fails(2, "KEY=A,B");
    compare(&place, &["-m", "inception_v3", "--vary", "seed=1,2"]).fails(2, "seeds by --seed and --seeds");
    compare(&place, &["-m", "inception_v3", "--set", "net=inception_v4"]).fails(2, "networks by -m");
    compare(&place, &["-m", "inception_v3", "--target", "120"]).fails(2, "percent");
    assert!(!place.path("out").exists(), "nothing is written");
    place.run(&["compare", "--redraw", "nowhere"]).fails(1, "compare.csv");
    fs::create_dir(place.path("bad")).unwrap();
    fs::write(place.path("bad/compare.csv"), "arm,seed\n").unwrap();
    place.run(&["compare", "--redraw", "bad"]).fails(65, "inception compare");
}
