//! Files that TensorFlow wrote (`reference/tensorflow_files.py` made them) have the values that went into them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use inception_formats::{Format, Problem, open};

type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<f32>)>;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tf")
}

/// What `expected.csv` says of each file.
fn expected() -> BTreeMap<String, Tensors> {
    let mut files = BTreeMap::<String, Tensors>::new();
    for line in fs::read_to_string(fixtures().join("expected.csv")).unwrap().lines().skip(1) {
        let [file, name, dtype, shape, values] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let shape = shape.split('x').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        let values = values.split_whitespace().map(|n| n.parse().unwrap()).collect();
        files.entry(file.into()).or_default().insert(name.into(), (dtype.into(), shape, values));
    }
    files
}

fn found(path: &Path) -> (Format, Tensors) {
    let mut file = open(path).unwrap_or_else(|e| panic!("{e}"));
    let tensors = file.tensors().to_vec();
    let values = tensors.into_iter().enumerate().map(|(i, tensor)| {
        let values = file.values(i).unwrap_or_else(|e| panic!("{e}"));
        (tensor.name, (tensor.dtype.name().into(), tensor.shape, values))
    });
    let values = values.collect();
    (file.format(), values)
}

/// A copy of a folder of fixtures to damage.
fn copy(folder: &str) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixtures().join(folder)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

#[test]
fn every_value_of_every_file() {
    let files = expected();
    assert_eq!(files.len(), 5);
    for (file, expected) in files {
        let (format, tensors) = found(&fixtures().join(&file));
        assert_eq!(tensors, expected, "{file}");
        let by_name = match &file {
            file if file.ends_with(".pb") => Format::TensorflowGraph,
            file if file.ends_with(".index") => Format::TensorflowBundle,
            _ => Format::TensorflowCheckpoint,
        };
        assert_eq!(format, by_name, "{file}");
    }
}

#[test]
fn a_bundle_by_any_of_its_names() {
    let expected = &expected()["v2_shards/model.ckpt.index"];
    for name in ["model.ckpt", "model.ckpt.data-00000-of-00002", "model.ckpt.data-00001-of-00002"] {
        let path = fixtures().join("v2_shards").join(name);
        assert_eq!(&found(&path).1, expected, "{name}");
        assert_eq!(open(&path).ok().unwrap().path(), path);
    }
    let folder = copy("v2_shards");
    fs::create_dir(folder.path().join("model.ckpt")).unwrap();
    assert_eq!(&found(&folder.path().join("model.ckpt")).1, expected, "beside a folder of the same name");
}

/// TensorFlow writes the path that it saved to, which is another one where the folder was moved.
#[test]
fn a_folder_and_its_list_are_the_last_checkpoint() {
    let expected = &expected()["v2_shards/model.ckpt.index"];
    let folder = copy("v2_shards");
    for named in ["model.ckpt", "/home/of/somebody/else/model.ckpt"] {
        let list = folder.path().join("checkpoint");
        let text =
            format!("model_checkpoint_path: \"{named}\"\nall_model_checkpoint_paths: \"model.ckpt-1\"\n");
        fs::write(&list, text).unwrap();
        assert_eq!(&found(folder.path()).1, expected, "{named}");
        assert_eq!(&found(&list).1, expected, "{named}");
    }
    fs::write(folder.path().join("checkpoint"), "model_checkpoint_path: \"model.ckpt-7\"\n").unwrap();
    let message = complaint(folder.path(), "checkpoint");
    assert!(message.contains("it names the checkpoint model.ckpt-7, and "), "{message}");
}

#[test]
fn what_lies_beside_a_checkpoint_says_what_to_open() {
    let folder = tempfile::tempdir().unwrap();
    assert!(complaint(folder.path(), "").contains("it is a folder: name a file in it"));
    fs::write(folder.path().join("model.ckpt-7.meta"), b"\x0a\x09\x0a\x01a\x12\x04\x0a\x02op").unwrap();
    let message = complaint(folder.path(), "model.ckpt-7.meta");
    assert!(message.contains("without values: open ") && message.ends_with("model.ckpt-7"), "{message}");
    fs::write(folder.path().join("saved_model.pb"), b"\x08\x01").unwrap();
    let message = complaint(folder.path(), "");
    assert!(message.contains("it is a SavedModel"), "{message}");
}

