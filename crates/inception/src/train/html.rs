//! A run on one page: an HTML file that needs no other, neither from the disk nor from a network.
//!
//! Whatever comes from files, names of classes and pictures above all, is escaped; should that ever fail, the page forbids itself
//! scripts and requests.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::figures::escape;
use crate::metrics::{ClassCounts, Metrics};

/// Classes whose confusions are shown as a matrix; of more, the most frequent are listed.
const MATRIX: usize = 60;
/// Confusions that are listed.
const LISTED: usize = 30;

/// What the page shows.
pub(super) struct Page<'a> {
    /// Name of the run.
    pub(super) name: &'a str,
    /// The network, in a few words.
    pub(super) network: String,
    /// What is to be seen first.
    pub(super) facts: Vec<Fact>,
    /// An SVG file.
    pub(super) curves: &'a str,
    /// Names of the classes.
    pub(super) classes: &'a [String],
    /// An evaluation, where there has been one.
    pub(super) judged: Option<&'a Judged>,
    /// Which one that is, in words.
    pub(super) which: String,
    /// Other files of the run: name and text.
    pub(super) texts: Vec<(&'static str, String)>,
}

/// A value in large letters.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// In small letters below.
    pub(super) note: String,
}

/// What the evaluation after an epoch found.
pub(super) struct Judged {
    pub(super) epoch: usize,
    pub(super) metrics: Metrics,
    /// The worst first.
    pub(super) mistakes: Vec<Pictured>,
}

/// A wrong answer.
pub(super) struct Pictured {
    pub(super) name: String,
    pub(super) label: usize,
    pub(super) answer: usize,
    pub(super) probability: f64,
    pub(super) loss: f64,
    /// A PNG file.
    pub(super) png: Vec<u8>,
}

/// The HTML file.
pub(super) fn page(page: &Page) -> String {
    let (name, network) = (escape(page.name), escape(&page.network));
    let facts = page.facts.iter().map(|Fact { name, value, note }| {
        format!("<div><dt>{name}</dt><dd>{} <small>{}</small></dd></div>\n", escape(value), escape(note))
    });
    let mut sections = section("Curves", "", &format!("<div class=\"curves\">{}</div>", page.curves));
    if let Some(judged) = page.judged {
        let counts = judged.metrics.per_class();
        let which = &page.which;
        sections += &section("Classes", which, &scroll(&per_class(counts, page.classes)));
        sections += &if counts.len() <= MATRIX {
            let note =
                format!("{which} A row is the pictures of a class, a column what they were taken for.");
            section("Confusions", &note, &scroll(&matrix(counts, page.classes)))
        } else {
            let note = format!("{which} The {LISTED} most frequent.");
            section("Confusions", &note, &scroll(&confusions(counts, page.classes)))
        };
        let note = format!(
            "{which} The wrong answers with the largest losses; pictures as the network sees them, with the probability of the answer."
        );
        sections += &section("Worst mistakes", &note, &pictures(&judged.mistakes, page.classes));
    }
    for (file, text) in &page.texts {
        sections += &section(file, "", &format!("<pre>{}</pre>", escape(text)));
    }
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name}: {network}</title>
<style>
{}</style>
</head>
<body>
<h1>{name} <small>{network}</small></h1>
<dl class="facts">
{}</dl>
{sections}</body>
</html>
"#,
        include_str!("report.css"),
        facts.collect::<String>(),
    )
}

/// A name from outside; its direction of writing turns nothing around it.
fn bdi(name: &str) -> String {
    format!("<bdi>{}</bdi>", escape(name))
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.2} %", 100.0 * part as f64 / whole as f64) }
}

fn section(title: &str, note: &str, content: &str) -> String {
    let note = if note.is_empty() { "".into() } else { format!("<p class=\"note\">{}</p>\n", escape(note)) };
    format!("<section>\n<h2>{}</h2>\n{note}{content}\n</section>\n", escape(title))
}

/// Wide content moves, not the page.
fn scroll(content: &str) -> String {
    format!("<div class=\"scroll\">\n{content}</div>")
}

fn table(head: &str, rows: impl Iterator<Item = String>) -> String {
    format!(
        "<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n",
        rows.collect::<String>()
    )
}

