//! Convolution: forward, gradient of the input, gradient of the weights, all as implicit matrix products.
//!
//! ```text
//! forward      y[q, :]          = Σ_tap x[at(q, tap), :] · W[tap]            rows: output pixels    (gather.rs)
//! grad input   dx[q, :]         = Σ_tap dy[at(q, tap), :] · W[tap]ᵀ          rows: input pixels     (gather.rs)
//! grad weight  dW[tap, c, :]    = Σ_q   x[at(q, tap), c] · dy[q, :]          rows: tap and channel  (grad_weight.rs)
//! ```
//! No patch matrix is ever written: the micro-kernels read pixels through pointers, padded taps point at zeros.
//! At stride `s` the input's gradient falls into `s²` phases by the parity of the input pixel, each of them a stride-1
//! gather over the taps that reach it, so no multiplication is spent on zeros.

mod choose;
mod gather;
mod grad_weight;
mod micro;
mod strassen;
mod winograd;

pub use choose::Precision;
use gather::{Gather, Part, Tap};
pub use micro::{Epilogue, Operands, Shortcut};
use strassen::Strassen;
use winograd::Winograd;

use crate::{Isa, Pool, View, ViewMut};

/// What a convolution looks like for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride in both directions.
    pub stride: usize,
    /// Zeros above and below, left and right.
    pub pad: [usize; 2],
}

impl ConvShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.input[d] + 2 * self.pad[d] - self.kernel[d]) / self.stride + 1)
    }
    /// # Panics
    /// If there is no such convolution, or one of its extents does not fit a `usize`.
    fn check(&self) {
        let ConvShape { input, in_channels, out_channels, kernel, stride, pad } = *self;
        let padded = [0, 1].map(|d| pad[d].checked_mul(2).and_then(|pad| pad.checked_add(input[d])));
        let fits = (0..2).all(|d| padded[d].is_some_and(|padded| padded >= kernel[d]));
        let extents = [input[0], input[1], in_channels, out_channels, kernel[0], kernel[1], stride];
        assert!(fits && !extents.contains(&0), "{self:?}");
        // The largest of each kind: pixels, and weights in whole panels transformed for the largest tile.
        let product = |v: &[usize]| v.iter().try_fold(1usize, |product, &v| product.checked_mul(v));
        let weights = [64, kernel[0], kernel[1], in_channels, out_channels.div_ceil(16), 16];
        let all = product(&padded.map(|v| v.unwrap_or(0))).and(product(&weights));
        assert!(all.is_some(), "{self:?} is larger than any memory");
    }
    /// Values of the weights `[kh, kw, in, out]`.
    pub fn weight_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.in_channels * self.out_channels
    }
}

/// A way to compute a convolution forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Implicit matrix product: every shape, the error of a sum of products.
    Direct,
    /// Winograd's, with tiles of so many output rows and columns (1 along an axis where the kernel has one tap): fewer
    /// products at stride 1, larger errors for larger tiles.
    Winograd([usize; 2]),
    /// Strassen's, one level: 7 products instead of 8 for 1×1 convolutions.
    Strassen,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Algorithm::Direct => f.pad("direct"),
            Algorithm::Strassen => f.pad("strassen"),
            Algorithm::Winograd([y, x]) => f.pad(&format!("winograd {y}x{x}")),
        }
    }
}

/// One of several convolutions of the same pictures.
pub struct Sibling<'a> {
    /// The convolution.
    pub plan: &'a ConvPlan,
    /// Its packed weights.
    pub packed: &'a [f32],
    /// What becomes of its sums.
    pub epilogue: Epilogue<'a>,
    /// Where they go.
    pub y: ViewMut<'a>,
}

/// How a convolution is computed forward.
#[derive(Clone, Debug)]
enum Method {
    Direct,
    Winograd(Winograd),
    Strassen(Strassen),
}

/// A convolution ready to run: descriptor, order of work, length of packed weights. Any batch size.
#[derive(Clone, Debug)]
pub struct ConvPlan {
    shape: ConvShape,
    method: Method,
    forward: Gather,
    grad_input: Vec<Gather>,
    zeros: Vec<f32>,
}

/// Convolutions of the same pictures `x`. Those of one algorithm are computed as one: each pixel is read once for all, and
/// the cores have more to share. `next`: weights that are read afterwards.
///
/// # Panics
/// If several are not of the same input and window, or one of several is of [`Algorithm::Winograd`].
pub fn forward(
    pool: &Pool,
    isa: Isa,
    x: View,
    mut siblings: Vec<Sibling>,
    next: &[f32],
    scratch: &mut [f32],
) {
    if siblings.len() == 1 {
        let Some(Sibling { plan, packed, epilogue, y }) = siblings.pop() else { return };
        return plan.forward(pool, isa, Operands { x, packed, next, epilogue }, y, scratch);
    }
    let (direct, others): (Vec<_>, Vec<_>) =
        siblings.into_iter().partition(|sibling| matches!(sibling.plan.method, Method::Direct));
    let then = others.first().map_or(next, |sibling| sibling.packed);
    together(pool, isa, x, direct, then, scratch);
    together(pool, isa, x, others, next, scratch);
}

