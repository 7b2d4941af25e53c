//! Convolution and its gradients against the naive reference, on every instruction set of this CPU.
//!
//! Operands are small integers, so every sum of products is exact in `f32` and any order of additions must give the same
//! bits. Winograd's transforms round; their error is held against a bound of the output's spread.

mod common;

use common::{bound, gather, integers, real, spread};
use inception_kernels::conv::{
    self, Algorithm, ConvPlan, ConvShape, Epilogue, GradInput, GradWeight, Operands, Precision, Shortcut,
    Sibling,
};
use inception_kernels::reference::{self, Window};
use inception_kernels::{Isa, Pool, View, ViewMut};

/// One convolution with operands of its own.
#[derive(Debug)]
struct Case {
    name: &'static str,
    batch: usize,
    shape: ConvShape,
    /// Channels that follow in each pixel of input and output, as in a concat.
    gap: usize,
}

/// Stride 1 and same padding; the methods say otherwise.
const fn case(
    name: &'static str,
    batch: usize,
    input: [usize; 2],
    channels: [usize; 2],
    kernel: [usize; 2],
) -> Case {
    let pad = [(kernel[0] - 1) / 2, (kernel[1] - 1) / 2];
    let shape =
        ConvShape { input, in_channels: channels[0], out_channels: channels[1], kernel, stride: 1, pad };
    Case { name, batch, shape, gap: 0 }
}

impl Case {
    const fn stride_2(mut self) -> Self {
        self.shape.stride = 2;
        self.valid()
    }
    const fn valid(mut self) -> Self {
        self.shape.pad = [0, 0];
        self
    }
    const fn gap(mut self, gap: usize) -> Self {
        self.gap = gap;
        self
    }
}

const CASES: &[Case] = &[
    case("stem, 3 channels, VALID, odd size", 3, [11, 9], [3, 32], [3, 3]).stride_2(),
    case("stem with a gap cannot merge rows", 3, [11, 9], [3, 32], [3, 3]).stride_2().gap(5),
    case("stride 2, even height: last row unread", 2, [12, 7], [8, 24], [3, 3]).stride_2(),
    case("stride 2, 1x1 leaves phases without taps", 2, [7, 6], [5, 9], [1, 1]).stride_2().gap(3),
    case("3x3 same", 3, [7, 5], [16, 48], [3, 3]),
    case("3x3 valid", 1, [9, 6], [24, 17], [3, 3]).valid().gap(8),
    case("5x5 same, larger than the picture", 2, [3, 4], [6, 16], [5, 5]),
    case("1x7", 3, [5, 9], [13, 40], [1, 7]).gap(4),
    case("7x1", 3, [9, 5], [13, 40], [7, 1]).gap(4),
    case("1x7 wider than the picture", 1, [3, 2], [4, 8], [1, 7]),
    case("1x3", 1, [8, 8], [32, 25], [1, 3]),
    case("3x1", 1, [8, 8], [32, 33], [3, 1]),
    case("1x1, more channels than a block", 2, [4, 6], [101, 65], [1, 1]).gap(7),
    case("1x1, 7 columns", 1, [13, 1], [49, 7], [1, 1]),
    case("linear layer of one picture", 1, [1, 1], [40, 1001], [1, 1]),
    case("linear layer of 12 pictures", 12, [1, 1], [56, 12], [1, 1]),
    case("linear layer of 13 pictures", 13, [1, 1], [56, 13], [1, 1]),
    case("rows at tile - 1", 1, [11, 1], [8, 8], [1, 1]),
    case("rows at tile + 1", 1, [13, 1], [8, 16], [1, 1]),
    case("many pixels are split", 3, [40, 37], [3, 8], [3, 3]),
];

