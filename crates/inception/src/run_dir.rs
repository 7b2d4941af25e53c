//! A run is a folder that is never overwritten.
//!
//! `recipe.toml` (all values), `env.json`, `log.jsonl` (an object a line), `summary.csv` (timm's columns), checkpoints, `curves.svg`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::exit::UsageError;

/// The folder of a run and its open log.
pub struct RunDir {
    path: PathBuf,
    log: File,
    summary: File,
}

/// Header of `summary.csv`.
const SUMMARY: &str = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n";

impl RunDir {
    /// Creates `output/name`; a folder that exists is refused.
    pub fn create(output: &Path, name: &str, recipe: &str, env: &Value) -> Result<RunDir> {
        let path = output.join(name);
        if path.exists() {
            let text = format!(
                "{} exists, and a run is never overwritten: choose another --experiment or --output",
                path.display()
            );
            return Err(UsageError(text).into());
        }
        fs::create_dir_all(&path).with_context(|| format!("creating the run's folder {}", path.display()))?;
        write(&path.join("recipe.toml"), recipe.as_bytes())?;
        write(&path.join("env.json"), format!("{env:#}\n").as_bytes())?;
        let open = |name: &str| {
            let file = path.join(name);
            File::create_new(&file).with_context(|| format!("creating {}", file.display()))
        };
        let (log, mut summary) = (open("log.jsonl")?, open("summary.csv")?);
        summary.write_all(SUMMARY.as_bytes()).with_context(|| format!("writing to {}", path.display()))?;
        Ok(RunDir { path, log, summary })
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an object to `log.jsonl`.
    pub fn log(&mut self, record: &Value) -> Result<()> {
        append(&mut self.log, &format!("{record}\n"))
            .with_context(|| format!("writing {}", self.path.join("log.jsonl").display()))
    }

    /// Appends a row to `summary.csv`: accuracies in percent.
    pub fn summarize(&mut self, row: &[f64; 5], epoch: usize) -> Result<()> {
        let values: Vec<String> = row.iter().map(f64::to_string).collect();
        append(&mut self.summary, &format!("{epoch},{}\n", values.join(",")))
            .with_context(|| format!("writing {}", self.path.join("summary.csv").display()))
    }
}

fn append(file: &mut File, line: &str) -> std::io::Result<()> {
    // One write a line, so that a reader never sees half of one.
    file.write_all(line.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// What a run was made with: version, machine, command.
pub fn environment(isa: &str, threads: usize) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": cpu,
        "isa": isa,
        "threads": threads,
        "command": std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "started": timestamp(),
    })
}

/// `20261124-101530`, UTC.
pub fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = RunDir::create(folder.path(), "a", "epochs = 1\n", &json!({})).expect("new");
        run.log(&json!({"kind": "step", "loss": 0.1f32})).expect("written");
        run.summarize(&[1.5, 2.0, 90.0, 100.0, 0.1], 3).expect("written");
        let error = RunDir::create(folder.path(), "a", "", &json!({})).err().expect("refused");
        assert!(error.to_string().contains("never overwritten"));
        let read = |name: &str| fs::read_to_string(run.file(name)).expect("readable");
        assert_eq!(read("recipe.toml"), "epochs = 1\n");
        assert_eq!(read("summary.csv"), format!("{SUMMARY}3,1.5,2,90,100,0.1\n"));
        assert_eq!(read("log.jsonl").lines().count(), 1);
    }
}
