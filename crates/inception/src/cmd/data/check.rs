//! `inception data check`: what would go wrong, before it does.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use inception_graph::{Align, Table, thousands};
use serde_json::{Value, json};

use super::LookArgs;
use crate::cmd::{stdout, write_json};
use crate::data::check::{Cleaned, Fixed, Kind, Report, Severity, can_fix, check, fix};
use crate::exit::Exit;
use crate::progress::{bytes, counted, say};

const NOTES: &str = "\
Every file is read, decoded as in training, and compared with all others. Errors are what training would stop at, or leave
out with --on-bad skip; warnings work, but not as somebody may think; notes are worth knowing. The exit code is 65 where
there are errors, else 0. Pictures look alike if 61 of the 64 bits of their difference hashes agree, and their colours.

Examples:
  inception data check pictures/
  inception data check pictures/ --val-split 0.1 -m inception_v4
  inception data check pictures/ --fix                  move broken files to pictures.quarantine/, nothing is deleted
  inception data check pictures/ --json | jq '.files[] | select(.severity == \"error\") | .path'";

/// Arguments of `inception data check`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct CheckArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Move files that cannot be decoded to DATA.quarantine/, beside DATA, and list them there in moved.csv; of a list write a new
    /// one without them, in cleaned/ beside it
    #[arg(long)]
    fix: bool,
}

/// Runs the command.
pub(super) fn run(args: CheckArgs) -> Result<Exit> {
    let options = args.look.options()?;
    if args.fix {
        can_fix(&args.look.data, options.val_split, options.seed)?;
    }
    let report = check(&args.look.data, &options)?;
    let fixed = match args.fix {
        false => None,
        true => Some(fix(&report, options.val_split, options.seed, |moved| {
            say(&format!("moved {} to {}: {}", moved.from.display(), moved.to.display(), moved.reason));
        })?),
    };
    let mut out = stdout();
    match args.look.json {
        true => write_json(&mut out, &as_json(&report, fixed.as_ref()))?,
        false => write_text(&mut out, &report, fixed.as_ref())?,
    }
    out.flush()?;
    let has_errors = fixed.map_or(report.has_errors(), |fixed| fixed.has_errors);
    Ok(if has_errors { Exit::BadData } else { Exit::Done })
}

/// Paths shown for each finding.
const EXAMPLES: usize = 3;

/// Classes shown; of more, the largest and the smallest half of them.
const CLASSES: usize = 20;

fn write_text(out: &mut impl Write, report: &Report, fixed: Option<&Fixed>) -> Result<()> {
    let findings = report.findings();
    if !findings.is_empty() {
        let mut table = Table::new([Align::Left, Align::Left, Align::Right, Align::Left]);
        table.head(["", "finding", "number", "for example"]);
        let mut details = Vec::new();
        for finding in &findings {
            let examples = finding.at.iter().take(EXAMPLES).map(|(path, remark)| {
                let path = if *path == report.root { path.to_path_buf() } else { report.below(path) };
                match &remark.detail {
                    // A table of its own.
                    detail if detail.contains('\n') => {
                        details.push(detail.clone());
                        path.display().to_string()
                    }
                    detail if detail.is_empty() => path.display().to_string(),
                    detail => format!("{}: {detail}", path.display()),
                }
            });
            for (i, example) in examples.enumerate() {
                let (severity, title, count) = match i {
                    0 => (
                        finding.kind.severity().name(),
                        finding.kind.title(),
                        thousands(finding.at.len() as u64),
                    ),
                    _ => ("", "", String::new()),
                };
                table.row([severity.into(), title.into(), count, example]);
            }
        }
        writeln!(out, "{table}")?;
        details.iter().try_for_each(|detail| writeln!(out, "{detail}\n"))?;
    }
    let counts = report.counts();
    writeln!(
        out,
        "{} = {} ok + {} with errors + {} with warnings + {} with notes only\n",
        counted(counts.files, "file"),
        thousands(counts.ok as u64),
        thousands(counts.errors as u64),
        thousands(counts.warnings as u64),
        thousands(counts.notes as u64),
    )?;
    write_classes(out, report)?;
    write_forecast(out, report)?;
    writeln!(out, "\n{}", advice(report, fixed))?;
    Ok(())
}

