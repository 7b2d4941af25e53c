//! What `mpi` is in a build without that feature: several ranks are refused, for each would train alone, over the others' files.

use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::stall::Doing;
use super::{Clock, Named};

pub(super) fn serve(
    _: Receiver<Named>,
    ready: Sender<Result<[usize; 2], String>>,
    _: &Doing,
    _: &Clock,
    _: Duration,
) {
    let problem = "started as one of several ranks, but this build has no `mpi` feature: rebuild with `cargo build --release --features mpi`, or start it without mpirun";
    let _ = ready.send(Err(problem.into()));
}
