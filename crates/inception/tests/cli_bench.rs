//! `inception bench`: that its numbers belong together, not how large they are.

mod cli_support;

use cli_support::{Ended, command};
use serde_json::Value;

fn run(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    command(dir.path(), args).output().unwrap().into()
}

const SMALL: [&str; 8] =
    ["bench", "inception_v4", "--img-size", "139", "--width", "0.25", "--seconds", "0.01"];

fn json(more: &[&str]) -> Value {
    let out = run(&[&SMALL, more, &["--json"]].concat()).expect(0);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn times_rates_and_sizes_belong_together() {
    let report = json(&["-b", "2", "--train"]);
    let number =
        |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    for (what, share) in [("/inference", 1.0), ("/training", 3.0)] {
        let at = |field: &str| number(&format!("{what}/{field}"));
        assert!(at("median_ms") <= at("p90_ms") && at("p90_ms") <= at("p99_ms") && at("runs") >= 2.0);
        let flop = share * 2.0 * number("/gflop") * 1e9;
        assert!((at("gflops") / (flop / at("median_ms") / 1e6) - 1.0).abs() < 1e-9);
        assert!((at("images_per_second") / (2e3 / at("median_ms")) - 1.0).abs() < 1e-9);
    }
    assert!(number("/activation_bytes") > 0.0 && number("/packed_bytes") > 0.0);
    assert!(number("/peak_gflops/0") > 0.0 && number("/peak_gflops/1") > 0.0);
    if cfg!(target_os = "linux") {
        assert!(number("/peak_memory_bytes") > number("/packed_bytes"));
    }
}

/// One algorithm of each convolution is the chosen one, and exactly that runs.
#[test]
fn layers_name_their_algorithms() {
    for (precision, winograd) in [("exact", false), ("default", true)] {
        let report = json(&["--layers", "--precision", precision]);
        let layers = report["layers"].as_array().unwrap();
        let convolutions: Vec<&Value> = layers.iter().filter(|l| l["algorithm"].is_string()).collect();
        assert_eq!(convolutions.len(), 150, "149 convolutions and the classifier");
        for layer in &convolutions {
            let chosen: Vec<&Value> =
                layer["alternatives"].as_array().unwrap().iter().filter(|a| a["chosen"] == true).collect();
            assert_eq!(chosen.len(), 1, "{layer}");
            assert_eq!(chosen[0]["algorithm"], layer["algorithm"]);
        }
        let found = convolutions.iter().any(|l| l["algorithm"].as_str().unwrap().starts_with("winograd"));
        assert_eq!(found, winograd, "{precision}");
    }
    let text = run(&[&SMALL[..], &["--layers"]].concat()).expect(0);
    assert_eq!(text.matches("<--").count(), 150);
    assert!(text.contains("images/s") && text.contains("GFLOP/s of multiply–adds"));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    run(&["bench", "inception_v5"]).fails(2, "inception_v4");
    run(&["bench", "inception_v4", "--seconds", "0"]).fails(2, "more than 0 and at most 3600");
    run(&["bench", "inception_v4", "--threads", "0"]).fails(2, "expected 1 to 1024");
    run(&["bench", "inception_resnet_v1.facenet", "--train", "--seconds", "0.01", "--img-size", "96"])
        .fails(2, "no classes to train on");
}
