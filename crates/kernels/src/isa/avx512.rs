//! AVX-512: one 512-bit register a vector, and 32 of them.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::{Kernel, Simd};

/// Proof that the CPU has AVX-512 with its F and VL parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        Avx2::new().filter(|_| has).map(Avx512)
    }

    #[inline]
    pub(super) fn run(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
        fn compiled(isa: Avx512, kernel: impl Kernel) {
            kernel.run(isa)
        }
        // SAFETY: `self` proves that the CPU has these instructions.
        unsafe { compiled(self, kernel) }
    }
}

/// A mask of the first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    (((1u32 << n) - 1) & 0xffff) as __mmask16
}

// Every intrinsic below needs AVX-512F only, which `self` proves.
impl Simd for Avx512 {
    type V = __m512;
    type Half = Avx2;
    const LANES: usize = 16;

    #[inline(always)]
    fn half(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn relu(self, v: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe {
            let stays = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(v, _mm512_set1_ps(f32::MIN_POSITIVE));
            _mm512_maskz_mov_ps(stays, v)
        }
    }
    #[inline(always)]
    fn gate(self, v: __m512, g: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe {
            let stays = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(v, _mm512_set1_ps(f32::MIN_POSITIVE));
            _mm512_maskz_mov_ps(stays, g)
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        self.0.prefetch(p);
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the caller promises sixteen readable values.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: `self` proves AVX-512F; the caller promises sixteen writable values.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the caller promises `n` readable values, others are not touched.
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, v: __m512, n: usize) {
        // SAFETY: `self` proves AVX-512F; the caller promises `n` writable values, others are not touched.
        unsafe { _mm512_mask_storeu_ps(p, first(n), v) }
    }
}
