//! Convolutions and pools of shapes that nobody chose: drawn from a seed, shrunk where one fails.
//!
//! ```text
//! for a drawn shape, operands that lie anywhere in a concat, an epilogue:
//!     for each instruction set, for each algorithm that computes the shape:
//!         1, 2 and 5 threads give the same bits, within the algorithm's bound of the naive reference in f64
//! ```
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` draw more or others.

mod common;

use std::sync::LazyLock;

use common::{FILLER, bound, gather, integers, real, spread};
use inception_kernels::conv::{
    Algorithm, ConvPlan, ConvShape, Epilogue, GradInput, GradWeight, Operands, Shortcut,
};
use inception_kernels::pool2d::{AvgEpilogue, PoolShape};
use inception_kernels::reference::{self, Window};
use inception_kernels::{Isa, Pool, View, ViewMut};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// One thread first: the others must give its bits.
static POOLS: LazyLock<[Pool; 3]> = LazyLock::new(|| [1, 2, 5].map(Pool::new));

/// Half of the distance from one to the next `f32`.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// Tests `check` on cases drawn from `strategy`: always the same ones, unless the environment says otherwise.
fn for_drawn<S: Strategy>(strategy: S, check: impl Fn(&S::Value)) {
    let from_environment = Config::default();
    let rng_seed = match from_environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1602),
        fixed => fixed,
    };
    let config = Config { rng_seed, failure_persistence: None, ..from_environment };
    let result = TestRunner::new(config).run(&strategy, |case| {
        check(&case);
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
}

/// Where the channels of an operand lie in its pixels.
#[derive(Clone, Copy, Debug)]
struct Slice {
    before: usize,
    behind: usize,
}

impl Slice {
    fn drawn() -> impl Strategy<Value = Slice> {
        prop_oneof![Just([0, 0]), [0..9usize, 0..9usize]]
            .prop_map(|[before, behind]| Slice { before, behind })
    }
    fn gap(self) -> usize {
        self.before + self.behind
    }
    fn lay(self, dense: &[f32], channels: usize) -> Vec<f32> {
        let mut pixels = [vec![FILLER; self.before], spread(dense, channels, self.gap())].concat();
        pixels.truncate(pixels.len() - self.before);
        pixels
    }
    fn view(self, data: &[f32], channels: usize) -> View<'_> {
        View::new(&data[self.before..], channels, channels + self.gap())
    }
    fn view_mut(self, data: &mut [f32], channels: usize) -> ViewMut<'_> {
        ViewMut::new(&mut data[self.before..], channels, channels + self.gap())
    }
    fn read(self, data: &[f32], channels: usize, what: &str) -> Vec<f64> {
        assert!(data[..self.before].iter().all(|&v| v == FILLER), "{what}: wrote before its first channel");
        gather(&data[self.before..], channels, self.gap(), what)
    }
}

/// Runs `f` on every pool; the result, which has the same bits on all.
fn on_all_pools(what: &str, mut f: impl FnMut(&Pool) -> Vec<f32>) -> Vec<f32> {
    let [one, others @ ..] = &*POOLS;
    let expected = f(one);
    for pool in others {
        let same = f(pool).iter().map(|v| v.to_bits()).eq(expected.iter().map(|v| v.to_bits()));
        assert!(same, "{what}: other bits on {} threads", pool.threads());
    }
    expected
}

fn assert_within(found: &[f64], expected: &[f64], tolerance: impl Fn(usize) -> f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (error, tolerance) = ((found - expected).abs(), tolerance(i));
        assert!(error <= tolerance, "{what}: {found} instead of {expected} at {i}, allowed {tolerance:e}");
    }
}

fn absolute(v: &[f32]) -> Vec<f32> {
    v.iter().map(|v| v.abs()).collect()
}

/// One convolution and what surrounds it.
#[derive(Clone, Debug)]
struct Conv {
    shape: ConvShape,
    batch: usize,
    x: Slice,
    y: Slice,
    bias: bool,
    residual: Option<Slice>,
    accumulate: bool,
    relu: bool,
    /// Small integers, whose sums are exact, or values that round.
    exact: bool,
}

fn drawn_shape() -> impl Strategy<Value = ConvShape> {
    let kernel = prop_oneof![
        prop::sample::select(vec![[1, 1], [3, 3], [5, 5], [1, 7], [7, 1], [1, 3], [3, 1]]),
        [1..=7usize, 1..=7usize],
    ];
    let stride = prop_oneof![4 => Just(1), 2 => Just(2), 1 => 3..5usize];
    let pad = prop_oneof![Just([0, 0]), [0..=4usize, 0..=4usize]];
    (kernel, stride, pad, [0..20usize, 0..20usize], 1..40usize, 1..50usize).prop_map(
        |(kernel, stride, pad, more, in_channels, out_channels)| {
            let input = [0, 1].map(|d| kernel[d].saturating_sub(2 * pad[d]).max(1) + more[d]);
            ConvShape { input, in_channels, out_channels, kernel, stride, pad }
        },
    )
}

fn drawn_conv() -> impl Strategy<Value = Conv> {
    let slices = (Slice::drawn(), Slice::drawn(), prop::option::of(Slice::drawn()));
    (drawn_shape(), 1..4usize, slices, any::<[bool; 4]>()).prop_map(
        |(shape, batch, (x, y, residual), [bias, accumulate, relu, exact])| Conv {
            shape,
            batch,
            x,
            y,
            bias,
            residual,
            accumulate,
            relu,
            exact,
        },
    )
}

impl Conv {
    fn window(&self) -> Window {
        let ConvShape { input, kernel, stride, pad, .. } = self.shape;
        Window { batch: self.batch, input, size: kernel, stride, pad }
    }

    fn values(&self, len: usize, seed: u64) -> Vec<f32> {
        if self.exact { integers(len, seed) } else { real(len, seed) }
    }

    /// Error of a sum of `terms` products, whose absolute values add up to `sum`, in any order.
    fn rounding(&self, terms: usize, sum: f64) -> f64 {
        if self.exact { 0.0 } else { (terms + 4) as f64 * ROUNDING * sum }
    }

    fn check_forward(&self) {
        let Conv { shape, batch, .. } = *self;
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let [oh, ow] = shape.output();
        let x = self.values(batch * shape.input[0] * shape.input[1] * ci, 1);
        let w = self.values(shape.weight_len(), 2);
        let bias = self.bias.then(|| self.values(co, 3));
        let skip = self.values(batch * oh * ow * co, 4);
        let before = self.values(skip.len(), 5);
        let sums = reference::conv(&self.window(), [ci, co], &x, &w);
        let absolute = reference::conv(&self.window(), [ci, co], &absolute(&x), &absolute(&w));
        // The epilogue, on the sum or, of absolute values, on what bounds its error.
        let finish = |i: usize, sum: f64, part: fn(f32) -> f64| {
            let v = sum + bias.as_ref().map_or(0.0, |bias| part(bias[i % co]));
            match self.residual {
                _ if self.accumulate => part(before[i]) + 0.5 * v,
                Some(_) => part(skip[i]) + 0.5 * v,
                None => v,
            }
        };
        let value = |(i, &sum): (usize, &f64)| finish(i, sum, f64::from);
        let rectified = |v: f64| if self.relu { v.max(0.0) } else { v };
        let expected: Vec<f64> = sums.iter().enumerate().map(value).map(rectified).collect();
        let norm = |v: &[f32]| (v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / v.len() as f64).sqrt();
        let terms = w.len() / co;
        let spread = (terms as f64).sqrt() * norm(&x) * norm(&w);

        let (x_wide, residual) =
            (self.x.lay(&x, ci), self.residual.map(|slice| (slice, slice.lay(&skip, co))));
        for plan in ConvPlan::all(shape) {
            for isa in Isa::all() {
                let mut packed = vec![f32::NAN; plan.packed_len()];
                plan.pack(&POOLS[1], isa, &w, &mut packed);
                let what = format!("{} on {}", plan.algorithm(), isa.name());
                let found = on_all_pools(&what, |pool| {
                    let mut scratch = vec![f32::NAN; plan.scratch_len(batch, pool.threads())];
                    let before = if self.accumulate { before.clone() } else { vec![f32::NAN; before.len()] };
                    let mut y = self.y.lay(&before, co);
                    let shortcut = match &residual {
                        _ if self.accumulate => Some(Shortcut::InPlace),
                        residual => residual.as_ref().map(|(slice, data)| Shortcut::Of(slice.view(data, co))),
                    };
                    let residual = shortcut.map(|x| (x, 0.5));
                    let epilogue = Epilogue { bias: bias.as_deref(), residual, relu: self.relu };
                    let x = self.x.view(&x_wide, ci);
                    let operands = Operands { x, packed: &packed, next: &packed, epilogue };
                    plan.forward(pool, isa, operands, self.y.view_mut(&mut y, co), &mut scratch);
                    y
                });
                let tolerance = |i: usize| {
                    let sum = finish(i, absolute[i], |v| f64::from(v.abs()));
                    match plan.algorithm() {
                        Algorithm::Direct => self.rounding(terms, sum),
                        tile => bound(tile, shape) * spread + 8.0 * ROUNDING * sum,
                    }
                };
                assert_within(&self.y.read(&found, co, &what), &expected, tolerance, &what);
            }
        }
    }

    fn check_gradients(&self) {
        let Conv { shape, batch, .. } = *self;
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let [oh, ow] = shape.output();
        let x = self.values(batch * shape.input[0] * shape.input[1] * ci, 1);
        let w = self.values(shape.weight_len(), 2);
        let dy = self.values(batch * oh * ow * co, 3);
        let before = self.values(x.len(), 4);
        let [dx_expected, dw_expected] = reference::conv_grad(&self.window(), [ci, co], &x, &w, &dy);
        let [dx_absolute, dw_absolute] =
            reference::conv_grad(&self.window(), [ci, co], &absolute(&x), &absolute(&w), &absolute(&dy));
        let started = |i: usize| if self.accumulate { f64::from(before[i]) } else { 0.0 };
        let dx_expected: Vec<f64> = dx_expected.iter().enumerate().map(|(i, v)| started(i) + v).collect();

        let (x_wide, dy_wide) = (self.x.lay(&x, ci), self.y.lay(&dy, co));
        let (x_view, dy_view) = (self.x.view(&x_wide, ci), self.y.view(&dy_wide, co));
        let norm = |v: &[f32]| (v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / v.len() as f64).sqrt();
        let tolerance = |by: Algorithm, terms: usize, operands: [&[f32]; 2], absolute: f64| match by {
            Algorithm::Direct => self.rounding(terms, absolute),
            by => {
                let spread = (terms as f64).sqrt() * norm(operands[0]) * norm(operands[1]);
                bound(by, shape) * spread + 8.0 * ROUNDING * absolute
            }
        };
        for (isa, plan) in
            Isa::all().into_iter().flat_map(|isa| GradInput::all(shape).into_iter().map(move |p| (isa, p)))
        {
            let what = format!("gradient of the input by {} on {}", plan.algorithm(), isa.name());
            let mut packed = vec![f32::NAN; plan.packed_len()];
            plan.pack(&POOLS[1], isa, &w, &mut packed);
            let found = on_all_pools(&what, |pool| {
                let before = if self.accumulate { before.clone() } else { vec![f32::NAN; before.len()] };
                let mut dx = self.x.lay(&before, ci);
                let mut scratch = vec![f32::NAN; plan.scratch_len(batch, pool.threads())];
                let dx_view = self.x.view_mut(&mut dx, ci);
                plan.run(pool, isa, dy_view, &packed, self.accumulate, dx_view, &mut scratch);
                dx
            });
            let terms = w.len() / ci;
            let tolerance =
                |i: usize| tolerance(plan.algorithm(), terms, [&dy, &w], started(i).abs() + dx_absolute[i]);
            assert_within(&self.x.read(&found, ci, &what), &dx_expected, tolerance, &what);
        }
        for (isa, plan) in
            Isa::all().into_iter().flat_map(|isa| GradWeight::all(shape).into_iter().map(move |p| (isa, p)))
        {
            let what = format!("gradient of the weights by {} on {}", plan.algorithm(), isa.name());
            let found = on_all_pools(&what, |pool| {
                let mut scratch = vec![f32::NAN; plan.scratch_len(batch, pool.threads())];
                let mut dw = vec![f32::NAN; w.len()];
                plan.run(pool, isa, x_view, dy_view, false, &mut dw, &mut scratch);
                dw
            });
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            let terms = batch * oh * ow;
            let tolerance = |i: usize| tolerance(plan.algorithm(), terms, [&x, &dy], dw_absolute[i]);
            assert_within(&found, &dw_expected, tolerance, &what);
        }
    }
}

#[test]
fn convolutions_by_every_algorithm() {
    for_drawn(drawn_conv(), Conv::check_forward);
}

#[test]
fn gradients_of_convolutions() {
    for_drawn(drawn_conv(), Conv::check_gradients);
}

/// One pool and what surrounds it.
#[derive(Clone, Debug)]
struct Pooling {
    shape: PoolShape,
    batch: usize,
    channels: usize,
    x: Slice,
    y: Slice,
    count_padding: bool,
    bias: bool,
    relu: bool,
    accumulate: bool,
}

fn drawn_pooling() -> impl Strategy<Value = Pooling> {
    let shape =
        (1..=9usize, 0..9usize, 1..4usize, [0..12usize, 0..12usize]).prop_map(|(size, pad, stride, more)| {
            let pad = pad.min(size - 1);
            let input = more.map(|more| size.saturating_sub(2 * pad).max(1) + more);
            PoolShape { input, size, stride, pad }
        });
    (shape, 1..4usize, 1..80usize, Slice::drawn(), Slice::drawn(), any::<[bool; 4]>()).prop_map(
        |(shape, batch, channels, x, y, [count_padding, bias, relu, accumulate])| Pooling {
            shape,
            batch,
            channels,
            x,
            y,
            count_padding,
            bias,
            relu,
            accumulate,
        },
    )
}

impl Pooling {
    fn check(&self) {
        let Pooling { shape, batch, channels: c, count_padding, accumulate, .. } = *self;
        let PoolShape { input, size, stride, pad } = shape;
        let window = Window { batch, input, size: [size; 2], stride, pad: [pad; 2] };
        let [oh, ow] = shape.output();
        assert_eq!([oh, ow], window.output());
        // Seven values: many cells of a window are its largest.
        let x = integers(batch * input[0] * input[1] * c, 1);
        let dy = integers(batch * oh * ow * c, 2);
        let bias = self.bias.then(|| real(c, 3));
        let before = integers(x.len(), 4);
        let start = if accumulate { before.clone() } else { vec![f32::NAN; before.len()] };
        let started = |dx: Vec<f64>| -> Vec<f64> {
            let before = before.iter().map(|&v| if accumulate { f64::from(v) } else { 0.0 });
            dx.into_iter().zip(before).map(|(dx, before)| before + dx).collect()
        };
        let (x_wide, dy_wide) = (self.x.lay(&x, c), self.y.lay(&dy, c));
        let (x_view, dy_view) = (self.x.view(&x_wide, c), self.y.view(&dy_wide, c));
        let [max, max_grad] = reference::max_pool(&window, c, &x, &dy);
        let max_grad = started(max_grad);
        let [mean, mean_grad] = reference::avg_pool(&window, c, count_padding, &x, &dy);
        let mean_grad = started(mean_grad);
        let finish = |(i, &mean): (usize, &f64)| {
            let v = mean + bias.as_ref().map_or(0.0, |bias| f64::from(bias[i % c]));
            if self.relu { v.max(0.0) } else { v }
        };
        let mean: Vec<f64> = mean.iter().enumerate().map(finish).collect();
        // Values are at most three; a cell is in as many windows as a window has cells, or fewer.
        let rounding = |_| (size * size + 4) as f64 * ROUNDING * 3.0;
        let grad_rounding = |_| (size * size + 4) as f64 * ROUNDING * 3.0 * (size * size + 1) as f64;

        for isa in Isa::all() {
            let empty = || self.y.lay(&vec![f32::NAN; dy.len()], c);
            let what = format!("maximum on {}", isa.name());
            let y = on_all_pools(&what, |pool| {
                let mut y = empty();
                shape.max(pool, isa, x_view, self.y.view_mut(&mut y, c));
                y
            });
            assert_within(&self.y.read(&y, c, &what), &max, |_| 0.0, &what);
            let what = format!("gradient of the maximum on {}", isa.name());
            let dx = on_all_pools(&what, |pool| {
                let mut dx = self.x.lay(&start, c);
                let (y, dx_view) = (self.y.view(&y, c), self.x.view_mut(&mut dx, c));
                shape.max_grad(pool, isa, x_view, y, dy_view, accumulate, dx_view);
                dx
            });
            assert_within(&self.x.read(&dx, c, &what), &max_grad, |_| 0.0, &what);
            let what = format!("mean on {}", isa.name());
            let y = on_all_pools(&what, |pool| {
                let mut y = empty();
                let epilogue = AvgEpilogue { bias: bias.as_deref(), relu: self.relu };
                shape.avg(pool, isa, count_padding, x_view, epilogue, self.y.view_mut(&mut y, c));
                y
            });
            assert_within(&self.y.read(&y, c, &what), &mean, rounding, &what);
            let what = format!("gradient of the mean on {}", isa.name());
            let dx = on_all_pools(&what, |pool| {
                let mut dx = self.x.lay(&start, c);
                shape.avg_grad(pool, isa, count_padding, dy_view, accumulate, self.x.view_mut(&mut dx, c));
                dx
            });
            assert_within(&self.x.read(&dx, c, &what), &mean_grad, grad_rounding, &what);
        }
    }
}

#[test]
fn pools() {
    for_drawn(drawn_pooling(), Pooling::check);
}