#[test]
fn texts_among_the_tensors_of_objects_are_left_out() {
    let (_, tensors) = found(&fixtures().join("v2_object/model"));
    assert!(tensors.keys().all(|name| name.starts_with("layer/")), "{:?}", tensors.keys());
}

/// The message for the file `name` in `folder`.
fn complaint(folder: &Path, name: &str) -> String {
    let mut file = match open(&folder.join(name)) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let tensors = file.tensors().len();
    (0..tensors).find_map(|i| file.bytes(i).err()).expect("an error").to_string()
}

#[test]
fn a_missing_file_is_named() {
    let folder = copy("v2_shards");
    fs::remove_file(folder.path().join("model.ckpt.data-00001-of-00002")).unwrap();
    let message = complaint(folder.path(), "model.ckpt");
    assert!(message.contains("model.ckpt.data-00001-of-00002 is missing"), "{message}");

    let folder = copy("v2");
    fs::remove_file(folder.path().join("model.ckpt.index")).unwrap();
    let message = complaint(folder.path(), "model.ckpt.data-00000-of-00001");
    assert!(message.contains("model.ckpt.index is missing"), "{message}");

    let folder = copy("v2");
    fs::rename(folder.path().join("model.ckpt.index"), folder.path().join("renamed")).unwrap();
    let message = complaint(folder.path(), "renamed");
    assert!(message.contains("must end in .index"), "{message}");
}

#[test]
fn a_changed_value_is_damage() {
    for (folder, file, opened) in [
        ("v2", "model.ckpt.data-00000-of-00001", "model.ckpt"),
        ("v2", "model.ckpt.index", "model.ckpt"),
        ("v1", "model.ckpt", "model.ckpt"),
    ] {
        let folder = copy(folder);
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        let message = complaint(folder.path(), opened);
        assert!(message.contains("is damaged") && message.contains("checksum"), "{file}: {message}");
    }
}

#[test]
fn data_cut_off_is_damage_before_anything_is_read() {
    let folder = copy("v2");
    let path = folder.path().join("model.ckpt.data-00000-of-00001");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = open(&folder.path().join("model.ckpt")).err().unwrap();
    assert!(
        matches!(&error.problem, Problem::Damaged(what) if what.contains("is the download complete?")),
        "{error}"
    );
}

#[test]
fn a_checkpoint_without_its_end_is_damaged_not_unknown() {
    for (folder, file) in [("v1", "model.ckpt"), ("v2", "model.ckpt.index"), ("v2_object", "model.index")] {
        let folder = copy(folder);
        let path = folder.path().join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        let error = open(&path).err().unwrap();
        assert!(matches!(error.problem, Problem::Damaged(_)), "{error}");
    }
}

#[test]
fn what_begins_like_a_graph_and_is_none_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it");
    // A text, a graph's description in a MetaGraphDef, a name alone, a node without an op, an op of odd letters.
    for bytes in [
        &b"\n\n\n a text"[..],
        b"\x0a\x09\x0a\x01a\x12\x04\x0a\x02op",
        b"\x0a\x03\x0a\x01a",
        b"\x0a\x06\x0a\x01a\x1a\x01b",
        b"\x0a\x06\x0a\x01a\x12\x01\x01",
    ] {
        fs::write(&path, bytes).unwrap();
        let error = open(&path).err().unwrap();
        assert!(matches!(error.problem, Problem::Unknown(_)), "{bytes:?}: {error}");
    }
    fs::write(&path, b"\x0a\x06\x0a\x01a\x12\x01b").unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(&error.problem, Problem::Refused(what) if what.contains("without weights")), "{error}");
}