impl Case {
    fn check(&self, isa: Isa, threads: usize) {
        let Case { shape, batch, gap, .. } = *self;
        let what = format!("{} on {} with {threads} threads", self.name, isa.name());
        let window =
            Window { batch, input: shape.input, size: shape.kernel, stride: shape.stride, pad: shape.pad };
        let [oh, ow] = window.output();
        assert_eq!([oh, ow], shape.output(), "{what}");
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let x = integers(batch * shape.input[0] * shape.input[1] * ci, 1);
        let w = integers(shape.weight_len(), 2);
        let dy = integers(batch * oh * ow * co, 3);
        let bias = integers(co, 4);
        let skip = integers(batch * oh * ow * co, 5);
        let (pool, plan) = (Pool::new(threads), ConvPlan::new(shape));

        let (x_wide, dy_wide) = (spread(&x, ci, gap), spread(&dy, co, gap));
        let (x_view, dy_view) = (View::new(&x_wide, ci, ci + gap), View::new(&dy_wide, co, co + gap));
        let mut packed = vec![f32::NAN; plan.packed_len()];
        plan.pack(&pool, isa, &w, &mut packed);
        let conv = reference::conv(&window, [ci, co], &x, &w);
        let forward = |epilogue: Epilogue, before: f32| {
            let mut y = spread(&vec![before; dy.len()], co, gap);
            let operands = Operands { x: x_view, packed: &packed, next: &packed, epilogue };
            plan.forward(&pool, isa, operands, ViewMut::new(&mut y, co, co + gap), &mut []);
            gather(&y, co, gap, &what)
        };
        assert_eq!(forward(Epilogue::default(), f32::NAN), conv, "{what}: forward");
        for (shortcut, before) in [(Shortcut::Of(View::dense(&skip, co)), f32::NAN), (Shortcut::InPlace, 4.0)]
        {
            let full = Epilogue { bias: Some(&bias), residual: Some((shortcut, 0.5)), relu: true };
            let x = |i: usize| f64::from(if before.is_nan() { skip[i] } else { before });
            let value = |(i, &v): (usize, &f64)| (x(i) + 0.5 * (v + f64::from(bias[i % co]))).max(0.0);
            let expected: Vec<f64> = conv.iter().enumerate().map(value).collect();
            assert_eq!(forward(full, before), expected, "{what}: epilogue, {shortcut:?}");
        }

        let [dx_reference, dw_reference] = reference::conv_grad(&window, [ci, co], &x, &w, &dy);
        let plan = GradInput::choose(shape, Precision::Exact);
        let mut packed = vec![f32::NAN; plan.packed_len()];
        plan.pack(&pool, isa, &w, &mut packed);
        for (accumulate, before) in [(false, f32::NAN), (true, 2.0)] {
            let mut dx = spread(&vec![before; x.len()], ci, gap);
            let dx_view = ViewMut::new(&mut dx, ci, ci + gap);
            plan.run(&pool, isa, dy_view, &packed, accumulate, dx_view, &mut []);
            let add = if accumulate { 2.0 } else { 0.0 };
            let expected: Vec<f64> = dx_reference.iter().map(|v| v + add).collect();
            assert_eq!(gather(&dx, ci, gap, &what), expected, "{what}: grad input, accumulate {accumulate}");
        }
        let plan = GradWeight::choose(shape, Precision::Exact);
        for (accumulate, before) in [(false, f32::NAN), (true, 2.0)] {
            let mut scratch = vec![f32::NAN; plan.scratch_len(batch, pool.threads())];
            let mut dw = vec![before; w.len()];
            plan.run(&pool, isa, x_view, dy_view, accumulate, &mut dw, &mut scratch);
            let add = if accumulate { 2.0 } else { 0.0 };
            let expected: Vec<f64> = dw_reference.iter().map(|v| v + add).collect();
            let found: Vec<f64> = dw.iter().map(|&v| f64::from(v)).collect();
            assert_eq!(found, expected, "{what}: grad weight, accumulate {accumulate}");
        }
    }
}

#[test]
fn every_case_on_every_instruction_set() {
    for isa in Isa::all() {
        for case in CASES {
            for threads in [1, 3] {
                case.check(isa, threads);
            }
        }
    }
}

