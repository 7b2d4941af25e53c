//! One figure, drawn.
//!
//! ```text
//! title
//! what the height means
//!  20 ┤ ╲                              a line each at the right, as near as may be to the end of its curve:
//!     │  ╲_______                      ── 12.34 name
//!  10 ┤..●.......‾‾‾‾‾‾‾‾●..........   the target, and where it is reached
//!   0 └──┼───────────────┼──────────
//! at step 310           1,420
//!     0         1,000          2,000
//!              steps
//! the note
//! ```

use std::fmt::Write;

use inception_graph::thousands;

use super::{Curve, Figure, escape};
use crate::ticks::{apart, ticks};

/// Of the picture, in pixels.
pub(super) const WIDTH: f64 = 860.0;
/// Where the plot begins.
const LEFT: f64 = 62.0;
const TOP: f64 = 62.0;
/// Height of the plot.
const PLOT: f64 = 310.0;
/// From a line of text to the next.
const LINE: f64 = 18.0;
/// About as wide as a letter is on average, in a wide typeface, and those that are wider than most.
const LETTER: f64 = 7.8;
const WIDE: f64 = 12.5;
/// Room at the right between a curve's end and its name.
const KEY: f64 = 46.0;
/// Letters of a name at most.
const NAME: usize = 44;
/// Letters of a line of the note.
const NOTE: usize = 125;
/// Different colours, the classes `c0`, … of the style sheet.
const COLOURS: usize = 6;

/// A figure and where its values lie.
pub(super) struct Panel<'a> {
    figure: &'a Figure,
    /// Width of the plot.
    width: f64,
    right: f64,
    y: [f64; 2],
    /// The largest value where it lies above the plot.
    hidden: Option<f64>,
    /// The text at the end of each curve, none at one without points.
    labels: Vec<Option<Label>>,
    note: Vec<String>,
}

/// What is at the end of a curve.
struct Label {
    end: (f64, f64),
    value: String,
    name: String,
}

impl<'a> Panel<'a> {
    /// Finds the room that everything needs.
    pub(super) fn new(figure: &'a Figure) -> Self {
        let (y, hidden) = figure.range();
        let labels: Vec<_> =
            figure.curves.iter().map(|curve| label(curve, figure.curves.len() > 1)).collect();
        let widths = labels.iter().flatten().map(|label| width_of(&label.value) + width_of(&label.name));
        let width = WIDTH - LEFT - KEY - widths.fold(0.0, f64::max) - 12.0;
        Panel { figure, width, right: figure.right(), y, hidden, labels, note: wrap(&figure.note, NOTE) }
    }

    /// Of all of it, in pixels.
    pub(super) fn height(&self) -> f64 {
        let note = if self.note.is_empty() { 0.0 } else { 10.0 + LINE * self.note.len() as f64 };
        self.below() + 28.0 + note
    }

    /// Where the labels of the axis are, below those of the target.
    fn below(&self) -> f64 {
        TOP + PLOT + if self.reached().is_empty() { 20.0 } else { 42.0 }
    }

    fn x(&self, step: f64) -> f64 {
        LEFT + self.width * step / self.right
    }

    fn y(&self, value: f64) -> f64 {
        TOP + PLOT * (self.y[1] - value) / (self.y[1] - self.y[0])
    }

