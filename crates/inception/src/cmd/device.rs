//! The flags of every command that runs a network.

use anyhow::Result;
use inception_cpu::{Device, Precision};

/// What a network runs on, and how exactly.
#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Threads of the network [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How much of its accuracy may be traded for speed
    #[arg(long, value_enum, default_value_t)]
    pub precision: Accuracy,
}

/// `--precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Accuracy {
    /// Sums of products alone, logits within 1e-5 of their standard deviation
    Exact,
    /// Winograd's and Strassen's convolutions, logits within 1e-4 of their standard deviation
    #[default]
    Default,
}

impl DeviceArgs {
    /// The device.
    pub fn device(&self) -> Result<Device> {
        let precision = match self.precision {
            Accuracy::Exact => Precision::Exact,
            Accuracy::Default => Precision::Default,
        };
        Ok(Device { precision, ..Device::new(self.threads)? })
    }
}
