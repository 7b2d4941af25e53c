//! Instruction sets: an algorithm is written once over [`Simd`] and compiled for each.
//!
//! An [`Isa`] can only be made for instructions that the CPU has, so holding one is the proof that they may be used.
//! `scalar` leaves the layout of its vectors to the compiler.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod scalar;

/// Lanes of the narrow vectors that every instruction set has.
pub(crate) const NARROW: usize = 8;
/// Lanes of the widest vector.
pub(crate) const WIDEST: usize = 16;

/// The vector operations of one instruction set.
pub(crate) trait Simd: Copy + Send + Sync {
    /// [`Self::LANES`] values of `f32`.
    type V: Copy;
    /// The same with vectors of [`NARROW`] lanes.
    type Half: Simd;
    /// Lanes of a vector: 8 or 16.
    const LANES: usize;
    /// For columns that fill only a narrow vector.
    fn half(self) -> Self::Half;
    fn splat(self, x: f32) -> Self::V;
    /// `a * b + c`.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: where one of them is NaN, `b`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Zero where `v` is below the smallest normal number, else `v`: NaN stays NaN, and no product behind a ReLU meets a
    /// subnormal number, which costs some CPUs a hundred cycles.
    fn relu(self, v: Self::V) -> Self::V;
    /// The gradient of [`Self::relu`]: zero where `relu(v)` is set to zero, else `g`.
    fn gate(self, v: Self::V, g: Self::V) -> Self::V;
    /// # Safety
    /// A vector of values at `p` can be read.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// A vector of values at `p` can be written.
    unsafe fn store(self, p: *mut f32, v: Self::V);

    /// The first `n` values at `p`: a vector, or the part of one with zeros behind.
    ///
    /// # Safety
    /// `n` values at `p` can be read, no more than a vector has.
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.load(p) } else { self.load_part(p, n) } }
    }
    /// Stores the first `n` lanes: a vector, or a part of one.
    ///
    /// # Safety
    /// `n` values at `p` can be written, no more than a vector has.
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.store(p, v) } else { self.store_part(p, v, n) } }
    }

    /// Asks for the line of memory at `p`, which need not exist, in the second cache.
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}

    /// The first `n` values at `p`, zeros behind them.
    ///
    /// # Safety
    /// `n` values at `p` can be read, no more than a vector has.
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::V {
        let mut full = [0.0; WIDEST];
        // SAFETY: `n` values can be read and fit.
        unsafe {
            std::ptr::copy_nonoverlapping(p, full.as_mut_ptr(), n);
            self.load(full.as_ptr())
        }
    }
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `n` values at `p` can be written, no more than a vector has.
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, v: Self::V, n: usize) {
        let mut full = [0.0; WIDEST];
        // SAFETY: `full` holds a vector; `n` of its values can be written at `p`.
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

/// Safe loops that the compiler vectorises for each instruction set; `run`, and what it calls, must be `#[inline(always)]`.
pub trait Loops {
    /// Runs them.
    fn run(self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

impl Isa {
    /// Every instruction set that this CPU has, the fastest first.
    pub fn all() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        all.extend(avx512::Avx512::new().map(|isa| Isa(Kind::Avx512(isa))));
        #[cfg(target_arch = "x86_64")]
        all.extend(avx2::Avx2::new().map(|isa| Isa(Kind::Avx2(isa))));
        #[cfg(target_arch = "aarch64")]
        all.extend(neon::Neon::new().map(|isa| Isa(Kind::Neon(isa))));
        all.push(Isa(Kind::Scalar));
        all
    }

    /// The fastest instruction set of this CPU.
    pub fn best() -> Isa {
        Isa::all()[0]
    }

    /// Its name: `avx512`, `avx2` (with FMA), `neon`, `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => "neon",
        }
    }

    #[inline]
    pub(crate) fn run(self, kernel: impl Kernel) {
        match self.0 {
            Kind::Scalar => kernel.run(scalar::Scalar),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(isa) => isa.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(isa) => isa.run(kernel),
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

    /// The same for loops too long to be inlined unasked, as a closure cannot ask for it.
    #[inline]
    pub fn run_loops(self, loops: impl Loops) {
        struct All<L>(L);
        impl<L: Loops> Kernel for All<L> {
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                self.0.run();
            }
        }
        self.run(All(loops));
    }
}
