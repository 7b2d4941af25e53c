//! The few shapes that diagrams are drawn with.

use std::fmt::Write;

/// How a box is filled; each is a class of the style sheet.
#[derive(Clone, Copy)]
pub(crate) enum Fill {
    Conv,
    Linear,
    Pool,
    Join,
    Plain,
    /// One of [`TINTS`] pastel colours, by which a block is found again in the column of stages.
    Tint(usize),
}

/// Number of colours for kinds of blocks.
const TINTS: usize = 8;

/// A rectangle by its left upper corner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
}

impl Rect {
    pub(crate) fn middle(self) -> f64 {
        self.x + self.w / 2.0
    }
    pub(crate) fn centre(self) -> f64 {
        self.y + self.h / 2.0
    }
    pub(crate) fn bottom(self) -> f64 {
        self.y + self.h
    }
    pub(crate) fn right(self) -> f64 {
        self.x + self.w
    }
}

/// A picture under construction. It paints its own white ground, so it reads the same on a dark page.
#[derive(Default)]
pub(crate) struct Svg {
    body: String,
}

const STYLE: &str = "\
text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:13px;fill:#1c1f24}\
.title{font-size:22px;font-weight:bold}.head{font-size:14px;font-weight:bold}.note{font-size:11px;fill:#4d545e}\
rect{stroke:#59616c;stroke-width:1}.ground{fill:#fff;stroke:none}.panel{fill:#fbfbfc;stroke:#b9c0c9}\
.wire{fill:none;stroke:#59616c;stroke-width:1.4}.arrow{fill:#59616c;stroke:none}\
.conv{fill:#dce9fb}.linear{fill:#fdf0c4}.pool{fill:#fbdcd6}.join{fill:#dff2dc}.plain{fill:#fff}\
.tint0{fill:#cfe3f7}.tint1{fill:#f9dcc4}.tint2{fill:#d4ecd0}.tint3{fill:#e6d9f3}\
.tint4{fill:#fbe7a9}.tint5{fill:#f6cfd9}.tint6{fill:#c9ebe7}.tint7{fill:#e3ddd0}";

impl Svg {
    fn rect(&mut self, r: Rect, class: &str, radius: f64) {
        let Rect { x, y, w, h } = r;
        self.put(format_args!(
            r#"<rect class="{class}" x="{x:.0}" y="{y:.0}" width="{w:.0}" height="{h:.0}" rx="{radius}"/>"#
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes every text");
    }

    /// The ground of a panel.
    pub(crate) fn panel(&mut self, r: Rect) {
        self.rect(r, "panel", 8.0);
    }

    /// A box with one line of text, or two.
    pub(crate) fn labelled(&mut self, r: Rect, fill: Fill, line: &str, second: &str) {
        let class = match fill {
            Fill::Conv => "conv".into(),
            Fill::Linear => "linear".into(),
            Fill::Pool => "pool".into(),
            Fill::Join => "join".into(),
            Fill::Plain => "plain".into(),
            Fill::Tint(i) => format!("tint{}", i % TINTS),
        };
        self.rect(r, &class, 5.0);
        if second.is_empty() {
            self.text(r.middle(), r.centre() + 4.5, "middle", "", line);
        } else {
            self.text(r.middle(), r.centre() - 2.5, "middle", "", line);
            self.text(r.middle(), r.centre() + 11.5, "middle", "note", second);
        }
    }

    /// Text at a base line; `anchor` is SVG's `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
        self.put(format_args!(r#"<text{class} x="{x:.0}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    /// A line through `points`, with a head at its end where `arrow` is set.
    pub(crate) fn wire(&mut self, points: &[(f64, f64)], arrow: bool) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.put(format_args!(r#"<polyline class="wire" points="{}"/>"#, path.join(" ")));
        if let (true, [.., (x0, y0), (x, y)]) = (arrow, points) {
            let (dx, dy) = ((x - x0).signum() * f64::from(x != x0), (y - y0).signum() * f64::from(y != y0));
            let at = |along: f64, aside: f64| {
                format!("{:.1},{:.1}", x - along * dx + aside * dy, y - along * dy + aside * dx)
            };
            self.put(format_args!(
                r#"<polygon class="arrow" points="{} {} {}"/>"#,
                at(0.0, 0.0),
                at(7.0, 3.5),
                at(7.0, -3.5)
            ));
        }
    }

    /// The document, `w` × `h` pixels, with `title` for screen readers.
    pub(crate) fn finish(self, w: f64, h: f64, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
             role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{w:.0}\" height=\"{h:.0}\"/>\n{}</svg>\n",
            self.body
        )
    }
}
