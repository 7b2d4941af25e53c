//! Keras files against what h5py and Keras read in them: `reference/keras_files.py` makes both.

mod common;

use std::path::PathBuf;

use common::{check, damage, expected};
use inception_formats::{Dtype, Format, Problem, open, open_bytes};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras").join(name)
}

const SOUND: [&str; 8] = [
    "model_2.h5",
    "weights_2.h5",
    "new_2.weights.h5",
    "model_3.h5",
    "new_3.weights.h5",
    "archive_3.keras",
    "deflated_3.keras",
    "by_hand.h5",
];

#[test]
fn names_shapes_and_values_are_keras_s_in_its_order() {
    for name in SOUND {
        let mut file = open(&fixture(name)).unwrap();
        assert_eq!(file.format(), Format::Keras);
        check(&mut file, &expected(&fixture(&format!("{name}.json"))), name);
    }
}

/// The lists of names, not the alphabet: `conv2d_10` comes before `conv2d_2` in a listing of an HDF5 group.
#[test]
fn the_legacy_order_is_that_of_the_layers() {
    let file = open(&fixture("weights_2.h5")).unwrap();
    let names: Vec<_> = file.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names[..2], ["conv2d_1/conv2d_1/kernel:0", "conv2d/conv2d/kernel:0"]);
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_ne!(names, sorted);
    let place = |name: &str| names.iter().position(|found| found.starts_with(name)).unwrap();
    assert!(place("conv2d_2/") < place("conv2d_10/"));
}

#[test]
fn the_new_order_is_that_of_the_numbers_and_the_texts_name_the_layers() {
    let file = open(&fixture("archive_3.keras")).unwrap();
    let convolutions: Vec<_> = file
        .tensors()
        .iter()
        .map(|t| t.name.as_str())
        .filter(|name| name.starts_with("layers/conv2d"))
        .collect();
    assert_eq!(
        convolutions[..3],
        ["layers/conv2d/vars/0", "layers/conv2d_1/vars/0", "layers/conv2d_2/vars/0"]
    );
    assert_eq!(convolutions.last(), Some(&"layers/conv2d_13/vars/0"));
    let layers: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixture("archive_3.keras.layers.json")).unwrap()).unwrap();
    let named = |path: &str| file.texts().iter().find(|(key, _)| key == path).map(|(_, name)| name.clone());
    for (i, layer) in layers.iter().filter(|layer| layer.starts_with("conv2d")).enumerate() {
        let path = if i == 0 { "layers/conv2d".into() } else { format!("layers/conv2d_{i}") };
        assert_eq!(named(&path).as_ref(), Some(layer));
    }
    assert_eq!(named("layers/dense").as_deref(), Some("predictions"));
}

#[test]
fn texts_tell_who_wrote_the_file() {
    let text = |name: &str, key: &str| {
        let file = open(&fixture(name)).unwrap();
        file.texts().iter().find(|(k, _)| k == key).map(|(_, value)| value.clone())
    };
    assert_eq!(text("model_2.h5", "keras_version").as_deref(), Some("2.21.0"));
    assert_eq!(text("model_3.h5", "backend").as_deref(), Some("tensorflow"));
    assert_eq!(text("by_hand.h5", "backend").as_deref(), Some("tensorflow"));
    for name in ["model_2.h5", "model_3.h5", "archive_3.keras", "deflated_3.keras"] {
        let config: serde_json::Value = serde_json::from_str(&text(name, "model_config").unwrap()).unwrap();
        assert!(config["config"]["layers"].as_array().unwrap().len() > 20, "{name}");
    }
    assert!(text("archive_3.keras", "keras_version").unwrap().starts_with("3."));
}

#[test]
fn types_are_those_of_the_file() {
    let file = open(&fixture("by_hand.h5")).unwrap();
    use Dtype::{Bool, F16, F32, F64, I32, I64, U8};
    let found: Vec<_> = file.tensors().iter().map(|tensor| tensor.dtype).collect();
    assert_eq!(found, [F32, F64, F16, F32, I64, U8, Bool, I32, F32]);
}

#[test]
fn other_files_are_refused_with_a_reason() {
    for (name, reason) in [
        ("latest.h5", "a superblock of version"),
        ("no_weights.h5", "without any weights"),
        // 7,000 types in each other, which overflow the stack of a reader that follows them.
        ("nested_type.h5", "values of class 9"),
    ] {
        let error = open(&fixture(name)).err().unwrap();
        assert!(matches!(error.problem, Problem::Refused(_)), "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    let error = open(&fixture("other.zip")).err().unwrap();
    assert!(matches!(error.problem, Problem::Unknown(_)), "{error}");
    assert!(error.to_string().contains("a zip archive that holds neither"), "{error}");
}

#[test]
fn damaged_files_give_an_error_or_a_well_formed_result() {
    for name in SOUND.iter().chain(&["latest.h5", "no_weights.h5", "nested_type.h5", "other.zip"]) {
        damage(&std::fs::read(fixture(name)).unwrap(), 1_500, name);
    }
}

#[test]
fn a_cut_file_never_opens() {
    for name in SOUND {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for end in (0..bytes.len()).step_by(97) {
            assert!(open_bytes(bytes[..end].to_vec()).is_err(), "{name} cut at {end}");
        }
    }
}