#[test]
fn real_values_have_the_same_bits_on_any_number_of_threads() {
    let shape = ConvShape {
        input: [17, 13],
        in_channels: 24,
        out_channels: 40,
        kernel: [3, 3],
        stride: 1,
        pad: [1, 1],
    };
    let plan = ConvPlan::new(shape);
    let batch = 5;
    let (x, w) = (real(batch * 17 * 13 * 24, 1), real(shape.weight_len(), 2));
    let dy = real(batch * 17 * 13 * 40, 3);
    for isa in Isa::all() {
        let run = |threads: usize| {
            let pool = Pool::new(threads);
            let mut packed = vec![0.0; plan.packed_len()];
            plan.pack(&pool, isa, &w, &mut packed);
            let mut y = vec![0.0; dy.len()];
            let operands = Operands {
                x: View::dense(&x, 24),
                packed: &packed,
                next: &[],
                epilogue: Epilogue::default(),
            };
            plan.forward(&pool, isa, operands, ViewMut::dense(&mut y, 40), &mut []);
            let gradients = GradWeight::all(shape).into_iter().flat_map(|plan| {
                let (mut dw, mut scratch) =
                    (vec![0.0; w.len()], vec![0.0; plan.scratch_len(batch, pool.threads())]);
                let (x, dy) = (View::dense(&x, 24), View::dense(&dy, 40));
                plan.run(&pool, isa, x, dy, false, &mut dw, &mut scratch);
                dw
            });
            y.into_iter().chain(gradients).map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = run(1);
        assert!([2, 3, 8].iter().all(|&threads| run(threads) == one), "{}", isa.name());
    }
}

/// Odd numbers of panels, narrow ones, outputs between other channels, an epilogue each.
#[test]
fn siblings_have_the_bits_that_each_has_alone() {
    let (side, c, gap) = (17, 64, 3);
    let columns = [48, 7, 64, 1, 128, 130];
    let plan = |out_channels: usize| {
        let input = [side; 2];
        let shape = ConvShape { input, in_channels: c, out_channels, kernel: [1, 1], stride: 1, pad: [0, 0] };
        ConvPlan::with(shape, Algorithm::Strassen).unwrap_or_else(|_| ConvPlan::new(shape))
    };
    let plans = columns.map(plan);
    assert_eq!(plans.iter().filter(|plan| plan.algorithm() == Algorithm::Strassen).count(), 2);
    for (isa, batch) in Isa::all().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let pool = Pool::new(3);
        let (pixels, x) = (batch * side * side, real(batch * side * side * c, 1));
        let bias = real(130, 2);
        let packed: [Vec<f32>; 6] = std::array::from_fn(|i| {
            let mut packed = vec![0.0; plans[i].packed_len()];
            plans[i].pack(&pool, isa, &real(c * columns[i], 3 + i as u64), &mut packed);
            packed
        });
        let empty = || columns.map(|n| spread(&vec![0.0; pixels * n], n, gap));
        let (mut together, mut alone) = (empty(), empty());
        let x = View::dense(&x, c);
        let run = |first: usize, ys: &mut [Vec<f32>]| {
            let sibling = |(i, y): (usize, _)| {
                let (i, n) = (first + i, columns[first + i]);
                let epilogue = Epilogue { bias: Some(&bias[..n]), relu: i % 2 == 0, ..Epilogue::default() };
                Sibling { plan: &plans[i], packed: &packed[i], epilogue, y: ViewMut::new(y, n, n + gap) }
            };
            let siblings = ys.iter_mut().map(|y| y.as_mut_slice()).enumerate().map(sibling).collect();
            let mut scratch = vec![f32::NAN; plans[2].scratch_len(batch, pool.threads())];
            conv::forward(&pool, isa, x, siblings, &[], &mut scratch);
        };
        run(0, &mut together);
        alone.iter_mut().enumerate().for_each(|(i, y)| run(i, std::slice::from_mut(y)));
        for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
            let same = together.iter().zip(alone).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} batch {batch}, sibling {i}", isa.name());
            let computed = gather(together, columns[i], gap, "a sibling");
            assert!(computed.iter().any(|&v| v != 0.0), "{} batch {batch}, sibling {i}", isa.name());
        }
    }
}

