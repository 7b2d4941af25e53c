//! The subcommands, one file each: arguments in, work done by the library, text or JSON out.

pub mod demo;
pub mod eval;
pub mod info;
pub mod predict;
pub mod train;
