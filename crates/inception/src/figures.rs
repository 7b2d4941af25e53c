//! Figures of training runs, as SVG: curves over steps, with their names and last values at their ends.
//!
//! Text stays text, and a style sheet inside gives light and dark pages their own colours, also where a page shows the file by
//! `<img>`; whoever knows no media queries draws it light.

mod panel;

use std::path::Path;

use anyhow::Result;

use crate::run_dir::replace;
use panel::{Panel, WIDTH};

/// One curve of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Its name, written at its end.
    pub name: String,
    /// Points from left to right. A value that is no finite number is a gap.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper value at each point, such as the spread over seeds; empty for none.
    pub band: Vec<(f64, f64)>,
    /// Whether it is of a second kind, such as top-5 beside top-1 errors: the first dashed curve has the colour of the first
    /// other one, and so on.
    pub dashed: bool,
}

impl Curve {
    /// A line through `points`.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Curve { name: name.into(), points, ..Curve::default() }
    }

    /// Where the line first is not above `target`, between two points by a straight line; `None` where it always is.
    pub fn reaches(&self, target: f64) -> Option<f64> {
        let first = self.points.iter().position(|point| point.1 <= target)?;
        let (x, y) = self.points[first];
        let before = first.checked_sub(1).map(|i| self.points[i]).filter(|before| before.1.is_finite());
        Some(before.map_or(x, |before| before.0 + (x - before.0) * (before.1 - target) / (before.1 - y)))
    }

    /// Whether its first point is not above `target`, so that it may have been reached before.
    pub fn starts_within(&self, target: f64) -> bool {
        self.points.first().is_some_and(|first| first.1 <= target)
    }

    /// The points that can be drawn.
    fn finite(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// A figure: curves over steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Above the curves.
    pub title: String,
    /// What the height means.
    pub y_label: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// A value that curves fall to: a line across, with a dot and the step where each first reaches it.
    pub target: Option<f64>,
    /// What is to be known of it, in small letters below.
    pub note: String,
}

impl Figure {
    /// The last step.
    fn right(&self) -> f64 {
        self.curves.iter().flat_map(Curve::finite).map(|point| point.0).fold(1.0, f64::max)
    }

    /// The values that are shown, lowest and highest, and the largest of all if it is not among them.
    ///
    /// Errors begin near those of guessing and end where they are to be compared. So the top is the largest value after the first
    /// fifth of the steps where that is much less, which hides no end; the bottom is zero unless all lies in the upper two thirds, and
    /// then leaves small differences small.
    fn range(&self) -> ([f64; 2], Option<f64>) {
        let early = self.right() / 5.0;
        let values = |curve: &Curve| -> Vec<(f64, f64)> {
            let lines = curve.points.iter().copied();
            let band =
                curve.points.iter().zip(&curve.band).flat_map(|(p, &(low, high))| [(p.0, low), (p.0, high)]);
            lines.chain(band).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
        };
        let ends = self.curves.iter().filter_map(|curve| curve.finite().next_back());
        let all = || self.curves.iter().flat_map(values);
        let kept = all().filter(|point| point.0 >= early).chain(ends).map(|point| point.1).chain(self.target);
        let high = all().map(|point| point.1).chain(self.target).fold(0.0, f64::max);
        let low = all().map(|point| point.1).chain(self.target).fold(f64::INFINITY, f64::min);
        let late = kept.fold(0.0, f64::max);
        let (top, hidden) = if late > 0.0 && late < 0.7 * high { (late, Some(high)) } else { (high, None) };
        let bottom = if low > top / 3.0 { low.min(0.85 * top) - (top - low) / 10.0 } else { low.min(0.0) };
        match top > bottom {
            true => ([bottom, top + (top - bottom) / 20.0], hidden),
            // A single value, or none.
            false => ([0.0, if top > 0.0 { 1.1 * top } else { 1.0 }], None),
        }
    }
}

/// Draws `figures` below each other into the file `path`.
pub fn draw(path: &Path, figures: &[Figure]) -> Result<()> {
    replace(path, svg(figures).as_bytes())
}

/// Draws `figures` below each other.
pub fn svg(figures: &[Figure]) -> String {
    let (mut body, mut height) = (String::new(), 0.0);
    for figure in figures {
        let panel = Panel::new(figure);
        body += &format!("<g transform=\"translate(0 {height})\">\n{}</g>\n", panel.draw());
        height += panel.height();
    }
    let titles: Vec<&str> = figures.iter().map(|figure| figure.title.as_str()).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figures\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n<style>\n{}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n",
        escape(&titles.join("; ")),
        include_str!("figures/figures.css"),
    )
}

