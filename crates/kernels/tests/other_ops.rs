//! Pools, batch norm, residual sums and the loss against the naive reference.

use inception_kernels::elementwise;
use inception_kernels::loss::{Mixed, Targets, cross_entropy};
use inception_kernels::norm::{self, BatchNorm};
use inception_kernels::pool2d::{AvgEpilogue, PoolShape};
use inception_kernels::reference::{self, Window};
use inception_kernels::{Isa, Pool, View, ViewMut};

/// Multiples of 1/8 between -2 and 2 with many ties.
fn values(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let z = (i + seed * 7919 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (((z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 45) % 33) as f32 / 8.0 - 2.0
        })
        .collect()
}

fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(a) - e).abs() <= tolerance * largest, "{what}: value {i} is {a}, expected {e}");
    }
}

#[test]
fn pools_match_the_reference() {
    let cases =
        [([9, 7], 3, 2, 0), ([7, 5], 3, 1, 1), ([2, 3], 3, 1, 1), ([6, 8], 3, 2, 0), ([5, 4], 5, 1, 2)];
    for isa in Isa::all() {
        for (input, size, stride, pad) in cases {
            for c in [5, 64, 72] {
                let (batch, gap) = (3, 4);
                let shape = PoolShape { input, size, stride, pad };
                let window = Window { batch, input, size: [size; 2], stride, pad: [pad; 2] };
                assert_eq!(window.output(), shape.output());
                let what = format!("{shape:?} with {c} channels on {}", isa.name());
                let x = values(batch * input[0] * input[1] * c, 1);
                let outputs = batch * shape.output()[0] * shape.output()[1];
                let dy = values(outputs * c, 2);
                let pool = Pool::new(2);
                let wide = |n: usize| vec![0.5; n * (c + gap)];
                let dense =
                    |data: &[f32]| data.chunks(c + gap).flat_map(|p| p[..c].to_vec()).collect::<Vec<f32>>();

                let [y_expected, dx_expected] = reference::max_pool(&window, c, &x, &dy);
                let mut y = wide(outputs);
                shape.max(&pool, isa, View::dense(&x, c), ViewMut::new(&mut y, c, c + gap));
                assert_close(&dense(&y), &y_expected, 0.0, &what);
                for (accumulate, before) in [(false, 0.0), (true, 0.5)] {
                    let mut dx = wide(x.len() / c);
                    let (y, dx_view) = (View::new(&y, c, c + gap), ViewMut::new(&mut dx, c, c + gap));
                    shape.max_grad(
                        &pool,
                        isa,
                        View::dense(&x, c),
                        y,
                        View::dense(&dy, c),
                        accumulate,
                        dx_view,
                    );
                    let expected: Vec<f64> = dx_expected.iter().map(|v| v + before).collect();
                    assert_close(&dense(&dx), &expected, 0.0, &what);
                }
                for count_padding in [false, true] {
                    let [y_expected, dx_expected] = reference::avg_pool(&window, c, count_padding, &x, &dy);
                    let mut y = wide(outputs);
                    let none = AvgEpilogue::default();
                    let x_view = View::dense(&x, c);
                    let y_view = ViewMut::new(&mut y, c, c + gap);
                    shape.avg(&pool, isa, count_padding, x_view, none, y_view);
                    assert_close(&dense(&y), &y_expected, 1e-6, &what);
                    let bias: Vec<f32> = (0..c).map(|i| i as f32 * 0.5 - 1.0).collect();
                    let full = AvgEpilogue { bias: Some(&bias), relu: true };
                    let y_view = ViewMut::new(&mut y, c, c + gap);
                    shape.avg(&pool, isa, count_padding, x_view, full, y_view);
                    let expected = y_expected.iter().zip(bias.iter().cycle());
                    let expected: Vec<f64> = expected.map(|(y, &b)| (y + f64::from(b)).max(0.0)).collect();
                    assert_close(&dense(&y), &expected, 1e-6, &what);
                    let mut dx = wide(x.len() / c);
                    let dx_view = ViewMut::new(&mut dx, c, c + gap);
                    shape.avg_grad(&pool, isa, count_padding, View::dense(&dy, c), true, dx_view);
                    let expected: Vec<f64> = dx_expected.iter().map(|v| v + 0.5).collect();
                    assert_close(&dense(&dx), &expected, 1e-6, &what);
                }
            }
        }
    }
}

