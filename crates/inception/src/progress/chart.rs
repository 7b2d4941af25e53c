//! Curves in cells of a terminal: a braille character holds 2×4 dots.
//!
//! ```text
//! loss  ⠶ smoothed  ⠂ each step
//! 2.0 ┤⠱
//! 1.0 ┤  ⠑⠒⠤⠤
//!     └┴────┴────┴
//!      0    1    2   epoch
//! ```

use anstyle::Style;

use super::canvas::{Area, Canvas};
use crate::ticks::ticks;

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Dots, of which only so many are shown that they stay a thin cloud.
    Dots,
    /// Points joined by a line.
    Line,
    /// Joined, and a mark for each where there is room.
    Marks,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Mark::Dots => '⠂',
            Mark::Line => '⠶',
            Mark::Marks => '●',
        }
    }
}

/// A curve; values that are no finite numbers are left out.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) style: Style,
    pub(super) mark: Mark,
}

/// Curves over one another, the last on top.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What the x axis counts, and where it ends; it begins at 0.
    pub(super) x: (&'static str, f64),
    pub(super) curves: Vec<Curve>,
}

/// Dots of a cell, `[row][column]`, as bits of a braille character.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Cells of an area, as dots.
struct Plot {
    area: Area,
    /// Pattern, style and number of the curve on top.
    dots: Vec<(u8, Style, usize)>,
    x: f64,
    y: [f64; 2],
}

impl Plot {
    /// Where a value lies, in dots from the upper left.
    fn place(&self, (x, y): (f64, f64)) -> Option<(i64, i64)> {
        let across = x / self.x * (2 * self.area.width - 1) as f64;
        let down = (self.y[1] - y) / (self.y[1] - self.y[0]) * (4 * self.area.height - 1) as f64;
        (across.is_finite() && down.is_finite()).then_some((across.round() as i64, down.round() as i64))
    }

    /// A dot of the curve `top`; what other curves have in its cell goes, for the cell has one colour.
    fn dot(&mut self, x: i64, y: i64, style: Style, top: usize) {
        let Area { width, height, .. } = self.area;
        if (0..2 * width as i64).contains(&x) && (0..4 * height as i64).contains(&y) {
            let (x, y) = (x as usize, y as usize);
            let cell = &mut self.dots[y / 4 * width + x / 2];
            let before = if cell.2 == top { cell.0 } else { 0 };
            *cell = (before | DOTS[y % 4][x % 2], style, top);
        }
    }

    fn line(&mut self, from: (i64, i64), to: (i64, i64), style: Style, top: usize) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        // A value far outside of the plot is not worth a long way.
        let steps = dx.abs().max(dy.abs()).clamp(1, 4096);
        for i in 0..=steps {
            let at = |from: i64, d: i64| from + (d as f64 * i as f64 / steps as f64).round() as i64;
            self.dot(at(from.0, dx), at(from.1, dy), style, top);
        }
    }

    fn curve(&mut self, curve: &Curve, top: usize) {
        let mut before = None;
        let every = match curve.mark {
            Mark::Dots => curve.points.len().div_ceil(3 * self.area.width).max(1),
            Mark::Line | Mark::Marks => 1,
        };
        for &point in curve.points.iter().step_by(every) {
            let now = self.place(point);
            if let Some(now) = now {
                let joined = before.filter(|_| curve.mark != Mark::Dots);
                self.line(joined.unwrap_or(now), now, curve.style, top);
            }
            before = now;
        }
    }
}

impl Chart {
    /// Draws title, axes and curves; nothing where there is no room for them.
    pub(super) fn draw(&self, canvas: &mut Canvas, area: Area, dim: Style) {
        if area.width < 16 || area.height < 5 {
            return;
        }
        self.title(canvas, area, dim);
        let rows = area.height - 3;
        let y = self.range();
        let labels = ticks(y, rows.div_ceil(2).clamp(2, 6));
        // Charts beside one another are of one width where their labels are short.
        let margin = labels.iter().map(|label| label.1.len()).max().unwrap_or(0).max(3) + 1;
        let width = area.width.saturating_sub(margin + 1);
        let inner = Area { x: area.x + margin + 1, y: area.y + 1, width, height: rows };
        if inner.width < 4 {
            return;
        }
        let dots = vec![(0, Style::new(), 0); inner.width * inner.height];
        let mut plot = Plot { area: inner, dots, x: self.x.1, y };
        (0..rows).for_each(|row| canvas.put(inner.x - 1, inner.y + row, '│', dim));
        for (value, label) in labels {
            let Some((_, down)) = plot.place((0.0, value)) else { continue };
            let row = inner.y + down as usize / 4;
            canvas.text(inner.x - 2 - label.len(), row, margin, &label, dim);
            canvas.put(inner.x - 1, row, '┤', dim);
        }
        self.x_axis(canvas, &plot, dim);
        (1..).zip(&self.curves).for_each(|(top, curve)| plot.curve(curve, top));
        for (i, &(dots, style, _)) in plot.dots.iter().enumerate().filter(|(_, cell)| cell.0 != 0) {
            let braille = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
            canvas.put(inner.x + i % inner.width, inner.y + i / inner.width, braille, style);
        }
        self.marks(canvas, &plot);
    }

