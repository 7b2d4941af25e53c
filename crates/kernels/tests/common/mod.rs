//! What several tests of convolutions share.

use inception_kernels::conv::{Algorithm, ConvShape};

/// What lies between the channels that a kernel may touch.
pub(crate) const FILLER: f32 = 9.0;

/// Integers from -3 to 3 that no index pattern repeats.
pub(crate) fn integers(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let z = (i + seed * 1_000_003 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as i64 as f32 % 7.0 - 3.0
        })
        .collect()
}

/// Values whose sums round.
pub(crate) fn real(len: usize, seed: u64) -> Vec<f32> {
    integers(len, seed).iter().map(|v| v * 0.37 + 0.01).collect()
}

/// `dense` pixels with a gap behind each, as in a concat.
pub(crate) fn spread(dense: &[f32], channels: usize, gap: usize) -> Vec<f32> {
    dense.chunks(channels).flat_map(|p| p.iter().copied().chain(std::iter::repeat_n(FILLER, gap))).collect()
}

/// What [`spread`] spread, in `f64`.
///
/// # Panics
/// If a gap was written.
pub(crate) fn gather(data: &[f32], channels: usize, gap: usize, what: &str) -> Vec<f64> {
    let pixels = data.chunks(channels + gap);
    assert!(
        pixels.clone().all(|p| p[channels..].iter().all(|&v| v == FILLER)),
        "{what}: wrote outside its channels"
    );
    pixels.flat_map(|p| p[..channels].iter().map(|&v| f64::from(v))).collect()
}

/// Largest error of a tile over the standard deviation of the sums: it grows with the products along an axis.
pub(crate) fn bound(algorithm: Algorithm, shape: ConvShape) -> f64 {
    let m = match algorithm {
        Algorithm::Direct => return 0.0,
        Algorithm::Strassen => return 5e-6,
        Algorithm::Winograd(m) => m,
    };
    match (0..2).map(|d| shape.stride * (m[d] - 1) + shape.kernel[d]).max() {
        Some(4) => 5e-6,
        Some(6) => 2e-5,
        Some(7) => 5e-6,
        Some(8 | 10) => 6e-5,
        _ => 1e-4,
    }
}