#[test]
fn batch_norm_matches_the_reference() {
    for isa in Isa::all() {
        for (pixels, c) in [(7, 3), (5000, 8), (300, 200)] {
            for relu in [false, true] {
                let what = format!("{pixels} pixels, {c} channels, relu {relu} on {}", isa.name());
                // A mean far from zero, where a one-pass variance would cancel.
                let y: Vec<f32> = values(pixels * c, 1).iter().map(|v| v * 0.1 + 30.0).collect();
                let (gamma, beta) = (values(c, 2).iter().map(|v| v + 2.5).collect::<Vec<_>>(), values(c, 3));
                let da = values(pixels * c, 4);
                let pool = Pool::new(2);
                let mut norm = BatchNorm::new(c);
                let mut scratch = vec![f32::NAN; norm::scratch_len(pixels, c)];
                let view = View::dense(&y, c);
                norm.statistics(&pool, isa, view, [&gamma, &beta], 1e-3, &mut scratch);
                let [a_expected, mean_expected, variance_expected] =
                    reference::batch_norm(&y, &gamma, &beta, 1e-3);
                assert_close(&norm.mean, &mean_expected, 1e-6, &what);
                assert_close(&norm.variance, &variance_expected, 5e-5, &what);

                let mut a = vec![f32::NAN; y.len()];
                norm.apply(&pool, isa, view, relu, ViewMut::dense(&mut a, c));
                let rectified = |v: &f64| if relu { v.max(0.0) } else { *v };
                assert_close(&a, &a_expected.iter().map(rectified).collect::<Vec<_>>(), 3e-4, &what);

                let masked: Vec<f64> = da
                    .iter()
                    .zip(&a)
                    .map(|(&g, &a)| if relu && a <= 0.0 { 0.0 } else { f64::from(g) })
                    .collect();
                let expected = reference::batch_norm_grad(&y, &gamma, &masked, 1e-3);
                for accumulate in [false, true] {
                    let (mut dy, mut dgamma, mut dbeta) = (da.clone(), vec![0.5; c], vec![0.5; c]);
                    let gradients = [&mut dgamma[..], &mut dbeta[..]];
                    let dy_view = ViewMut::dense(&mut dy, c);
                    norm.grad_sums(&pool, isa, view, relu, dy_view, accumulate, gradients, &mut scratch);
                    norm.grad(&pool, isa, view, relu, ViewMut::dense(&mut dy, c));
                    let started = |v: &f64| v + if accumulate { 0.5 } else { 0.0 };
                    let [dgamma_expected, dbeta_expected] =
                        [1, 2].map(|i| expected[i].iter().map(started).collect::<Vec<f64>>());
                    assert_close(&dy, &expected[0], 3e-4, &what);
                    assert_close(&dgamma, &dgamma_expected, 3e-4, &what);
                    assert_close(&dbeta, &dbeta_expected, 1e-5, &what);
                }
            }
        }
    }
}

#[test]
fn channel_sums_are_joined_in_order() {
    for isa in Isa::all() {
        let (x, c) = (values(3001 * 7, 9), 7);
        let (mut sums, mut scratch) = (vec![0.0; c], vec![f32::NAN; norm::scratch_len(3001, c)]);
        for times in [1.0, 2.0] {
            norm::sums(&Pool::new(2), isa, View::dense(&x, c), times > 1.0, &mut sums, &mut scratch);
            let expected = (0..c).map(|j| times * x.iter().skip(j).step_by(c).sum::<f32>());
            assert_eq!(sums, expected.collect::<Vec<_>>(), "multiples of 1/8 add exactly");
        }
    }
}

#[test]
fn residual_gradient() {
    let (c, pixels) = (5, 300);
    let (out, dout) = (values(c * pixels, 1), values(c * pixels, 2));
    for isa in Isa::all() {
        for relu in [true, false] {
            let (mut g, mut df) = (dout.clone(), vec![f32::NAN; c * pixels]);
            let (g_view, df_view) = (ViewMut::dense(&mut g, c), ViewMut::dense(&mut df, c));
            let out_view = relu.then(|| View::dense(&out, c));
            elementwise::residual_grad(&Pool::new(2), isa, 0.25, out_view, g_view, df_view);
            for i in 0..out.len() {
                let expected = if relu && out[i] <= 0.0 { 0.0 } else { dout[i] };
                assert_eq!((g[i], df[i]), (expected, 0.25 * expected));
            }
        }
    }
}

