//! How a command ends: the exit codes, and the one place where an error is given one.

use std::process::ExitCode;

use inception_cpu::DeviceError;
use inception_graph::GraphError;

use crate::checkpoint::CheckpointError;
use crate::data::DataError;

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

/// Files that are at fault. Ends the program with [`Exit::BadData`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadData(pub String);

impl std::fmt::Display for BadData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadData {}

/// The exit code of an error: the first cause in its chain that has one decides.
pub fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = cause.downcast_ref() {
        // A file that is not there is not bad data.
        let unreadable =
            |e: &inception_formats::Error| matches!(e.problem, inception_formats::Problem::Io(_));
        return Some(match error {
            CheckpointError::Io { .. } => Exit::Failed,
            CheckpointError::File(file) if unreadable(file) => Exit::Failed,
            _ => Exit::BadData,
        });
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(match error {
            DataError::Io { .. } | DataError::Unreachable { .. } | DataError::Worker(_) => Exit::Failed,
            DataError::Layout { .. } | DataError::Classes { .. } | DataError::Picture { .. } => Exit::BadData,
        });
    }
    if cause.is::<BadData>() {
        return Some(Exit::BadData);
    }
    if cause.is::<UsageError>() || cause.is::<GraphError>() || cause.is::<DeviceError>() {
        return Some(Exit::Usage);
    }
    None
}

/// `context: cause: cause of the cause`, each said once.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors repeat their cause in their own message.
        if !message.ends_with(&cause) {
            message += if message.is_empty() { "" } else { ": " };
            message += &cause;
        }
    }
    message
}

/// Whether the reader of the output has gone, as `head` does when it has read enough.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let gone = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(gone))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_first_known_cause_decides() {
        let unknown =
            inception_graph::find("nonsense").map(|_| ()).context("building the network").unwrap_err();
        assert_eq!(of(&unknown), Exit::Usage);
        assert!(message(&unknown).starts_with("building the network: unknown network `nonsense`"));
        assert_eq!(of(&anyhow::anyhow!("something else")), Exit::Failed);
    }

    #[test]
    fn a_cause_already_in_the_message_is_not_repeated() {
        let cause = std::io::Error::other("disk on fire");
        assert_eq!(
            message(&anyhow::Error::new(cause).context("saving: disk on fire")),
            "saving: disk on fire"
        );
    }

    #[test]
    fn a_broken_pipe_is_seen_through_its_context() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(pipe).context("writing the table")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
