//! What the tests of these formats share: expected tensors, and damage.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::time::{Duration, Instant};

use inception_formats::{TensorFile, open_bytes};
use serde_json::Value;

/// The JSON that a script of `reference/` wrote.
pub(crate) fn expected(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Names, shapes, types and values, in order.
pub(crate) fn check(file: &mut TensorFile, expected: &[Value], what: &str) {
    let found: Vec<_> = file.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    let names: Vec<_> = expected.iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
    assert_eq!(found, names, "{what}");
    for (i, tensor) in expected.iter().enumerate() {
        let about = file.tensors()[i].clone();
        let name = &about.name;
        let shape: Vec<_> =
            tensor["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        assert_eq!(about.shape, shape, "{what}: {name}");
        if let Some(dtype) = tensor["dtype"].as_str() {
            assert_eq!(about.dtype.name(), dtype, "{what}: {name}");
        }
        let values: Vec<_> =
            tensor["values"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
        assert_eq!(file.values(i).unwrap(), values, "{what}: {name}");
    }
}

/// The same numbers in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Opens `bytes` and reads what opens; the crate's promise is that this returns.
pub(crate) fn read_all(bytes: Vec<u8>) {
    let Ok(mut file) = open_bytes(bytes) else { return };
    for i in 0..file.tensors().len() {
        let expected = file.tensors()[i].bytes().unwrap();
        if let Ok(values) = file.bytes(i) {
            assert_eq!(values.len(), expected);
        }
    }
}

/// Cuts `bytes` at many places and changes a few of them, `times` times.
pub(crate) fn damage(bytes: &[u8], times: usize, what: &str) {
    let started = Instant::now();
    for end in (0..bytes.len()).step_by(bytes.len() / 200 + 1) {
        read_all(bytes[..end].to_vec());
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for i in 0..times {
        let mut damaged = bytes.to_vec();
        // Half of the changes go where the records are thickest.
        let end = if i % 2 == 0 { bytes.len() } else { bytes.len().min(4_096) };
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(end);
            damaged[at] = match numbers.below(4) {
                0 => 0xff,
                1 => 0,
                2 => damaged[at] ^ 1 << numbers.below(8),
                _ => numbers.below(256) as u8,
            };
        }
        if i % 16 == 0 {
            damaged.truncate(numbers.below(bytes.len()));
        }
        read_all(damaged);
    }
    assert!(
        started.elapsed() < Duration::from_secs(120),
        "{what}: {times} files took {:?}",
        started.elapsed()
    );
}
