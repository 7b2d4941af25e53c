//! Tensors that published files hold beside the network, each kind with the reason why it is left out.

use inception_formats::{Dtype, Format, Tensor};
use inception_graph::Layout;

use super::alias::NOT_AVERAGED;

/// Why a tensor is no part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The auxiliary classifier, which only training uses.
    AuxiliaryHead,
    /// PyTorch's count of the batches that batch norm has seen.
    BatchCounter,
    /// The step that training had reached.
    Step,
    /// State of an optimizer.
    Optimizer,
    /// Weights whose moving averages were taken.
    NotAveraged,
    /// FaceNet's classifier of the people it was trained on; the answer is the embedding.
    Identities,
    /// Constants of a frozen graph that are no weights.
    Constants,
    /// Values that a training program keeps beside the network, such as the weights of a loss.
    Outside,
}

impl Reason {
    /// A sentence about the tensors of such `names`.
    pub(super) fn describe(self, names: &[&str]) -> String {
        let count = names.len();
        let s = if count == 1 { "" } else { "s" };
        match self {
            Reason::AuxiliaryHead => {
                format!("auxiliary head: {count} tensor{s} left out, only training uses them")
            }
            Reason::BatchCounter => format!("{count} counter{s} of batches (num_batches_tracked) left out"),
            Reason::Step => "global_step left out".into(),
            Reason::Optimizer => format!("{count} tensor{s} of optimizer state left out"),
            Reason::NotAveraged => format!("{count} weight{s} left out, their moving averages were taken"),
            Reason::Identities => {
                format!("classifier of identities: {count} tensor{s} left out, the answer is the embedding")
            }
            Reason::Outside => {
                let first = names[..count.min(3)].join("`, `");
                format!("{count} tensor{s} beside the network left out, the first `{first}`")
            }
            Reason::Constants => format!("{count} constant{s} of the graph left out, which are no weights"),
        }
    }
}

/// Ends of the names of weights in a frozen graph.
const WEIGHTS: [&str; 9] = [
    "/weights",
    "/biases",
    "/beta",
    "/gamma",
    "/moving_mean",
    "/moving_variance",
    "/conv2d_params",
    "/kernel",
    "/bias",
];

/// Whether TensorFlow calls a slot of an optimizer so: `RMSProp`, and for its further slots `RMSProp_1`, `RMSProp_2`.
fn is_slot(name: &str) -> bool {
    let optimizer = match name.rsplit_once('_') {
        Some((optimizer, number)) if number.bytes().all(|b| b.is_ascii_digit()) => optimizer,
        _ => name,
    };
    matches!(optimizer, "RMSProp" | "Momentum" | "Adam" | "Adagrad" | "AdagradDA" | "Adadelta" | "Ftrl")
}

/// Why the tensor with the standard name `name` is no part of a network in `layout`, `None` if it should be. What lies
/// `outside` of the prefix that the network's names have and has two extents may be a layer that follows the network.
pub(super) fn reason(
    layout: Layout,
    format: Format,
    name: &str,
    tensor: &Tensor,
    outside: bool,
) -> Option<Reason> {
    if name.ends_with(NOT_AVERAGED) {
        return Some(Reason::NotAveraged);
    }
    match layout {
        Layout::Torchvision | Layout::PytorchFid | Layout::Timm | Layout::FacenetPytorch => {
            if name.ends_with(".num_batches_tracked") {
                // The auxiliary head's own counters are a part of it.
                Some(if name.starts_with("AuxLogits.") {
                    Reason::AuxiliaryHead
                } else {
                    Reason::BatchCounter
                })
            } else if name.starts_with("AuxLogits.") {
                Some(Reason::AuxiliaryHead)
            } else if layout == Layout::FacenetPytorch && name.starts_with("logits.") {
                Some(Reason::Identities)
            } else {
                (outside && tensor.shape.len() < 2).then_some(Reason::Outside)
            }
        }
        Layout::Slim | Layout::Facenet | Layout::Inception2015 => {
            let last = name.rsplit('/').next().unwrap_or(name);
            if name == "global_step" {
                Some(Reason::Step)
            } else if is_slot(last) || matches!(name, "beta1_power" | "beta2_power") {
                Some(Reason::Optimizer)
            } else if name.contains("/AuxLogits/") {
                Some(Reason::AuxiliaryHead)
            } else if layout == Layout::Facenet && name.starts_with("Logits/") {
                Some(Reason::Identities)
            } else if format.is_frozen_graph() && !WEIGHTS.iter().any(|end| name.ends_with(end)) {
                Some(Reason::Constants)
            } else {
                None
            }
        }
        Layout::Keras | Layout::Keras3 => {
            let first = name.split('/').next().unwrap_or(name);
            let state = matches!(
                first,
                "optimizer" | "optimizer_weights" | "metrics" | "seed_generator" | "_training"
            );
            let counter = tensor.shape.is_empty() && matches!(tensor.dtype, Dtype::I64 | Dtype::I32);
            (state || counter).then_some(Reason::Optimizer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_every_optimizer_of_slims_are_no_weights() {
        for slot in ["RMSProp", "RMSProp_2", "Adadelta_1", "Ftrl", "Ftrl_1", "Adam_1", "Momentum", "Adagrad"]
        {
            assert!(is_slot(slot), "{slot}");
        }
        for other in ["weights", "beta", "Adam_x", "Adamax", "Conv_1"] {
            assert!(!is_slot(other), "{other}");
        }
    }
}
