//! How one operation of the networks runs fast on a CPU: forward, gradient of the input, gradient of the weights.
//!
//! Activations are `f32` in NHWC order, seen through [`View`]s whose pixel stride may exceed their channels, so that a
//! branch writes straight into its slice of a concat. Work is split by size alone and every sum has one order: the same
//! input gives the same bits on any number of threads. Kernels know no graph and read no environment.

mod buffer;
pub mod conv;
pub mod elementwise;
pub mod isa;
pub mod loss;
pub mod norm;
mod peak;
pub mod pool2d;
pub mod reference;
mod threads;
mod view;

pub use buffer::Buffer;
pub use isa::Isa;
pub use peak::peak_flops;
pub use threads::Pool;
pub use view::{View, ViewMut};
