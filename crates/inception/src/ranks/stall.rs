//! Who waits where for whom: what ranks tell each other when nothing has moved for long, and what is told the user.
//!
//! ```text
//! a rank waits too long ─ note ─▶ rank 0 ─ question ─▶ all ─ place ─▶ rank 0 ─▶ report; the end where one does not answer
//! ```

#![cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "of the thread that calls MPI"))]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long places are awaited before they are reported.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A rank that does not say where it is for so long ends the job.
pub(super) const DEAD: Duration = Duration::from_secs(20);

/// What the main thread of this rank does.
pub(super) struct Doing {
    state: Mutex<State>,
    lost: AtomicBool,
}

struct State {
    what: String,
    since: Instant,
    hosts: Vec<String>,
}

impl Default for Doing {
    fn default() -> Self {
        let state = State { what: "starting".into(), since: Instant::now(), hosts: Vec::new() };
        Doing { state: Mutex::new(state), lost: AtomicBool::new(false) }
    }
}

impl Doing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn set(&self, what: String) {
        let mut state = self.lock();
        (state.what, state.since) = (what, Instant::now());
    }

    pub(super) fn set_hosts(&self, hosts: &[String]) {
        self.lock().hosts = hosts.to_vec();
    }

    pub(super) fn hosts(&self) -> Vec<String> {
        self.lock().hosts.clone()
    }

    /// The others are not there any more.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where this rank is, `waits` being what it waits for since when.
    pub(super) fn place(&self, number: u64, waits: Option<(&str, Instant)>) -> Place {
        let state = self.lock();
        Place {
            number,
            waits: waits.map(|(what, since)| (what.to_string(), since.elapsed().as_secs())),
            doing: state.what.clone(),
            seconds: state.since.elapsed().as_secs(),
        }
    }
}

/// Where a rank is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Number of what it has asked for last.
    pub(super) number: u64,
    /// What it waits for, and for how many seconds.
    pub(super) waits: Option<(String, u64)>,
    /// What its main thread does, and for how many seconds.
    pub(super) doing: String,
    pub(super) seconds: u64,
}

impl Place {
    fn text(&self) -> String {
        match &self.waits {
            Some((what, seconds)) => {
                format!("{seconds} s in `{what}` (number {}), at {}", self.number, self.doing)
            }
            None => format!("not there yet (number {}): {} s at {}", self.number, self.seconds, self.doing),
        }
    }
}

/// Ranks and where they are, `None` where they do not say; `hosts` are those of all ranks.
pub(super) fn report(places: &BTreeMap<usize, Option<Place>>, hosts: &[String]) -> String {
    // Ranks at the same place are told together.
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (&rank, place) in places {
        let text = place.as_ref().map_or("does not answer".to_string(), Place::text);
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, ranks)) => ranks.push(rank),
            None => groups.push((text, vec![rank])),
        }
    }
    let who = |ranks: &[usize]| {
        let host = |rank: &usize| hosts.get(*rank).map_or(String::new(), |host| format!(" ({host})"));
        let named: Vec<String> = ranks.iter().take(8).map(|rank| format!("{rank}{}", host(rank))).collect();
        let more = ranks.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} {}{more}", if ranks.len() == 1 { "rank" } else { "ranks" }, named.join(", "))
    };
    let lines: Vec<String> = groups.iter().map(|(text, ranks)| format!("  {}: {text}", who(ranks))).collect();
    format!("no progress; where the ranks are:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_who_waits_where_and_for_whom() {
        let waits = Place {
            number: 1234,
            waits: Some(("gradients 3 of 7".into(), 31)),
            doing: "step 57".into(),
            seconds: 33,
        };
        let late = Place { number: 1231, waits: None, doing: "reading pictures".into(), seconds: 40 };
        let places = BTreeMap::from([(0, Some(waits.clone())), (1, Some(late)), (2, Some(waits)), (3, None)]);
        let hosts = ["a", "b", "a", "c"].map(String::from);
        let expected = "\
no progress; where the ranks are:
  ranks 0 (a), 2 (a): 31 s in `gradients 3 of 7` (number 1234), at step 57
  rank 1 (b): not there yet (number 1231): 40 s at reading pictures
  rank 3 (c): does not answer";
        assert_eq!(report(&places, &hosts), expected);
    }
}
