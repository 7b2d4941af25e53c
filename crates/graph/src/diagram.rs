//! A network as a diagram: the column of its stages, and beside it the inside of each kind of block, drawn like the
//! paper's figures. Everything flows down; branches stand in the order in which they are concatenated.

use crate::block::{Block, Stage};
use crate::graph::{Graph, NodeId};
use crate::inside::Inside;
use crate::svg::{Fill, Rect, Svg};

/// Pixels; the page is as wide as the column and the panels need, at most [`PAGE`].
const PAGE: f64 = 1510.0;
const MARGIN: f64 = 24.0;
const TOP: f64 = 76.0;
const STAGE: Rect = Rect { x: MARGIN + 24.0, y: TOP, w: 168.0, h: 40.0 };
const STAGE_STEP: f64 = 62.0;
/// Left edge of the panels; the stages' shapes stand between.
const PANELS: f64 = 344.0;
const GAP: f64 = 18.0;

impl Graph {
    /// The network as an SVG picture.
    pub fn to_svg(&self) -> String {
        let stages = self.stages();
        let mut svg = Svg::default();
        let title = format!("{}, input {}", self.spec().net, self.nodes()[0].shape);
        svg.text(MARGIN, 36.0, "start", "title", &title);
        let cost = format!(
            "{:.1} M parameters, {:.2} GMAC; V: no padding; every conv with batch norm and ReLU unless marked",
            self.parameter_count() as f64 / 1e6,
            self.macs() as f64 / 1e9
        );
        svg.text(MARGIN, 56.0, "start", "note", &cost);
        let tints = tints(&stages);
        self.draw_column(&mut svg, &stages, &tints);
        let (right, bottom) = self.draw_panels(&mut svg, &stages, &tints);
        let column = TOP + STAGE_STEP * stages.len() as f64;
        svg.finish(right + MARGIN, bottom.max(column) + MARGIN, &title)
    }

    fn draw_column(&self, svg: &mut Svg, stages: &[Stage], tints: &[Option<usize>]) {
        let place = |i: usize| Rect { y: TOP + STAGE_STEP * i as f64, ..STAGE };
        for (i, (stage, tint)) in stages.iter().zip(tints).enumerate() {
            let (r, end) = (place(i), stage.last().end());
            let node = self.node(end);
            let note = match tint {
                Some(tint) => {
                    svg.labelled(r, Fill::Tint(*tint), &self.stage_name(stage), "");
                    let macs: u64 = stage.blocks().flat_map(Block::ids).map(|id| self.node_macs(id)).sum();
                    format!("{:.1} % of MACs", 100.0 * macs as f64 / self.macs() as f64)
                }
                None => {
                    let (fill, line, second) = self.box_text(end);
                    svg.labelled(r, fill, &line, &second);
                    node.name.clone()
                }
            };
            svg.text(r.right() + 12.0, r.centre() - 2.0, "start", "", &node.shape.to_string());
            svg.text(r.right() + 12.0, r.centre() + 12.0, "start", "note", &note);
            let source = self.source(&stage.first);
            let Some(from) = stages.iter().position(|s| Some(s.last().end()) == source) else { continue };
            let a = place(from);
            if from + 1 == i {
                svg.wire(&[(a.middle(), a.bottom()), (r.middle(), r.y)], true);
            } else {
                // A classifier beside an embedding reads what stands further up.
                let aside = a.x - 16.0;
                svg.wire(
                    &[(a.x, a.centre()), (aside, a.centre()), (aside, r.centre()), (r.x, r.centre())],
                    true,
                );
            }
        }
    }

    /// Panels in rows, wrapped like words; returns their right and lower ends.
    fn draw_panels(&self, svg: &mut Svg, stages: &[Stage], tints: &[Option<usize>]) -> (f64, f64) {
        let (mut x, mut y, mut tallest, mut right) = (PANELS, TOP, 0.0f64, PANELS);
        for (stage, tint) in stages.iter().zip(tints) {
            let Some(tint) = tint else { continue };
            let inside = Inside::new(self, &stage.first);
            let (w, h) = inside.size();
            if x > PANELS && x + w > PAGE - MARGIN {
                (x, y, tallest) = (PANELS, y + tallest + GAP, 0.0);
            }
            let mut shapes: Vec<String> = Vec::new();
            for source in stage.blocks().filter_map(|block| self.source(block)) {
                let shape = self.node(source).shape.to_string();
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
            let head = (self.stage_name(stage), shapes.join(" or "));
            inside.draw(svg, Rect { x, y, w, h }, Fill::Tint(*tint), &head);
            (x, tallest, right) = (x + w + GAP, tallest.max(h), right.max(x + w));
        }
        (right, y + tallest)
    }

    /// `4 × mixed_5b … 5e`.
    fn stage_name(&self, stage: &Stage) -> String {
        let [first, last] = [&stage.first, stage.last()].map(|block| self.node(block.end()).name.as_str());
        match stage.times() {
            1 => first.into(),
            times => format!("{times} × {first} … {}", last.rsplit('_').next().unwrap_or(last)),
        }
    }

    /// Fill and text of one box.
    pub(crate) fn box_text(&self, id: NodeId) -> (Fill, String, String) {
        use crate::op::{After, Op, Pad};
        let node = self.node(id);
        let window = |text: String| match node.op.window() {
            None => (text, String::new()),
            Some(w) => {
                let mut marks = Vec::new();
                if w.stride > 1 {
                    marks.push(format!("stride {}", w.stride));
                }
                if w.pad == Pad::Valid {
                    marks.push("V".into());
                }
                (format!("{}×{} {text}", w.kernel[0], w.kernel[1]), marks.join(", "))
            }
        };
        let (fill, (line, second)) = match node.op {
            Op::Conv { out, after: After::BnRelu, .. } => (Fill::Conv, window(format!("conv {out}"))),
            Op::Conv { out, after: After::Bn, .. } => {
                (Fill::Linear, (window(format!("conv {out}")).0, "no ReLU".into()))
            }
            Op::Conv { out, after: After::Bias, .. } => {
                (Fill::Linear, (window(format!("conv {out}")).0, "linear".into()))
            }
            Op::MaxPool { .. } => (Fill::Pool, window("max pool".into())),
            Op::AvgPool { count_padding: false, .. } => (Fill::Pool, window("avg pool".into())),
            Op::AvgPool { count_padding: true, .. } => {
                (Fill::Pool, (window("avg pool".into()).0, "padding counted".into()))
            }
            Op::Input => (Fill::Plain, ("input".into(), String::new())),
            Op::Concat => (Fill::Join, (format!("filter concat, {}", node.shape), String::new())),
            Op::Residual { relu, .. } => {
                (Fill::Join, (if relu { "sum, ReLU" } else { "sum" }.into(), String::new()))
            }
            Op::GlobalAvgPool => (Fill::Pool, ("average pool".into(), "whole grid".into())),
            Op::Dropout { keep } => (Fill::Plain, ("dropout".into(), format!("keep {keep}"))),
            Op::Linear { out } => (Fill::Linear, (format!("linear {out}"), String::new())),
            Op::L2Norm => (Fill::Plain, ("L2 norm".into(), String::new())),
        };
        (fill, line, second)
    }
}

/// For each stage with an inside its colour.
fn tints(stages: &[Stage]) -> Vec<Option<usize>> {
    let mut next = 0..;
    stages.iter().map(|stage| if stage.first.has_inside() { next.next() } else { None }).collect()
}
