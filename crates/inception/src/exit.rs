//! How a command ends: the exit codes, and the one place where an error is given one.

use std::process::ExitCode;

use inception_graph::GraphError;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for was done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The request cannot be met as written: unknown network, size out of range, unknown flag.
    Usage = 2,
    /// The files are at fault: a broken picture, a broken checkpoint, classes that do not fit (sysexits' `EX_DATAERR`).
    BadData = 65,
    /// A signal ended the run, and its state is saved (sysexits' `EX_TEMPFAIL`: run it again).
    Stopped = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// A request that cannot be met as written. Ends the program with [`Exit::Usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The exit code of an error: the first cause in its chain that has one decides.
pub fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<UsageError>() || cause.is::<GraphError>() {
        return Some(Exit::Usage);
    }
    None
}
