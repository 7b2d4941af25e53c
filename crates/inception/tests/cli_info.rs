//! `inception info`, and what all commands share: help, errors, exit codes.

mod cli_support;

use std::fs;
use std::process::Stdio;

use cli_support::{CLASSES, Ended, Place, command, published_file};
use inception_graph::{Layout, NETWORKS, Spec, build};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn run(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    command(dir.path(), args).output().unwrap().into()
}

#[test]
fn help_names_every_command_and_version_is_the_crates() {
    let help = run(&["--help"]).expect(0);
    for word in
        ["demo", "info", "predict", "eval", "train", "classify", "validate", "summary", "bench", "Examples"]
    {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(run(&["--version"]).expect(0).trim(), concat!("inception ", env!("CARGO_PKG_VERSION")));
    for command in [
        "demo", "info", "predict", "eval", "train", "summary", "classify", "infer", "val", "validate",
        "bench",
    ] {
        run(&[command, "--help"]).expect(0);
    }
}

#[test]
fn usage_errors_are_2() {
    assert_eq!(run(&["info", "--nonsense"]).code, 2);
    assert_eq!(run(&["nonsense"]).code, 2);
    assert_eq!(run(&["predict", "a.png"]).code, 2, "without a checkpoint");
    assert_eq!(run(&[]).code, 2);
}

#[test]
fn an_unknown_network_gets_a_suggestion() {
    run(&["info", "inception-v3x"]).fails(2, "did you mean `inception_v3`?");
    run(&["info", "resnet50"]).fails(2, "unknown network `resnet50`");
}

#[test]
fn a_size_below_the_smallest_says_which_is() {
    run(&["info", "inception_v3", "--img-size", "20"]).fails(2, "the smallest input size is 75");
    run(&["info", "inception_v3", "--width", "-1"]).fails(2, "width -1");
    run(&["info", "inception_v3", "--classes", "1000001"]).fails(2, "number of classes 1000001");
}

#[test]
fn errors_have_no_colour_outside_a_terminal() {
    let ended = run(&["info", "nonsense"]);
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["info", "inception_v3", "--layers"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn the_list_has_every_network() {
    let text = run(&["info"]).expect(0);
    let json: Value = serde_json::from_str(&run(&["info", "--json"]).expect(0)).unwrap();
    assert_eq!(json.as_array().unwrap().len(), NETWORKS.len());
    for (net, row) in NETWORKS.iter().zip(json.as_array().unwrap()) {
        let graph = build(&Spec::new(net.name)).unwrap();
        assert!(text.lines().any(|line| line.starts_with(net.name) && line.ends_with(net.about)), "{text}");
        assert_eq!(row["name"], net.name);
        assert_eq!(row["parameters"], graph.parameter_count());
        assert_eq!(row["macs"], graph.macs());
    }
}

#[test]
fn a_network_as_text_and_as_json() {
    let text = run(&["info", "inception_v3"]).expect(0);
    assert!(text.contains("inception_v3"), "{text}");
    let layers = run(&["info", "inception_v3", "--layers"]).expect(0);
    let graph = build(&Spec::new("inception_v3")).unwrap();
    for node in graph.nodes().iter().filter(|n| n.name.ends_with("/b0/0")) {
        assert!(layers.contains(&node.name), "{} in {layers}", node.name);
    }
    let json: Value = serde_json::from_str(&run(&["info", "inception_v3", "--json"]).expect(0)).unwrap();
    assert_eq!(
        (&json["net"], &json["parameters"]),
        (&"inception_v3".into(), &graph.parameter_count().into())
    );
    assert!(json.get("layers").is_none() && json.get("checkpoint").is_none());
    let [default, exact] = &json["inference"].as_array().unwrap()[..] else {
        panic!("{}", json["inference"])
    };
    assert_eq!((&default["precision"], &exact["precision"]), (&"default".into(), &"exact".into()));
    let number = |of: &Value, key: &str| of[key].as_u64().unwrap();
    assert!(number(default, "winograd") >= 50 && number(exact, "winograd") == 0, "{default}");
    assert!(number(default, "strassen") >= 20 && number(exact, "strassen") == 0, "{default}");
    // Without transforms they are the weights, less batch norms, and zeros where the last panel of columns is not full.
    let weights = 4.0 * graph.parameter_count() as f64;
    let bytes = number(exact, "packed_weights");
    assert!((bytes as f64 / weights - 1.0).abs() < 0.01, "{bytes} bytes of {weights}");
    assert!(bytes < number(default, "packed_weights"), "{default}");
    assert!(text.contains("Winograd's algorithm in") && text.contains("sums of products alone"), "{text}");
    let json = run(&["info", "inception_v3", "--json", "--layers", "--batch", "2"]).expect(0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["layers"].as_array().unwrap().len(), &json["batch"]), (graph.nodes().len(), &2.into()));
}

/// Enough for a program in another language to build the very network, as `reference/torch_net.py` does.
#[test]
fn the_graph_as_json_says_all_about_every_box() {
    let info =
        |net: &str| -> Value { serde_json::from_str(&run(&["info", net, "--json"]).expect(0)).unwrap() };
    let json = info("inception_resnet_v1.facenet");
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    assert_eq!(
        (&json["bn_epsilon"], json["outputs"][0]["node"].as_str()),
        (&0.001.into(), Some("embedding"))
    );
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), graph.nodes().len());
    let params = nodes.iter().flat_map(|node| node["params"].as_array().unwrap());
    let names: Vec<_> = params.clone().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, graph.params().iter().map(|p| p.name.as_str()).collect::<Vec<_>>());
    for (row, node) in nodes.iter().zip(graph.nodes()) {
        assert_eq!((row["name"].as_str(), row["op"].as_str()), (Some(&*node.name), Some(node.op.kind())));
        assert_eq!(row["shape"], json!([node.shape.h, node.shape.w, node.shape.c]));
    }
    let expected = [
        json!({ "name": "input", "op": "input", "inputs": [], "shape": [160, 160, 3], "params": [] }),
        json!({
            "name": "conv_1a", "op": "conv", "out": 32, "kernel": [3, 3], "stride": 2, "pad": "valid",
            "after": "bn_relu", "padding": [0, 0], "inputs": ["input"], "shape": [79, 79, 32],
            "params": [
                { "name": "conv_1a/weight", "role": "weight", "shape": [3, 3, 3, 32] },
                { "name": "conv_1a/gamma", "role": "gamma", "shape": [32] },
                { "name": "conv_1a/beta", "role": "beta", "shape": [32] },
                { "name": "conv_1a/mean", "role": "mean", "shape": [32] },
                { "name": "conv_1a/variance", "role": "variance", "shape": [32] },
            ],
        }),
        json!({
            "name": "pool_3a", "op": "max_pool", "size": 3, "stride": 2, "pad": "valid", "padding": [0, 0],
            "inputs": ["conv_2b"], "shape": [38, 38, 64], "params": [],
        }),
        json!({
            "name": "block17_1/up", "op": "conv", "out": 896, "kernel": [1, 1], "stride": 1, "pad": "same",
            "after": "bias", "padding": [0, 0], "inputs": ["block17_1/concat"], "shape": [8, 8, 896],
            "params": [
                { "name": "block17_1/up/weight", "role": "weight", "shape": [1, 1, 256, 896] },
                { "name": "block17_1/up/bias", "role": "bias", "shape": [896] },
            ],
        }),
        json!({
            "name": "block17_1", "op": "residual", "scale": 0.1, "relu": true,
            "inputs": ["mixed_6a", "block17_1/up"], "shape": [8, 8, 896], "params": [],
        }),
        json!({
            "name": "block8_6", "op": "residual", "scale": 1.0, "relu": false,
            "inputs": ["block8_5", "block8_6/up"], "shape": [3, 3, 1792], "params": [],
        }),
        json!({
            "name": "dropout", "op": "dropout", "keep": 0.8, "inputs": ["pool"], "shape": [1, 1, 1792],
            "params": [],
        }),
    ];
    let row = |name: &Value| nodes.iter().find(|row| row["name"] == *name).unwrap();
    for node in &expected {
        assert_eq!(row(&node["name"]), node);
    }
    assert_eq!(row(&"block17_1/b1/1".into())["padding"], json!([0, 3]), "1×7");
    assert_eq!(row(&"bottleneck".into())["after"], "bn");
    let json = info("inception_v3.torchvision");
    let nodes = json["nodes"].as_array().unwrap();
    let row = |name: &str| nodes.iter().find(|row| row["name"] == name).unwrap();
    let pool = json!({
        "name": "mixed_5b/b3/0", "op": "avg_pool", "size": 3, "stride": 1, "pad": "same", "count_padding": true,
        "padding": [1, 1], "inputs": ["pool_5a"], "shape": [35, 35, 192], "params": [],
    });
    assert_eq!(*row("mixed_5b/b3/0"), pool);
    assert_eq!((&row("logits")["op"], &row("logits")["out"]), (&"linear".into(), &1000.into()));
}

