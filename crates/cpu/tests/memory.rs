//! How much memory a network takes that is packed for predictions alone.
//!
//! One test, as the system counts memory by process.

#![cfg(target_os = "linux")]

use inception_cpu::{Device, Model, Scratch};
use inception_graph::{Spec, Weights, build};

/// Most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a high-water mark");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

/// Weights and their packed copies were once in memory together, all of them.
#[test]
fn weights_leave_as_they_are_packed() {
    let graph = build(&Spec::new("inception_v4")).expect("valid");
    let device = Device::new(Some(2)).expect("a device");
    let mut weights = Weights::zeros(&graph);
    weights.data.fill(0.01);
    let raw = weights.data.len() * 4;
    let model = Model::consuming(&graph, weights, &device);
    let held = raw.max(model.packed_bytes());
    let packing = peak();
    assert!(packing < held + (24 << 20), "{packing} bytes for {raw} of weights, {}", model.packed_bytes());
    model.run(&[0.5; 299 * 299 * 3], "logits", &mut Scratch::default()).expect("logits");
    let run = peak();
    assert!(run < held + (56 << 20), "{run} bytes for a run");
}
