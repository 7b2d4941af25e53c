//! What the steps of a training depend on besides pictures and options, to be kept and given back.

use std::borrow::Cow;

use inception_graph::Weights;

/// A training between two steps. Vectors are laid out as [`Weights::data`]; those that no step has needed yet are empty.
#[derive(Clone, Debug)]
pub struct TrainState<'a> {
    /// The weights as trained.
    pub weights: Cow<'a, Weights>,
    /// Their moving average, where one is kept.
    pub average: Option<Cow<'a, Weights>>,
    /// The optimizer's momentum.
    pub momentum: Cow<'a, [f32]>,
    /// Its mean of squared gradients.
    pub mean_square: Cow<'a, [f32]>,
    /// Steps that it has taken.
    pub steps: u64,
}

impl<'a> TrainState<'a> {
    /// A training that starts from `weights`.
    pub fn new(weights: Cow<'a, Weights>) -> Self {
        let empty = || Cow::Borrowed(&[][..]);
        TrainState { weights, average: None, momentum: empty(), mean_square: empty(), steps: 0 }
    }
}
