//! Pictures that all ranks answer, each its blocks of the list.
//!
//! ```text
//! list   0 0 0 1 1 1 2 2 2 0 0 0 …     each rank's own blocks ─▶ its collector ─▶ round: a block of each, gathered ─▶ all, in order
//! ```
//! Every rank has every answer, in the order of the list, so that all go on or end alike.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Answered, Collector, SEEING};
use crate::data::DataError;
use crate::interrupt;
use crate::ranks::World;

/// How a list is cut.
#[derive(Clone, Copy)]
pub struct Blocks {
    rank: usize,
    ranks: usize,
    /// Pictures of each.
    size: usize,
}

impl Blocks {
    /// Two batches of a network that takes `batch` views at a time, of pictures of which each has so many.
    pub fn new(world: &World, batch: usize, views: usize) -> Self {
        let size = batch.saturating_mul(2).div_ceil(views);
        Blocks { rank: world.rank(), ranks: world.size(), size }
    }

    /// Pictures of each block.
    pub fn size(self) -> usize {
        self.size
    }

    /// Whether the picture at this place of the list is this rank's.
    pub fn is_own(self, place: usize) -> bool {
        place / self.size % self.ranks == self.rank
    }

    /// Pictures of this rank among those from `first` to `count` that come in a round.
    fn own(self, first: usize, count: usize) -> Range<usize> {
        let until = |rank: usize| first.saturating_add(rank.saturating_mul(self.size)).min(count);
        until(self.rank)..until(self.rank + 1)
    }
}

/// The answers of all ranks.
pub struct Shared<'a> {
    own: Collector<'a>,
    world: &'static World,
    blocks: Blocks,
    /// Pictures of the list, of which so many are in rounds that were.
    count: usize,
    first: usize,
    round: VecDeque<Answered>,
    stopped: bool,
}

/// What a rank has answered, but for the values.
#[derive(Serialize, Deserialize)]
struct Head {
    answers: Vec<Told>,
    stopped: bool,
}

/// An answer without its values.
#[derive(Serialize, Deserialize)]
struct Told {
    name: String,
    /// How many values each network's row has.
    rows: Result<Vec<usize>, DataError>,
}

impl<'a> Shared<'a> {
    /// `own` answers those of `count` pictures that `blocks` say are this rank's. Alone, `count` is of no effect.
    pub fn new(own: Collector<'a>, world: &'static World, blocks: Blocks, count: usize) -> Self {
        Shared { own, world, blocks, count, first: 0, round: VecDeque::new(), stopped: false }
    }

    /// The collector of this rank.
    pub fn own(&mut self) -> &mut Collector<'a> {
        &mut self.own
    }

    /// Whether a signal has asked this rank, or another, for an end.
    pub fn is_stopped(&self) -> bool {
        if self.world.size() == 1 { interrupt::asked() } else { self.stopped }
    }

    /// The next picture of the list; an error is that of writing what was seen, or that the other ranks are not there.
    pub fn next_answer(&mut self) -> Result<Option<Answered>> {
        if self.world.size() == 1 {
            return self.own.next_answer().context(SEEING);
        }
        if self.round.is_empty() && self.first < self.count {
            self.next_round()?;
        }
        Ok(self.round.pop_front())
    }

    fn next_round(&mut self) -> Result<()> {
        let own = self.blocks.own(self.first, self.count);
        self.world.doing(|| format!("pictures {} to {}", own.start + 1, own.end));
        let (mut answers, mut values) = (Vec::new(), Vec::new());
        for _ in own.clone() {
            // A signal ends all after this round.
            let answered = if interrupt::asked() { None } else { self.own.next_answer().context(SEEING)? };
            let Some(Answered { name, rows, .. }) = answered else { break };
            let rows = rows
                .map_err(|error| self.world.name().into_iter().fold(error, |error, who| error.met_by(&who)));
            let rows = rows.map(|rows| {
                rows.iter().flatten().for_each(|value: &f32| values.extend_from_slice(&value.to_le_bytes()));
                rows.iter().map(Vec::len).collect()
            });
            answers.push(Told { name, rows });
        }
        let stopped = interrupt::asked();
        ensure!(stopped || answers.len() == own.len(), "pictures without an answer: please report it");
        let head = serde_json::to_vec(&Head { answers, stopped })?;
        let bytes = [&(head.len() as u64).to_le_bytes()[..], &head, &values].concat();
        for part in self.world.gather("answers", bytes)? {
            let round = self.read(&part).context("the answers of another rank")?;
            self.round.extend(round);
        }
        let round = self.blocks.ranks.saturating_mul(self.blocks.size);
        self.first = self.first.saturating_add(round).min(self.count);
        Ok(())
    }

    /// What a rank has answered.
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Answered>> {
        let (len, rest) = bytes.split_first_chunk().context("no length")?;
        let (head, rest) = rest.split_at_checked(u64::from_le_bytes(*len) as usize).context("too short")?;
        let Head { answers, stopped } = serde_json::from_slice(head)?;
        self.stopped |= stopped;
        let lengths = answers.iter().filter_map(|told| told.rows.as_ref().ok());
        let count: usize = lengths.flatten().sum();
        ensure!(rest.len() == count * size_of::<f32>(), "{} bytes for {count} values", rest.len());
        let (values, _) = rest.as_chunks();
        let mut values = values.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let mut row = |len: usize| values.by_ref().take(len).collect();
        let answered = |Told { name, rows }| {
            let rows = rows.map(|lengths: Vec<usize>| lengths.into_iter().map(&mut row).collect());
            Answered { name, rows, took: std::time::Duration::ZERO }
        };
        Ok(answers.into_iter().map(answered).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_in_one_block_and_in_one_round() {
        for (ranks, size, count) in [(1, 3, 7), (2, 3, 20), (3, 4, 24), (4, 1, 2)] {
            let blocks = |rank| Blocks { rank, ranks, size };
            let mut listed = Vec::new();
            for first in (0..count).step_by(ranks * size) {
                for rank in 0..ranks {
                    let own: Vec<usize> = blocks(rank).own(first, count).collect();
                    assert!(own.iter().all(|&place| blocks(rank).is_own(place)), "{rank} {own:?}");
                    listed.extend(own);
                }
            }
            assert_eq!(listed, (0..count).collect::<Vec<_>>());
        }
    }
}
