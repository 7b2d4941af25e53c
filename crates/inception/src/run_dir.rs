//! A run is a folder that is never overwritten, by one process at a time.
//!
//! `recipe.toml` (all values), `env.json`, `log.jsonl` (an object a line), `summary.csv` (timm's columns), checkpoints, `curves.svg`,
//! `report.html` (one page with all that is known), `events.out.tfevents.*` (for TensorBoard, one a process).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::exit::UsageError;

/// The folder of a run and its open log.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// `None` where another rank writes them.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    /// Locked as long as the run goes on.
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
                "{} exists, and a run is never overwritten: choose another --experiment or --output, or go on with it by --resume auto",
                path.display()
            );
            return Err(UsageError(text).into());
        }
        Self::begin(path, recipe, env)
    }

    /// Fills the folder of a new run. The recipe comes last: where there is one, the other files are whole.
    fn begin(path: PathBuf, recipe: &str, env: &Value) -> Result<RunDir> {
        fs::create_dir_all(&path).with_context(|| format!("creating the run's folder {}", path.display()))?;
        write(&path.join("env.json"), format!("{env:#}\n").as_bytes())?;
        write(&path.join("log.jsonl"), b"")?;
        write(&path.join("summary.csv"), SUMMARY.as_bytes())?;
        replace(&path.join("recipe.toml"), recipe.as_bytes())?;
        Self::open(path)
    }

    /// The folder of a run that goes on; one that was left before it had a recipe begins anew.
    pub fn reopen(path: PathBuf, recipe: &str, env: &Value) -> Result<RunDir> {
        if path.join("recipe.toml").exists() { Self::open(path) } else { Self::begin(path, recipe, env) }
    }

    /// A folder that another rank writes.
    pub fn of_another(path: PathBuf) -> RunDir {
        RunDir { path, files: None }
    }

    fn open(path: PathBuf) -> Result<RunDir> {
        let open = |name: &str| {
            let file = path.join(name);
            let options = File::options().append(true).create(true).open(&file);
            options.with_context(|| format!("opening {}", file.display()))
        };
        let (log, summary) = (open("log.jsonl")?, open("summary.csv")?);
        match log.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => {
                let text = format!(
                    "{}: another process trains in this folder: wait for it, or stop it",
                    path.display()
                );
                Err(UsageError(text).into())
            }
            // Not every file system has locks.
            _ => Ok(RunDir { path, files: Some(Files { log, summary }) }),
        }
    }

    /// Bytes of the log and of the summary, once all of them are on the disk.
    pub fn lengths(&self) -> Result<[u64; 2]> {
        let Some(files) = &self.files else { return Ok([0; 2]) };
        let length = |file: &File| {
            file.sync_data()?;
            Ok(file.metadata()?.len())
        };
        let both = [&files.log, &files.summary].map(length);
        let [log, summary]: [std::io::Result<u64>; 2] = both;
        let name = || format!("writing the log in {}", self.path.display());
        Ok([log.with_context(name)?, summary.with_context(name)?])
    }

    /// Cuts log and summary to so many bytes, or to an empty log and a summary without rows: what came behind is written again.
    pub fn cut(&mut self, lengths: [u64; 2]) -> Result<()> {
        let Some(Files { log, summary }) = &mut self.files else { return Ok(()) };
        for (file, length) in [&*log, &*summary].into_iter().zip(lengths) {
            let cut = file.metadata().and_then(|about| file.set_len(length.min(about.len())));
            cut.with_context(|| format!("cutting the log in {}", self.path.display()))?;
        }
        if summary.metadata()?.len() < SUMMARY.len() as u64 {
            summary.set_len(0)?;
            append(summary, SUMMARY)?;
        }
        Ok(())
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
        let Some(files) = &mut self.files else { return Ok(()) };
        append(&mut files.log, &format!("{record}\n"))
            .with_context(|| format!("writing {}", self.path.join("log.jsonl").display()))
    }

    /// Appends a row to `summary.csv`: accuracies in percent.
    pub fn summarize(&mut self, row: &[f64; 5], epoch: usize) -> Result<()> {
        let values: Vec<String> = row.iter().map(f64::to_string).collect();
        let Some(files) = &mut self.files else { return Ok(()) };
        append(&mut files.summary, &format!("{epoch},{}\n", values.join(",")))
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

/// Writes a file by way of a neighbour, so that a reader never sees half of one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.tmp"));
    let written = fs::write(&half, bytes).and_then(|()| fs::rename(&half, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&half);
    }
    written.with_context(|| format!("writing {}", path.display()))
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
        let error = RunDir::create(folder.path(), "a", "", &json!({})).expect_err("refused");
        assert!(error.to_string().contains("never overwritten"));
        let read = |name: &str| fs::read_to_string(run.file(name)).expect("readable");
        assert_eq!(read("recipe.toml"), "epochs = 1\n");
        assert_eq!(read("summary.csv"), format!("{SUMMARY}3,1.5,2,90,100,0.1\n"));
        assert_eq!(read("log.jsonl").lines().count(), 1);
    }
}
