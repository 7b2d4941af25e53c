//! Safe functions refuse what does not fit, before anything is read or written: each case once read or wrote where it must not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use inception_kernels::conv::{
    Algorithm, ConvPlan, ConvShape, Epilogue, GradInput, GradWeight, Operands, Precision,
};
use inception_kernels::elementwise::for_pieces;
use inception_kernels::pool2d::{AvgEpilogue, PoolShape};
use inception_kernels::{Isa, Pool, View, ViewMut};

fn refused(f: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

const SHAPE: ConvShape =
    ConvShape { input: [2, 2], in_channels: 8, out_channels: 6, kernel: [1, 1], stride: 1, pad: [0, 0] };

/// Eight channels were read from each pixel, the last of which ended after one.
#[test]
fn a_picture_whose_channels_divide_the_expected_ones() {
    let (plan, pool, isa) = (ConvPlan::new(SHAPE), Pool::new(1), Isa::best());
    let packed = vec![0.0; plan.packed_len()];
    for channels in [1, 2, 4] {
        let x = vec![0.0; 4 * channels];
        let mut y = [0.0; 24];
        let epilogue = Epilogue::default();
        let operands = Operands { x: View::dense(&x, channels), packed: &packed, next: &[], epilogue };
        refused(|| plan.forward(&pool, isa, operands, ViewMut::dense(&mut y, 6), &mut []));
        let mut dw = vec![0.0; SHAPE.weight_len()];
        let plan = GradWeight::choose(SHAPE, Precision::Exact);
        let mut scratch = vec![0.0; plan.scratch_len(1, 2)];
        let dy = View::dense(&y, 6);
        refused(|| plan.run(&pool, isa, View::dense(&x, channels), dy, false, &mut dw, &mut scratch));
    }
    for channels in [1, 2, 3] {
        let plan = GradInput::choose(SHAPE, Precision::Exact);
        let packed = vec![0.0; plan.packed_len()];
        let (dy, mut dx) = (vec![0.0; 4 * channels], [0.0; 32]);
        let dx = ViewMut::dense(&mut dx, 8);
        refused(|| plan.run(&pool, isa, View::dense(&dy, channels), &packed, false, dx, &mut []));
    }
}

/// Products that wrapped around, where overflow is not checked, passed for those of small pictures.
#[test]
fn extents_whose_product_overflows() {
    let half = 1 << (usize::BITS - 1);
    let shapes = [
        ConvShape { input: [half + 1, 2], ..SHAPE },
        ConvShape { in_channels: half, ..SHAPE },
        ConvShape { out_channels: usize::MAX, ..SHAPE },
        ConvShape { pad: [half, 0], ..SHAPE },
        ConvShape { kernel: [half, half], pad: [half / 2, half / 2], ..SHAPE },
        ConvShape { kernel: [3, 3], ..SHAPE },
        ConvShape { stride: 0, ..SHAPE },
    ];
    for shape in shapes {
        refused(|| drop(ConvPlan::new(shape)));
        refused(|| drop(ConvPlan::with(shape, Algorithm::Winograd([4, 4]))));
    }
    for tile in [[0, 0], [usize::MAX, 1], [1, usize::MAX], [3, 3]] {
        assert!(ConvPlan::with(SHAPE, Algorithm::Winograd(tile)).is_err(), "{tile:?}");
    }
}

/// Two pictures shared pixels where the area of one wrapped around; a window larger than its picture had 2^63 outputs.
#[test]
fn windows_that_do_not_fit() {
    let fits = PoolShape { input: [4, 3], size: 3, stride: 2, pad: 1 };
    let half = 1 << (usize::BITS - 1);
    let shapes = [
        PoolShape { input: [half + 1, 2], size: 1, stride: 1, pad: 0 },
        PoolShape { size: 5, pad: 0, ..fits },
        PoolShape { pad: 3, ..fits },
        PoolShape { pad: usize::MAX, ..fits },
        PoolShape { size: 10, pad: 4, ..fits },
        PoolShape { size: usize::MAX, ..fits },
        PoolShape { size: 0, pad: 0, ..fits },
        PoolShape { stride: 0, ..fits },
    ];
    let (pool, isa) = (Pool::new(2), Isa::best());
    for shape in shapes {
        let (x, y) = ([0.0; 4], [0.0; 4]);
        let (x, y) = (View::dense(&x, 1), View::dense(&y, 1));
        let mut out = [0.0; 4];
        refused(|| shape.max(&pool, isa, x, ViewMut::dense(&mut out, 1)));
        refused(|| shape.avg(&pool, isa, true, x, AvgEpilogue::default(), ViewMut::dense(&mut out, 1)));
        refused(|| shape.max_grad(&pool, isa, x, y, y, false, ViewMut::dense(&mut out, 1)));
        refused(|| shape.avg_grad(&pool, isa, false, y, false, ViewMut::dense(&mut out, 1)));
    }
}

/// A range that ends before it begins hid the overlap of its neighbours from the check.
#[test]
#[allow(clippy::reversed_empty_ranges, reason = "it is what is refused")]
fn a_reversed_range_between_overlapping_ones() {
    let (mut data, called) = ([0.0; 10], AtomicBool::new(false));
    let ranges = [0..10, 10..2, 2..8];
    let f = |_, _: [&mut [f32]; 1]| called.store(true, Ordering::Relaxed);
    refused(|| for_pieces(&Pool::new(1), Isa::best(), &ranges, [&mut data], f));
    assert!(!called.into_inner());
}
