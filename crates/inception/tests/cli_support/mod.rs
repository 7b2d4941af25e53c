//! Runs the real program on small files made here.

// Every test file uses its own part of this.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use inception::checkpoint::{Metadata, Out, Values, save, write};
use inception::weights::formula;
use inception_formats::Dtype;
use inception_graph::{Graph, Layout, Spec, Weights, build};
use serde_json::json;
use tempfile::TempDir;

/// Names of the checkpoint's classes.
pub(crate) const CLASSES: [&str; 3] = ["ant", "bee, or wasp", "cat"];

/// A folder with the checkpoint `net.safetensors` of a small network with random weights.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        place.network("net.safetensors", 3);
        place
    }

    /// Writes such a checkpoint with weights that depend on `seed`.
    pub(crate) fn network(&self, name: &str, seed: u64) {
        let graph =
            build(&Spec::new("inception_v3").img_size(75).width(0.05).classes(CLASSES.len())).unwrap();
        let eval: inception::data::Eval =
            serde_json::from_value(json!({"crop_pct": 1.0, "interpolation": "bilinear"})).unwrap();
        let metadata = Metadata::new(&graph, CLASSES.map(String::from).into(), eval);
        save(&self.path(name), &Weights::init(&graph, seed), &metadata).unwrap();
    }

    /// The same with `data/`: two classes, `train/` and `val/`.
    pub(crate) fn with_pictures() -> Self {
        let place = Place::new();
        for class in ["ant", "bee"] {
            (0..4).for_each(|i| place.picture(&format!("data/train/{class}/{i}.png"), i + 1));
            (0..2).for_each(|i| place.picture(&format!("data/val/{class}/{i}.png"), i + 7));
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a picture of stripes that depends on `seed`, with its folders.
    pub(crate) fn picture(&self, name: &str, seed: u32) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixel = |x, y| image::Rgb([x * seed, y * (seed + 3), (x + y) * 2].map(|v: u32| (v % 256) as u8));
        image::RgbImage::from_fn(90, 80, pixel).save(path).unwrap();
    }

    /// Runs `inception` with `args` in the folder.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    /// The same with `stdin`.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ended {
        let mut child = command(self.dir.path(), args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }
}

/// The formula's weights for `graph` as the program of `layout` names them.
pub(crate) fn published_file(path: &Path, layout: Layout, graph: &Graph) {
    let weights = formula::weights(graph, layout, 5);
    let names = layout.names(graph);
    let tensors = weights.params().iter().zip(&names).enumerate().filter_map(|(i, (param, foreign))| {
        let (foreign, values) = (foreign.as_ref()?, weights.get(i));
        let values = foreign.axes.to_foreign(&param.shape, values);
        Some(Out {
            name: foreign.name.clone(),
            dtype: Dtype::F32,
            shape: foreign.axes.shape(&param.shape),
            values: Values::Made(Box::new(move || values.iter().flat_map(|v| v.to_le_bytes()).collect())),
        })
    });
    write(path, serde_json::Map::new(), tensors.collect()).unwrap();
}

/// `inception` with `args`, to be run in `dir`.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inception"));
    command.args(args).current_dir(dir);
    command
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr,
        }
    }
}

impl Ended {
    /// Insists on an exit code; gives back what was written to stdout.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Insists on an exit code, an empty stdout, and an error that says `part`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, part: &str) {
        assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        assert_eq!(self.expect(code), "");
    }
}
