//! The page of a comparison: what was compared, the table, how many steps to which error, the figures.

use super::figures::run_curve;
use super::pairs::PAIRS;
use super::points::Comparison;
use super::spread::Spread;
use crate::figures::Curve;

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
    let curves: Vec<_> = names.iter().flat_map(|name| curves(whole, name)).collect();
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
    text + &ends(whole)
}

/// The top-1 errors of each run of an arm.
fn curves(whole: &Comparison, name: &str) -> Vec<Curve> {
    whole.runs(name).iter().map(|run| run_curve(run)).collect()
}

/// Where each arm reaches the error at which the one that it is held against ends.
fn ends(whole: &Comparison) -> String {
    let names = whole.names();
    let line = |arm: usize| {
        let other = against(&names, arm)?;
        let last: Vec<_> = whole.runs(&names[other]).iter().filter_map(|run| run.last().copied()).collect();
        let error = Spread::of(&last.iter().map(|p| 100.0 * p.eval_top1_error).collect::<Vec<_>>())?.mean;
        let steps = last.iter().map(|p| p.step).max()?;
        let reached = Reached::by(&curves(whole, &names[arm]), error);
        let [arm, other] = [&names[arm], &names[other]];
        let ends = format!("`{other}` ends at {error:.2} % after {steps} steps");
        Some(match reached.steps {
            None => format!("{ends}; `{arm}` does not reach that.\n"),
            Some(_) => format!("{ends}; `{arm}` reaches that after {}.\n", reached.text(None)),
        })
    };
    let lines: Vec<String> = (0..names.len()).filter_map(line).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.join("\n")) }
}

/// How many steps each arm needs, and how many times as many as the one that it is held against.
fn steps(whole: &Comparison, targets: &[f64]) -> String {
    let head: Vec<String> =
        std::iter::once(String::new()).chain(targets.iter().map(|target| format!("{target} %"))).collect();
    let names = whole.names();
    let all: Vec<Vec<Reached>> = names
        .iter()
        .map(|name| {
            let curves = curves(whole, name);
            targets.iter().map(|&target| Reached::by(&curves, target)).collect()
        })
        .collect();
    let row = |arm: usize| {
        let other = against(&names, arm).map(|other| &all[other]);
        let cells =
            all[arm].iter().enumerate().map(|(i, reached)| reached.text(other.map(|other| &other[i])));
        std::iter::once(names[arm].clone()).chain(cells).collect()
    };
    let times = if (0..names.len()).any(|arm| against(&names, arm).is_some()) {
        "\n× of the plain network of the pair, or of the first variation. ≤: reached when it was evaluated first.\n"
    } else {
        "\n≤: reached when it was evaluated first.\n"
    };
    table(&head, &(0..names.len()).map(row).collect::<Vec<_>>()) + times
}

/// Steps of an arm's runs to an error.
struct Reached {
    /// Of those that reach it.
    steps: Option<Spread>,
    runs: usize,
    /// Whether one of them had reached it when it was evaluated first.
    at_first: bool,
}

impl Reached {
    fn by(curves: &[Curve], target: f64) -> Self {
        let steps: Vec<f64> = curves.iter().filter_map(|curve| curve.reaches(target)).collect();
        let at_first = curves.iter().any(|curve| curve.starts_within(target));
        Reached { steps: Spread::of(&steps), runs: curves.len(), at_first }
    }

    /// The mean over all runs, where all reach the error.
    fn mean(&self) -> Option<f64> {
        self.steps.filter(|steps| steps.count == self.runs).map(|steps| steps.mean)
    }

    /// Beside what the `other` arm needs.
    fn text(&self, other: Option<&Reached>) -> String {
        let Some(steps) = self.steps else { return "not reached".into() };
        let least = if self.at_first { "≤ " } else { "" };
        let text = format!("{least}{}", steps.text(0));
        match (self.mean(), other.and_then(Reached::mean)) {
            (None, _) => format!("{text} ({} of {})", steps.count, self.runs),
            (Some(mean), Some(other)) => format!("{text} (×{least}{:.2})", mean / other),
            (Some(_), None) => text,
        }
    }
}

/// The arm that one is held against: the plain network of its pair, or the first variation of its own network.
fn against(names: &[String], arm: usize) -> Option<usize> {
    let (net, own) = names[arm].split_once(' ').unwrap_or((&names[arm], ""));
    let with =
        |net: &str, own: &str| names.iter().position(|name| *name == format!("{net} {own}").trim_end());
    let plain = PAIRS.iter().find(|pair| pair[1] == net).and_then(|pair| with(pair[0], own));
    let first = || names.iter().position(|name| name.split(' ').next() == Some(net));
    plain.or_else(first).filter(|&other| other != arm)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_networks_are_held_against_plain_ones_and_variations_against_the_first() {
        let found = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            (0..names.len()).map(|arm| against(&names, arm)).collect::<Vec<_>>()
        };
        let four = ["inception_v3", "inception_resnet_v1", "inception_v4", "inception_resnet_v2"];
        assert_eq!(found(&four), [None, Some(0), None, Some(2)]);
        assert_eq!(
            found(&["inception_v4 a=1", "inception_v4 a=2", "inception_v3 a=1"]),
            [None, Some(0), None]
        );
        let both =
            ["inception_v4 a=1", "inception_v4 a=2", "inception_resnet_v2 a=1", "inception_resnet_v2 a=2"];
        assert_eq!(found(&both), [None, Some(0), Some(0), Some(1)]);
    }

    #[test]
    fn steps_are_of_all_runs_and_say_when_they_are_less_than_could_be_seen() {
        let curve =
            |errors: [f64; 3]| Curve::new("", [100.0, 200.0, 300.0].into_iter().zip(errors).collect());
        let slow = Reached::by(&[curve([80.0, 60.0, 40.0]), curve([90.0, 70.0, 50.0])], 60.0);
        assert_eq!(slow.text(None), "225 ± 35");
        let fast = Reached::by(&[curve([50.0, 40.0, 30.0]), curve([70.0, 50.0, 30.0])], 60.0);
        assert_eq!(fast.text(Some(&slow)), "≤ 125 ± 35 (×≤ 0.56)");
        let some = Reached::by(&[curve([90.0, 80.0, 30.0]), curve([90.0, 80.0, 70.0])], 55.0);
        assert_eq!(some.text(Some(&slow)), "250 (1 of 2)");
        assert_eq!(Reached::by(&[curve([90.0, 80.0, 70.0])], 20.0).text(None), "not reached");
    }
}
