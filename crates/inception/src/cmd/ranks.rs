//! The flags of every command that several ranks may run together.

use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::Result;

use crate::ranks::{self, World};

/// How ranks look after each other.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct RanksArgs {
    /// Started by mpirun or the like: say which rank waits where for what after so many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = ranks::STALL_TIMEOUT)]
    stall_timeout: NonZeroU64,
}

impl RanksArgs {
    /// Joins the other ranks.
    pub fn join(&self) -> Result<&'static World> {
        ranks::join(Duration::from_secs(self.stall_timeout.get()))
    }
}
