//! The page of a comparison: what was compared, the table, how many steps to which error, the figures.

use super::figures::run_curve;
use super::points::Comparison;
use super::spread::Spread;

/// Errors that are asked for, in percent, where no others are.
const TARGETS: [f64; 17] =
    [80.0, 70.0, 60.0, 50.0, 40.0, 35.0, 30.0, 25.0, 20.0, 17.5, 15.0, 12.5, 10.0, 7.5, 5.0, 2.0, 1.0];

/// How many of them are shown, the hardest that every run reaches.
const SHOWN: usize = 4;

/// The errors whose steps are told: those asked for, else the hardest that every run reaches.
fn targets(whole: &Comparison, asked: &[f64]) -> Vec<f64> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    let names = whole.names();
    let curves: Vec<_> = names.iter().flat_map(|name| whole.runs(name)).map(|run| run_curve(&run)).collect();
    let all_reach = |target: &f64| curves.iter().all(|curve| curve.reaches(*target).is_some());
    let reached: Vec<f64> = TARGETS.into_iter().filter(all_reach).collect();
    reached[reached.len().saturating_sub(SHOWN)..].to_vec()
}

/// A table of Markdown whose columns stand below each other as plain text, too; all but the first are numbers.
fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(head).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cell = |(column, cell): (usize, &String)| match column {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ => format!("{cell:>width$}", width = widths[column]),
        };
        format!("| {} |\n", row.iter().enumerate().map(cell).collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| match column {
        0 => "-".repeat(width + 2),
        _ => format!("{}:", "-".repeat(width + 1)),
    });
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    line(head) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// What the runs of each arm came to.
pub fn tables(whole: &Comparison, asked: &[f64]) -> String {
    let head = [
        "",
        "width",
        "parameters",
        "M MACs",
        "runs",
        "top-1 error, %",
        "top-5 error, %",
        "loss",
        "least top-1 error, %",
    ];
    let mut rows = Vec::new();
    for arm in &whole.about.arms {
        let runs = whole.runs(&arm.name);
        let last: Vec<_> = runs.iter().filter_map(|run| run.last()).collect();
        let of =
            |values: Vec<f64>, digits| Spread::of(&values).map_or("–".into(), |spread| spread.text(digits));
        let percent = |share: f64| 100.0 * share;
        let least = |run: &Vec<_>| {
            run.iter().map(|p: &&super::Point| percent(p.eval_top1_error)).fold(f64::MAX, f64::min)
        };
        rows.push(vec![
            arm.name.clone(),
            format!("{}", (arm.width * 1000.0).round() / 1000.0),
            inception_graph::thousands(arm.parameters as u64),
            format!("{:.1}", arm.macs as f64 / 1e6),
            runs.len().to_string(),
            of(last.iter().map(|p| percent(p.eval_top1_error)).collect(), 2),
            of(last.iter().map(|p| percent(p.eval_top5_error)).collect(), 2),
            of(last.iter().filter_map(|p| p.eval_loss).collect(), 3),
            of(runs.iter().map(least).collect(), 2),
        ]);
    }
    let mut text = table(&head.map(String::from), &rows);
    let targets = targets(whole, asked);
    if !targets.is_empty() {
        text += "\nSteps to a top-1 error of\n\n";
        text += &steps(whole, &targets);
    }
    text
}

fn steps(whole: &Comparison, targets: &[f64]) -> String {
    let head: Vec<String> =
        std::iter::once(String::new()).chain(targets.iter().map(|target| format!("{target} %"))).collect();
    // Of the first arm, which the others are held against.
    let mut first: Vec<Option<f64>> = Vec::new();
    let mut rows = Vec::new();
    for name in whole.names() {
        let curves: Vec<_> = whole.runs(&name).iter().map(|run| run_curve(run)).collect();
        let mut row = vec![name];
        for (i, &target) in targets.iter().enumerate() {
            let steps: Vec<f64> = curves.iter().filter_map(|curve| curve.reaches(target)).collect();
            let all = steps.len() == curves.len();
            let spread = Spread::of(&steps);
            if first.len() <= i {
                first.push(spread.filter(|_| all).map(|spread| spread.mean));
            }
            row.push(match spread {
                None => "not reached".into(),
                Some(spread) if !all => format!("{} ({} of {})", spread.text(0), steps.len(), curves.len()),
                Some(spread) => match first[i].filter(|_| !rows.is_empty()) {
                    Some(mean) => format!("{} (×{:.2})", spread.text(0), spread.mean / mean),
                    None => spread.text(0),
                },
            });
        }
        rows.push(row);
    }
    table(&head, &rows)
}

/// `compare.md`: all that is known, with the figures in `files`.
pub fn page(whole: &Comparison, asked: &[f64], files: &[String]) -> String {
    let about = &whole.about;
    let note = about.note.as_ref().map_or(String::new(), |note| format!(", {note}"));
    let time = crate::progress::duration(about.seconds);
    let figures: String =
        files.iter().map(|file| format!("![{}]({file})\n\n", file.trim_end_matches(".svg"))).collect();
    format!(
        "```sh\n{}\n```\n\n{}{note}; {time} in all. Errors are of the moving average of the weights, single crop, after the last epoch: mean ± standard \
         deviation over seeds.\n\n{}\n{figures}",
        about.command,
        about.machine,
        tables(whole, asked),
    )
}
