//! Checkpoints from outside: what is written is read, and whatever else lies in the file is refused with reasons.

use std::fs;
use std::path::{Path, PathBuf};

use inception::checkpoint::{CheckpointError, FORMAT, Metadata, TensorProblem, load, save};
use inception_graph::{Graph, Spec, Weights, build};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A small network with its weights, and a folder to write it to.
struct Case {
    folder: TempDir,
    graph: Graph,
    weights: Weights,
    metadata: Metadata,
}

impl Case {
    fn new() -> Self {
        let spec = Spec::new("inception_v3").img_size(75).width(0.05).classes(3);
        let graph = build(&spec).unwrap();
        let weights = Weights::init(&graph, 7);
        let eval: inception::data::Eval =
            serde_json::from_value(json!({"crop_pct": 0.875, "interpolation": "bicubic"})).unwrap();
        let classes = ["ant", "bee \"b\"", "cät"].map(String::from).to_vec();
        let mut metadata = Metadata::new(&graph, classes, eval);
        (metadata.step, metadata.epoch) = (1234, 5);
        metadata.provenance.recipe = Some("paper".into());
        metadata.metrics.insert("eval_top1_error".into(), 0.1 + 0.2);
        Case { folder: tempfile::tempdir().unwrap(), graph, weights, metadata }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("net.safetensors")
    }

    fn saved(self) -> Self {
        save(&self.path(), &self.weights, &self.metadata).unwrap();
        self
    }

    /// Saves, lets `edit` change the header, and loads.
    fn with_header(edit: impl FnOnce(&mut Value)) -> CheckpointError {
        let case = Case::new().saved();
        let bytes = fs::read(case.path()).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        edit(&mut header);
        let text = header.to_string();
        let parts = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[8 + length..]];
        fs::write(case.path(), parts.concat()).unwrap();
        load(&case.path()).unwrap_err()
    }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_saved_is_loaded() {
    let case = Case::new().saved();
    let (graph, weights, metadata) = load(&case.path()).unwrap();
    assert_eq!(graph.spec(), case.graph.spec());
    assert_eq!(weights.data, case.weights.data);
    assert_eq!(metadata, case.metadata);
    assert_eq!(names(case.folder.path()), ["net.safetensors"], "no temporary file is left");
}

/// A network with other scales has the same tensors and other answers.
#[test]
fn the_scale_of_residual_branches_is_kept() {
    let spec = Spec { residual_scale: Some(0.25), ..Spec::new("inception_resnet_v1") };
    let graph = build(&spec.img_size(75).width(0.05).classes(3)).unwrap();
    let metadata =
        Metadata { residual_scale: Some(0.25), net: "inception_resnet_v1".into(), ..Case::new().metadata };
    let case = Case { weights: Weights::init(&graph, 7), graph, metadata, ..Case::new() }.saved();
    assert_eq!(load(&case.path()).unwrap().0.spec(), case.graph.spec());
}

#[test]
fn the_same_checkpoint_is_the_same_bytes() {
    let (a, b) = (Case::new().saved(), Case::new().saved());
    assert_eq!(fs::read(a.path()).unwrap(), fs::read(b.path()).unwrap());
}

#[test]
fn other_programs_can_read_the_file() {
    let case = Case::new().saved();
    let bytes = fs::read(case.path()).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), case.weights.params().len());
    for (i, param) in case.weights.params().iter().enumerate() {
        let view = file.tensor(&param.name).unwrap();
        assert_eq!(view.shape(), param.shape);
        let first = f32::from_le_bytes(view.data()[..4].try_into().unwrap());
        assert_eq!(first, case.weights.get(i)[0], "{}", param.name);
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let texts = header.metadata().as_ref().unwrap();
    assert_eq!(texts["format"], FORMAT);
    assert_eq!(texts["net"], "inception_v3");
    assert_eq!(serde_json::from_str::<Vec<String>>(&texts["classes"]).unwrap(), case.metadata.classes);
    let preprocessing: Value = serde_json::from_str(&texts["preprocessing"]).unwrap();
    assert_eq!((&preprocessing["range"], &preprocessing["channels"]), (&json!("[-1,1]"), &json!("RGB")));
}

#[test]
fn a_metric_that_is_no_number_is_left_out() {
    let mut case = Case::new();
    case.metadata.metrics.insert("eval_loss".into(), f64::NAN);
    let case = case.saved();
    let (_, _, metadata) = load(&case.path()).unwrap();
    assert_eq!(metadata.metrics.into_keys().collect::<Vec<_>>(), ["eval_top1_error"]);
}

#[test]
fn a_failed_save_names_the_file_and_leaves_no_other() {
    let case = Case::new();
    let nowhere = case.folder.path().join("missing/net.safetensors");
    let error = save(&nowhere, &case.weights, &case.metadata).unwrap_err();
    assert!(error.to_string().contains("missing/net.safetensors"), "{error}");
    let folder = case.folder.path().join("folder");
    fs::create_dir(&folder).unwrap();
    save(&folder, &case.weights, &case.metadata).unwrap_err();
    assert_eq!(names(case.folder.path()), ["folder"]);
}

#[test]
fn saving_replaces_an_old_checkpoint() {
    let mut case = Case::new().saved();
    case.metadata.step = 9999;
    let case = case.saved();
    assert_eq!(load(&case.path()).unwrap().2.step, 9999);
}