/// A subnormal number would slow down every product behind it.
#[test]
fn subnormal_sums_are_zero_behind_the_relu() {
    let shape =
        ConvShape { input: [1, 1], in_channels: 1, out_channels: 20, kernel: [1, 1], stride: 1, pad: [0, 0] };
    let (plan, pool) = (ConvPlan::new(shape), Pool::new(1));
    let weight = |i: usize| if i.is_multiple_of(2) { f32::MIN_POSITIVE } else { 0.75 * f32::MIN_POSITIVE };
    let weights: Vec<f32> = (0..20).map(weight).collect();
    let mut packed = vec![0.0; plan.packed_len()];
    plan.pack(&pool, Isa::best(), &weights, &mut packed);
    for isa in Isa::all() {
        let run = |relu: bool| {
            let (mut y, epilogue) = ([9.0; 20], Epilogue { relu, ..Epilogue::default() });
            let operands = Operands { x: View::dense(&[1.0], 1), packed: &packed, next: &[], epilogue };
            plan.forward(&pool, isa, operands, ViewMut::dense(&mut y, 20), &mut []);
            y.to_vec()
        };
        assert_eq!(run(false), weights, "{}", isa.name());
        let expected = |&w: &f32| if w < f32::MIN_POSITIVE { 0.0 } else { w };
        assert_eq!(run(true), weights.iter().map(expected).collect::<Vec<_>>(), "{}", isa.name());
    }
}

#[test]
fn nan_survives_the_relu() {
    let shape =
        ConvShape { input: [1, 1], in_channels: 1, out_channels: 9, kernel: [1, 1], stride: 1, pad: [0, 0] };
    let plan = ConvPlan::new(shape);
    let pool = Pool::new(1);
    let mut packed = vec![0.0; plan.packed_len()];
    plan.pack(&pool, Isa::best(), &[1.0; 9], &mut packed);
    for isa in Isa::all() {
        let mut y = [0.0; 9];
        let relu = Epilogue { relu: true, ..Epilogue::default() };
        let operands =
            Operands { x: View::dense(&[f32::NAN], 1), packed: &packed, next: &[], epilogue: relu };
        plan.forward(&pool, isa, operands, ViewMut::dense(&mut y, 9), &mut []);
        assert!(y.iter().all(|v| v.is_nan()), "{}", isa.name());
    }
}

/// Every algorithm but the direct one that can compute `shape`.
fn fast(shape: ConvShape) -> impl Iterator<Item = (Algorithm, ConvPlan)> {
    let plans = ConvPlan::all(shape).into_iter().map(|plan| (plan.algorithm(), plan));
    plans.filter(|(algorithm, _)| *algorithm != Algorithm::Direct)
}

impl Case {
    /// All other algorithms than the direct one for this case; how many there are.
    fn check_fast(&self, isa: Isa, threads: usize) -> usize {
        let Case { shape, batch, gap, .. } = *self;
        let window =
            Window { batch, input: shape.input, size: shape.kernel, stride: shape.stride, pad: shape.pad };
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let (x, w) = (real(batch * shape.input[0] * shape.input[1] * ci, 1), real(shape.weight_len(), 2));
        let sums = reference::conv(&window, [ci, co], &x, &w);
        let spread_of = |v: &[f64]| (v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64).sqrt();
        let (bias, skip) = (real(co, 4), real(sums.len(), 5));
        let x_wide = spread(&x, ci, gap);
        let pool = Pool::new(threads);
        fast(shape)
            .map(|(algorithm, plan)| {
                let what = format!("{} by {algorithm} on {} with {threads} threads", self.name, isa.name());
                let (mut packed, mut scratch) =
                    (vec![f32::NAN; plan.packed_len()], vec![f32::NAN; plan.scratch_len(batch, threads)]);
                plan.pack(&pool, isa, &w, &mut packed);
                let x_view = View::new(&x_wide, ci, ci + gap);
                let mut run = |epilogue: Epilogue, before: f32| {
                    let mut y = spread(&vec![before; sums.len()], co, gap);
                    let y_view = ViewMut::new(&mut y, co, co + gap);
                    let operands = Operands { x: x_view, packed: &packed, next: &[], epilogue };
                    plan.forward(&pool, isa, operands, y_view, &mut scratch);
                    gather(&y, co, gap, &what)
                };
                let tolerance = bound(algorithm, shape) * spread_of(&sums);
                for (i, (found, sum)) in run(Epilogue::default(), f32::NAN).iter().zip(&sums).enumerate() {
                    assert!((found - sum).abs() < tolerance, "{what}: {found} instead of {sum} at {i}");
                }
                let residual = Some((Shortcut::Of(View::dense(&skip, co)), 0.5));
                let full = Epilogue { bias: Some(&bias), residual, relu: true };
                for (i, (found, sum)) in run(full, f32::NAN).iter().zip(&sums).enumerate() {
                    let branch = 0.5 * (sum + f64::from(bias[i % co]));
                    let expected = (f64::from(skip[i]) + branch).max(0.0);
                    assert!((found - expected).abs() < tolerance, "{what}: epilogue, {found} at {i}");
                }
            })
            .count()
    }
}

