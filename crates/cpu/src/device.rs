//! What a network runs on: an instruction set and a pool of threads.

use std::sync::Arc;

use inception_kernels::conv::Precision;
use inception_kernels::{Isa, Pool};

/// Instruction set and threads; cheap to clone, shared by everything that runs on it.
#[derive(Clone)]
pub struct Device {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Their threads.
    pub pool: Arc<Pool>,
    /// What inference and training may trade for speed.
    pub precision: Precision,
}

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceError {
    /// The variable `INCEPTION_ISA` names an instruction set that this CPU lacks or that does not exist.
    Isa {
        /// What it names.
        found: String,
        /// What this CPU has.
        available: Vec<&'static str>,
    },
    /// A number of threads out of range.
    Threads {
        /// What was asked for.
        found: usize,
    },
}

impl std::fmt::Display for DeviceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceError::Isa { found, available } => {
                write!(f, "INCEPTION_ISA is `{found}`, but this CPU has: {}", available.join(", "))
            }
            DeviceError::Threads { found } => write!(f, "{found} threads asked for: expected 1 to 1024"),
        }
    }
}

impl std::error::Error for DeviceError {}

impl Device {
    /// `threads` threads, or as many as affinity and cgroup quota allow; the instruction set that the variable
    /// `INCEPTION_ISA` names (see [`Isa::name`]), or the fastest.
    pub fn new(threads: Option<usize>) -> Result<Self, DeviceError> {
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        if !(1..=1024).contains(&threads) {
            return Err(DeviceError::Threads { found: threads });
        }
        let isa = match std::env::var("INCEPTION_ISA") {
            Err(_) => Isa::best(),
            Ok(name) => Isa::all().into_iter().find(|isa| isa.name() == name).ok_or_else(|| {
                DeviceError::Isa { found: name, available: Isa::all().iter().map(|isa| isa.name()).collect() }
            })?,
        };
        Ok(Device { isa, pool: Arc::new(Pool::new(threads)), precision: Precision::Default })
    }
}
