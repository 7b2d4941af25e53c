//! What a network's answers come to: errors with intervals, classes, calibration; as text, tables and pictures.
//!
//! ```text
//! Answers ─▶ a Verdict a picture ─┬─▶ Findings: text, JSON
//!    │                            └─▶ report/: page, confusion matrix, tables
//!    ├─ several right classes a picture ─▶ Real
//!    └─ no labels at all ─▶ a submission
//! ```

pub mod bootstrap;
pub mod calibration;
pub mod classes;
pub mod confusion;
mod diagram;
mod draw;
pub mod exclude;
mod findings;
pub mod real;
pub mod report;
pub mod submission;
mod tables;
mod text;

pub use findings::{Around, Asked, Findings, Judged, Member};
pub use text::write_text;
