//! Pages of HTML: each a file that needs no other, neither from the disk nor from a network.
//!
//! Whatever comes from files, names of classes and pictures above all, is escaped; should that ever fail, the page forbids itself
//! scripts and requests.

mod classes;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::figures::escape;
pub(crate) use classes::{confusions, has_matrix, judged};

/// A value in large letters.
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// In small letters below.
    pub(crate) note: String,
}

/// A wrong answer.
pub(crate) struct Pictured {
    pub(crate) name: String,
    pub(crate) label: usize,
    pub(crate) answer: usize,
    pub(crate) probability: f64,
    pub(crate) loss: f64,
    /// A PNG file.
    pub(crate) png: Vec<u8>,
}

/// The HTML file: a title, what stands beside it in small letters, what is to be seen first, sections.
pub(crate) fn page(title: &str, about: &str, facts: &[Fact], sections: &str) -> String {
    let (name, about) = (escape(title), escape(about));
    let facts = facts.iter().map(|Fact { name, value, note }| {
        format!("<div><dt>{name}</dt><dd>{} <small>{}</small></dd></div>\n", escape(value), escape(note))
    });
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name}: {about}</title>
<style>
{}</style>
</head>
<body>
<h1>{name} <small>{about}</small></h1>
<dl class="facts">
{}</dl>
{sections}</body>
</html>
"#,
        include_str!("html/report.css"),
        facts.collect::<String>(),
    )
}

/// A name from outside; its direction of writing turns nothing around it.
pub(crate) fn bdi(name: &str) -> String {
    format!("<bdi>{}</bdi>", escape(name))
}

/// A section with a heading, a note in small letters, and content in HTML.
pub(crate) fn section(title: &str, note: &str, content: &str) -> String {
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

/// A section for a file of text.
pub(crate) fn text(file: &str, text: &str) -> String {
    section(file, "", &format!("<pre>{}</pre>", escape(text)))
}

/// A section with an SVG file.
pub(crate) fn figure(title: &str, note: &str, svg: &str) -> String {
    section(title, note, &format!("<div class=\"figure\">{svg}</div>"))
}

/// The section of wrong answers to pictures that `which` says in words.
pub(crate) fn mistakes(which: &str, mistakes: &[Pictured], names: &[String]) -> String {
    let note = format!(
        "{which} The wrong answers with the largest losses; pictures as the network sees them, with the probability of the answer."
    );
    section("Worst mistakes", &note, &pictures(mistakes, names))
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
