//! A run is a folder that is never overwritten.
//!
//! `recipe.toml` (all values), `env.json`, `log.jsonl` (an object a line), `summary.csv` (timm's columns), checkpoints, `curves.svg`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let [year, month, day] = civil(days as i64);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970 (Gregorian; a year that starts in March has its leap day last).
fn civil(days: i64) -> [i64; 3] {
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    [year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * from_march + 2) / 5 + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), [1970, 1, 1]);
        assert_eq!(civil(11_016), [2000, 2, 29]);
        assert_eq!(civil(20_781), [2026, 11, 24]);
    }

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
