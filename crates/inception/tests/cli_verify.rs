//! `inception verify` on files made here.

mod cli_support;

use cli_support::{Ended, command};
use inception::checkpoint::{Metadata, save};
use inception::data::Eval;
use inception_graph::{Role, Spec, Weights, build};
use serde_json::{Value, json};
use tempfile::TempDir;

fn verify(dir: &TempDir, args: &[&str]) -> Ended {
    command(dir.path(), &[&["verify", "net.safetensors"], args].concat()).output().unwrap().into()
}

/// A folder with `net.safetensors`, a small network that no other program has, its weights changed by `edit`.
fn small(edit: impl FnOnce(&mut Weights)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let graph = build(&Spec::new("inception_resnet_v1").img_size(75).width(0.05).classes(3)).unwrap();
    let eval: Eval = serde_json::from_value(json!({"crop_pct": 1.0})).unwrap();
    let mut weights = Weights::init(&graph, 3);
    edit(&mut weights);
    let metadata = Metadata::new(&graph, ["ant", "bee", "cat"].map(String::from).into(), eval);
    save(&dir.path().join("net.safetensors"), &weights, &metadata).unwrap();
    dir
}

#[test]
fn every_endpoint_and_the_answer_are_compared_with_f64() {
    let dir = small(|_| {});
    let text = verify(&dir, &["--json"]).expect(0);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["passed"], &report["net"]), (&true.into(), &"inception_resnet_v1".into()));
    let check = &report["checks"].as_array().unwrap()[0];
    let endpoints = check["endpoints"].as_array().unwrap();
    assert!(endpoints.len() > 20, "{text}");
    let numbers = endpoints.iter().map(|row| &row[1]).chain([&check["output"]]);
    assert!(numbers.map(|n| n.as_f64().unwrap()).all(|n| n < 1e-5), "{text}");
}

/// The weights are finite and so load; an activation overflows in f32 and not in f64.
#[test]
fn an_engine_that_answers_nan_fails() {
    let dir = small(|weights| {
        for i in 0..weights.params().len() {
            if weights.params()[i].role == Role::Gamma {
                weights.get_mut(i).fill(1e30);
            }
        }
    });
    let ended = verify(&dir, &[]);
    assert!(ended.stderr.contains("the numbers differ by more than 1e-4"), "{}", ended.stderr);
    let text = ended.expect(65);
    assert!(text.contains("FAILED") && text.contains("NaN"), "{text}");
}
