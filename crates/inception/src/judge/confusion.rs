//! The confusion matrix as a picture, at ten classes as at thousands.
//!
//! ```text
//! up to 40 classes    a square a pair of classes, coloured by its share of the class's pictures, with its number; all names
//! up to 120           the same without numbers
//! more                a dot a pair that was confused, its area the number of pictures; names at intervals, the error of each class
//!                     beside its row, numbers at the dots of the most frequent confusions
//! ```
//! Rows are the pictures' own classes, columns the answers, both in the order of the network's classes. The most frequent confusions
//! and the worst classes are listed by name beside it.

use std::collections::BTreeMap;
use std::f64::consts::FRAC_PI_6;

use super::classes::{ClassReport, Confusion, confusions, per_class, unanswered, worst_first};
use super::draw::{Anchor, Drawing, LINE, RIGHT, SOFT, WRONG, cut, plain, width};
use crate::metrics::Metrics;
use crate::progress::counted;

/// Classes whose cells have numbers, and whose cells are drawn at all.
const NUMBERED: usize = 40;
const CELLS: usize = 120;
/// Side of the matrix where it has dots.
const SIDE: f64 = 960.0;
/// Pixels between two names there.
const APART: f64 = 24.0;
/// Longest bar of a class's error there.
const BAR: f64 = 70.0;
/// Confusions and classes that are listed.
const LISTED: usize = 20;
const WORST: usize = 15;
/// Longest name, in characters.
const NAME: usize = 24;
/// Height of the title, and size of what is listed.
const TITLE: f64 = 64.0;
const LIST: f64 = 14.0;
/// Height of a line in sizes of its letters.
const SPACING: f64 = 1.55;
const LIST_WIDTH: f64 = 500.0;

/// Draws what was taken for what, by the `names` of the classes.
pub fn svg(metrics: &Metrics, names: &[String]) -> String {
    let plot = Plot::new(metrics, names);
    let wrong = plot.classes.iter().filter(|class| class.top1_error > 0.0).count();
    let rows = plot.confusions.len().clamp(1, LISTED) + wrong.min(WORST) + 4;
    let lists = TITLE + LIST * SPACING * rows as f64;
    let size = [plot.right() + 40.0 + LIST_WIDTH, (plot.bottom() + 30.0).max(lists)];
    let mut svg = Drawing::new(size[0], size[1]);
    let title = format!(
        "Top-1 error {:.2} %: {} of {}",
        100.0 * metrics.top1_error(),
        inception_graph::thousands(metrics.top1_errors()),
        counted(metrics.count() as usize, "picture")
    );
    svg.text([20.0, 30.0], Anchor::Start, 20.0, "#111", &title);
    svg.text(
        [20.0, 52.0],
        Anchor::Start,
        13.0,
        SOFT,
        "A row is the pictures of a class, a column what they were taken for.",
    );
    match plot.names.len() > CELLS {
        true => plot.dots(&mut svg),
        false => plot.cells(&mut svg),
    }
    plot.lists(&mut svg, plot.right() + 40.0);
    svg.finish()
}

/// Where things are.
struct Plot<'a> {
    metrics: &'a Metrics,
    names: &'a [String],
    classes: Vec<ClassReport>,
    /// The most frequent first.
    confusions: Vec<Confusion>,
    /// A column for pictures without an answer.
    unanswered: bool,
    /// Side of a cell.
    cell: f64,
    /// Size of names.
    size: f64,
    left: f64,
    top: f64,
}

impl<'a> Plot<'a> {
    fn new(metrics: &'a Metrics, names: &'a [String]) -> Self {
        let (counts, classes) = (metrics.per_class(), names.len());
        let (cell, size) = match classes {
            0..=12 => (44.0, 14.0),
            13..=NUMBERED => (32.0, 13.0),
            41..=CELLS => (13.0, 11.0),
            _ => (SIDE / classes as f64, 12.0),
        };
        let longest = names.iter().map(|name| width(&cut(name, NAME), size)).fold(60.0, f64::max);
        Plot {
            metrics,
            names,
            classes: per_class(counts, names),
            confusions: confusions(counts),
            unanswered: counts.iter().any(|class| unanswered(class) > 0),
            cell,
            size,
            left: 20.0 + longest + 8.0,
            top: TITLE + longest + 16.0,
        }
    }

    /// End of the columns.
    fn end(&self) -> f64 {
        self.left + self.cell * self.names.len() as f64
    }

    /// End of all that belongs to the rows.
    fn right(&self) -> f64 {
        match self.names.len() > CELLS {
            true => self.end() + 16.0 + BAR,
            false => self.end() + if self.unanswered { self.cell * 1.5 } else { 0.0 },
        }
    }

    fn bottom(&self) -> f64 {
        self.top + self.cell * self.names.len() as f64
    }

    /// The middle of a cell.
    fn middle(&self, label: usize, answer: usize) -> [f64; 2] {
        [self.left + (answer as f64 + 0.5) * self.cell, self.top + (label as f64 + 0.5) * self.cell]
    }

