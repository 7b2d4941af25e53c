//! Plain Rust; what the compiler makes of it on any CPU.

use super::{NARROW, Simd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar;

#[derive(Clone, Copy)]
#[repr(align(16))]
pub(crate) struct Lanes([f32; NARROW]);

impl Simd for Scalar {
    type V = Lanes;
    type Half = Self;
    const LANES: usize = NARROW;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        Lanes([x; NARROW])
    }
    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| a.0[i] * b.0[i] + c.0[i]))
    }
    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| a.0[i] + b.0[i]))
    }
    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| if a.0[i] > b.0[i] { a.0[i] } else { b.0[i] }))
    }
    #[inline(always)]
    fn relu(self, v: Lanes) -> Lanes {
        Lanes(v.0.map(|v| if v < f32::MIN_POSITIVE { 0.0 } else { v }))
    }
    #[inline(always)]
    fn gate(self, v: Lanes, g: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| if v.0[i] < f32::MIN_POSITIVE { 0.0 } else { g.0[i] }))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Lanes {
        // SAFETY: the caller promises eight readable values.
        Lanes(unsafe { p.cast::<[f32; NARROW]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Lanes) {
        // SAFETY: the caller promises eight writable values.
        unsafe { p.cast::<[f32; NARROW]>().write_unaligned(v.0) }
    }
}