/// [`forward`] for convolutions of one algorithm that is not Winograd's.
fn together<'a>(
    pool: &Pool,
    isa: Isa,
    x: View,
    siblings: Vec<Sibling<'a>>,
    next: &[f32],
    scratch: &mut [f32],
) {
    let Some(first) = siblings.first().map(|sibling| sibling.plan) else { return };
    assert_eq!(x.channels(), first.shape.in_channels);
    let mut end = 0;
    let part = |Sibling { plan, packed, epilogue, y }: Sibling<'a>| {
        let same = ConvShape { out_channels: plan.shape.out_channels, ..first.shape };
        assert!(plan.shape == same, "{:?} beside {:?}", plan.shape, first.shape);
        let panels = match &plan.method {
            Method::Direct => plan.forward.panels(),
            Method::Strassen(strassen) => strassen.panels(),
            Method::Winograd(_) => panic!("{:?} has no sibling", plan.shape),
        };
        let part = Part { panels, packed, epilogue, target: y.share(), first: end };
        end = part.end();
        part
    };
    let parts: Vec<Part> = siblings.into_iter().map(part).collect();
    match &first.method {
        Method::Strassen(strassen) => strassen.run(pool, isa, x, &parts, next, scratch),
        _ => first.forward.run_parts(pool, isa, x, &parts, next, &first.zeros),
    }
}

