//! An evaluation for people.

use std::io::{Result, Write};

use super::bootstrap::{Interval, LEVEL};
use super::calibration::BINS;
use super::classes::{ClassReport, worst_first};
use super::findings::{Findings, Judged, Member};
use crate::metrics::Scores;
use crate::progress::counted;

/// Most classes that are all shown; of more, so many of the worst.
const ALL: usize = 40;
const WORST: usize = 20;

/// Writes what was found.
pub fn write_text(out: &mut impl Write, judged: &Judged) -> Result<()> {
    let (found, metrics) = (&judged.findings, &judged.metrics);
    let count = found.count;
    writeln!(out, "pictures     {count}{}", excluded(found))?;
    if found.around.asked.crops > 1 {
        writeln!(out, "views        {} of each", found.around.asked.crops)?;
    }
    let [from, to] = found.eval_loss_interval;
    writeln!(out, "loss         {:.4}  ({}: {from:.4}–{to:.4})", found.eval_loss, level())?;
    let errors = [
        ("top-1 error", found.eval_top1_error, metrics.top1_errors(), found.eval_top1_error_interval),
        ("top-5 error", found.eval_top5_error, metrics.top5_errors(), found.eval_top5_error_interval),
    ];
    for (name, error, wrong, interval) in errors {
        writeln!(out, "{name}  {:.2} %  ({wrong} of {count}; {})", 100.0 * error, percents(interval))?;
    }
    if let Some(real) = &found.real {
        let ([top1, top5], count) = (real.errors, real.real_count);
        let errors = [
            ("top-1 error", real.real_top1_error, top1, real.real_top1_error_interval),
            ("top-5 error", real.real_top5_error, top5, real.real_top5_error_interval),
        ];
        for (name, error, wrong, interval) in errors {
            let percent = 100.0 * error;
            writeln!(
                out,
                "{name}  {percent:.2} %  ({wrong} of {count} by ReaL labels; {})",
                percents(interval)
            )?;
        }
    }
    let (error, interval) = (100.0 * found.calibration_error, percents(found.calibration_error_interval));
    writeln!(out, "calibration  {error:.2} %  (expected error, {BINS} bins; {interval})")?;
    members(out, &found.around.asked.members)?;
    writeln!(out)?;
    classes(out, &found.per_class)?;
    let skipped = &found.around.skipped;
    if !skipped.is_empty() {
        writeln!(out, "\nskipped {} that cannot be read:", counted(skipped.len(), "picture"))?;
        skipped.iter().try_for_each(|s| writeln!(out, "  {}: {}", s.name, s.reason))?;
    }
    Ok(())
}

/// A table of an ensemble's networks, if there are any.
fn members(out: &mut impl Write, members: &[Member]) -> Result<()> {
    let Some(longest) = members.iter().map(|member| member.weights.chars().count()).max() else {
        return Ok(());
    };
    let longest = longest.max("alone".len());
    writeln!(out, "\n{:<longest$}  top-1 error  top-5 error  loss", "alone")?;
    for Member { weights, scores, .. } in members {
        let Scores { eval_loss, eval_top1_error, eval_top5_error } = *scores;
        let [top1, top5] = [eval_top1_error, eval_top5_error].map(|error| format!("{:.2} %", 100.0 * error));
        writeln!(out, "{weights:<longest$}  {top1:>11}  {top5:>11}  {eval_loss:.4}")?;
    }
    Ok(())
}

fn excluded(found: &Findings) -> String {
    match found.around.excluded {
        0 => String::new(),
        excluded => format!("  ({excluded} excluded)"),
    }
}

fn level() -> String {
    format!("{:.0} %", 100.0 * LEVEL)
}

fn percents([from, to]: Interval) -> String {
    format!("{}: {:.1}–{:.1}", level(), 100.0 * from, 100.0 * to)
}

/// The classes, the worst first.
fn classes(out: &mut impl Write, classes: &[ClassReport]) -> Result<()> {
    let mut shown = worst_first(classes);
    if classes.len() > ALL {
        shown.truncate(WORST);
    }
    let length = |&i: &usize| classes[i].class.chars().count();
    let longest = shown.iter().map(length).max().unwrap_or(0).max("class".len());
    writeln!(
        out,
        "{:<longest$}  pictures  top-1 error  precision   recall       F1  most confused with",
        "class"
    )?;
    let percent = |share: f64| if share.is_nan() { "–".into() } else { format!("{:.2} %", 100.0 * share) };
    for &i in &shown {
        let class = &classes[i];
        let other = class.most_confused_with.as_ref().map(|name| format!("{name} ({})", class.confusions));
        let row = format!(
            "{:<longest$}  {:>8}  {:>11}  {:>9}  {:>8} {:>8}  {}",
            class.class,
            class.count,
            percent(class.top1_error),
            percent(class.precision),
            percent(class.recall),
            percent(class.f1),
            other.unwrap_or_default()
        );
        writeln!(out, "{}", row.trim_end())?;
    }
    if shown.len() < classes.len() {
        let (shown, all) = (shown.len(), inception_graph::thousands(classes.len() as u64));
        writeln!(out, "the {shown} worst of {all} classes; --json and --report DIR have all")?;
    }
    Ok(())
}
