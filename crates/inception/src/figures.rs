//! Figures of training runs, as SVG.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

use crate::run_dir::replace;

/// One curve of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A figure: curves over steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Above the curves.
    pub title: String,
    /// What the height means.
    pub y_label: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Plain networks red, residual ones blue, as the paper's Figures 21–26 have them; then others.
const COLOURS: [RGBColor; 4] =
    [RGBColor(213, 62, 46), RGBColor(31, 97, 184), RGBColor(222, 143, 5), RGBColor(2, 129, 101)];
const SIZE: (u32, u32) = (860, 430);

/// Draws `figures` below each other into the file `path`.
pub fn draw(path: &Path, figures: &[Figure]) -> Result<()> {
    replace(path, svg(figures)?.as_bytes())
}

/// Draws `figures` below each other.
pub fn svg(figures: &[Figure]) -> Result<String> {
    let mut svg = String::new();
    let whole = (SIZE.0, SIZE.1 * figures.len().max(1) as u32);
    {
        let area = SVGBackend::with_string(&mut svg, whole).into_drawing_area();
        area.fill(&WHITE).context("drawing")?;
        for (figure, area) in figures.iter().zip(area.split_evenly((figures.len().max(1), 1))) {
            draw_one(figure, &area).map_err(|e| anyhow::anyhow!("drawing {}: {e}", figure.title))?;
        }
        area.present().context("drawing")?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_one(figure: &Figure, area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    let points =
        || figure.curves.iter().flat_map(|c| &c.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let top = points().map(|p| p.1).fold(0.0, f64::max) * 1.08;
    let top = if top > 0.0 { top } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(&figure.title, ("sans-serif", 20).into_font().color(&BLACK))
        .margin(14)
        // Room at the right for the last values.
        .margin_right(70)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("steps")
        .y_desc(&figure.y_label)
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&|v| format!("{v:.0}"))
        .y_label_formatter(&|v| format!("{}", (v * 1000.0).round() / 1000.0))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(220, 220, 220))
        .axis_desc_style(("sans-serif", 15))
        .label_style(("sans-serif", 13))
        .draw()?;
    let mut labels: Vec<(f64, f64, RGBColor)> = Vec::new();
    for (curve, colour) in figure.curves.iter().zip(COLOURS.iter().cycle()) {
        let mut line = curve.points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite());
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.clone(), style))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], style));
        labels.extend(line.next_back().map(|(x, y)| (x, y, *colour)));
    }
    // Last values beside the ends of their curves, pushed apart where they would cover each other.
    labels.sort_by(|a, b| a.1.total_cmp(&b.1));
    let apart = top * 0.055;
    let mut below = f64::NEG_INFINITY;
    for (x, y, colour) in labels {
        let height = y.max(below + apart);
        below = height;
        let text = format!("{y:.2}");
        let style = ("sans-serif", 14).into_font().color(&colour);
        chart
            .draw_series(std::iter::once(EmptyElement::at((x, height)) + Text::new(text, (6, -7), style)))?;
    }
    if figure.curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 15))
            .draw()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_with_holes_and_single_points_are_drawn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("curves.svg");
        let curve = |name: &str, points: &[(f64, f64)]| Curve { name: name.into(), points: points.to_vec() };
        let curves = vec![
            curve("plain <&>", &[(0.0, 90.0), (10.0, f64::NAN), (20.0, 12.5)]),
            curve("one point", &[(20.0, 12.4)]),
            curve("none", &[]),
        ];
        let figure = Figure { title: "Top-1 error".into(), y_label: "%".into(), curves };
        draw(&path, &[figure.clone(), figure]).expect("drawn");
        let svg = std::fs::read_to_string(&path).expect("readable");
        assert!(svg.starts_with("<svg") && svg.contains("plain &lt;&amp;&gt;") && svg.contains("12.50"));
        assert!(!svg.contains("NaN"));
    }
}
