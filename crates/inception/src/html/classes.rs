//! Tables about classes.

use super::{bdi, scroll, section, table};
use crate::figures::escape;
use crate::judge;
use crate::judge::classes::{ClassReport, Confusion, unanswered, worst_first};
use crate::metrics::ClassCounts;

/// Classes whose confusions are shown as a matrix; of more, the most frequent are listed.
const MATRIX: usize = 60;
/// Confusions that are listed.
const LISTED: usize = 30;

fn percent(share: f64) -> String {
    if share.is_nan() { "–".into() } else { format!("{:.2} %", 100.0 * share) }
}

/// Whether there are few enough classes for a matrix of numbers.
pub(crate) fn has_matrix(classes: usize) -> bool {
    classes <= MATRIX
}

/// The sections about classes and about what was taken for what, of pictures that `which` says in words.
pub(crate) fn judged(which: &str, counts: &[ClassCounts], names: &[String]) -> String {
    let classes = section("Classes", which, &scroll(&per_class(&judge::classes::per_class(counts, names))));
    let confused = if has_matrix(counts.len()) {
        let note = format!("{which} A row is the pictures of a class, a column what they were taken for.");
        section("Confusions", &note, &scroll(&matrix(counts, names)))
    } else {
        confusions(which, counts, names)
    };
    classes + &confused
}

/// The classes with the largest errors first, those without pictures last.
fn per_class(classes: &[ClassReport]) -> String {
    let row = |i: usize| {
        let class = &classes[i];
        let other = class.most_confused_with.as_ref();
        let other = other.map(|name| format!("{} ({})", bdi(name), class.confusions)).unwrap_or_default();
        let shares = [class.top1_error, class.precision, class.recall, class.f1];
        let shares: String = shares.iter().map(|share| format!("<td>{}</td>", percent(*share))).collect();
        format!(
            "<tr><td class=\"text\">{}</td><td>{}</td>{shares}<td class=\"text\">{other}</td></tr>\n",
            bdi(&class.class),
            class.count,
        )
    };
    let head = "<th class=\"text\">class</th><th>pictures</th><th>top-1 error</th><th>precision</th><th>recall</th><th>F1</th><th class=\"text\">most confused with</th>";
    table(head, worst_first(classes).into_iter().map(row))
}

/// A heat map: the share of a class's pictures gives the colour.
fn matrix(counts: &[ClassCounts], names: &[String]) -> String {
    let some_unanswered = counts.iter().any(|class| unanswered(class) > 0);
    let cell = |kind: &str, n: u64, of: u64| match n {
        0 => "<td></td>".into(),
        n => format!("<td class=\"{kind}\" style=\"--share:{:.2}\">{n}</td>", n as f64 / of as f64),
    };
    let row = |(i, class): (usize, &ClassCounts)| {
        let answers = (0..counts.len()).map(|j| match i == j {
            true => cell("right", class.count - class.errors, class.count),
            false => cell("wrong", class.confused.get(&j).copied().unwrap_or(0), class.count),
        });
        let none = some_unanswered.then(|| cell("wrong", unanswered(class), class.count));
        let cells: String = answers.chain(none).collect();
        format!("<tr><th title=\"{}\">{}</th>{cells}</tr>\n", escape(&names[i]), bdi(&names[i]))
    };
    let column = |name: &String| format!("<th title=\"{}\"><span>{}</span></th>", escape(name), bdi(name));
    let none = if some_unanswered { "<th><span>no answer</span></th>" } else { "" };
    let head = format!("<th></th>{}{none}", names.iter().map(column).collect::<String>());
    table(&head, counts.iter().enumerate().map(row)).replacen("<table>", "<table class=\"matrix\">", 1)
}

