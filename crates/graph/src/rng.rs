//! Random numbers as a pure function of what they are for.

use rand::SeedableRng;

/// A generator for one purpose. The algorithm (PCG XSL 128/64, MCG) is fixed, so streams are the same on every machine.
pub type Stream = rand_pcg::Pcg64Mcg;

/// The random stream of `key`, for example `[seed, epoch, sample]`: independent of threads, prefetch and ranks.
pub fn stream(key: &[u64]) -> Stream {
    // SplitMix64's finaliser as a hash, so that neighbouring keys give unrelated streams.
    let mix = |h: u64, k: u64| {
        let mut z = (h ^ k).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Stream::seed_from_u64(key.iter().fold(key.len() as u64, |h, &k| mix(h, k)))
}
