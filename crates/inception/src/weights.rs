//! Weights that other programs published: recognised, checked, loaded, and proved to be understood.
//!
//! ```text
//! file ─ inception-formats ─▶ names, shapes ─ alias ─▶ standard names ─ recognise ─▶ network, layout
//!      ─ rules ─▶ what is no part of the network, each kind with its reason ─ assemble ─▶ weights ─ describe ─▶ metadata, report
//! ```
//! A file either fits a network exactly or is refused with every difference. What is left out or filled in follows a
//! rule and is reported.

mod alias;
mod assemble;
mod describe;
pub mod formula;
pub mod imagenet;
mod prefix;
mod preset;
pub mod published;
mod recognise;
pub mod recorded;
mod rules;
mod timm_config;

pub use assemble::{Extra, load};
pub use recognise::Recognised;
