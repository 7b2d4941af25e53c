//! AVX2 with FMA: one 256-bit register a vector.

use std::arch::x86_64::*;

use super::{Kernel, NARROW, Simd};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }

    #[inline]
    pub(super) fn run(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled(isa: Avx2, kernel: impl Kernel) {
            kernel.run(isa)
        }
        // SAFETY: `self` proves that the CPU has these instructions.
        unsafe { compiled(self, kernel) }
    }
}

// Every intrinsic below needs AVX or FMA only, which `self` proves.
impl Simd for Avx2 {
    type V = __m256;
    type Half = Self;
    const LANES: usize = NARROW;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn relu(self, v: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_and_ps(v, _mm256_cmp_ps::<_CMP_NLT_UQ>(v, _mm256_set1_ps(f32::MIN_POSITIVE))) }
    }
    #[inline(always)]
    fn gate(self, v: __m256, g: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_and_ps(g, _mm256_cmp_ps::<_CMP_NLT_UQ>(v, _mm256_set1_ps(f32::MIN_POSITIVE))) }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a prefetch reads nothing that the program sees, wherever `p` leads.
        unsafe { _mm_prefetch(p.cast(), _MM_HINT_T1) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: `self` proves AVX; the caller promises eight readable values.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: `self` proves AVX; the caller promises eight writable values.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: `self` proves AVX; the caller promises `n` readable values, others are not touched.
        unsafe { _mm256_maskload_ps(p, self.first(n)) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, v: __m256, n: usize) {
        // SAFETY: `self` proves AVX; the caller promises `n` writable values, others are not touched.
        unsafe { _mm256_maskstore_ps(p, self.first(n), v) }
    }
}

impl Avx2 {
    /// All bits of the first `n` lanes.
    #[inline(always)]
    fn first(self, n: usize) -> __m256i {
        static MASK: [i32; 2 * NARROW] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: `self` proves AVX; eight values from `NARROW - n` on are there.
        unsafe { _mm256_loadu_si256(MASK[NARROW - n..].as_ptr().cast()) }
    }
}
