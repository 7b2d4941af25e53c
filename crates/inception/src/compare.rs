//! Networks trained alike, side by side: the same pictures in the same order, the same recipe, several seeds.
//!
//! ```text
//! networks × variations = arms;  arms × seeds = runs ─ log.jsonl ─▶ compare.csv ─▶ compare.md, *.svg
//! ```
//! Table and figures are made of `compare.csv` alone, so that they can be made again without the runs.

mod arms;
mod figures;
mod page;
mod pairs;
mod points;
mod spread;

pub use arms::{Arm, Vary, arms, groups};
pub use figures::draw;
pub use page::{page, tables};
pub use pairs::{PAIRS, width_at_cost};
pub use points::{About, ArmFacts, Comparison, Point, of_log};
pub use spread::Spread;
