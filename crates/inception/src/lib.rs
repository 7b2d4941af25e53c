//! The tool as a library: data, checkpoints, training, evaluation, prediction.

pub mod answers;
pub mod args;
pub mod checkpoint;
pub mod cmd;
pub mod data;
pub mod demo;
pub mod engine;
pub mod evaluate;
pub mod exit;
pub mod figures;
mod html;
pub mod interrupt;
pub mod judge;
pub mod memory;
pub mod metrics;
pub mod npy;
pub mod predict;
pub mod progress;
pub mod recipe;
pub mod run_dir;
pub mod schedule;
pub mod sheet;
pub mod tensorboard;
pub mod train;
pub mod weights;