    /// Names of every `step`th class at both axes.
    fn axes(&self, svg: &mut Drawing, step: usize) {
        let down = self.size * 0.36;
        for i in (0..self.names.len()).step_by(step) {
            let ([x, y], name) = (self.middle(i, i), cut(&self.names[i], NAME));
            svg.text([self.left - 8.0, y + down], Anchor::End, self.size, "#111", &name);
            svg.text([x + down, self.top - 8.0], Anchor::Up, self.size, "#111", &name);
        }
    }

    fn cells(&self, svg: &mut Drawing) {
        self.axes(svg, 1);
        let (side, count) = (self.cell, self.names.len());
        for i in 0..=count {
            let [at_x, at_y] = [self.left + side * i as f64, self.top + side * i as f64];
            svg.line([self.left, at_y], [self.end(), at_y], LINE);
            svg.line([at_x, self.top], [at_x, self.bottom()], LINE);
        }
        if self.unanswered {
            let x = self.end() + side + self.size * 0.36;
            svg.text([x, self.top - 8.0], Anchor::Up, self.size, SOFT, "no answer");
        }
        for (label, class) in self.metrics.per_class().iter().enumerate() {
            let right = (class.count > class.errors).then_some((label, class.count - class.errors));
            let mut cell = |[x, y]: [f64; 2], colour: &str, n: u64, answer: &str| {
                let share = n as f64 / class.count as f64;
                // The rarest can still be seen.
                let strength = 0.12 + 0.83 * if colour == RIGHT { share } else { share.sqrt() };
                let half = side / 2.0;
                svg.put(format_args!(
                    r#"<rect x="{:.1}" y="{:.1}" width="{side}" height="{side}" fill="{colour}" fill-opacity="{strength:.2}"><title>{}: {answer}: {n} of {}</title></rect>"#,
                    x - half,
                    y - half,
                    plain(&self.names[label]),
                    class.count
                ));
                if count <= NUMBERED {
                    let size = (side * 1.45 / (n.to_string().len().max(2) + 1) as f64).min(15.0);
                    let ink = if strength > 0.55 { "#fff" } else { "#111" };
                    svg.text(
                        [x, y + size * 0.36],
                        Anchor::Middle,
                        (size * 10.0).round() / 10.0,
                        ink,
                        &n.to_string(),
                    );
                }
            };
            if let Some((answer, n)) = right {
                cell(self.middle(label, answer), RIGHT, n, "right");
            }
            for (&answer, &n) in &class.confused {
                cell(
                    self.middle(label, answer),
                    WRONG,
                    n,
                    &format!("taken for {}", plain(&self.names[answer])),
                );
            }
            if unanswered(class) > 0 {
                let [_, y] = self.middle(label, 0);
                cell([self.end() + side, y], WRONG, unanswered(class), "no answer");
            }
        }
    }

    fn dots(&self, svg: &mut Drawing) {
        let (end, bottom) = (self.end(), self.bottom());
        let step = (APART / self.cell).ceil() as usize;
        svg.put(format_args!(
            r##"<rect x="{:.1}" y="{:.1}" width="{SIDE}" height="{SIDE}" fill="#f7f7f9" stroke="{LINE}"/>"##,
            self.left, self.top
        ));
        for i in (0..self.names.len()).step_by(step) {
            let [x, y] = self.middle(i, i);
            svg.line([self.left - 5.0, y], [end, y], "#e8e8ec");
            svg.line([x, self.top - 5.0], [x, bottom], "#e8e8ec");
        }
        self.axes(svg, step);
        svg.line([self.left, self.top], [end, bottom], RIGHT);
        // Dots of one size in one path: lines of no length with round ends.
        let mut paths: BTreeMap<u64, String> = BTreeMap::new();
        for confusion in &self.confusions {
            let [x, y] = self.middle(confusion.label, confusion.answer);
            *paths.entry(confusion.count).or_default() += &format!("M{x:.1} {y:.1}h0");
        }
        for (&count, path) in &paths {
            svg.put(format_args!(
                r#"<path d="{path}" stroke="{WRONG}" stroke-opacity=".55" stroke-linecap="round" stroke-width="{:.1}"/>"#,
                2.0 * self.radius(count)
            ));
        }
        self.annotate(svg);
        self.bars(svg, end + 10.0);
        self.legend(svg);
    }

    /// Of the dot of so many pictures: by area, the largest of 14 pixels, the smallest still seen.
    fn radius(&self, count: u64) -> f64 {
        let most = self.confusions.first().map_or(1, |confusion| confusion.count) as f64;
        ((count as f64).sqrt() * (14.0 / most.sqrt()).min(2.2)).max(1.3)
    }