fn write_classes(out: &mut impl Write, report: &Report) -> Result<()> {
    let mut classes: Vec<_> = report.classes.iter().collect();
    if classes.is_empty() {
        return Ok(());
    }
    let has_val = classes.iter().any(|class| class.val > 0);
    let mut head = format!("{} of {}", counted(total(report), "picture"), counted_classes(classes.len()));
    if let Some((ratio, largest, smallest)) = report.imbalance() {
        let only = if has_val { " in train" } else { "" };
        head += &match ratio {
            1.0 => format!(", equally many of each{only}"),
            _ => format!("; `{largest}` has {ratio:.1} times as many as `{smallest}`{only}"),
        };
    }
    writeln!(out, "{head}\n")?;
    let shown = classes.len() <= CLASSES;
    if !shown {
        classes.sort_by_key(|class| std::cmp::Reverse(class.train + class.val));
    }
    let mut table = Table::new([Align::Left, Align::Right, Align::Right]);
    table.head(["class", "train", "val"]);
    for (i, class) in classes.iter().enumerate() {
        if !shown && i == CLASSES / 2 {
            table.row(["…".into(), "…".into(), "…".into()]);
        }
        if shown || i < CLASSES / 2 || i >= classes.len() - CLASSES / 2 {
            let [train, val] = [class.train, class.val].map(|count| thousands(count as u64));
            table.row([class.class.clone(), train, val]);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn total(report: &Report) -> usize {
    report.classes.iter().map(|class| class.train + class.val).sum()
}

fn counted_classes(count: usize) -> String {
    if count == 1 { "1 class".into() } else { format!("{} classes", thousands(count as u64)) }
}

fn write_forecast(out: &mut impl Write, report: &Report) -> Result<()> {
    let f = &report.forecast;
    let cached = match f.decoded_bytes {
        0 => return Ok(()),
        all if all <= f.cache_bytes => "all of which stay in memory after the first epoch".into(),
        all => {
            let share = 100.0 * f.cache_bytes as f64 / all as f64;
            format!("of which {share:.0} % stay in memory after the first epoch")
        }
    };
    writeln!(out, "on disk   {}", bytes(f.disk_bytes))?;
    writeln!(out, "decoded   {}, {cached}", bytes(f.decoded_bytes))?;
    let threads = counted(f.threads, "thread");
    writeln!(
        out,
        "loading   {:.1} ms a picture to read and decode, {:.1} ms to distort and resize to {} px",
        f.decode_ms, f.distort_ms, f.img_size
    )?;
    writeln!(
        out,
        "          {threads} give{} {:.0} pictures/s, {:.0} of those in memory",
        if f.threads == 1 { "s" } else { "" },
        f.images_per_second,
        f.cached_images_per_second
    )?;
    Ok(())
}

/// What to do next.
fn advice(report: &Report, fixed: Option<&Fixed>) -> String {
    let data = report.root.display();
    let mut steps = Vec::new();
    let is_error = |kind: &Kind| kind.severity() == Severity::Error;
    let fixable: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.is_fixable()).collect();
    let other: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| is_error(kind) && !kind.is_fixable()).collect();
    match fixed {
        Some(Fixed { folder, moved, left, lists, has_errors }) => {
            if let Some(folder) = folder {
                let (moved, folder) = (counted(moved.len(), "file"), folder.display());
                steps.push(format!("moved {moved} to {folder}; moved.csv there says from where"));
            }
            for Cleaned { path, kept, removed } in lists {
                let (kept, path) = (counted(*kept, "picture"), path.display());
                steps.push(format!("wrote {path} with {kept}, without {}", thousands(*removed as u64)));
            }
            for (path, reason) in left {
                steps.push(format!("not moved: {}: {reason}", path.display()));
            }
            if *has_errors {
                steps.push(format!("errors remain: see them with `inception data check {data}`"));
            }
        }
        None => {
            let (fixable, other) = (report.number_of(&fixable), report.number_of(&other));
            if other > 0 {
                steps.push(format!("put {} right by hand, each as its row says", counted(other, "error")));
            }
            if fixable > 0 {
                let files = counted(fixable, "file");
                let way = match report.has_archives {
                    true => format!("`inception data pack {data} -o OUT --on-bad skip` leaves them out"),
                    false => format!("`inception data check {data} --fix` puts them aside"),
                };
                steps.push(format!("{files} cannot be decoded: {way}, or train with --on-bad skip"));
            }
        }
    }
    use Kind::{AlikeAcrossClasses, AlikeAcrossSplits, CopyAcrossClasses, CopyAcrossSplits};
    let leaks = report.number_of(&[CopyAcrossSplits, AlikeAcrossSplits]);
    if leaks > 0 {
        let pictures = counted(leaks, "picture");
        steps.push(format!(
            "{pictures} of both splits: remove one of each pair, or the error comes out too small"
        ));
    }
    let doubts = report.number_of(&[CopyAcrossClasses, AlikeAcrossClasses]);
    if doubts > 0 {
        let pictures = counted(doubts, "picture");
        steps.push(format!("{pictures} under two classes: decide which is right"));
    }
    if steps.is_empty() {
        steps.push("nothing stands in the way of training".into());
    }
    steps.join("\n")
}

/// All of it; of the files those with remarks.
fn as_json(report: &Report, fixed: Option<&Fixed>) -> Value {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let counts = report.counts();
    let findings: Vec<Value> = report
        .findings()
        .iter()
        .map(|f| json!({"kind": f.kind, "severity": f.kind.severity(), "number": f.at.len()}))
        .collect();
    let folders: Vec<Value> = report
        .folders
        .iter()
        .map(|f| {
            json!({
                "path": path(&report.below(&f.path)), "kind": f.remark.kind,
                "severity": f.remark.kind.severity(), "detail": f.remark.detail,
            })
        })
        .collect();
    let files = report.files.iter().filter(|file| !file.remarks.is_empty());
    let files: Vec<Value> = files
        .map(|file| {
            json!({
                "path": path(&report.below(&file.path)),
                "split": file.split,
                "class": file.class.map(|class| &report.classes[class].class),
                "bytes": file.bytes,
                "width": file.size.map(|size| size[0]),
                "height": file.size.map(|size| size[1]),
                "severity": file.severity(),
                "remarks": file.remarks,
            })
        })
        .collect();
    let mut value = json!({
        "data": path(&report.root),
        "counts": counts,
        "findings": findings,
        "folders": folders,
        "classes": report.classes,
        "imbalance": report.imbalance().map(|(ratio, _, _)| ratio),
        "forecast": report.forecast,
        "files": files,
    });
    if let Some(Fixed { folder, moved, left, lists, has_errors }) = fixed {
        let moved: Vec<Value> = moved
            .iter()
            .map(|m| json!({"from": path(&m.from), "to": path(&m.to), "reason": m.reason}))
            .collect();
        let left: Vec<Value> =
            left.iter().map(|(file, reason)| json!({"path": path(file), "reason": reason})).collect();
        let folder = folder.as_deref().map(path);
        let lists: Vec<Value> = lists
            .iter()
            .map(|l| json!({"path": path(&l.path), "kept": l.kept, "removed": l.removed}))
            .collect();
        value["fix"] = json!({
            "folder": folder, "moved": moved, "left": left, "lists": lists, "errors_remain": has_errors,
        });
    }
    value
}