/// Text that stands for itself, between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(curves: Vec<Curve>) -> Figure {
        Figure { title: "Top-1 error".into(), y_label: "%".into(), curves, ..Figure::default() }
    }

    /// The numbers in an attribute of every element whose tag holds `class`.
    fn numbers(svg: &str, class: &str, attribute: &str) -> Vec<Vec<f64>> {
        let tags = svg.lines().filter(|line| line.contains(class));
        let value =
            |line: &str| Some(line.split_once(&format!(" {attribute}=\""))?.1.split_once('"')?.0.to_string());
        let parse = |text: String| {
            text.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter_map(|n| n.parse().ok()).collect()
        };
        tags.filter_map(value).map(parse).collect()
    }

    #[test]
    fn curves_with_holes_and_single_points_are_drawn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("curves.svg");
        let holes =
            [(0.0, 90.0), (10.0, 80.0), (15.0, f64::NAN), (20.0, f64::INFINITY), (30.0, 40.0), (40.0, 12.5)];
        let curves = vec![
            Curve::new("plain <&>", holes.to_vec()),
            Curve::new("one point", vec![(40.0, 12.4)]),
            Curve::new("none", Vec::new()),
        ];
        draw(&path, &[figure(curves.clone()), figure(curves)]).expect("drawn");
        let svg = std::fs::read_to_string(&path).expect("readable");
        assert!(
            svg.starts_with("<svg")
                && svg.contains("<tspan class=\"value\">12.50</tspan> plain &lt;&amp;&gt;")
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("none<"));
        // In each figure two parts of the line, and the sample beside its name.
        assert_eq!(svg.matches("\"line c0\"").count(), 6);
        assert_eq!(svg.matches(">one point<").count() + svg.matches("> one point<").count(), 2);
        for nothing in [&[] as &[Figure], &[Figure::default()]] {
            assert!(super::svg(nothing).ends_with("</svg>\n"));
        }
    }

    /// The style sheet is that of the whole page where the figure is part of one.
    #[test]
    fn the_style_is_of_figures_alone() {
        for rule in include_str!("figures/figures.css").lines().filter(|line| *line != "}") {
            let selectors = rule.split('{').next().unwrap_or_default().split(',');
            assert!(
                rule.starts_with("@media") || selectors.map(str::trim).all(|s| s.starts_with(".figures")),
                "{rule}"
            );
        }
    }

    #[test]
    fn the_range_shows_the_end() {
        let range = |points: &[f64]| {
            let points = points.iter().enumerate().map(|(i, &y)| (i as f64, y)).collect();
            figure(vec![Curve::new("a", points)]).range()
        };
        // The values of the first fifth are above the plot, the later ones are in it, however they move.
        let falling = |end: f64| (0..=20).map(|i| end + 75.0 * (-f64::from(i)).exp()).collect::<Vec<_>>();
        let ([bottom, top], hidden) = range(&falling(15.0));
        assert!(bottom > 10.0 && bottom < 15.0 && top > falling(15.0)[4] && top < 20.0, "{bottom} {top}");
        assert_eq!(hidden, Some(90.0));
        let mut jumps = falling(1.0);
        jumps[17] = 50.0;
        let ([bottom, top], hidden) = range(&jumps);
        assert!(bottom == 0.0 && top > 50.0 && hidden == Some(76.0), "{bottom} {top} {hidden:?}");
        // Nothing is cut off where it would win little.
        assert_eq!(range(&[10.0, 9.0, 8.0, 7.0, 3.0]), ([0.0, 10.5], None));
        // Small differences stay small, equal values have a plot too.
        let ([bottom, top], _) = range(&[88.0, 87.0]);
        assert!(bottom < 75.0 && top > 88.0);
        for alone in [&[] as &[f64], &[0.0], &[5.0, 5.0], &[-1.0], &[f64::NAN]] {
            let ([bottom, top], _) = range(alone);
            assert!(
                bottom < top && alone.iter().all(|v| v.is_nan() || (bottom..=top).contains(v)),
                "{alone:?}"
            );
        }
    }

    #[test]
    fn a_target_is_reached_on_the_line() {
        let curve = |points: &[(f64, f64)]| Curve::new("a", points.to_vec());
        let falling = curve(&[(0.0, 40.0), (10.0, 20.0), (20.0, 25.0), (30.0, 5.0)]);
        assert_eq!(falling.reaches(30.0), Some(5.0));
        assert_eq!(falling.reaches(20.0), Some(10.0));
        assert_eq!(falling.reaches(10.0), Some(27.5));
        assert_eq!((falling.reaches(50.0), falling.reaches(4.0)), (Some(0.0), None));
        // Nothing is known of what lies in a gap.
        assert_eq!(curve(&[(0.0, 40.0), (10.0, f64::NAN), (20.0, 10.0)]).reaches(20.0), Some(20.0));
        let late = Curve::new("late", vec![(0.0, 40.0), (1500.0, 24.0), (3000.0, 16.0)]);
        let never = Curve::new("never", vec![(0.0, 40.0), (3000.0, 21.0)]);
        let svg = svg(&[Figure { target: Some(20.0), ..figure(vec![late, never]) }]);
        assert!(svg.contains(">2,250</text>") && svg.contains(">at step</text>"), "{svg}");
        assert_eq!(svg.matches("class=\"thin c0\"").count(), 2, "a thread to the step, one to the name");
        assert_eq!(svg.matches("class=\"thin c1\"").count(), 1);
        let within = Curve::new("within", vec![(500.0, 15.0), (3000.0, 10.0)]);
        let svg = self::svg(&[Figure { target: Some(20.0), ..figure(vec![within]) }]);
        assert!(svg.contains(">≤ 500</text>"), "{svg}");
    }

    #[test]
    fn a_band_is_around_its_line() {
        let points: Vec<(f64, f64)> = vec![(0.0, 30.0), (50.0, 28.0), (100.0, 25.0)];
        let band = points.iter().map(|p| (p.1 - 2.0, p.1 + 3.0)).collect();
        let svg = svg(&[figure(vec![Curve { band, ..Curve::new("a", points) }])]);
        let (line, band) = (&numbers(&svg, "\"line c0\"", "d")[0], &numbers(&svg, "\"band c0\"", "d")[0]);
        assert_eq!((line.len(), band.len()), (6, 12));
        let unit = (line[5] - line[1]) / 5.0;
        for i in 0..3 {
            let (x, y) = (line[2 * i], line[2 * i + 1]);
            let (low, high) = (&band[2 * i..][..2], &band[10 - 2 * i..][..2]);
            assert!((low[0], high[0]) == (x, x), "{svg}");
            assert!((low[1] - y - 2.0 * unit).abs() < 0.2 && (y - high[1] - 3.0 * unit).abs() < 0.2, "{svg}");
        }
    }

    #[test]
    fn names_lie_over_nothing() {
        let curve =
            |i: u32| Curve::new(format!("net {i}"), vec![(0.0, 90.0), (100.0, 20.0 + 0.1 * f64::from(i))]);
        let curves: Vec<Curve> = (0..6).map(|i| Curve { dashed: i > 2, ..curve(i) }).collect();
        let names = |curves: &[Curve]| svg(&[figure(curves.to_vec())]);
        let text = names(&curves);
        // Of three solid and three dashed curves two each have a colour; highest first, 18 pixels apart, right of the plot.
        for colour in 0..3 {
            assert_eq!(text.matches(&format!("\"line c{colour}\"")).count(), 2);
            assert_eq!(text.matches(&format!("\"line c{colour} dashed\"")).count(), 2);
        }
        assert!(!text.contains("\"line c3"));
        let heights: Vec<f64> = numbers(&text, "tspan", "y").concat();
        assert!(heights.len() == 6 && heights.windows(2).all(|pair| pair[1] - pair[0] > 17.9), "{heights:?}");
        let order: Vec<&str> = text.split("</tspan> ").skip(1).filter_map(|rest| rest.get(..5)).collect();
        assert_eq!(order, ["net 5", "net 4", "net 3", "net 2", "net 1", "net 0"]);
        let right = numbers(&text, "\"axis\" d=\"M62 372H", "d")[0][2];
        assert!(numbers(&text, "tspan", "x").concat().iter().all(|&x| x > right + 20.0));
        // A long name is cut, a single one is not needed.
        let long = Curve::new("é".repeat(100), vec![(0.0, 1.0)]);
        assert!(names(&[long.clone(), curve(1)]).contains(&format!("> {}…<", "é".repeat(44))));
        assert!(!names(&[long]).contains('é'));
    }
}
