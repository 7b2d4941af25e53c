//! The rate that no kernel can exceed: multiply–adds on registers alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::isa::{Kernel, Simd, WIDEST};
use crate::{Isa, Pool};

/// Independent chains, enough to hide the latency of a multiply–add.
const CHAINS: usize = 12;
/// Steps of each chain in a task, some 20 µs.
const STEPS: usize = 10_000;

struct Chains<'a>(&'a AtomicUsize);

impl Kernel for Chains<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (a, b) = (simd.splat(std::hint::black_box(0.999)), simd.splat(0.001));
        // Every chain has a value of its own and is used, or the compiler would leave it out.
        let mut chains: [S::V; CHAINS] = std::array::from_fn(|i| simd.splat(std::hint::black_box(i as f32)));
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = simd.mul_add(*chain, a, b);
            }
        }
        let mut sums = [0.0f32; WIDEST];
        let sum = chains.into_iter().fold(simd.splat(0.0), |sum, chain| simd.add(sum, chain));
        // SAFETY: `sums` holds a vector.
        unsafe { simd.store(sums.as_mut_ptr(), sum) };
        std::hint::black_box(sums);
        self.0.store(S::LANES, Ordering::Relaxed);
    }
}

/// Floating point operations a second of all threads, the best of `rounds` of some 2 ms each.
pub fn peak_flops(pool: &Pool, isa: Isa, rounds: usize) -> f64 {
    let tasks = 100 * pool.threads();
    let lanes = AtomicUsize::new(0);
    let round = |_| {
        let start = Instant::now();
        pool.run(tasks, |_| isa.run(Chains(&lanes)));
        let flop = 2 * lanes.load(Ordering::Relaxed) * CHAINS * STEPS * tasks;
        flop as f64 / start.elapsed().as_secs_f64()
    };
    (0..rounds.max(1)).map(round).fold(0.0, f64::max)
}
