//! Convolution: forward, gradient of the input, gradient of the weights, all as implicit matrix products.
//!
//! ```text
//! forward      y[q, :]          = Σ_tap x[at(q, tap), :] · W[tap]            rows: output pixels    (gather.rs)
//! grad input   dx[q, :]         = Σ_tap dy[at(q, tap), :] · W[tap]ᵀ          rows: input pixels     (grad_input.rs)
//! grad weight  dW[tap, c, :]    = Σ_q   x[at(q, tap), c] · dy[q, :]          rows: tap and channel  (grad_weight)
//! ```
//! No patch matrix is ever written: the micro-kernels read pixels through pointers, padded taps point at zeros.
//! Where fewer products do, the sums are Winograd's (winograd/) or Strassen's (strassen.rs).

mod choose;
mod gather;
mod grad_input;
mod grad_weight;
mod micro;
mod strassen;
mod window;
mod winograd;

pub use choose::Precision;
use gather::{Gather, Part, Tap};
pub use grad_input::GradInput;
pub use grad_weight::GradWeight;
use micro::PANEL;
pub use micro::{Epilogue, Operands, Shortcut};
use strassen::Strassen;
use winograd::Winograd;

use std::ops::Range;

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

/// Weights `[kh, kw, in, out]` as a product reads them when it packs them: as they are, or, for the gradient of the input,
/// taps in reverse order with inputs and outputs exchanged.
#[derive(Clone, Copy)]
struct Taps<'a> {
    values: &'a [f32],
    count: usize,
    /// Channels in and out of the convolution that the weights belong to.
    channels: [usize; 2],
    transposed: bool,
}

impl<'a> Taps<'a> {
    /// # Panics
    /// If they are not the weights of `shape`.
    fn new(values: &'a [f32], shape: &ConvShape) -> Self {
        assert_eq!(values.len(), shape.weight_len());
        let count = shape.kernel[0] * shape.kernel[1];
        Taps { values, count, channels: [shape.in_channels, shape.out_channels], transposed: false }
    }

    fn transposed(self) -> Self {
        Taps { transposed: true, ..self }
    }

    /// The weights of `tap` from input `k` to the outputs `columns`, zeros behind them.
    #[inline(always)]
    fn read(&self, tap: usize, k: usize, columns: &Range<usize>) -> [f32; PANEL] {
        let [c_in, c_out] = self.channels;
        let mut read = [0.0; PANEL];
        if self.transposed {
            let first = ((self.count - 1 - tap) * c_in + columns.start) * c_out + k;
            let column = self.values[first..].iter().step_by(c_out).take(columns.len());
            read.iter_mut().zip(column).for_each(|(to, &w)| *to = w);
        } else {
            let row = &self.values[(tap * c_in + k) * c_out..][columns.clone()];
            match row.try_into() {
                Ok(whole) => read = whole,
                Err(_) => read.iter_mut().zip(row).for_each(|(to, &w)| *to = w),
            }
        }
        read
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

impl<'a> Sibling<'a> {
    /// Its columns, the first panel of which is number `first` among all siblings'.
    ///
    /// # Panics
    /// If it is of [`Algorithm::Winograd`].
    fn part(self, first: usize) -> Part<'a> {
        let Sibling { plan, packed, epilogue, y } = self;
        let panels = match &plan.method {
            Method::Direct => plan.forward.panels(),
            Method::Strassen(strassen) => strassen.panels(),
            Method::Winograd(_) => panic!("{:?} has no sibling", plan.shape),
        };
        Part { panels, packed, epilogue, target: y.share(), first }
    }
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
    /// The same with the taps of a kernel row as one, where they may lie in the picture without gaps: one long row is
    /// cheaper than many short ones.
    merged: Option<Gather>,
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
    let mut end = 0;
    let part = |sibling: Sibling<'a>| {
        let part = sibling.part(end);
        end = part.end();
        part
    };
    let Some(first) = siblings.first().map(|sibling| sibling.plan) else { return };
    for Sibling { plan, .. } in &siblings {
        let same = ConvShape { out_channels: plan.shape.out_channels, ..first.shape };
        assert!(plan.shape == same, "{:?} beside {:?}", plan.shape, first.shape);
    }
    let parts: Vec<Part> = siblings.into_iter().map(part).collect();
    first.run_parts(pool, isa, x, &parts, next, scratch);
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
        let merged = (pad[1] == 0 && kernel[1] > 1).then(|| forward.merged_rows(kernel[1]));
        let zeros = vec![0.0; kernel[1] * in_channels];
        ConvPlan { shape, method: Method::Direct, forward, merged, zeros }
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
    pub fn pack(&self, pool: &Pool, isa: Isa, weights: &[f32], packed: &mut [f32]) {
        self.pack_taps(pool, isa, Taps::new(weights, &self.shape), packed);
    }

    fn pack_taps(&self, pool: &Pool, isa: Isa, taps: Taps, packed: &mut [f32]) {
        match &self.method {
            Method::Direct => self.forward.pack(pool, isa, taps, packed),
            Method::Winograd(winograd) => winograd.pack(pool, isa, taps, packed),
            Method::Strassen(strassen) => strassen.pack(pool, isa, taps, packed),
        }
    }

    /// `y = epilogue(conv(x))` for as many pictures as `x` holds.
    pub fn forward(&self, pool: &Pool, isa: Isa, operands: Operands, y: ViewMut, scratch: &mut [f32]) {
        assert_eq!(operands.x.channels(), self.shape.in_channels);
        match &self.method {
            Method::Winograd(winograd) => winograd.run(pool, isa, operands, &self.zeros, y, scratch),
            Method::Strassen(_) => {
                let Operands { x, packed, next, epilogue } = operands;
                let part = Sibling { plan: self, packed, epilogue, y }.part(0);
                self.run_parts(pool, isa, x, &[part], next, scratch);
            }
            Method::Direct => {
                let merged = self.merged.as_ref().filter(|_| operands.x.stride() == operands.x.channels());
                merged.unwrap_or(&self.forward).run(pool, isa, operands, &self.zeros, y);
            }
        }
    }

    /// The convolutions of `parts`, which are of this algorithm and this input.
    fn run_parts(&self, pool: &Pool, isa: Isa, x: View, parts: &[Part], next: &[f32], scratch: &mut [f32]) {
        assert_eq!(x.channels(), self.shape.in_channels);
        match &self.method {
            Method::Strassen(strassen) => strassen.run(pool, isa, x, parts, next, scratch),
            _ => self.forward.run_parts(pool, isa, x, parts, next, &self.zeros),
        }
    }
}
