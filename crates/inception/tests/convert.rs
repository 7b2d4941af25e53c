//! `inception convert`: a file, our own, the same layout again are the same tensors; what tensors cannot say is kept.

mod layout_files;

use std::path::Path;

use inception::checkpoint::{self, Out, Values};
use inception::data::{Interpolation, Range};
use inception_formats::Dtype;
use inception_graph::Layout;
use layout_files::{Plain, Tensors};
use tempfile::TempDir;

/// `inception convert` with `args`, which must do it.
#[track_caller]
fn convert(folder: &TempDir, args: &[&str]) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_inception"))
        .arg("convert")
        .args(args)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Name, type, shape and bytes of every tensor, by name.
fn tensors(path: &Path) -> Vec<(String, &'static str, Vec<usize>, Vec<u8>)> {
    let mut file = inception_formats::open(path).unwrap();
    let about = file.tensors().to_vec();
    let read = |(i, t): (usize, inception_formats::Tensor)| {
        (t.name, t.dtype.name(), t.shape, file.bytes(i).unwrap().to_vec())
    };
    let mut all: Vec<_> = about.into_iter().enumerate().map(read).collect();
    all.sort();
    all
}

/// Converts `x.safetensors` to our own and back to `layout`: the same, tensor by tensor.
#[track_caller]
fn there_and_back(folder: &TempDir, layout: &str) {
    convert(folder, &["x.safetensors", "own.safetensors"]);
    convert(folder, &["own.safetensors", "back.safetensors", "--layout", layout]);
    let [before, after] =
        ["x.safetensors", "back.safetensors"].map(|name| tensors(&folder.path().join(name)));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.0, before.1, &before.2), (&after.0, after.1, &after.2));
        assert!(before.3 == after.3, "values of {}", before.0);
    }
    assert_eq!(before.len(), after.len());
}

#[test]
fn a_prefix_comes_back_on_every_name() {
    let place = Plain::new(Layout::FacenetPytorch, "inception_resnet_v1.facenet", 0, |tensors| {
        tensors.push(("logits.bias".into(), vec![5], vec![0.5; 5]));
        tensors.push(("conv2d_1a.bn.num_batches_tracked".into(), vec![], vec![7.0]));
        tensors.iter_mut().for_each(|t| t.0.insert_str(0, "module."));
    });
    there_and_back(&place.folder, "facenet-pytorch");
}

/// Keras numbers the layers of a session, so a file's first may be `conv2d` or `conv2d_95`.
#[test]
fn keras_counters_come_back_where_they_started() {
    let place = Plain::new(Layout::Keras, "inception_v3", 2, |tensors| {
        for (name, ..) in tensors.iter_mut() {
            let (layer, variable) = (name.split('/').next().unwrap(), name.rsplit('/').next().unwrap());
            let layer = match layer.rsplit_once('_') {
                Some((kind, "1")) => kind.to_string(),
                Some((kind, number)) => format!("{kind}_{}", number.parse::<usize>().unwrap() - 1),
                None => layer.into(),
            };
            *name = format!("{layer}/{layer}/{}", variable.trim_end_matches(":0"));
        }
    });
    there_and_back(&place.folder, "keras");
}

#[test]
fn cadenes_classifier_keeps_its_name() {
    let place = Plain::new(Layout::Timm, "inception_resnet_v2.slim", 2, |tensors| {
        tensors.iter_mut().for_each(|t| t.0 = t.0.replace("classif.", "last_linear."));
    });
    there_and_back(&place.folder, "timm");
}

/// Values that every type holds: multiples of 1/64 up to 2.
#[test]
fn types_come_back() {
    for dtype in Dtype::FLOATS {
        let mut all: Tensors = Vec::new();
        let place = Plain::new(Layout::FacenetPytorch, "inception_resnet_v1.facenet", 0, |tensors| {
            for (_, _, values) in tensors.iter_mut() {
                values.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 128 + 1) as f32 / 64.0);
            }
            all = tensors.clone();
        });
        let out = all.iter().map(|(name, shape, values)| {
            let (name, shape) = (name.clone(), shape.clone());
            let made = Values::Made(Box::new(|| dtype.exactly(values).unwrap()));
            Out { name, dtype, shape, values: made }
        });
        checkpoint::write(&place.path(), serde_json::Map::new(), out.collect()).unwrap();
        there_and_back(&place.folder, "facenet-pytorch");
        std::fs::remove_file(place.path()).unwrap();
        let report =
            checkpoint::open(&place.folder.path().join("back.safetensors"), None, false).unwrap().report;
        let line = format!("{} tensors of {} ", all.len(), dtype.name());
        let how = if dtype == Dtype::F64 { "rounded to F32" } else { "turned into F32, which loses nothing" };
        let said = report.contains(&format!("{line}{how}"));
        assert_eq!(said, dtype != Dtype::F32, "{report:?}");
    }
}

/// Google's v3 in torchvision's names: nothing in the tensors tells that its pools do not count padding.
#[test]
fn the_variant_preprocessing_and_classes_survive_another_programs_names() {
    let place = Plain::new(Layout::Slim, "inception_v3", 3, |_| {});
    std::fs::write(place.folder.path().join("names.txt"), "none\nant\nbee\n").unwrap();
    // The layout has a scale, which is one.
    let args = ["x.safetensors", "tv.safetensors", "--layout", "torchvision", "--class-names", "names.txt"];
    convert(&place.folder, &args);
    let open = |net| checkpoint::open(&place.folder.path().join("tv.safetensors"), net, false).unwrap();
    let found = open(None);
    assert_eq!((found.metadata.net.as_str(), found.layout), ("inception_v3", Some(Layout::Torchvision)));
    assert_eq!(found.metadata.classes, ["none", "ant", "bee"]);
    let preprocessing = found.metadata.preprocessing;
    assert_eq!(preprocessing.eval.interpolation, Interpolation::BilinearTf1);
    assert_eq!((preprocessing.eval.crop_pct, preprocessing.range), (0.875, Range::Signed));
    assert_eq!(found.metadata.provenance.layout.as_deref(), Some("torchvision"));
    // A user's word counts more.
    assert_eq!(open(Some("inception_v3.torchvision")).graph.spec().net, "inception_v3.torchvision");
}

#[test]
fn a_layout_without_the_network_names_those_that_have_it() {
    let place = Plain::new(Layout::FacenetPytorch, "inception_resnet_v1.facenet", 0, |_| {});
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_inception"))
        .args(["convert", "x.safetensors", "y.safetensors", "--layout", "timm"])
        .current_dir(place.folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("the layout timm has no inception_resnet_v1.facenet"), "{text}");
    assert!(text.contains("inception_resnet_v1.facenet is in facenet, facenet-pytorch"), "{text}");
}

#[test]
fn a_description_that_does_not_fit_is_refused() {
    let place = Plain::new(Layout::FacenetPytorch, "inception_resnet_v1.facenet", 0, |_| {});
    convert(&place.folder, &["x.safetensors", "out.safetensors", "--layout", "facenet-pytorch"]);
    let path = place.folder.path().join("out.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let edited = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(&path, bytes).unwrap();
        checkpoint::open(&path, None, false).err().expect("refused").to_string()
    };
    let text = edited(br#"\"classes\":[],\"pre"#, br#"\"classes\":[7],\"pr"#);
    assert!(text.contains("`inception`: "), "{text}");
    let text = edited(br#"\"crop_pct\":1.0"#, br#"\"crop_pct\":9.0"#);
    assert!(text.contains("crop_pct 9 is out of range"), "{text}");
}