/// The classes with the largest errors first, those without pictures last.
fn per_class(counts: &[ClassCounts], names: &[String]) -> String {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    let share = |class: &ClassCounts| match class.count {
        0 => -1.0,
        count => class.errors as f64 / count as f64,
    };
    order.sort_by(|&a, &b| share(&counts[b]).total_cmp(&share(&counts[a])));
    let row = |i: usize| {
        let class = &counts[i];
        let other = class
            .most_confused()
            .map(|(other, n)| format!("{} ({n})", bdi(&names[other])))
            .unwrap_or_default();
        format!(
            "<tr><td class=\"text\">{}</td><td>{}</td><td>{}</td><td class=\"text\">{other}</td></tr>\n",
            bdi(&names[i]),
            class.count,
            percent(class.errors, class.count)
        )
    };
    let head = "<th class=\"text\">class</th><th>pictures</th><th>top-1 error</th><th class=\"text\">most confused with</th>";
    table(head, order.into_iter().map(row))
}

/// A heat map: the share of a class's pictures gives the colour.
fn matrix(counts: &[ClassCounts], names: &[String]) -> String {
    // Pictures that were given no answer, where a logit was no finite number.
    let unanswered = |class: &ClassCounts| class.errors - class.confused.values().sum::<u64>();
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

/// The most frequent confusions.
fn confusions(counts: &[ClassCounts], names: &[String]) -> String {
    let of_class = |(label, class): (usize, &ClassCounts)| {
        class.confused.iter().map(move |(&a, &n)| (label, a, n)).collect()
    };
    let mut all: Vec<(usize, usize, u64)> =
        counts.iter().enumerate().flat_map(|one| -> Vec<_> { of_class(one) }).collect();
    all.sort_by_key(|&(.., n)| Reverse(n));
    let row = |&(label, answer, n): &(usize, usize, u64)| {
        format!(
            "<tr><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{n}</td><td>{}</td></tr>\n",
            bdi(&names[label]),
            bdi(&names[answer]),
            percent(n, counts[label].count)
        )
    };
    let head = "<th class=\"text\">class</th><th class=\"text\">taken for</th><th>pictures</th><th>of the class</th>";
    table(head, all.iter().take(LISTED).map(row))
}

fn pictures(mistakes: &[Pictured], names: &[String]) -> String {
    if mistakes.is_empty() {
        return "<p>None.</p>".into();
    }
    let figure = |m: &Pictured| {
        format!(
            "<figure><img src=\"data:image/png;base64,{}\" alt=\"{}\"><figcaption><small>{}</small><br>{}, taken for {} ({:.0} %)<br><small>loss {:.2}</small></figcaption></figure>\n",
            STANDARD.encode(&m.png),
            escape(&names[m.label]),
            bdi(&m.name),
            bdi(&names[m.label]),
            bdi(&names[m.answer]),
            100.0 * m.probability,
            m.loss
        )
    };
    format!("<div class=\"pictures\">\n{}</div>", mistakes.iter().map(figure).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = per_class(metrics.per_class(), &names(3));
        let row = [
            "&lt;2&gt;",
            "5",
            "40.00 %",
            "&lt;0&gt; (1)",
            "&lt;0&gt;",
            "4",
            "25.00 %",
            "&lt;2&gt; (1)",
            "&lt;1&gt;",
            "0",
            "–",
            "",
        ];
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
        let text = confusions(metrics.per_class(), &names(70));
        assert_eq!(text.matches("<tr><td").count(), LISTED);
        assert_eq!(texts(&text, "<td")[..4], ["&lt;40&gt;", "&lt;3&gt;", "2", "33.33 %"]);
        let judged = Judged { epoch: 1, metrics, mistakes: Vec::new() };
        let (classes, which) = (names(70), "After epoch 1.".to_string());
        let page = page(&Page {
            name: "a'b",
            network: "inception_v4".into(),
            facts: Vec::new(),
            curves: "<svg/>",
            classes: &classes,
            judged: Some(&judged),
            which,
            texts: vec![("recipe.toml", "x = \"</pre>\"".into())],
        });
        assert!(page.contains("30 most frequent") && !page.contains("class=\"matrix\""));
        assert!(
            page.contains("<title>a&#39;b: inception_v4</title>")
                && page.contains("x = &quot;&lt;/pre&gt;&quot;")
        );
    }
}
