//! Winograd's transforms for one axis, computed from their points.
//!
//! `m` outputs of a filter of `r` taps need `n = m + r − 1` products instead of `m·r`: the filter and the input are
//! evaluated, as polynomials, at `n` points, one of them infinity, and the output is interpolated (Lavin and Gray,
//! arXiv:1509.09308; Toom and Cook before them). Points are 0, ∞ and pairs ±p, whose rows share their halves:
//!
//! ```text
//! with  Π(x² − p²) = Σ c_i x^2i   and for each pair   Π_others(x² − p'²) = Σ q_i x^2i
//! input    d̂(0) = Σ c_i d[2i]     d̂(∞) = Σ c_i d[2i+1]     d̂(±p) = Σ q_i d[2i+2] ± p Σ q_i d[2i+1]
//! filter   ĝ(a) = Σ a^k g[k] / Π_{others}(a − a')          ĝ(∞) = g[r−1]
//! output   y[i] = Σ_p p^i (ŷ(p) + (−1)^i ŷ(−p)), + ŷ(0) where i = 0, + ŷ(∞) where i = m − 1
//! ```
//! At stride 2 a filter of three taps is one of two taps over the even inputs, transformed, and one of one tap over the odd
//! ones, as they are: 4 + 3 products for three outputs instead of nine.
//!
//! Reciprocal pairs of moderate size lose least: the points matter more for the error than the size of the tile.

use crate::isa::Simd;

/// Pairs of the largest transform.
const PAIRS: usize = 5;
/// Outputs of the largest transform.
const OUTPUTS: usize = 8;

/// Products of three outputs at stride 2.
const STRIDED: usize = 7;

/// The pairs ±p for `n` products.
const fn pairs(n: usize) -> &'static [f64] {
    match n {
        1 | STRIDED => &[],
        4 => &[1.0],
        6 => &[3.0 / 2.0, 2.0 / 3.0],
        8 => &[1.0, 2.0, 1.0 / 2.0],
        10 => &[1.0, 2.0, 1.0 / 3.0, 4.0 / 3.0],
        12 => &[1.0, 3.0 / 2.0, 2.0 / 3.0, 3.0, 1.0 / 3.0],
        _ => panic!("no points for so many products"),
    }
}

/// Coefficients of `Π(x − r)`, the constant first, over all `roots` but number `without`.
const fn product(roots: &[f64], without: usize) -> [f64; PAIRS + 1] {
    let mut c = [0.0; PAIRS + 1];
    c[0] = 1.0;
    let (mut i, mut degree) = (0, 0);
    while i < roots.len() {
        if i != without {
            degree += 1;
            let mut k = degree;
            while k > 0 {
                c[k] = c[k - 1] - roots[i] * c[k];
                k -= 1;
            }
            c[0] *= -roots[i];
        }
        i += 1;
    }
    c
}

/// The numbers of one transform, as the vector code uses them.
struct Table {
    p: [f32; PAIRS],
    c: [f32; PAIRS + 1],
    q: [[f32; PAIRS]; PAIRS],
    /// `power[p][i] = p^i`.
    power: [[f32; OUTPUTS]; PAIRS],
}

impl Table {
    const fn new(n: usize) -> Self {
        let points = pairs(n);
        let mut squares = [0.0; PAIRS];
        let mut i = 0;
        while i < points.len() {
            squares[i] = points[i] * points[i];
            i += 1;
        }
        let squares = squares.split_at(points.len()).0;
        let mut table = Table {
            p: [0.0; PAIRS],
            c: [0.0; PAIRS + 1],
            q: [[0.0; PAIRS]; PAIRS],
            power: [[0.0; OUTPUTS]; PAIRS],
        };
        let c = product(squares, usize::MAX);
        let mut k = 0;
        while k <= PAIRS {
            table.c[k] = c[k] as f32;
            k += 1;
        }
        let mut p = 0;
        while p < points.len() {
            table.p[p] = points[p] as f32;
            let q = product(squares, p);
            let (mut k, mut power) = (0, 1.0);
            while k < PAIRS {
                table.q[p][k] = q[k] as f32;
                k += 1;
            }
            k = 0;
            while k < OUTPUTS {
                table.power[p][k] = power as f32;
                power *= points[p];
                k += 1;
            }
            p += 1;
        }
        table
    }
}

/// The input's transform; points in the order 0, +p, −p, …, ∞. One product is the value itself.
#[inline(always)]
pub(super) fn input<S: Simd, const N: usize>(simd: S, d: [S::V; N]) -> [S::V; N] {
    if N == 1 {
        return d;
    }
    if N == STRIDED {
        let even = input::<S, 4>(simd, std::array::from_fn(|i| d[2 * i]));
        return std::array::from_fn(|i| if i < 4 { even[i] } else { d[2 * i - STRIDED] });
    }
    let table = const { &Table::new(N) };
    let pairs = N / 2 - 1;
    let mut out = d;
    // Both polynomials are monic.
    let (mut zero, mut infinity) = (d[2 * pairs], d[2 * pairs + 1]);
    for i in 0..pairs {
        let c = simd.splat(table.c[i]);
        zero = simd.mul_add(c, d[2 * i], zero);
        infinity = simd.mul_add(c, d[2 * i + 1], infinity);
    }
    out[0] = zero;
    out[N - 1] = infinity;
    for p in 0..pairs {
        let (mut even, mut odd) = (d[2 * pairs], d[2 * pairs - 1]);
        for i in 0..pairs - 1 {
            let q = simd.splat(table.q[p][i]);
            even = simd.mul_add(q, d[2 * i + 2], even);
            odd = simd.mul_add(q, d[2 * i + 1], odd);
        }
        out[1 + 2 * p] = simd.mul_add(simd.splat(table.p[p]), odd, even);
        out[2 + 2 * p] = simd.mul_add(simd.splat(-table.p[p]), odd, even);
    }
    out
}

