//! Operations in words, for tables and diagrams.

use std::fmt::{Display, Formatter, Result};

use crate::op::{After, Op, Pad};

/// Kernel, stride and border of an operation that has a window.
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) pad: Pad,
}

impl Op {
    /// The kind of box in one word, as JSON and tables call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Conv { .. } => "conv",
            Op::MaxPool { .. } => "max_pool",
            Op::AvgPool { .. } => "avg_pool",
            Op::Concat => "concat",
            Op::Residual { .. } => "residual",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::Dropout { .. } => "dropout",
            Op::Linear { .. } => "linear",
            Op::L2Norm => "l2_norm",
        }
    }

    pub(crate) fn window(&self) -> Option<Window> {
        match *self {
            Op::Conv { kernel, stride, pad, .. } => Some(Window { kernel, stride, pad }),
            Op::MaxPool { size, stride, pad } | Op::AvgPool { size, stride, pad, .. } => {
                Some(Window { kernel: [size; 2], stride, pad })
            }
            Op::Input
            | Op::Concat
            | Op::Residual { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::Linear { .. }
            | Op::L2Norm => None,
        }
    }
}

impl Pad {
    /// `same` or `valid`.
    pub fn name(self) -> &'static str {
        match self {
            Pad::Same => "same",
            Pad::Valid => "valid",
        }
    }
}

/// `3×3`, then `/2` where the stride is not 1, then the figures' `V` where the border is not padded.
impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}×{}", self.kernel[0], self.kernel[1])?;
        if self.stride > 1 {
            write!(f, "/{}", self.stride)?;
        }
        match self.pad {
            Pad::Same => Ok(()),
            Pad::Valid => write!(f, " V"),
        }
    }
}

/// One line for people: `conv 3×3/2 V → 32`.
impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(window) = self.window() {
            write!(f, "{} {window}", self.kind().replace('_', " "))?;
        }
        match self {
            Op::Conv { out, after, .. } => {
                write!(f, " → {out}")?;
                match after {
                    After::BnRelu => Ok(()),
                    After::Bn => write!(f, ", no ReLU"),
                    After::Bias => write!(f, ", linear"),
                }
            }
            Op::AvgPool { count_padding: true, .. } => write!(f, ", padding counted"),
            Op::MaxPool { .. } | Op::AvgPool { count_padding: false, .. } => Ok(()),
            Op::Input => write!(f, "picture"),
            Op::Concat => write!(f, "concat"),
            Op::Residual { scale, relu } => {
                write!(f, "x + {scale} f(x){}", if *relu { ", ReLU" } else { "" })
            }
            Op::GlobalAvgPool => write!(f, "global average pool"),
            Op::Dropout { keep } => write!(f, "dropout, keep {keep}"),
            Op::Linear { out } => write!(f, "linear → {out}"),
            Op::L2Norm => write!(f, "L2 norm"),
        }
    }
}
