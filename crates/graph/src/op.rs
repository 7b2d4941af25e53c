//! The operations: one variant for each kind of box in the paper's figures.

use serde::Serialize;

/// Padding of a convolution or pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pad {
    /// Output grid equals the input grid at stride 1: `(k - 1) / 2` zeros on each side, odd kernels only.
    Same,
    /// No padding: output is `floor((n - k) / stride) + 1`; the figures' mark `V`.
    Valid,
}

impl Pad {
    /// Zeros added on each side for a window of `kernel` cells.
    pub fn amount(self, kernel: usize) -> usize {
        match self {
            Pad::Same => (kernel - 1) / 2,
            Pad::Valid => 0,
        }
    }

    /// Output cells for `n` input cells, `None` where no window fits.
    pub fn output(self, n: usize, kernel: usize, stride: usize) -> Option<usize> {
        let padded = n + 2 * self.amount(kernel);
        (padded >= kernel).then(|| (padded - kernel) / stride + 1)
    }
}

/// What follows the multiplication of a convolution, inside the same box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Batch norm, then ReLU: the ordinary convolution of every figure.
    BnRelu,
    /// Batch norm alone: FaceNet's bottleneck.
    Bn,
    /// A bias and nothing else: the linear up-projection of a residual block (Figures 10–19, "Linear").
    Bias,
}

/// One box. Shapes are `height × width × channels`; kernels are `[height, width]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The picture.
    Input,
    /// Convolution; weights `[kernel height, kernel width, in, out]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Stride in both directions.
        stride: usize,
        /// Border.
        pad: Pad,
        /// Batch norm, ReLU or bias.
        after: After,
    },
    /// Maximum over a square window; padded cells never win.
    MaxPool {
        /// Side of the window.
        size: usize,
        /// Stride in both directions.
        stride: usize,
        /// Border.
        pad: Pad,
    },
    /// Mean over a square window.
    AvgPool {
        /// Side of the window.
        size: usize,
        /// Stride in both directions.
        stride: usize,
        /// Border.
        pad: Pad,
        /// Divide by the window's area (`true`, torchvision) or by the cells inside the picture (`false`, Google).
        count_padding: bool,
    },
    /// Channels of all inputs, one behind the other.
    Concat,
    /// `relu(x + scale * f)`, inputs `[x, f]`; without ReLU in the last block of some released networks (section 3.3, Figure 20).
    Residual {
        /// Scale of the branch.
        scale: f32,
        /// Whether a ReLU follows the sum.
        relu: bool,
    },
    /// Mean over the whole grid: `1 × 1 × channels`.
    GlobalAvgPool,
    /// Each value kept with probability `keep` and divided by it; the identity outside training.
    Dropout {
        /// Probability of keeping a value.
        keep: f32,
    },
    /// Fully connected with bias; weights `[in, out]`.
    Linear {
        /// Output features.
        out: usize,
    },
    /// Divides by the Euclidean norm over channels, `x / sqrt(max(sum x², 1e-10))`: FaceNet's embedding.
    L2Norm,
}
