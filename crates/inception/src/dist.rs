//! What several ranks cost and bring: measured on those that there are, and forecast for those that there are not.

mod fit;
mod model;
mod units;
mod watched;

pub use fit::{Point, fit};
pub use model::{Algorithm, Link, Ranks, Step, SumTime, Work};
pub use units::{parse_bandwidth, parse_latency, parse_ranks};
pub use watched::{Notes, Watched};