    fn title(&self, canvas: &mut Canvas, area: Area, dim: Style) {
        let end = area.x + area.width;
        let mut x = canvas.text(area.x, area.y, area.width, self.title, Style::new().bold());
        for curve in self.curves.iter().rev() {
            if x + 4 + curve.name.len() <= end {
                canvas.put(x + 2, area.y, curve.mark.sign(), curve.style);
                x = canvas.text(x + 4, area.y, curve.name.len(), curve.name, dim);
            }
        }
    }

    fn x_axis(&self, canvas: &mut Canvas, plot: &Plot, dim: Style) {
        let Area { x, y, width, height } = plot.area;
        canvas.put(x - 1, y + height, '└', dim);
        (0..width).for_each(|i| canvas.put(x + i, y + height, '─', dim));
        let (name, end) = self.x;
        let room = width.saturating_sub(name.len() + 2);
        canvas.text(x + width - name.len().min(width), y + height + 1, width, name, dim);
        for (value, label) in ticks([0.0, end], (width / 8).max(1)) {
            let Some((across, _)) = plot.place((value, plot.y[0])) else { continue };
            let (column, half) = (across as usize / 2, label.len() / 2);
            canvas.put(x + column, y + height, '┴', dim);
            if column + label.len() - half <= room {
                canvas.text(x + column - half.min(column), y + height + 1, width, &label, dim);
            }
        }
    }

    fn marks(&self, canvas: &mut Canvas, plot: &Plot) {
        let Area { x, y, width, height } = plot.area;
        for curve in self.curves.iter().filter(|c| c.mark == Mark::Marks && c.points.len() <= width / 3) {
            for (across, down) in curve.points.iter().filter_map(|&point| plot.place(point)) {
                let (column, row) = (across.max(0) as usize / 2, down.max(0) as usize / 4);
                if column < width && row < height {
                    canvas.put(x + column, y + row, curve.mark.sign(), curve.style);
                }
            }
        }
    }

    /// The values that are shown: all of lines, and dots but for the most extreme, which would flatten the rest.
    fn range(&self) -> [f64; 2] {
        let [mut low, mut high] = [f64::INFINITY, f64::NEG_INFINITY];
        for curve in &self.curves {
            let finite = curve.points.iter().map(|point| point.1).filter(|value| value.is_finite());
            let mut values: Vec<f64> = finite.collect();
            values.sort_unstable_by(f64::total_cmp);
            let cut = if curve.mark == Mark::Dots { values.len() / 50 } else { 0 };
            if let (Some(first), Some(last)) = (values.get(cut), values.iter().rev().nth(cut)) {
                (low, high) = (low.min(*first), high.max(*last));
            }
        }
        match high - low {
            spread if spread.is_finite() && spread > 1e-9 * high.abs() => [low, high],
            _ if low.is_finite() => [low - 0.5, low + 0.5],
            _ => [0.0, 1.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line from corner to corner passes through every column, and its ends lie in the corners.
    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let curve =
            Curve { name: "a", points: vec![(0.0, 0.0), (3.0, 6.0)], style: Style::new(), mark: Mark::Line };
        let chart = Chart { title: "title", x: ("step", 3.0), curves: vec![curve] };
        let mut canvas = Canvas::new(24, 8);
        chart.draw(&mut canvas, Area { x: 0, y: 0, width: 24, height: 8 }, Style::new());
        let text = canvas.to_text();
        let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let is_dot = |c: &char| ('\u{2801}'..='\u{28ff}').contains(c);
        assert!(rows[0].starts_with(&"title  ⠶ a".chars().collect::<Vec<_>>()), "{text}");
        assert!(is_dot(&rows[1][23]) && is_dot(&rows[5][5]), "{text}");
        let dotted = (5..24).filter(|&x| rows[1..6].iter().any(|row| row.get(x).is_some_and(is_dot)));
        assert_eq!(dotted.count(), 19, "{text}");
        assert!(text.contains("6 ┤") && text.contains("0 ┤") && text.ends_with("step\n"), "{text}");
    }
}
