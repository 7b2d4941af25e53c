//! Which algorithm computes a convolution.

use super::{Algorithm, ConvPlan, ConvShape};

/// How much of its accuracy a network may trade for speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Sums of products alone.
    Exact,
    /// Winograd tiles whose error leaves logits within 1e-4 of their standard deviation.
    #[default]
    Default,
}

/// Below so many channels on either side the transforms cost more than they save.
const CHANNELS: usize = 8;
/// Maps smaller than this leave most of a tile of 36 outputs unused.
const SMALL: usize = 12;
/// Channels in times channels out up to which a small map of one picture has more to do than to read the weights transformed
/// for tiles of 16 outputs, four times the weights.
const LIGHT: usize = 1 << 14;

/// Channels in times channels out up to which the transformed weights of stride 2, five times the weights, do not cost
/// more time than they save.
const STRIDED: usize = 1 << 16;

/// Channels in from which on Strassen's products of half as many are long enough to pay for the sums.
const DEEP: usize = 128;

/// Outputs along an axis of every tile, the first the most exact.
const TILES: [usize; 5] = [2, 3, 4, 6, 8];

impl ConvPlan {
    /// `shape` by every algorithm that can compute it.
    pub fn all(shape: ConvShape) -> Vec<ConvPlan> {
        let tile = |m: usize| Algorithm::Winograd(shape.kernel.map(|taps| if taps == 1 { 1 } else { m }));
        let algorithms = [Algorithm::Direct, Algorithm::Strassen].into_iter().chain(TILES.map(tile));
        algorithms.filter_map(|algorithm| ConvPlan::with(shape, algorithm).ok()).collect()
    }

    /// Plans `shape` by the algorithm that suits it best within `precision`.
    pub fn choose(shape: ConvShape, precision: Precision) -> ConvPlan {
        ConvPlan::choose_strided(shape, precision, STRIDED)
    }

    /// [`Self::choose`] for the gradient of the weights, which reads none: at stride 2 there may be as many as there are.
    pub(super) fn choose_for_weights(shape: ConvShape, precision: Precision) -> ConvPlan {
        ConvPlan::choose_strided(shape, precision, usize::MAX)
    }

    /// [`Self::choose`] with Winograd's algorithm at stride 2 up to so many channels in times channels out.
    fn choose_strided(shape: ConvShape, precision: Precision, strided: usize) -> ConvPlan {
        let ConvShape { in_channels, out_channels, kernel, stride, .. } = shape;
        if precision == Precision::Exact || in_channels.min(out_channels) < CHANNELS {
            return ConvPlan::new(shape);
        }
        let [oh, ow] = shape.output();
        if kernel == [1, 1] && oh.min(ow) >= SMALL && in_channels >= DEEP {
            return ConvPlan::with(shape, Algorithm::Strassen).unwrap_or_else(|_| ConvPlan::new(shape));
        }
        let (least, channels) = (oh.min(ow), in_channels * out_channels);
        let tile = match kernel {
            [3, 3] if stride == 2 && least >= SMALL && channels <= strided => [3, 3],
            // So few products for each transform that a smaller tile, whose transforms are cheaper, is faster.
            [3, 3] if least >= SMALL && in_channels <= 32 => [4, 4],
            [3, 3] if least >= SMALL => [6, 6],
            [3, 3] if stride == 1 && least >= 4 && channels <= LIGHT => [4, 4],
            // A larger one would have more weights to read for one picture than it saves products.
            [3, 3] if stride == 1 && least >= 2 => [2, 2],
            [5, 5] if least >= 4 => [4, 4],
            [1, 7] if ow >= 2 => [1, along(ow)],
            [7, 1] if oh >= 2 => [along(oh), 1],
            [1, 3] if ow >= 2 => [1, 4],
            [3, 1] if oh >= 2 => [4, 1],
            // One output reads one tap, all others are padding.
            _ => return ConvPlan::new(shape),
        };
        ConvPlan::with(shape, Algorithm::Winograd(tile)).unwrap_or_else(|_| ConvPlan::new(shape))
    }
}

/// Outputs of a tile of seven taps on a map of so many.
fn along(outputs: usize) -> usize {
    if outputs <= 4 { 4 } else { 6 }
}