impl Case {
    /// Both gradients by all other algorithms than the direct one; how many there are.
    fn check_fast_gradients(&self, isa: Isa, threads: usize) -> usize {
        let Case { shape, batch, gap, .. } = *self;
        let window =
            Window { batch, input: shape.input, size: shape.kernel, stride: shape.stride, pad: shape.pad };
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let (x, w) = (real(batch * shape.input[0] * shape.input[1] * ci, 1), real(shape.weight_len(), 2));
        let dy = real(batch * shape.output()[0] * shape.output()[1] * co, 3);
        let [dx_reference, dw_reference] = reference::conv_grad(&window, [ci, co], &x, &w, &dy);
        let (x_wide, dy_wide) = (spread(&x, ci, gap), spread(&dy, co, gap));
        let (x_view, dy_view) = (View::new(&x_wide, ci, ci + gap), View::new(&dy_wide, co, co + gap));
        let pool = Pool::new(threads);
        let what = |of: &str, by: Algorithm| format!("{}: {of} by {by} on {}", self.name, isa.name());
        let close = |found: &[f64], expected: &[f64], by: Algorithm, what: &str| {
            let spread = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                let error = (found - expected).abs();
                assert!(error < bound(by, shape) * spread, "{what}: {found} instead of {expected} at {i}");
            }
        };
        let inputs = GradInput::all(shape).into_iter().filter(|plan| plan.algorithm() != Algorithm::Direct);
        let inputs = inputs.map(|plan| {
            let what = what("gradient of the input", plan.algorithm());
            let mut packed = vec![f32::NAN; plan.packed_len()];
            plan.pack(&pool, isa, &w, &mut packed);
            let mut scratch = vec![f32::NAN; plan.scratch_len(batch, threads)];
            let mut dx = spread(&vec![f32::NAN; x.len()], ci, gap);
            let dx_view = ViewMut::new(&mut dx, ci, ci + gap);
            plan.run(&pool, isa, dy_view, &packed, false, dx_view, &mut scratch);
            close(&gather(&dx, ci, gap, &what), &dx_reference, plan.algorithm(), &what);
        });
        let weights = GradWeight::all(shape).into_iter().filter(|plan| plan.algorithm() != Algorithm::Direct);
        let weights = weights.map(|plan| {
            let what = what("gradient of the weights", plan.algorithm());
            let mut scratch = vec![f32::NAN; plan.scratch_len(batch, threads)];
            let mut dw = vec![f32::NAN; w.len()];
            plan.run(&pool, isa, x_view, dy_view, false, &mut dw, &mut scratch);
            let dw: Vec<f64> = dw.into_iter().map(f64::from).collect();
            close(&dw, &dw_reference, plan.algorithm(), &what);
        });
        inputs.count() + weights.count()
    }
}

#[test]
fn gradients_by_fast_algorithms_are_close_to_the_reference() {
    for isa in Isa::all() {
        for threads in [1, 3] {
            let cases = CASES.iter().chain(MAPS);
            let count: usize = cases.map(|case| case.check_fast_gradients(isa, threads)).sum();
            assert!(count > 70, "{count} were checked");
        }
    }
}

