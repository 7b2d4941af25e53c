//! Pictures as SVG, drawn on white whatever the viewer's own colour.

use std::fmt::Write;

use crate::figures::escape;

/// Of right answers, as in the tables of pages.
pub(super) const RIGHT: &str = "#1f61b8";
/// Of wrong ones.
pub(super) const WRONG: &str = "#d53e2e";
/// Of words that are read second.
pub(super) const SOFT: &str = "#666";
/// Of lines that are seen last.
pub(super) const LINE: &str = "#ddd";

/// Width of a character of size 1, on average and rather too wide.
const CHARACTER: f64 = 0.56;

/// A picture in the making.
pub(super) struct Drawing {
    svg: String,
}

/// How text stands to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
    /// Upwards from the point.
    Up,
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Drawing {
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" font-family="system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif" fill="#111">
<rect width="100%" height="100%" fill="#fff"/>
"##
        );
        Drawing { svg }
    }

    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    /// An element as it is.
    pub(super) fn put(&mut self, element: std::fmt::Arguments) {
        // Writing to a string does not fail.
        let _ = self.svg.write_fmt(element);
        self.svg.push('\n');
    }

    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, size: f64, colour: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => String::new(),
            Anchor::Middle => r#" text-anchor="middle""#.into(),
            Anchor::End => r#" text-anchor="end""#.into(),
            Anchor::Up => format!(r#" transform="rotate(-90 {x:.1} {y:.1})""#),
        };
        let text = plain(text);
        self.put(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}"{anchor}>{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], colour: &str) {
        self.put(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        ));
    }
}

/// Text for an element; what XML cannot hold is replaced.
pub(super) fn plain(text: &str) -> String {
    escape(&text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>())
}

/// At most so many characters, the last of them `…` where there are more.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.into(),
    }
}

/// About how wide a text is.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER
}
