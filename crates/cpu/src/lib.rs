//! Graph → plan → inference and training steps on a CPU.

mod step;

pub use step::{Optimizer, StepError, StepOptions, StepReport};
