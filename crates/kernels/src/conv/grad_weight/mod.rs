//! The gradient of a convolution's weights: `dW[tap, c, :] = Σ_q x[at(q, tap), c] · dy[q, :]`.
//!
//! ```text
//! for each chunk of rows of the batch:
//!     A[ξ][panel of 48 channels in][row]     direct: ξ a tap, a row an output pixel, its values those of x that the tap reads
//!     B[ξ][panel of 16 channels out][row]            and those of dy, the same for all taps
//!                                            Winograd: ξ a point, a row a tile, both transformed
//!     M[ξ][c][o] += Σ_row A[ξ][row][c] · B[ξ][row][o]                     6 × 2 vectors of sums in registers
//! dW = M, or the filter's transform of M, transposed
//! ```
//! A tile of `r` taps that slides over `m` outputs meets `m·r` products; `n = m + r − 1` do, as for the convolution itself:
//! with Winograd's matrices `y = Aᵀ((G w) ⊙ (Bᵀ x))`, hence `dw = Gᵀ((A dy) ⊙ (Bᵀ x))`, summed over tiles before `Gᵀ`.
//!
//! Where the whole window has few values, as that of the picture has, it is one ξ and its values are the channels in.
//!
//! Pixels are copied into panels because in place they lie a power of two apart, where few of them fit the first cache.
//! Where there are few products the rows are split, by size alone, and the partial sums added in order. If M is small, a
//! thread makes and multiplies the rows of a split by itself: two cores that share no cache would pass A and B through memory.

mod fill;
mod multiply;
mod product;

use std::ops::Range;

use super::gather::Gather;
use super::micro::{PAIR, TASKS};
use super::winograd::{Spread, Winograd};
use super::{Algorithm, ConvPlan, ConvShape, Method, Precision};
use crate::view::{Parts, part, piece};
use crate::{Isa, Pool, View};
use fill::{Fill, Rows, is_flat};
use multiply::Multiply;
use product::{A_WIDTH, B_WIDTH, BLOCK, Product, add_up};
pub(super) use product::{Sums, store};

/// Values that a task makes of A and B at least, so that it takes far longer than to be dealt out.
const FILL: usize = 8 << 10;

/// The gradient of the weights, ready to run. Any batch size.
#[derive(Clone, Debug)]
pub struct GradWeight {
    shape: ConvShape,
    source: Source,
    zeros: Vec<f32>,
}

/// How A and B are made.
#[derive(Clone, Debug)]
enum Source {
    /// The second with the taps of a kernel row as one, where they may lie without gaps.
    Direct(Gather, Option<Gather>),
    Winograd(Winograd),
}

impl GradWeight {
    /// Plans the gradient for the convolution `shape`, by the algorithm that suits it best within `precision`.
    ///
    /// # Panics
    /// If the window does not fit or an extent is zero.
    pub fn choose(shape: ConvShape, precision: Precision) -> Self {
        Self::like(ConvPlan::choose_for_weights(shape, precision))
    }

    /// The gradient for `shape` by every algorithm that can compute it.
    pub fn all(shape: ConvShape) -> Vec<GradWeight> {
        let plans = ConvPlan::all(shape).into_iter();
        plans.filter(|plan| plan.algorithm() != Algorithm::Strassen).map(Self::like).collect()
    }

    fn like(plan: ConvPlan) -> Self {
        let ConvPlan { shape, method, forward, merged, .. } = plan;
        let zeros = vec![0.0; shape.out_channels.max(shape.in_channels * shape.kernel[1])];
        let source = match method {
            Method::Winograd(winograd) => Source::Winograd(winograd),
            Method::Direct | Method::Strassen(_) => Source::Direct(forward, merged),
        };
        GradWeight { shape, source, zeros }
    }

    /// What computes it.
    pub fn algorithm(&self) -> Algorithm {
        match &self.source {
            Source::Direct(..) => Algorithm::Direct,
            Source::Winograd(winograd) => Algorithm::Winograd(winograd.tile()),
        }
    }