#[test]
fn global_pool_and_norms() {
    let pool = Pool::new(2);
    for isa in Isa::all() {
        let x: Vec<f32> = (0..2 * 4 * 3).map(|v| v as f32).collect();
        let mut y = [0.0; 6];
        elementwise::global_avg_pool(&pool, isa, View::dense(&x, 3), ViewMut::dense(&mut y, 3));
        assert_eq!(y, [4.5, 5.5, 6.5, 16.5, 17.5, 18.5]);
        let mut dx = [1.0; 24];
        elementwise::global_avg_pool_grad(&pool, isa, View::dense(&y, 3), true, ViewMut::dense(&mut dx, 3));
        assert_eq!((dx[0], dx[11], dx[23]), (1.0 + 4.5 / 4.0, 1.0 + 6.5 / 4.0, 1.0 + 18.5 / 4.0));
    }
    let mut y = [0.0; 4];
    elementwise::l2_norm(&pool, View::dense(&[3.0, 4.0, 0.0, 0.0], 2), ViewMut::dense(&mut y, 2));
    assert_eq!(y, [0.6, 0.8, 0.0, 0.0]);
}

#[test]
fn cross_entropy_matches_the_reference_and_survives_large_logits() {
    let (logits, labels) = (values(3 * 7, 1), [0, 6, 3]);
    for smoothing in [0.0, 0.1] {
        let mut grad = vec![0.0; logits.len()];
        let loss = cross_entropy(&logits, &Targets::new(&labels), smoothing, labels.len(), &mut grad);
        let (expected, expected_grad) = reference::cross_entropy(&logits, &labels, f64::from(smoothing));
        assert!((loss.sum / 3.0 - expected).abs() < 1e-6, "{} {expected}", loss.sum);
        assert_close(&grad, &expected_grad, 1e-6, "gradient");
        // As a part of a larger batch.
        cross_entropy(&logits, &Targets::new(&labels), smoothing, 6, &mut grad);
        let halved: Vec<f64> = expected_grad.iter().map(|g| g / 2.0).collect();
        assert_close(&grad, &halved, 1e-6, "gradient of a part");
    }
    let mut grad = [0.0; 2];
    let loss = cross_entropy(&[1000.0, -1000.0], &Targets::new(&[1]), 0.0, 1, &mut grad);
    assert_eq!((loss.sum, loss.correct, grad), (2000.0, 0, [1.0, -1.0]));
}

/// The loss is linear in the target: a mixed picture has that of both classes in their shares, a weighted one so much of its own.
#[test]
fn mixed_and_weighted_pictures_have_the_losses_of_their_parts() {
    let (logits, labels, others) = (values(3 * 7, 2), [0, 6, 3], [5, 6, 1]);
    let of = |labels: [u32; 3]| {
        let mut grad = vec![0.0; logits.len()];
        let loss = cross_entropy(&logits, &Targets::new(&labels), 0.1, 3, &mut grad);
        (loss.sum, grad)
    };
    let [(sum, grad), (other_sum, other_grad)] = [of(labels), of(others)];
    let mixed = others.map(|label| Mixed { label, share: 0.3 });
    let mut found = vec![0.0; logits.len()];
    let loss =
        cross_entropy(&logits, &Targets { mixed: &mixed, ..Targets::new(&labels) }, 0.1, 3, &mut found);
    assert!((loss.sum - (0.7 * sum + 0.3 * other_sum)).abs() < 1e-6);
    let expected: Vec<f64> =
        grad.iter().zip(&other_grad).map(|(a, b)| 0.7 * f64::from(*a) + 0.3 * f64::from(*b)).collect();
    assert_close(&found, &expected, 1e-6, "mixed");
    let weights = [2.0, 0.0, 0.5];
    cross_entropy(&logits, &Targets { weights: &weights, ..Targets::new(&labels) }, 0.1, 3, &mut found);
    let expected: Vec<f64> =
        grad.iter().enumerate().map(|(i, g)| f64::from(weights[i / 7]) * f64::from(*g)).collect();
    assert_close(&found, &expected, 1e-6, "weighted");
    let part = Targets { mixed: &mixed, weights: &weights, ..Targets::new(&labels) }.part(1..3);
    assert_eq!((part.len(), part.labels, part.weights), (2, &[6, 3][..], &[0.0, 0.5][..]));
}
