//! The auxiliary head: a second classifier half way through a network. In training its loss is added to that of the
//! first; nothing else computes it.
//!
//! ```text
//! B blocks' output ─ avg pool 5×5/3 V ─ 1×1 128 ─ whole grid V 768 ─ linear → classes
//! 17×17×768…1088     5×5                5×5×128   1×1×768
//! ```
//! It is that of slim's `inception_v3.py`, `inception_v4.py` and `inception_resnet_v2.py`; Figure 8 of arXiv:1512.00567
//! draws another, which was not released, and arXiv:1602.07261 draws none. Inception-ResNet-v1 has none.

use crate::dsl::{Net, Tap, conv};
use crate::graph::AUX_LOGITS;
use crate::op::{Op, Pad};

/// Standard deviations of the two last kernels of a head.
pub(super) struct Deviations {
    conv: f32,
    logits: f32,
}

/// Those of Inception-v3, slim's and torchvision's. The other networks' are by the rule of all kernels.
pub(super) const V3: Deviations = Deviations { conv: 0.01, logits: 0.001 };

/// The head on `x`, behind everything else, where it is asked for and there are classes. Widths scale as all others.
///
/// Pictures of another size than 299 leave another grid than 5×5 to the second convolution; it takes the whole of it, as
/// slim's of Inception-v4 and Inception-ResNet-v2 does. (That of Inception-v3 has 5×5 or the grid, if that is less; with
/// more, slim's classifier has no shape.) The pool keeps its 5×5 cells, as in slim: a picture that leaves fewer
/// is too small for the head.
pub(super) fn head(net: &mut Net, x: Tap, classes: usize, deviations: Option<Deviations>) {
    if !net.wants_aux() || classes == 0 {
        return;
    }
    let pool = Op::AvgPool { size: 5, stride: 3, pad: Pad::Valid, count_padding: false };
    let x = net.push(format!("{AUX_LOGITS}/pool"), pool, &[x]);
    let x = net.layer(format!("{AUX_LOGITS}/conv_1b"), conv(128, 1), x);
    let grid = net.grid(x);
    let last = net.layer(format!("{AUX_LOGITS}/conv_2a"), conv(768, grid).valid(), x);
    let logits = net.push(AUX_LOGITS, Op::Linear { out: classes }, &[last]);
    if let Some(deviations) = deviations {
        net.start_from(last, deviations.conv);
        net.start_from(logits, deviations.logits);
    }
    net.aux_output(logits);
}