    /// Length of the scratch of [`Self::run`] for `batch` pictures.
    pub fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        let len = |rows: Rows| self.product(rows, batch).scratch_len(threads);
        match &self.source {
            Source::Winograd(winograd) => len(Rows::Tiles(winograd)),
            Source::Direct(gather, merged) => {
                let merged = merged.as_ref().map_or(0, |merged| len(Rows::Pixels(merged)));
                merged.max(len(Rows::Pixels(gather)))
            }
        }
    }

    fn product(&self, rows: Rows, batch: usize) -> Product {
        let ConvShape { in_channels, out_channels, .. } = self.shape;
        match rows {
            Rows::Tiles(winograd) => {
                Product::new([winograd.points(); 2], winograd.rows(batch), [in_channels, out_channels])
            }
            Rows::Pixels(gather) if is_flat(gather) => {
                let window = gather.taps.len() * gather.k;
                let product = Product::new([1; 2], gather.rows(batch), [window, out_channels]);
                Product { widths: [A_WIDTH, B_WIDTH], ..product }
            }
            Rows::Pixels(gather) => {
                Product::new([gather.taps.len(), 1], gather.rows(batch), [gather.k, out_channels])
            }
        }
    }

    /// `dw = ∂loss/∂weights`, `[kh, kw, in, out]`, summed over all pictures of `x` and `dy`; added to what `dw` holds where
    /// `accumulate`.
    #[allow(clippy::too_many_arguments, reason = "the tensors of a gradient and where it runs")]
    pub fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        x: View,
        dy: View,
        accumulate: bool,
        dw: &mut [f32],
        scratch: &mut [f32],
    ) {
        let ConvShape { input: [h, w], in_channels, out_channels, .. } = self.shape;
        let ([oh, ow], batch) = (self.shape.output(), x.pixels() / (h * w));
        assert_eq!(x.pixels(), batch * h * w, "x holds whole pictures");
        assert_eq!(dy.pixels(), batch * oh * ow, "dy holds the same pictures");
        assert!(x.channels() == in_channels && dy.channels() == out_channels);
        assert_eq!(dw.len(), self.shape.weight_len());
        match &self.source {
            Source::Winograd(winograd) => {
                let rows = Rows::Tiles(winograd);
                let m = self.multiply(pool, isa, rows, [x, dy], scratch);
                winograd.finish(pool, isa, m, accumulate, dw);
            }
            Source::Direct(gather, merged) => {
                let merged = merged.as_ref().filter(|_| x.stride() == x.channels());
                let rows = Rows::Pixels(merged.unwrap_or(gather));
                let m = self.multiply(pool, isa, rows, [x, dy], scratch);
                add_up(pool, isa, m, accumulate, dw);
            }
        }
    }

    /// M of `[x, dy]`.
    fn multiply<'a>(
        &self,
        pool: &Pool,
        isa: Isa,
        rows: Rows,
        pixels: [View; 2],
        scratch: &'a mut [f32],
    ) -> Sums<'a> {
        let batch = pixels[0].pixels() / (self.shape.input[0] * self.shape.input[1]);
        let product = self.product(rows, batch);
        let (workers, lens) = (product.workers(pool.threads()), product.lens());
        assert!(scratch.len() >= product.scratch_len(pool.threads()));
        let (panels, rest) = scratch.split_at_mut(workers * (lens[0] + lens[1]));
        let m = &mut rest[..product.m_len()];
        let (panels, sums) = (Parts::new(panels), Parts::new(&mut *m));
        // A and B of a worker.
        let sides = |worker: usize| {
            let start = worker * (lens[0] + lens[1]);
            [(0, lens[0]), (lens[0], lens[1])]
                .map(|(skip, len)| panels.pointer(start + skip..start + skip + len))
        };
        let fill = |worker: usize, side: usize, first: usize, made: Range<usize>| {
            let to = Spread {
                start: sides(worker)[side],
                width: product.widths[side],
                panel: product.panel_len(side),
                point: product.point_len(side),
            };
            isa.run(Fill { rows, side, pixels: &pixels[side], zeros: &self.zeros, first, made, to });
        };
        let multiply = |worker: usize, at: Place, rows: Range<usize>, starts: bool| {
            let Place { split, point, a_panel, b_panels } = at;
            let channels = piece(a_panel, product.widths[0], product.channels[0]);
            let m = (split * product.points[0] + point) * product.m_point();
            let panel = |side: usize, panel: usize| {
                let point = point % product.points[side];
                let skip = point * product.point_len(side) + panel * product.panel_len(side);
                sides(worker)[side].wrapping_add(skip).cast_const()
            };
            isa.run(Multiply {
                product: &product,
                a: panel(0, a_panel),
                b: panel(1, b_panels.start),
                // Nobody else has the channels in, the panels of channels out and the split of a task.
                m: sums.pointer(m + channels.start * product.m_width()..m + product.m_point()),
                channels: channels.len(),
                panels: b_panels,
                rows,
                starts,
            });
        };
        let [a_panels, b_panels] = [0, 1].map(|side| product.panels(side));
        let (points, splits) = (product.points[0], product.splits);
        if product.apart {
            pool.run_on(splits, |worker, split| {
                let Range { start, end } = part(split, splits, product.rows);
                for first in (start..end).step_by(product.chunk) {
                    let count = product.chunk.min(end - first);
                    (0..2).for_each(|side| fill(worker, side, first, 0..count));
                    for (point, a_panel) in (0..points).flat_map(|p| (0..a_panels).map(move |a| (p, a))) {
                        let at = Place { split, point, a_panel, b_panels: 0..b_panels };
                        multiply(worker, at, 0..count, first == start);
                    }
                }
            });
            return Sums { product, values: m };
        }
        let b_pairs = b_panels.div_ceil(PAIR);
        let groups = TASKS.div_ceil(splits * points * a_panels).min(b_pairs);
        for first in (0..product.rows).step_by(product.chunk) {
            let count = product.chunk.min(product.rows - first);
            let some = FILL.div_ceil(product.row_values());
            let fills = count.div_ceil(some);
            pool.run(2 * fills, |task| fill(0, task / fills, first, piece(task % fills, some, count)));
            pool.run(splits * points * groups * a_panels, |task| {
                let (rest, a_panel) = (task / a_panels, task % a_panels);
                let (rest, group) = (rest / groups, rest % groups);
                let (split, point) = (rest / points, rest % points);
                let pairs = part(group, groups, b_pairs);
                let b_panels = pairs.start * PAIR..(pairs.end * PAIR).min(b_panels);
                let rows = part(split, splits, count.div_ceil(BLOCK));
                let rows = rows.start * BLOCK..(rows.end * BLOCK).min(count);
                multiply(0, Place { split, point, a_panel, b_panels }, rows, first == 0);
            });
        }
        Sums { product, values: m }
    }
}

/// Which sums a task adds to.
struct Place {
    split: usize,
    point: usize,
    a_panel: usize,
    b_panels: Range<usize>,
}
