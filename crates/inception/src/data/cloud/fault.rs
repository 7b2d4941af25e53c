//! What went wrong, in words: what was expected, what came, what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::address::{Address, Kind};
use super::connect::credentials;
use super::{PATIENCE, unreachable_error};
use crate::data::storage::Unreachable;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// To read an object or ask about it.
    Read,
    /// To list what is there.
    List,
}

/// Longest answer that is repeated.
const ANSWER: usize = 300;

/// Whether the same request may well succeed later: no answer, a part of one, or one that asks for patience.
pub(super) fn is_passing(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::Generic { .. } => !is_refusal(&deepest(error)),
        _ => false,
    }
}

/// A request that is wrong in itself: the client makes none of them again.
fn is_refusal(cause: &str) -> bool {
    status(cause).is_some_and(|status| status < 500 && ![408, 429].contains(&status))
}

/// The status of the answer that a client's words for it have.
fn status(cause: &str) -> Option<u16> {
    let (_, status) = cause.split_once("status code: ")?;
    status.split_whitespace().next()?.trim_end_matches(':').parse().ok()
}

/// `error` for people. Only an object that is not there may be done without.
pub(super) fn explain(
    error: &object_store::Error,
    address: &Address,
    doing: Doing,
    took: Duration,
) -> io::Error {
    use object_store::Error as E;
    let what = if doing == Doing::List { "list it" } else { "read it" };
    let cause = deepest(error);
    let no_access = |code: u16| {
        let problem = format!(
            "access is refused ({code}): expected the right to {what}, {}; the answer was: {cause}",
            credentials(address.kind)
        );
        io::Error::new(io::ErrorKind::PermissionDenied, Unreachable(problem))
    };
    match error {
        E::NotFound { .. } if doing == Doing::List => unreachable_error("there is no such bucket (404): check how it is spelt".into()),
        E::NotFound { .. } if address.kind == Kind::Http => {
            let problem = "there is no such object (404): check how it is spelt; web servers list no folders, a file is expected";
            io::Error::new(io::ErrorKind::NotFound, problem)
        }
        E::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, "there is no such object (404): check how it is spelt"),
        E::PermissionDenied { .. } => no_access(403),
        E::Unauthenticated { .. } => no_access(401),
        E::Precondition { .. } => changed("is another than at the start".into()),
        E::NotSupported { .. } => unreachable_error(
            "the server gives whole files only: expected one that understands `Range`; download the file and give its path".into(),
        ),
        // Of listings the client keeps no more than the status.
        _ if matches!(status(&cause), Some(401 | 403)) => no_access(status(&cause).unwrap_or(403)),
        _ if !is_passing(error) => unreachable_error(format!("the request was refused: {cause}; check {}", hint(address.kind))),
        _ => unreachable_error(format!(
            "no whole answer in {:.0} s of trying: {cause}; check the network and {}, then start again (a run goes on with --resume); {PATIENCE} says how long is tried",
            took.as_secs_f64(),
            hint(address.kind)
        )),
    }
}

fn hint(kind: Kind) -> &'static str {
    match kind {
        Kind::S3 => "AWS_ENDPOINT_URL, AWS_REGION and AWS_ALLOW_HTTP",
        Kind::Google => "GOOGLE_APPLICATION_CREDENTIALS",
        Kind::Azure => "AZURE_STORAGE_ACCOUNT_NAME",
        Kind::Http => "the URL",
    }
}

/// The root of a URL has nothing at it.
pub(super) fn nothing_there() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such object, and none below: check how it is spelt")
}

/// A web server was asked for a folder.
pub(super) fn no_folders() -> io::Error {
    let problem = "a web server lists no folders: expected the URL of a .tar or .tfrecord file, or of a list (.csv, .tsv, .txt) with paths relative to it";
    unreachable_error(problem.into())
}

/// An object was written over.
pub(super) fn changed(how: String) -> io::Error {
    unreachable_error(format!("{how}: it was written since it was listed; start again"))
}

/// What lies at the bottom of an error: those above say in many words that there was one.
fn deepest(error: &object_store::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(ANSWER) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_what_passes() {
        let refused = |code: &str| is_refusal(&format!("Server returned non-2xx status code: {code}: "));
        assert!(refused("400 Bad Request") && refused("416 Range Not Satisfiable"));
        assert!(!refused("503 Service Unavailable") && !refused("429 Too Many Requests"));
        assert!(!is_refusal("Connection refused (os error 111)"));
        assert_eq!(status("Server returned non-2xx status code: 403 Forbidden: x"), Some(403));
    }
}
