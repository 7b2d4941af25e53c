//! Instruction sets: an algorithm is written once over [`Simd`] and compiled for each.
//!
//! An [`Isa`] can only be made for instructions that the CPU has, so holding one is the proof that they may be used.
//! Vectors have eight lanes everywhere; `scalar` leaves their layout to the compiler.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(crate) mod scalar;

/// Lanes of a vector.
pub const LANES: usize = 8;

/// The vector operations of one instruction set.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Eight `f32`.
    type V: Copy;
    fn splat(self, x: f32) -> Self::V;
    /// `a * b + c`.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// Eight values at `p` can be read.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// Eight values at `p` can be written.
    unsafe fn store(self, p: *mut f32, v: Self::V);

    /// The first `n` values at `p`, zeros behind them.
    ///
    /// # Safety
    /// `n` values at `p` can be read, `n <= 8`.
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::V {
        let mut full = [0.0; LANES];
        // SAFETY: `n` values can be read and fit.
        unsafe {
            std::ptr::copy_nonoverlapping(p, full.as_mut_ptr(), n);
            self.load(full.as_ptr())
        }
    }
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `n` values at `p` can be written, `n <= 8`.
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, v: Self::V, n: usize) {
        let mut full = [0.0; LANES];
        // SAFETY: `full` holds eight values; `n` of them can be written at `p`.
        unsafe {
            self.store(full.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(full.as_ptr(), p, n);
        }
    }
}

/// A piece of work compiled once for each instruction set; `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

impl Isa {
    /// Every instruction set that this CPU has, the fastest first.
    pub fn all() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        all.extend(avx2::Avx2::new().map(|isa| Isa(Kind::Avx2(isa))));
        all.push(Isa(Kind::Scalar));
        all
    }

    /// The fastest instruction set of this CPU.
    pub fn best() -> Isa {
        Isa::all()[0]
    }

    /// Its name: `avx2` (with FMA), `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
        }
    }

    #[inline]
    pub(crate) fn run(self, kernel: impl Kernel) {
        match self.0 {
            Kind::Scalar => kernel.run(scalar::Scalar),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(isa) => isa.run(kernel),
        }
    }

    /// Runs safe loops compiled for this instruction set; the compiler vectorises them.
    #[inline]
    pub(crate) fn vectorize(self, f: impl FnOnce()) {
        struct Loop<F>(F);
        impl<F: FnOnce()> Kernel for Loop<F> {
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                (self.0)()
            }
        }
        self.run(Loop(f))
    }
}