#[test]
fn a_checkpoint_tells_what_it_is() {
    let place = Place::new();
    let text = place.run(&["info", "net.safetensors"]).expect(0);
    for part in [
        "net.safetensors",
        "inception_v3",
        "3: ant, bee, or wasp, cat",
        "bilinear",
        "0 steps",
        "written by     inception",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json: Value =
        serde_json::from_str(&place.run(&["summary", "net.safetensors", "--json"]).expect(0)).unwrap();
    let checkpoint = &json["checkpoint"];
    assert_eq!(checkpoint["classes"], json!(CLASSES));
    assert_eq!((&checkpoint["net"], &checkpoint["img_size"]), (&"inception_v3".into(), &75.into()));
    assert_eq!(checkpoint["width"], 0.05);
    assert_eq!(checkpoint["preprocessing"]["range"], "[-1,1]");
    place.run(&["info", "net.safetensors", "--width", "1"]).fails(2, "a checkpoint has its own");
}

/// What another program wrote was not written by this one, and a network without classes has no line of them.
#[test]
fn a_file_of_another_program_tells_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("faces.safetensors");
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    published_file(&path, Layout::FacenetPytorch, &graph);
    let run = |more: &[&str]| -> Ended {
        command(dir.path(), &[&["info", "faces.safetensors"], more].concat()).output().unwrap().into()
    };
    let sha256: String =
        Sha256::digest(fs::read(&path).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    let tensors = Layout::FacenetPytorch.names(&graph).iter().flatten().count();
    let text = run(&[]).expect(0);
    for part in [
        "format         safetensors, layout facenet-pytorch".to_string(),
        format!("SHA-256        {sha256}"),
        format!("tensors        {tensors} of F32"),
    ] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    assert!(!text.contains("written by") && !text.contains("classes        0"), "{text}");
    let json: Value = serde_json::from_str(&run(&["--json"]).expect(0)).unwrap();
    assert_eq!(json["file"]["tensors"]["F32"], tensors);
    assert_eq!((&json["file"]["sha256"], &json["file"]["published"]), (&sha256.into(), &Value::Null));
}

#[test]
fn the_network_of_a_file_can_be_said() {
    let place = Place::new();
    place.run(&["info", "net.safetensors", "-m", "inception_v3"]).expect(0);
    place.run(&["info", "net.safetensors", "-m", "inception_v4"]).fails(65, "it is of inception_v3");
    place.run(&["info", "net.safetensors", "-m", "inception-v5"]).fails(2, "unknown network");
    place.run(&["info", "inception_v3", "-m", "inception_v3"]).fails(2, "this is no file");
}

#[test]
fn broken_checkpoints_are_bad_data_for_every_command() {
    let place = Place::new();
    let whole = fs::read(place.path("net.safetensors")).unwrap();
    fs::write(place.path("cut.safetensors"), &whole[..whole.len() - 4]).unwrap();
    fs::write(place.path("page.safetensors"), "<!DOCTYPE html><p>Not found").unwrap();
    for (file, part) in [("cut.safetensors", "cut off"), ("page.safetensors", "web page")] {
        place.run(&["info", file]).fails(65, part);
        place.run(&["predict", "-w", file, "x.png"]).fails(65, part);
        place.run(&["eval", "-w", file, "."]).fails(65, part);
    }
    place.run(&["info", "missing.safetensors"]).fails(1, "cannot read missing.safetensors");
}
