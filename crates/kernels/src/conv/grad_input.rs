//! The gradient of a convolution's input.
//!
//! At stride 1 it is a convolution itself: of the output's gradient, with the taps in reverse order and inputs and outputs
//! exchanged, by whatever algorithm suits its shape. At stride `s` it falls into `s²` phases by the parity of the input
//! pixel, each of them a stride-1 gather over the taps that reach it, so no multiplication is spent on zeros.

use super::gather::{Gather, Tap};
use super::{Algorithm, ConvPlan, ConvShape, Epilogue, Operands, Precision, Shortcut, Taps};
use crate::{Isa, Pool, View, ViewMut};

/// The gradient of the input, ready to run. Any batch size.
#[derive(Clone, Debug)]
pub struct GradInput {
    shape: ConvShape,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    Convolution(Box<ConvPlan>),
    Phases { phases: Vec<Gather>, zeros: Vec<f32> },
}

impl GradInput {
    /// Plans the gradient for the convolution `shape`, by the algorithm that suits it best within `precision`.
    ///
    /// # Panics
    /// If the window does not fit or an extent is zero.
    pub fn choose(shape: ConvShape, precision: Precision) -> Self {
        shape.check();
        let method = match transposed(shape) {
            Some(transposed) => Method::Convolution(Box::new(ConvPlan::choose(transposed, precision))),
            None => Method::Phases { phases: phases(shape), zeros: vec![0.0; shape.out_channels] },
        };
        GradInput { shape, method }
    }

    /// The gradient for `shape` by every algorithm that can compute it.
    pub fn all(shape: ConvShape) -> Vec<GradInput> {
        let Some(transposed) = transposed(shape) else {
            return vec![GradInput::choose(shape, Precision::Exact)];
        };
        let plans = ConvPlan::all(transposed).into_iter();
        plans.map(|plan| GradInput { shape, method: Method::Convolution(Box::new(plan)) }).collect()
    }

    /// What computes it.
    pub fn algorithm(&self) -> Algorithm {
        match &self.method {
            Method::Convolution(plan) => plan.algorithm(),
            Method::Phases { .. } => Algorithm::Direct,
        }
    }

    /// Length of the packed weights.
    pub fn packed_len(&self) -> usize {
        match &self.method {
            Method::Convolution(plan) => plan.packed_len(),
            Method::Phases { phases, .. } => phases.iter().map(Gather::packed_len).sum(),
        }
    }

    /// Length of the scratch of [`Self::run`] for `batch` pictures.
    pub fn scratch_len(&self, batch: usize, threads: usize) -> usize {
        match &self.method {
            Method::Convolution(plan) => plan.scratch_len(batch, threads),
            Method::Phases { .. } => 0,
        }
    }

    /// Packs the convolution's `weights` `[kh, kw, in, out]`.
    pub fn pack(&self, pool: &Pool, isa: Isa, weights: &[f32], packed: &mut [f32]) {
        let taps = Taps::new(weights, &self.shape).transposed();
        match &self.method {
            Method::Convolution(plan) => plan.pack_taps(pool, isa, taps, packed),
            Method::Phases { phases, .. } => {
                let mut rest = packed;
                for phase in phases {
                    let (packed, others) = rest.split_at_mut(phase.packed_len());
                    phase.pack(pool, isa, taps, packed);
                    rest = others;
                }
            }
        }
    }

    /// `dx = convᵀ(dy)`, or `dx += convᵀ(dy)` where `accumulate`.
    #[allow(clippy::too_many_arguments, reason = "the tensors of a gradient and where it runs")]
    pub fn run(
        &self,
        pool: &Pool,
        isa: Isa,
        dy: View,
        packed: &[f32],
        accumulate: bool,
        mut dx: ViewMut,
        scratch: &mut [f32],
    ) {
        assert_eq!(dy.channels(), self.shape.out_channels);
        let residual = accumulate.then_some((Shortcut::InPlace, 1.0));
        let epilogue = Epilogue { residual, ..Epilogue::default() };
        match &self.method {
            Method::Convolution(plan) => {
                plan.forward(pool, isa, Operands { x: dy, packed, next: &[], epilogue }, dx, scratch);
            }
            Method::Phases { phases, zeros } => {
                let mut rest = packed;
                for phase in phases {
                    let (packed, others) = rest.split_at(phase.packed_len());
                    rest = others;
                    let operands = Operands { x: dy, packed, next: &[], epilogue };
                    phase.run(pool, isa, operands, zeros, dx.reborrow());
                }
            }
        }
    }
}

/// The convolution whose output is the gradient of the input of `shape`, where there is one.
fn transposed(shape: ConvShape) -> Option<ConvShape> {
    let ConvShape { in_channels, out_channels, kernel, stride, pad, .. } = shape;
    // Outputs of a pad beyond the kernel see zeros alone.
    (stride == 1 && pad[0] < kernel[0] && pad[1] < kernel[1]).then(|| ConvShape {
        input: shape.output(),
        in_channels: out_channels,
        out_channels: in_channels,
        pad: [0, 1].map(|d| kernel[d] - 1 - pad[d]),
        ..shape
    })
}

/// The gathers of all parities of the input pixel.
fn phases(shape: ConvShape) -> Vec<Gather> {
    let ConvShape { input, in_channels, out_channels, kernel, stride, pad } = shape;
    let taps = (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| [ky, kx]));
    let last = kernel[0] * kernel[1] - 1;
    let phase = |py: usize, px: usize| {
        // Input pixel `stride·q + p` is read by output pixel `q + (p + pad − tap) / stride` where that divides.
        let reach = |p: usize, d: usize, tap: usize| {
            let distance = (p + pad[d]) as isize - tap as isize;
            (distance.rem_euclid(stride as isize) == 0).then(|| distance.div_euclid(stride as isize))
        };
        Gather {
            grid: [(input[0] - py).div_ceil(stride), (input[1] - px).div_ceil(stride)],
            source: shape.output(),
            source_stride: 1,
            taps: taps
                .clone()
                .filter_map(|[ky, kx]| {
                    let offset = [reach(py, 0, ky)?, reach(px, 1, kx)?];
                    Some(Tap { offset, index: last - (ky * kernel[1] + kx) })
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
    (0..stride.min(input[0]))
        .flat_map(|py| (0..stride.min(input[1])).map(move |px| [py, px]))
        .map(|[py, px]| phase(py, px))
        .collect()
}
