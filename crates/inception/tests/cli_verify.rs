//! `inception verify` on files made here.

mod cli_support;

use cli_support::{Ended, command, published_file};
use inception::checkpoint::{Metadata, save};
use inception::data::Eval;
use inception_graph::{Layout, Role, Spec, Weights, build};
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
    assert_eq!(
        (&report["classes"], &report["class_order"]),
        (&json!(["ant", "bee", "cat"]), &"named by the file".into())
    );
}

#[test]
fn a_network_that_no_program_was_recorded_of_says_so() {
    let dir = small(|_| {});
    let text = verify(&dir, &[]).expect(0);
    assert!(
        text.contains("no program that computes inception_resnet_v1: only the engine is checked"),
        "{text}"
    );
    assert!(text.contains("\npassed, not recorded: the bound"), "{text}");
    assert!(text.contains("3: ant, bee, cat\n") && !text.contains("reported"), "{text}");
    let report: Value = serde_json::from_str(&verify(&dir, &["--json"]).expect(0)).unwrap();
    assert_eq!((&report["recorded"], &report["published"]), (&false.into(), &Value::Null));
}

/// A file in facenet-pytorch's layout is held against what facenet-pytorch computed; which accuracy was reported is said
/// of the published files, whose digest it has not.
#[test]
fn a_file_in_a_published_layout_is_held_against_its_program() {
    let dir = tempfile::tempdir().unwrap();
    let graph = build(&Spec::new("inception_resnet_v1.facenet")).unwrap();
    published_file(&dir.path().join("net.safetensors"), Layout::FacenetPytorch, &graph);
    let text = verify(&dir, &[]).expect(0);
    for part in [
        "layout facenet-pytorch",
        "published      no file that is known here by its digest",
        "reported       LFW 0.9965 (VGGFace2, of the original), of the published 20180402-114759-vggface2.pt",
        "LFW 0.9905",
        "facenet-pytorch, recorded, formula weights: largest difference",
        "against f64, the file's own weights",
        "\npassed: the bound of all these numbers is 1e-4",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("classes"), "{text}");
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
