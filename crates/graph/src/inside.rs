//! The inside of one block, as the paper's Figures 3–19 draw it: branches as columns between the input and the concat,
//! and below the concat of a residual block its projection, scale and sum.

use crate::block::Block;
use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::svg::{Fill, Rect, Svg};

const BOX: (f64, f64) = (108.0, 38.0);
const STEP: (f64, f64) = (118.0, 58.0);
const HEAD: f64 = 34.0;
const PAD: f64 = 14.0;
/// Height of the input's and the concat's bars.
const BAR: f64 = 28.0;
/// Room to the left for the shortcut of a residual block.
const SHORTCUT: f64 = 34.0;

/// A box's column (in boxes, its middle) and row.
struct Placed {
    id: NodeId,
    column: f64,
    row: usize,
}

/// A block, laid out.
pub(crate) struct Inside<'a> {
    graph: &'a Graph,
    /// Boxes of the branches.
    placed: Vec<Placed>,
    columns: usize,
    rows: usize,
    concat: NodeId,
    /// What follows the concat.
    tail: Vec<NodeId>,
}

impl<'a> Inside<'a> {
    /// Lays `block` out.
    pub(crate) fn new(graph: &'a Graph, block: &Block) -> Self {
        let concat = block.ids().find(|&id| graph.node(id).op == Op::Concat).unwrap_or(block.end());
        let tail = block.ids().filter(|&id| id > concat).collect();
        let mut inside = Inside { graph, placed: Vec::new(), columns: 0, rows: 0, concat, tail };
        let branches = graph.branch_starts(block);
        branches.into_iter().for_each(|id| inside.place(id, 0));
        inside
    }

    /// Places the box `id` and all that it feeds above the concat, as many columns wide as it has ends.
    fn place(&mut self, id: NodeId, row: usize) {
        let first = self.columns;
        self.rows = self.rows.max(row + 1);
        let readers: Vec<NodeId> =
            (id.0 + 1..self.concat.0).map(NodeId).filter(|&r| self.graph.node(r).inputs[0] == id).collect();
        let at = self.placed.len();
        self.placed.push(Placed { id, column: 0.0, row });
        if readers.is_empty() {
            self.columns += 1;
        }
        readers.into_iter().for_each(|reader| self.place(reader, row + 1));
        self.placed[at].column = (first + self.columns) as f64 / 2.0;
    }

    fn shortcut(&self) -> f64 {
        if self.tail.is_empty() { 0.0 } else { SHORTCUT }
    }

    /// From the panel's top to the first row of boxes, and to the concat.
    fn tops(&self) -> (f64, f64) {
        let boxes = HEAD + 8.0 + BAR + 24.0;
        (boxes, boxes + self.rows as f64 * STEP.1 + 4.0)
    }

    /// Width and height of the panel.
    pub(crate) fn size(&self) -> (f64, f64) {
        // The tail's sum has its scale as a box before it.
        let tail = if self.tail.is_empty() { 0 } else { self.tail.len() + 1 };
        let w = self.columns as f64 * STEP.0 + 2.0 * PAD + self.shortcut();
        (w, self.tops().1 + BAR + tail as f64 * STEP.1 + PAD)
    }

    /// Draws the block into `r` under `head`: its name and its input's shape.
    pub(crate) fn draw(&self, svg: &mut Svg, r: Rect, tint: Fill, head: &(String, String)) {
        svg.panel(r);
        svg.labelled(Rect { h: HEAD - 6.0, ..r }, tint, &head.0, "");
        let left = r.x + PAD + self.shortcut();
        let (top, concat) = (r.y + self.tops().0, r.y + self.tops().1);
        let input = Rect { x: left, w: r.right() - PAD - left, y: r.y + HEAD + 8.0, h: BAR };
        let concat = Rect { y: concat, ..input };
        svg.labelled(input, Fill::Plain, &format!("input, {}", head.1), "");
        let place = |p: &Placed| Rect {
            x: left + p.column * STEP.0 - BOX.0 / 2.0,
            y: top + p.row as f64 * STEP.1,
            w: BOX.0,
            h: BOX.1,
        };
        for p in &self.placed {
            let (to, source) = (place(p), self.graph.node(p.id).inputs[0]);
            let from = self.placed.iter().find(|q| q.id == source).map_or(input, place);
            let x = if p.row == 0 { to.middle() } else { from.middle() };
            // A bend half way where a box feeds two.
            let half = (from.bottom() + to.y) / 2.0;
            if x == to.middle() {
                svg.wire(&[(x, from.bottom()), (x, to.y)], true);
            } else {
                svg.wire(&[(x, from.bottom()), (x, half), (to.middle(), half), (to.middle(), to.y)], true);
            }
            if self.graph.node(self.concat).inputs.contains(&p.id) {
                svg.wire(&[(to.middle(), to.bottom()), (to.middle(), concat.y)], true);
            }
            self.draw_box(svg, to, p.id);
        }
        self.draw_box(svg, concat, self.concat);
        self.draw_tail(svg, input, concat);
    }

    fn draw_tail(&self, svg: &mut Svg, input: Rect, concat: Rect) {
        let mut above = concat;
        let mut below = |svg: &mut Svg| {
            let r = Rect {
                x: concat.middle() - BOX.0 / 2.0,
                y: above.bottom() + STEP.1 - BOX.1,
                w: BOX.0,
                h: BOX.1,
            };
            svg.wire(&[(r.middle(), above.bottom()), (r.middle(), r.y)], true);
            above = r;
            r
        };
        for &id in &self.tail {
            if let Op::Residual { scale, .. } = self.graph.node(id).op {
                let r = below(svg);
                svg.labelled(r, Fill::Plain, &format!("× {scale}"), "");
                let sum = below(svg);
                let aside = input.x - SHORTCUT + 8.0;
                let (from, to) = (input.centre(), sum.centre());
                svg.wire(&[(input.x, from), (aside, from), (aside, to), (sum.x, to)], true);
                self.draw_box(svg, sum, id);
            } else {
                let r = below(svg);
                self.draw_box(svg, r, id);
            }
        }
    }

    fn draw_box(&self, svg: &mut Svg, r: Rect, id: NodeId) {
        let (fill, line, second) = self.graph.box_text(id);
        svg.labelled(r, fill, &line, &second);
    }
}
