//! NEON: two 128-bit registers a vector, so that 6 × 2 vectors of sums fill 24 of the 32 registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Kernel, NARROW, Simd};

/// Proof that the CPU has NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    pub(super) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }

    #[inline]
    pub(super) fn run(self, kernel: impl Kernel) {
        #[target_feature(enable = "neon")]
        fn compiled(isa: Neon, kernel: impl Kernel) {
            kernel.run(isa)
        }
        // SAFETY: `self` proves that the CPU has these instructions.
        unsafe { compiled(self, kernel) }
    }
}

/// The low and the high four lanes.
#[derive(Clone, Copy)]
pub(super) struct Pair(float32x4_t, float32x4_t);

/// Lanes of a register.
const HALF: usize = NARROW / 2;

// Every intrinsic below needs NEON only, which `self` proves.
impl Simd for Neon {
    type V = Pair;
    type Half = Self;
    const LANES: usize = NARROW;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` proves NEON.
        let x = unsafe { vdupq_n_f32(x) };
        Pair(x, x)
    }
    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { Pair(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { Pair(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // NEON's own maximum is NaN wherever `a` is.
        // SAFETY: `self` proves NEON.
        let larger = |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) };
        Pair(larger(a.0, b.0), larger(a.1, b.1))
    }
    #[inline(always)]
    fn relu(self, v: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        let relu = |v| unsafe {
            let goes = vcltq_f32(v, vdupq_n_f32(f32::MIN_POSITIVE));
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), goes))
        };
        Pair(relu(v.0), relu(v.1))
    }
    #[inline(always)]
    fn gate(self, v: Pair, g: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        let gate = |v, g| unsafe {
            let goes = vcltq_f32(v, vdupq_n_f32(f32::MIN_POSITIVE));
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(g), goes))
        };
        Pair(gate(v.0, g.0), gate(v.1, g.1))
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a prefetch reads nothing that the program sees, wherever `p` leads.
        unsafe { asm!("prfm pldl2keep, [{p}]", p = in(reg) p, options(nomem, nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Pair {
        // SAFETY: `self` proves NEON; the caller promises eight readable values.
        unsafe { Pair(vld1q_f32(p), vld1q_f32(p.add(HALF))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Pair) {
        // SAFETY: `self` proves NEON; the caller promises eight writable values.
        unsafe {
            vst1q_f32(p, v.0);
            vst1q_f32(p.add(HALF), v.1);
        }
    }
}
