//! Graph → plan → inference and training steps on a CPU.
//!
//! [`Layout`] decides where every activation lies (a branch inside its concat), [`Model`] runs a network whose batch norms are
//! folded into its kernels, [`Trainer`] runs forward, backward and the optimizer. Both read the graph with one `match`
//! over its operations and leave the arithmetic to the crate `inception-kernels`.

mod device;
mod infer;
mod layout;
mod learning;
mod optimizer;
mod peers;
mod profile;
pub mod reference;
mod schedule;
mod state;
mod step;
mod train;

pub use device::{Device, DeviceError};
pub use infer::{Model, Needs, Scratch};
pub use layout::{Layout, Place};
pub use learning::Learning;
pub use peers::{Part, Peers, PeersLost, Wire};
pub use profile::NodeTime;
pub use state::TrainState;
pub use step::{Optimizer, StepError, StepOptions, StepReport};
pub use train::{Keep, Phase, StepTimes, TrainNeeds, Trainer, sum_of};

pub use inception_kernels::conv::{Algorithm, Precision};
pub use inception_kernels::loss::{Mixed, Targets};
pub use inception_kernels::peak_flops;
