//! The forecast as a table.

use std::io::Write;

use anyhow::Result;
use inception_graph::thousands;
use serde::Serialize;

use crate::dist::{Algorithm, Link, Ranks, Step, Work};

/// Forecasts for some numbers of ranks.
#[derive(Serialize)]
pub(super) struct Forecast {
    pub(super) ranks: usize,
    /// Pictures of all ranks.
    pub(super) batch: usize,
    /// As training sums.
    #[serde(flatten)]
    pub(super) step: Step,
    pub(super) images_per_second: f64,
    /// Of so many ranks that need not wait for each other.
    pub(super) efficiency: f64,
    /// Seconds of a step with other sums.
    pub(super) ring: f64,
    pub(super) tree: f64,
}

/// What `count` ranks make of `work`.
pub(super) fn forecast(work: &Work, bytes: f64, ranks: Ranks, link: Link) -> Forecast {
    let step = |algorithm| Step::of(algorithm, work, bytes, ranks, link);
    let own = step(Algorithm::Pieces);
    let batch = ranks.count * work.batch;
    Forecast {
        ranks: ranks.count,
        batch,
        step: own,
        images_per_second: batch as f64 / own.total,
        efficiency: work.step() / own.total,
        ring: step(Algorithm::Ring).total,
        tree: step(Algorithm::Tree).total,
    }
}

/// Writes a line for each.
pub(super) fn text(out: &mut impl Write, forecasts: &[Forecast]) -> Result<()> {
    writeln!(
        out,
        "{:>7} {:>8} {:>10} {:>11} {:>10}  {:>9} {:>9} {:>10} {:>9}  {:>10} {:>10}",
        "ranks",
        "batch",
        "step",
        "images/s",
        "efficiency",
        "sums",
        "moving",
        "stragglers",
        "exposed",
        "by ring",
        "by tree"
    )?;
    for Forecast { ranks, batch, step, images_per_second, efficiency, ring, tree } in forecasts {
        let ms = |seconds: f64| format!("{:.1} ms", 1e3 * seconds);
        writeln!(
            out,
            "{ranks:>7} {:>8} {:>10} {:>11.1} {:>8.0} %  {:>9} {:>9} {:>10} {:>9}  {:>10} {:>10}",
            thousands(*batch as u64),
            ms(step.total),
            images_per_second,
            100.0 * efficiency,
            ms(step.sums),
            ms(step.moving),
            ms(step.stragglers),
            ms(step.exposed),
            ms(*ring),
            ms(*tree)
        )?;
    }
    writeln!(
        out,
        "sums: all of a step, one after the other; moving: what they take from the gradient; stragglers: waiting for the slowest rank; exposed: waiting for sums"
    )?;
    Ok(())
}