/// The section of the most frequent confusions.
pub(crate) fn confusions(which: &str, counts: &[ClassCounts], names: &[String]) -> String {
    let row = |&Confusion { label, answer, count }: &Confusion| {
        format!(
            "<tr><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{count}</td><td>{}</td></tr>\n",
            bdi(&names[label]),
            bdi(&names[answer]),
            percent(count as f64 / counts[label].count as f64)
        )
    };
    let head = "<th class=\"text\">class</th><th class=\"text\">taken for</th><th>pictures</th><th>of the class</th>";
    let all = judge::classes::confusions(counts);
    let note = match all.len() > LISTED {
        true => format!("{which} The {LISTED} most frequent."),
        false => which.into(),
    };
    section("Most frequent confusions", &note, &scroll(&table(head, all.iter().take(LISTED).map(row))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("<{i}>")).collect()
    }

    /// Of each label: 3 pictures answered right, `wrong` of them wrong.
    fn judged(classes: usize, wrong: &[(usize, usize)]) -> Metrics {
        let mut metrics = Metrics::new(classes);
        let row = |answer: usize| (0..classes).map(|j| f32::from(u8::from(j == answer))).collect::<Vec<_>>();
        (0..classes).filter(|&i| i != 1).for_each(|i| (0..3).for_each(|_| metrics.add(&row(i), &[i as u32])));
        wrong.iter().for_each(|&(label, answer)| metrics.add(&row(answer), &[label as u32]));
        metrics
    }

    fn texts(cells: &str, tag: &str) -> Vec<String> {
        let of = |part: &str| {
            Some(part.split_once('>')?.1.split("</t").next()?.replace("<bdi>", "").replace("</bdi>", ""))
        };
        cells.split(tag).skip(1).filter_map(of).collect()
    }

    #[test]
    fn classes_are_sorted_and_confusions_counted() {
        // Class 0 is wrong once in 4, class 2 twice in 5, class 1 has no pictures.
        let metrics = judged(3, &[(0, 2), (2, 0), (2, 1)]);
        let text = per_class(&judge::classes::per_class(metrics.per_class(), &names(3)));
        // Of 6 answers 0, two are wrong; of 4 answers 2, one.
        let rows = [
            ["&lt;2&gt;", "5", "40.00 %", "75.00 %", "60.00 %", "66.67 %", "&lt;0&gt; (1)"],
            ["&lt;0&gt;", "4", "25.00 %", "75.00 %", "75.00 %", "75.00 %", "&lt;2&gt; (1)"],
            ["&lt;1&gt;", "0", "–", "0.00 %", "–", "0.00 %", ""],
        ];
        let row = rows.concat();
        assert_eq!(texts(&text, "<td"), row);
        let text = matrix(metrics.per_class(), &names(3));
        assert_eq!(texts(&text, "<td"), ["3", "", "1", "", "", "", "1", "1", "3"]);
        assert!(text.contains("class=\"right\" style=\"--share:0.75\">3<") && text.contains("--share:0.20"));
    }

    #[test]
    fn pictures_without_an_answer_have_a_column() {
        let mut metrics = judged(2, &[]);
        metrics.add(&[f32::NAN, 0.0], &[1]);
        assert_eq!(texts(&matrix(metrics.per_class(), &names(2)), "<td"), ["3", "", "", "", "", "1"]);
    }

    #[test]
    fn of_many_classes_the_most_frequent_confusions_are_listed() {
        let wrong: Vec<_> = (2..50).map(|i| (i, i + 1)).chain([(40, 3), (40, 3)]).collect();
        let metrics = judged(70, &wrong);
        let text = super::judged("After epoch 1.", metrics.per_class(), &names(70));
        assert!(text.contains("30 most frequent") && !text.contains("class=\"matrix\""));
        let text = confusions("", metrics.per_class(), &names(70));
        assert_eq!(text.matches("<tr><td").count(), LISTED);
        assert_eq!(texts(&text, "<td")[..4], ["&lt;40&gt;", "&lt;3&gt;", "2", "33.33 %"]);
    }
}