impl ConvPlan {
    /// Plans `shape`, forward by `algorithm`; says why not where it cannot compute such a shape.
    ///
    /// # Panics
    /// If the window does not fit or an extent is zero.
    pub fn with(shape: ConvShape, algorithm: Algorithm) -> Result<Self, &'static str> {
        shape.check();
        let method = match algorithm {
            Algorithm::Direct => Method::Direct,
            Algorithm::Winograd(tile) => Method::Winograd(Winograd::new(shape, tile)?),
            Algorithm::Strassen => Method::Strassen(Strassen::new(shape)?),
        };
        Ok(ConvPlan { method, ..ConvPlan::new(shape) })
    }

    /// Plans `shape`, directly in all directions.
    ///
    /// # Panics
    /// If the window does not fit or an extent is zero.
    pub fn new(shape: ConvShape) -> Self {
        let ConvShape { input, in_channels, out_channels, kernel, stride, pad } = shape;
        shape.check();
        let output = shape.output();
        let taps = (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| [ky, kx]));
        let forward = Gather {
            grid: output,
            source: input,
            source_stride: stride,
            taps: taps
                .clone()
                .map(|[ky, kx]| Tap {
                    offset: [ky as isize - pad[0] as isize, kx as isize - pad[1] as isize],
                    index: ky * kernel[1] + kx,
                })
                .collect(),
            k: in_channels,
            n: out_channels,
            target: output,
            target_stride: 1,
            target_offset: [0, 0],
            columns_first: kernel[1] > kernel[0],
        };
        let phase = |py: usize, px: usize| {
            // Input pixel `stride·q + p` is read by output pixel `q + (p + pad − tap) / stride` where that divides.
            let reach = |p: usize, d: usize, tap: usize| {
                let distance = (p + pad[d]) as isize - tap as isize;
                (distance.rem_euclid(stride as isize) == 0).then(|| distance.div_euclid(stride as isize))
            };
            Gather {
                grid: [(input[0] - py).div_ceil(stride), (input[1] - px).div_ceil(stride)],
                source: output,
                source_stride: 1,
                taps: taps
                    .clone()
                    .filter_map(|[ky, kx]| {
                        let offset = [reach(py, 0, ky)?, reach(px, 1, kx)?];
                        Some(Tap { offset, index: ky * kernel[1] + kx })
                    })
                    .collect(),
                k: out_channels,
                n: in_channels,
                target: input,
                target_stride: stride,
                target_offset: [py, px],
                columns_first: kernel[1] > kernel[0],
            }
        };
        let grad_input = (0..stride.min(input[0]))
            .flat_map(|py| (0..stride.min(input[1])).map(move |px| [py, px]))
            .map(|[py, px]| phase(py, px))
            .collect();
        let zeros = vec![0.0; kernel[1] * in_channels.max(out_channels)];
        ConvPlan { shape, method: Method::Direct, forward, grad_input, zeros }
    }

    /// What computes it forward.
    pub fn algorithm(&self) -> Algorithm {
        match &self.method {
            Method::Direct => Algorithm::Direct,
            Method::Winograd(winograd) => Algorithm::Winograd(winograd.tile()),
            Method::Strassen(_) => Algorithm::Strassen,
        }
    }

    /// What was planned.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Length of the weights packed for [`Self::forward`].
    pub fn packed_len(&self) -> usize {
        match &self.method {
            Method::Direct => self.forward.packed_len(),
            Method::Winograd(winograd) => winograd.packed_len(),
            Method::Strassen(strassen) => strassen.packed_len(),
        }
    }

    /// Length of the scratch of [`Self::forward`] for `batch` pictures.
    pub fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        match &self.method {
            Method::Direct => 0,
            Method::Winograd(winograd) => winograd.scratch_len(batch, threads),
            Method::Strassen(strassen) => strassen.scratch_len(threads),
        }
    }

    /// Packs `weights` `[kh, kw, in, out]` for [`Self::forward`].
    pub fn pack(&self, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        assert_eq!(weights.len(), self.shape.weight_len());
        match &self.method {
            Method::Direct => {}
            Method::Winograd(winograd) => return winograd.pack(pool, weights, packed),
            Method::Strassen(strassen) => return strassen.pack(pool, weights, packed),
        }
        let (k, n) = (self.shape.in_channels, self.shape.out_channels);
        self.forward.pack(pool, packed, |tap, columns, panel, width| {
            for k_index in 0..k {
                let row = &weights[(tap * k + k_index) * n..][columns.clone()];
                panel[k_index * width..][..row.len()].copy_from_slice(row);
            }
        });
    }

    /// `y = epilogue(conv(x))` for as many pictures as `x` holds.
    pub fn forward(&self, pool: &Pool, isa: Isa, operands: Operands, y: ViewMut, scratch: &mut [f32]) {
        assert_eq!(operands.x.channels(), self.shape.in_channels);
        match &self.method {
            Method::Direct => {}
            Method::Winograd(winograd) => return winograd.run(pool, isa, operands, &self.zeros, y, scratch),
            Method::Strassen(_) => {
                let Operands { x, packed, next, epilogue } = operands;
                let alone = Sibling { plan: self, packed, epilogue, y };
                return together(pool, isa, x, vec![alone], next, scratch);
            }
        }
        // Where a kernel's rows lie in the picture without gaps, one long row is cheaper than many short ones.
        let ([_, kw], x) = (self.shape.kernel, operands.x);
        if self.shape.pad[1] == 0 && kw > 1 && x.stride() == x.channels() {
            self.forward.merged_rows(kw).run(pool, isa, operands, &self.zeros, y);
        } else {
            self.forward.run(pool, isa, operands, &self.zeros, y);
        }
    }

    /// Length of the weights packed for [`Self::grad_input`].
    pub fn grad_input_packed_len(&self) -> usize {
        self.grad_input.iter().map(Gather::packed_len).sum()
    }

    /// Packs `weights` `[kh, kw, in, out]` for [`Self::grad_input`].
    pub fn pack_grad_input(&self, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        assert_eq!(weights.len(), self.shape.weight_len());
        let (c_in, c_out) = (self.shape.in_channels, self.shape.out_channels);
        let mut rest = packed;
        for phase in &self.grad_input {
            let (packed, others) = rest.split_at_mut(phase.packed_len());
            rest = others;
            phase.pack(pool, packed, |tap, columns, panel, width| {
                for (j, column) in columns.enumerate() {
                    let row = &weights[(tap * c_in + column) * c_out..][..c_out];
                    row.iter().enumerate().for_each(|(k_index, &w)| panel[k_index * width + j] = w);
                }
            });
        }
    }

    /// `dx = convᵀ(dy)`, or `dx += convᵀ(dy)` where `accumulate`.
    pub fn grad_input(
        &self,
        pool: &Pool,
        isa: Isa,
        dy: View,
        packed: &[f32],
        accumulate: bool,
        mut dx: ViewMut,
    ) {
        assert_eq!(dy.channels(), self.shape.out_channels);
        let mut rest = packed;
        for phase in &self.grad_input {
            let (packed, others) = rest.split_at(phase.packed_len());
            rest = others;
            let residual = accumulate.then_some((Shortcut::InPlace, 1.0));
            let epilogue = Epilogue { residual, ..Epilogue::default() };
            let operands = Operands { x: dy, packed, next: &[], epilogue };
            phase.run(pool, isa, operands, &self.zeros, dx.reborrow());
        }
    }

    /// Length of the scratch of [`Self::grad_weight`] for `batch` pictures.
    pub fn grad_weight_scratch_len(&self, batch: usize) -> usize {
        grad_weight::splits(&self.forward, batch) * self.shape.weight_len()
    }

    /// `dw = ∂loss/∂weights`, `[kh, kw, in, out]`, summed over all pictures of `x` and `dy`.
    pub fn grad_weight(&self, pool: &Pool, isa: Isa, x: View, dy: View, dw: &mut [f32], scratch: &mut [f32]) {
        assert!(dw.len() == self.shape.weight_len() && x.channels() == self.shape.in_channels);
        let [_, kw] = self.shape.kernel;
        if self.shape.pad[1] == 0 && kw > 1 && x.stride() == x.channels() {
            grad_weight::run(&self.forward.merged_rows(kw), pool, isa, x, dy, &self.zeros, dw, scratch);
        } else {
            grad_weight::run(&self.forward, pool, isa, x, dy, &self.zeros, dw, scratch);
        }
    }
}