#[test]
fn every_difference_is_listed() {
    let mut case = Case::new();
    let other = Spec { classes: Some(4), ..case.graph.spec().clone() };
    case.weights = Weights::init(&build(&other).unwrap(), 7);
    case.weights.get_mut(0)[..2].copy_from_slice(&[f32::NAN, f32::INFINITY]);
    let case = case.saved();
    let CheckpointError::Tensors { problems, .. } = load(&case.path()).unwrap_err() else {
        panic!("tensors differ")
    };
    let first = &case.weights.params()[0];
    let inputs = case.graph.params().iter().find(|p| p.name == "logits/weight").unwrap().shape[0];
    let shape = |name: &str, expected: &[usize], found: &[usize]| TensorProblem::Shape {
        name: name.into(),
        expected: expected.to_vec(),
        found: found.to_vec(),
    };
    assert_eq!(
        problems,
        [
            shape("logits/weight", &[inputs, 3], &[inputs, 4]),
            shape("logits/bias", &[3], &[4]),
            TensorProblem::NotFinite { name: first.name.clone(), bad: 2, len: first.len() },
        ]
    );
}

#[test]
fn renamed_and_retyped_tensors_are_listed_together() {
    let error = Case::with_header(|header| {
        let bias = header.as_object_mut().unwrap().remove("logits/bias").unwrap();
        header["fc.bias"] = bias;
        header["logits/weight"]["dtype"] = json!("I32");
    });
    let message = error.to_string();
    for part in [
        "3 problems",
        "`logits/bias` [3] is missing",
        "`fc.bias` is not a tensor of the network",
        "`logits/weight` has type I32, expected F32",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

/// Sound but for the crop.
const PREPROCESSING: &str =
    r#"{"crop_pct": 0.0, "interpolation": "bicubic", "range": "[-1,1]", "channels": "RGB", "exif": true}"#;

#[test]
fn metadata_that_do_not_fit_are_explained() {
    let message = |key: &str, value: &str| {
        Case::with_header(|header| header["__metadata__"][key] = json!(value)).to_string()
    };
    assert!(message("format", "pt").contains("of no network that is known here"));
    assert!(message("format", "inception/99").contains("this version reads"));
    assert!(message("classes", "[\"a\"").contains("`classes` is not JSON"));
    assert!(message("net", "inception_v33").contains("asks for a network that cannot be built"));
    assert!(message("img_size", "20").contains("cannot be built"));
    assert!(message("preprocessing", PREPROCESSING).contains("crop_pct 0 is out of range"));
    assert!(message("width", "-1").contains("cannot be built"));
    assert!(message("background", "3").contains("background class 3 of 3"));
    let removed = Case::with_header(|header| {
        header["__metadata__"].as_object_mut().unwrap().remove("provenance");
    });
    assert!(removed.to_string().contains("provenance"), "{removed}");
}

/// A network of 40 GB in the metadata of a small file is refused before memory is asked for.
#[test]
fn an_absurd_width_allocates_nothing() {
    let error = Case::with_header(|header| header["__metadata__"]["width"] = json!("16.0"));
    assert!(matches!(error, CheckpointError::Tensors { .. }), "{error}");
}

#[test]
fn other_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        load(&path).unwrap_err().to_string()
    };
    assert!(message(b"").contains("it is empty"));
    assert!(message(b"<!DOCTYPE html><html></html>").contains("web page"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
    assert!(message(&[0xff; 64]).contains("no file of weights"));
    assert!(message(&[&99_000_000u64.to_le_bytes()[..], b"{}"].concat()).contains("ends inside its header"));
    assert!(message(&[&2u64.to_le_bytes()[..], b"{}"].concat()).contains("no network"));
    let missing = load(&folder.path().join("missing")).unwrap_err();
    assert!(
        missing.to_string().contains("cannot read") && missing.to_string().contains("missing"),
        "{missing}"
    );
    assert!(load(folder.path()).unwrap_err().to_string().contains("is a folder"));
}

/// Flipped bits and cut ends: an error or, where the values alone changed, a checkpoint; never a panic.
#[test]
fn one_bit_that_changed_is_found() {
    let case = Case::new().saved();
    let bytes = fs::read(case.path()).unwrap();
    // In the values, and in the name of a class.
    let class = bytes.windows(4).position(|window| window == b"ant\\").unwrap();
    for at in [bytes.len() - 1, bytes.len() - 4000, class] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(case.path(), damaged).unwrap();
        let error = load(&case.path()).unwrap_err().to_string();
        assert!(error.contains("net.safetensors") && error.contains("its checksum is crc32c:"), "{error}");
    }
    fs::write(case.path(), bytes).unwrap();
    load(&case.path()).unwrap();
}

#[test]
fn damaged_files_never_panic() {
    let case = Case::new().saved();
    let sound = fs::read(case.path()).unwrap();
    let header = u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize + 8;
    let random = &mut inception_graph::stream(&[42]);
    let mut draw = |below: usize| rand::RngExt::random_range(random, 0..below);
    for round in 0..200 {
        let mut bytes = sound.clone();
        // Mostly in the header, whose structure can break; the first bytes, its length, first of all.
        let within = [8, 600, header, bytes.len()][round % 4];
        let at = draw(within);
        bytes[at] ^= 1 << draw(8);
        let cut = round % 5 == 0;
        if cut {
            bytes.truncate(draw(sound.len()));
        }
        fs::write(case.path(), &bytes).unwrap();
        let loaded = load(&case.path());
        assert!(!cut || loaded.is_err(), "a file cut to {} bytes was loaded", bytes.len());
    }
}
