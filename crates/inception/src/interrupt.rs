//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Whether the user has asked for an end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Catches signals from now on. May be called more than once.
pub fn catch() -> Result<()> {
    if INSTALLED.set(true).is_err() {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            // The shell's code for an interrupted program.
            std::process::exit(130);
        }
    })
    .context("catching Ctrl-C")
}