#[test]
fn fast_algorithms_are_close_to_the_reference() {
    for isa in Isa::all() {
        for threads in [1, 3] {
            let count: usize = CASES.iter().chain(MAPS).map(|case| case.check_fast(isa, threads)).sum();
            assert!(count > 43, "{count} were checked");
        }
    }
}

/// More tiles than one block, and than the blocks that share their input's transform.
const MAPS: &[Case] = &[
    case("3x3, three blocks of 6x6", 1, [35, 47], [9, 20], [3, 3]),
    case("3x3, many blocks, odd channels", 2, [41, 63], [5, 73], [3, 3]).gap(2),
    case("1x7, as at 17x17", 2, [17, 17], [24, 40], [1, 7]),
    case("7x1, as at 17x17", 2, [17, 17], [24, 40], [7, 1]),
    case("5x5 valid", 2, [21, 25], [8, 24], [5, 5]).valid(),
    case("3x3 at stride 2, even", 2, [42, 35], [24, 40], [3, 3]).stride_2(),
    case("3x1, many blocks", 8, [16, 24], [16, 16], [3, 1]),
    case("1x1, an odd number of pixels", 3, [5, 7], [32, 128], [1, 1]).gap(3),
    case("1x1, many blocks", 2, [19, 24], [96, 64], [1, 1]),
    case("1x1 of two pixels", 13, [2, 1], [64, 64], [1, 1]),
];

#[test]
fn fast_algorithms_have_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    for case in MAPS {
        let Case { shape, batch, .. } = *case;
        let (ci, co) = (shape.in_channels, shape.out_channels);
        let picture = shape.input[0] * shape.input[1] * ci;
        let (x, w) = (real(batch * picture, 1), real(shape.weight_len(), 2));
        for (isa, (algorithm, plan)) in
            Isa::all().into_iter().flat_map(|isa| fast(shape).map(move |p| (isa, p)))
        {
            let run = |threads: usize, pictures: usize| {
                let pool = Pool::new(threads);
                let mut packed = vec![0.0; plan.packed_len()];
                plan.pack(&pool, isa, &w, &mut packed);
                let mut scratch = vec![f32::NAN; plan.scratch_len(pictures, threads)];
                x.chunks(pictures * picture)
                    .flat_map(|x| {
                        let mut y = vec![f32::NAN; pictures * shape.output()[0] * shape.output()[1] * co];
                        let (x, y_view) = (View::dense(x, ci), ViewMut::dense(&mut y, co));
                        let operands =
                            Operands { x, packed: &packed, next: &packed, epilogue: Epilogue::default() };
                        plan.forward(&pool, isa, operands, y_view, &mut scratch);
                        y.into_iter().map(f32::to_bits)
                    })
                    .collect::<Vec<_>>()
            };
            let one = run(1, batch);
            assert!(run(3, batch) == one, "{} by {algorithm} on {}: threads", case.name, isa.name());
            assert!(run(2, 1) == one, "{} by {algorithm} on {}: batch", case.name, isa.name());
        }
    }
}

#[test]
fn shapes_and_tiles_that_do_not_go_together_are_refused() {
    let shape = |kernel, stride| ConvShape {
        input: [17, 17],
        in_channels: 32,
        out_channels: 32,
        kernel,
        stride,
        pad: [0, 0],
    };
    let refused = |shape, tile| ConvPlan::with(shape, Algorithm::Winograd(tile)).expect_err("refused");
    assert!(refused(shape([3, 3], 2), [4, 4]).contains("stride"));
    assert!(refused(shape([5, 5], 2), [3, 3]).contains("stride"));
    assert!(refused(shape([3, 3], 1), [3, 3]).contains("tile"));
    assert!(refused(shape([1, 1], 1), [1, 1]).contains("tile"));
    assert_eq!(ConvPlan::choose(shape([3, 3], 1), Precision::Exact).algorithm(), Algorithm::Direct);
    assert_eq!(ConvPlan::choose(shape([3, 3], 2), Precision::Default).algorithm(), Algorithm::Direct);
    assert_eq!(
        ConvPlan::choose(shape([1, 7], 1), Precision::Default).algorithm(),
        Algorithm::Winograd([1, 6])
    );
}