    /// Numbers at the dots of the most frequent confusions, where they cover no other number.
    fn annotate(&self, svg: &mut Drawing) {
        let mut taken: Vec<[f64; 2]> = Vec::new();
        for (i, confusion) in self.confusions.iter().take(LISTED).enumerate() {
            let [x, y] = self.middle(confusion.label, confusion.answer);
            let radius = self.radius(confusion.count);
            // Round the dot, further and further out.
            let place = (0..96).map(|at| {
                let (angle, out) =
                    (f64::from(at % 12) * FRAC_PI_6 - 0.9, radius + 12.0 + f64::from(at / 12) * 13.0);
                [x + out * angle.cos(), y + out * angle.sin()]
            });
            let free = |[x, y]: &[f64; 2]| {
                let inside = *x > self.left + 8.0
                    && *x < self.end() - 8.0
                    && *y > self.top + 8.0
                    && *y < self.bottom() - 8.0;
                inside && taken.iter().all(|[a, b]| (a - x).abs() > 20.0 || (b - y).abs() > 14.0)
            };
            let [at_x, at_y] = place.clone().find(free).unwrap_or([x, y]);
            taken.push([at_x, at_y]);
            svg.line([x, y], [at_x, at_y], "#111");
            svg.put(format_args!(
                r##"<rect x="{:.1}" y="{:.1}" width="18" height="13" rx="3" fill="#fff" stroke="#111" stroke-width=".7"/>"##,
                at_x - 9.0,
                at_y - 6.5
            ));
            svg.text([at_x, at_y + 3.8], Anchor::Middle, 10.5, "#111", &(i + 1).to_string());
        }
    }

    /// The error of each class beside its row.
    fn bars(&self, svg: &mut Drawing, left: f64) {
        svg.text([left, self.top - 24.0], Anchor::Start, 12.0, SOFT, "error of");
        svg.text([left, self.top - 9.0], Anchor::Start, 12.0, SOFT, "the class");
        for share in [0.0, 0.5, 1.0] {
            let x = left + share * BAR;
            svg.line([x, self.top], [x, self.bottom()], LINE);
            let percent = if share == 0.5 { String::new() } else { format!("{:.0} %", 100.0 * share) };
            svg.text([x, self.bottom() + 15.0], Anchor::Middle, 11.0, SOFT, &percent);
        }
        let bar = |(i, class): (usize, &ClassReport)| {
            let [_, y] = self.middle(i, i);
            (class.top1_error > 0.0).then(|| format!("M{left:.1} {y:.1}h{:.1}", class.top1_error * BAR))
        };
        let path: String = self.classes.iter().enumerate().filter_map(bar).collect();
        svg.put(format_args!(
            r#"<path d="{path}" stroke="{WRONG}" stroke-opacity=".75" stroke-width="{:.2}"/>"#,
            self.cell.max(0.6)
        ));
    }

    /// What the sizes of dots mean.
    fn legend(&self, svg: &mut Drawing) {
        let most = self.confusions.first().map_or(0, |confusion| confusion.count);
        let mut counts = vec![1, (most as f64).sqrt().round() as u64, most];
        counts.retain(|&count| count > 0);
        counts.dedup();
        let (mut x, y) = (self.left, self.bottom() + 18.0);
        for count in counts {
            let radius = self.radius(count);
            svg.put(format_args!(
                r#"<circle cx="{:.1}" cy="{y:.1}" r="{radius:.1}" fill="{WRONG}" fill-opacity=".55"/>"#,
                x + radius
            ));
            let text = counted(count as usize, "picture");
            svg.text([x + 2.0 * radius + 6.0, y + 4.0], Anchor::Start, 12.0, SOFT, &text);
            x += 2.0 * radius + 30.0 + width(&text, 12.0);
        }
    }

    /// The most frequent confusions and the worst classes, by name.
    fn lists(&self, svg: &mut Drawing, left: f64) {
        let mut y = TITLE + 4.0;
        let mut row = |x: f64, anchor: Anchor, colour: &str, text: &str, down: bool| {
            svg.text([left + x, y], anchor, LIST, colour, text);
            y += if down { LIST * SPACING } else { 0.0 };
        };
        let counts = self.metrics.per_class();
        row(0.0, Anchor::Start, SOFT, "Most frequent confusions", false);
        row(LIST_WIDTH - 24.0, Anchor::End, SOFT, "of the class", true);
        for (i, confusion) in self.confusions.iter().take(LISTED).enumerate() {
            let pair = format!(
                "{} → {}",
                cut(&self.names[confusion.label], NAME),
                cut(&self.names[confusion.answer], NAME)
            );
            let share = format!("{} of {}", confusion.count, counts[confusion.label].count);
            row(20.0, Anchor::End, SOFT, &(i + 1).to_string(), false);
            row(30.0, Anchor::Start, "#111", &pair, false);
            row(LIST_WIDTH - 24.0, Anchor::End, "#111", &share, true);
        }
        if self.confusions.is_empty() {
            row(30.0, Anchor::Start, "#111", "none", true);
        }
        row(0.0, Anchor::Start, SOFT, "", true);
        row(0.0, Anchor::Start, SOFT, "Largest errors", false);
        row(LIST_WIDTH - 24.0, Anchor::End, SOFT, "wrong", true);
        let wrong = |&i: &usize| counts[i].errors > 0;
        for i in worst_first(&self.classes).into_iter().filter(wrong).take(WORST) {
            let share = format!("{} of {}", counts[i].errors, counts[i].count);
            row(30.0, Anchor::Start, "#111", &cut(&self.names[i], NAME + 10), false);
            row(LIST_WIDTH - 24.0, Anchor::End, "#111", &share, true);
        }
    }
}
