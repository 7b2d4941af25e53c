//! Signals that ask for a clean end: Ctrl-C, SIGTERM and, for schedulers that warn first, SIGUSR1.
//!
//! A second Ctrl-C ends at once. Other signals may come as often as they like, for a scheduler sends SIGTERM after SIGUSR1 while
//! the state is being saved.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// The shell's code for an interrupted program.
const INTERRUPTED: i32 = 130;

/// Whether the user has asked for an end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Catches signals from now on. May be called more than once.
pub fn catch() -> Result<()> {
    if INSTALLED.set(()).is_err() {
        return Ok(());
    }
    let install = || -> std::io::Result<()> {
        end_at_the_second()?;
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, ASKED.clone())?;
        }
        #[cfg(unix)]
        flag::register(signal_hook::consts::SIGUSR1, ASKED.clone())?;
        Ok(())
    };
    install().context("catching signals")
}

/// The second Ctrl-C ends the program at once, and gives the terminal back before.
#[cfg(unix)]
fn end_at_the_second() -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT])?;
    let wait = move || {
        if signals.forever().nth(1).is_some() {
            crate::progress::terminal::leave_screen();
            signal_hook::low_level::exit(INTERRUPTED);
        }
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop)
}

/// The second Ctrl-C ends the program at once.
#[cfg(not(unix))]
fn end_at_the_second() -> std::io::Result<()> {
    // Actions run in this order, so the first Ctrl-C does not find the flag that it sets.
    let again = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, again.clone())?;
    flag::register(SIGINT, again).map(drop)
}