    /// The step at which each curve reaches the target, its colour, and whether it may have been there before, from left to right.
    fn reached(&self) -> Vec<(f64, usize, bool)> {
        let Some(target) = self.figure.target else { return Vec::new() };
        let curves = self.colours();
        let step = |(curve, colour): (&Curve, usize)| {
            Some((curve.reaches(target)?, colour, curve.starts_within(target)))
        };
        let mut all: Vec<_> = curves.filter_map(step).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    /// The curves and their colours: of the solid ones and of the dashed ones in turn.
    fn colours(&self) -> impl Iterator<Item = (&'a Curve, usize)> {
        let mut next = [0; 2];
        self.figure.curves.iter().map(move |curve| {
            let next = &mut next[usize::from(curve.dashed)];
            *next += 1;
            (curve, (*next - 1) % COLOURS)
        })
    }

    /// The elements of the picture.
    pub(super) fn draw(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a String takes everything");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Figure { title, y_label, .. } = self.figure;
        writeln!(out, "<text class=\"title\" x=\"16\" y=\"27\">{}</text>", escape(title))?;
        writeln!(out, "<text class=\"soft\" x=\"16\" y=\"48\">{}</text>", escape(y_label))?;
        self.axes(out)?;
        self.curves(out)?;
        self.target(out)?;
        self.ends(out)?;
        for (line, i) in self.note.iter().zip(0..) {
            let y = self.below() + 48.0 + LINE * f64::from(i);
            writeln!(out, "<text class=\"soft note\" x=\"16\" y=\"{y}\">{}</text>", escape(line))?;
        }
        Ok(())
    }

    fn axes(&self, out: &mut String) -> std::fmt::Result {
        let (left, right, bottom) = (LEFT, LEFT + self.width, TOP + PLOT);
        let target = self.figure.target;
        for (value, label) in ticks(self.y, 6) {
            let y = self.y(value);
            writeln!(out, "<path class=\"grid\" d=\"M{left} {y:.1}H{right:.1}\"/>")?;
            // The target has a label of its own.
            if target.is_none_or(|target| (self.y(target) - y).abs() > LINE) {
                writeln!(
                    out,
                    "<text class=\"soft end\" x=\"{}\" y=\"{:.1}\">{label}</text>",
                    left - 8.0,
                    y + 4.5
                )?;
            }
        }
        let count = (self.right.min(self.width / 80.0) as usize).max(1);
        for (step, label) in ticks([0.0, self.right], count) {
            let (x, y) = (self.x(step), self.below());
            let label = if step.fract() == 0.0 { thousands(step as u64) } else { label };
            writeln!(out, "<path class=\"axis\" d=\"M{x:.1} {bottom}v5\"/>")?;
            writeln!(out, "<text class=\"soft middle\" x=\"{x:.1}\" y=\"{y}\">{label}</text>")?;
        }
        writeln!(out, "<path class=\"axis\" d=\"M{left} {bottom}H{right:.1}\"/>")?;
        let (x, y) = (left + self.width / 2.0, self.below() + 20.0);
        writeln!(out, "<text class=\"soft middle\" x=\"{x:.1}\" y=\"{y}\">steps</text>")?;
        if let Some(highest) = self.hidden {
            writeln!(
                out,
                "<text class=\"soft end\" x=\"{right:.1}\" y=\"48\">↑ first values up to {}</text>",
                short(highest, 1)
            )?;
        }
        Ok(())
    }

    /// Bands and lines, cut off at the top of the plot.
    fn curves(&self, out: &mut String) -> std::fmt::Result {
        // Half a dot may lie beyond the other sides.
        let (left, width, height) = (LEFT - 4.0, self.width + 8.0, PLOT + 4.0);
        writeln!(
            out,
            "<svg x=\"{left}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" viewBox=\"{left} {TOP} {width:.1} {height}\">"
        )?;
        for (curve, colour) in self.colours() {
            for part in parts(curve.points.iter().zip(&curve.band).map(|(p, &(low, high))| [p.0, low, high]))
            {
                let there = part.iter().map(|&[x, low, _]| (x, low));
                let back = part.iter().rev().map(|&[x, _, high]| (x, high));
                let outline = self.path(there.chain(back));
                writeln!(out, "<path class=\"band c{colour}\" d=\"{outline}Z\"/>")?;
            }
        }
        for (curve, colour) in self.colours() {
            let dashed = if curve.dashed { " dashed" } else { "" };
            for part in parts(curve.points.iter().map(|&(x, y)| [x, y])) {
                let line = self.path(part.iter().map(|&[x, y]| (x, y)));
                match part[..] {
                    [[x, y]] => self.dot(out, (x, y), colour)?,
                    _ => writeln!(out, "<path class=\"line c{colour}{dashed}\" d=\"{line}\"/>")?,
                }
            }
        }
        writeln!(out, "</svg>")
    }

    fn dot(&self, out: &mut String, (x, y): (f64, f64), colour: usize) -> std::fmt::Result {
        writeln!(
            out,
            "<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
            self.x(x),
            self.y(y)
        )
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (i, (x, y)) in points.enumerate() {
            let letter = if i == 0 { 'M' } else { 'L' };
            path += &format!("{letter}{:.1} {:.1}", self.x(x), self.y(y));
        }
        path
    }

    /// The line across, and from each curve a thread to its step below the axis.
    fn target(&self, out: &mut String) -> std::fmt::Result {
        let Some(target) = self.figure.target else { return Ok(()) };
        let (y, bottom) = (self.y(target), TOP + PLOT);
        let end = LEFT - 8.0;
        let name = (target * 100.0).round() / 100.0;
        writeln!(out, "<path class=\"target\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", LEFT + self.width)?;
        writeln!(out, "<text class=\"value end\" x=\"{end}\" y=\"{:.1}\">{name}</text>", y + 4.5)?;
        let reached = self.reached();
        if reached.is_empty() {
            return Ok(());
        }
        let row = bottom + 24.0;
        let text = |&(step, _, before): &(f64, usize, bool)| {
            format!("{}{}", if before { "≤ " } else { "" }, thousands(step.round() as u64))
        };
        let texts: Vec<String> = reached.iter().map(text).collect();
        let gap = texts.iter().map(|text| width_of(text)).fold(0.0, f64::max) + 10.0;
        let wanted: Vec<f64> = reached.iter().map(|(step, ..)| self.x(*step)).collect();
        let places = apart(&wanted, gap, [LEFT + gap / 2.0, LEFT + self.width]);
        writeln!(out, "<text class=\"value end\" x=\"{end}\" y=\"{row}\">at step</text>")?;
        for (((step, colour, before), text), place) in reached.into_iter().zip(texts).zip(places) {
            let (x, down) = (self.x(step), row - 13.0);
            writeln!(
                out,
                "<path class=\"thin c{colour}\" d=\"M{x:.1} {y:.1}V{bottom}L{place:.1} {down}\"/>"
            )?;
            // On its line.
            if !before {
                self.dot(out, (step, target), colour)?;
            }
            writeln!(out, "<text class=\"value middle\" x=\"{place:.1}\" y=\"{row}\">{text}</text>")?;
        }
        Ok(())
    }

    /// Last values and names at the right, as near to the ends of their curves as they have room.
    fn ends(&self, out: &mut String) -> std::fmt::Result {
        let mut ends: Vec<_> = self
            .colours()
            .zip(&self.labels)
            .filter_map(|(curve, label)| Some((curve, label.as_ref()?)))
            .collect();
        ends.sort_by(|a, b| b.1.end.1.total_cmp(&a.1.end.1));
        let wanted: Vec<f64> = ends.iter().map(|(_, label)| self.y(label.end.1)).collect();
        for (((curve, colour), label), y) in ends.into_iter().zip(apart(&wanted, LINE, [TOP, TOP + PLOT])) {
            let (end, key) = ((self.x(label.end.0), self.y(label.end.1)), LEFT + self.width + 16.0);
            let (dashed, text) = (if curve.dashed { " dashed" } else { "" }, key + 28.0);
            writeln!(
                out,
                "<path class=\"thin c{colour}\" d=\"M{:.1} {:.1}L{key:.1} {y:.1}\"/>",
                end.0, end.1
            )?;
            writeln!(out, "<path class=\"line c{colour}{dashed}\" d=\"M{key:.1} {y:.1}h22\"/>")?;
            self.dot(out, label.end, colour)?;
            writeln!(
                out,
                "<text x=\"{text:.1}\" y=\"{:.1}\"><tspan class=\"value\">{}</tspan> {}</text>",
                y + 4.5,
                label.value,
                escape(&label.name)
            )?;
        }
        Ok(())
    }
}

fn label(curve: &Curve, named: bool) -> Option<Label> {
    let end = curve.finite().next_back()?;
    let name = match curve.name.char_indices().nth(NAME) {
        _ if !named => String::new(),
        Some((cut, _)) => format!("{}…", &curve.name[..cut]),
        None => curve.name.clone(),
    };
    Some(Label { end, value: short(end.1, 2), name })
}

/// A number in few letters, whatever it is.
fn short(value: f64, digits: usize) -> String {
    if value.abs() < 1e6 { format!("{value:.digits$}") } else { format!("{value:.1e}") }
}

/// The longest parts of a series without a value that is no finite number.
fn parts<const N: usize>(series: impl Iterator<Item = [f64; N]>) -> Vec<Vec<[f64; N]>> {
    let all: Vec<_> = series.collect();
    let parts = all.split(|point| point.iter().any(|v| !v.is_finite()));
    parts.filter(|part| !part.is_empty()).map(<[_]>::to_vec).collect()
}

/// About as many pixels as a text is wide.
fn width_of(text: &str) -> f64 {
    let letter = |c: char| if "mwMW%=".contains(c) { WIDE } else { LETTER };
    text.chars().map(letter).sum()
}

/// Lines of at most so many letters, where words allow it.
fn wrap(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                *line += &format!(" {word}")
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}