/// The output's transform.
#[inline(always)]
pub(super) fn output<S: Simd, const N: usize, const M: usize>(simd: S, y: [S::V; N]) -> [S::V; M] {
    if N == 1 {
        return [y[0]; M];
    }
    if N == STRIDED {
        let even = output::<S, 4, M>(simd, std::array::from_fn(|i| y[i]));
        return std::array::from_fn(|i| simd.add(even[i], y[4 + i]));
    }
    let table = const { &Table::new(N) };
    let pairs = N / 2 - 1;
    let mut halves = [[simd.splat(0.0); 2]; PAIRS];
    for p in 0..pairs {
        let (plus, minus) = (y[1 + 2 * p], y[2 + 2 * p]);
        halves[p] = [simd.add(plus, minus), simd.mul_add(simd.splat(-1.0), minus, plus)];
    }
    let mut out = [simd.splat(0.0); M];
    for (i, out) in out.iter_mut().enumerate() {
        let mut sum = if i == 0 { simd.add(y[0], halves[0][0]) } else { halves[0][i % 2] };
        if i > 0 && table.power[0][i] != 1.0 {
            let zero = simd.splat(0.0);
            sum = simd.mul_add(simd.splat(table.power[0][i]), halves[0][i % 2], zero);
        }
        for p in 1..pairs {
            sum = simd.mul_add(simd.splat(table.power[p][i]), halves[p][i % 2], sum);
        }
        *out = if i == M - 1 { simd.add(sum, y[N - 1]) } else { sum };
    }
    out
}

/// The transpose of [`output`].
#[inline(always)]
pub(super) fn output_transposed<S: Simd, const N: usize, const M: usize>(simd: S, y: [S::V; M]) -> [S::V; N] {
    if N == 1 {
        return [y[0]; N];
    }
    let mut out = [simd.splat(0.0); N];
    if N == STRIDED {
        let even = output_transposed::<S, 4, M>(simd, y);
        out[..4].copy_from_slice(&even);
        out[4..].copy_from_slice(&y);
        return out;
    }
    let table = const { &Table::new(N) };
    out[0] = y[0];
    out[N - 1] = y[M - 1];
    for p in 0..N / 2 - 1 {
        let [mut even, mut odd] = [simd.splat(0.0); 2];
        for i in 0..M {
            let power = simd.splat(table.power[p][i]);
            let half = if i % 2 == 0 { &mut even } else { &mut odd };
            *half = simd.mul_add(power, y[i], *half);
        }
        out[1 + 2 * p] = simd.add(even, odd);
        out[2 + 2 * p] = simd.mul_add(simd.splat(-1.0), odd, even);
    }
    out
}

/// The filter's transform `[n][r]`, in `f64`.
pub(super) fn filter(n: usize, r: usize) -> Vec<Vec<f64>> {
    if n == 1 {
        return vec![vec![1.0]];
    }
    if n == STRIDED {
        let even = filter(4, 2).into_iter().map(|row| vec![row[0], 0.0, row[1]]);
        return even.chain(vec![vec![0.0, 1.0, 0.0]; 3]).collect();
    }
    let points: Vec<f64> = std::iter::once(0.0).chain(pairs(n).iter().flat_map(|&p| [p, -p])).collect();
    let mut rows: Vec<Vec<f64>> = points
        .iter()
        .map(|&a| {
            let others: f64 = points.iter().filter(|&&b| b != a).map(|&b| a - b).product();
            (0..r as i32).map(|k| a.powi(k) / others).collect()
        })
        .collect();
    rows.push((0..r).map(|k| f64::from(u8::from(k == r - 1))).collect());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::NARROW;
    use crate::isa::scalar::Scalar;

    fn check<const N: usize, const M: usize>(stride: usize) {
        let (simd, r) = (Scalar, N - stride * (M - 1));
        let lanes = |v: f32| simd.splat(v);
        let d: [f32; N] = std::array::from_fn(|i| ((i * 37 + 11) % 17) as f32 / 8.0 - 1.0);
        let g: Vec<f64> = (0..r).map(|k| ((k * 29 + 5) % 13) as f64 / 6.0 - 1.0).collect();
        let transformed = input::<Scalar, N>(simd, d.map(lanes));
        let filter = filter(N, r);
        let products: [_; N] = std::array::from_fn(|j| {
            let weight: f64 = filter[j].iter().zip(&g).map(|(f, g)| f * g).sum();
            simd.mul_add(transformed[j], lanes(weight as f32), lanes(0.0))
        });
        let y = output::<Scalar, N, M>(simd, products);
        for (i, y) in y.into_iter().enumerate() {
            let mut found = [0.0f32; NARROW];
            // SAFETY: `found` holds a vector.
            unsafe { simd.store(found.as_mut_ptr(), y) };
            let expected: f64 = (0..r).map(|k| f64::from(d[stride * i + k]) * g[k]).sum();
            for found in found {
                assert!((f64::from(found) - expected).abs() < 2e-4, "F({M},{r})[{i}]: {found}, {expected}");
            }
        }
    }

    /// A filter that slides: `y[i] = Σ_k d[stride · i + k] · g[k]`.
    #[test]
    fn transforms_multiply_to_a_correlation() {
        check::<1, 1>(1);
        check::<4, 2>(1);
        check::<6, 4>(1);
        check::<6, 2>(1);
        check::<8, 6>(1);
        check::<8, 4>(1);
        check::<8, 2>(1);
        check::<10, 8>(1);
        check::<10, 4>(1);
        check::<12, 6>(1);
        check::<STRIDED, 3>(2);
    }
}
