//! How long one convolution and its gradients take by every algorithm, with operands that come from memory as in training:
//!
//! ```console
//! $ cargo run --release -p inception-kernels --example conv_times -- 17x17 192 224 1x7 --pad 0x3 --batch 8
//! ```
//! The map's height and width, channels in and out, the kernel; then `--stride`, `--pad`, `--batch`, `--threads`. Medians of
//! 15 runs. Above 100 % of the peak: products that Winograd's and Strassen's algorithms save are counted.

use std::io::Write;
use std::time::{Duration, Instant};

use inception_kernels::conv::{ConvPlan, ConvShape, Epilogue, GradInput, GradWeight, Operands};
use inception_kernels::{Buffer, Isa, Pool, View, ViewMut, peak_flops};

const USAGE: &str = "conv_times HxW IN OUT KHxKW [--stride N] [--pad HxW] [--batch N] [--threads N]";
/// Values of all copies of the operands: far more than the last cache holds.
const VALUES: usize = 32 << 20;
const RUNS: usize = 15;

/// The shape, the pictures and the threads that the arguments ask for.
fn parse(args: &[String]) -> Option<(ConvShape, usize, usize)> {
    let number = |text: &String| text.parse::<usize>().ok();
    let pair = |text: &String| {
        let (a, b) = text.split_once('x')?;
        Some([a.parse::<usize>().ok()?, b.parse::<usize>().ok()?])
    };
    let [map, channels_in, channels_out, kernel, flags @ ..] = args else { return None };
    let mut shape = ConvShape {
        input: pair(map)?,
        in_channels: number(channels_in)?,
        out_channels: number(channels_out)?,
        kernel: pair(kernel)?,
        stride: 1,
        pad: [0, 0],
    };
    let (mut batch, mut threads) = (8, 2);
    for flag in flags.chunks(2) {
        let [name, value] = flag else { return None };
        match name.as_str() {
            "--stride" => shape.stride = number(value)?,
            "--pad" => shape.pad = pair(value)?,
            "--batch" => batch = number(value)?,
            "--threads" => threads = number(value)?,
            _ => return None,
        }
    }
    Some((shape, batch, threads))
}

/// Numbers from −1 to 1.
fn random(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    let mut state = 1u32;
    buffer.iter_mut().for_each(|value| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    });
    buffer
}

/// Median time of `run(copy)`, the copies of the operands taken in turn.
fn time(copies: usize, mut run: impl FnMut(usize)) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|i| {
            let start = Instant::now();
            run(i % copies);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((shape, n, threads)) = parse(&args) else {
        writeln!(std::io::stderr(), "usage: {USAGE}")?;
        std::process::exit(2);
    };
    let (pool, isa) = (Pool::new(threads), Isa::best());
    let ConvShape { input: [h, w], in_channels: c, out_channels: o, .. } = shape;
    let [oh, ow] = shape.output();
    let (x_len, y_len) = (n * h * w * c, n * oh * ow * o);
    let copies = VALUES / (x_len + y_len) + 2;
    let [xs, mut dxs, mut ys] =
        [x_len, x_len, y_len].map(|len| (0..copies).map(|_| random(len)).collect::<Vec<_>>());
    let [weights, mut dw] = [shape.weight_len(); 2].map(random);
    let peak = peak_flops(&pool, isa, 50);
    let flop = 2.0 * (y_len * shape.kernel[0] * shape.kernel[1] * c) as f64;
    let mut out = std::io::stdout();
    writeln!(out, "{} threads, {}, {:.1} GFLOP/s at most", threads, isa.name(), peak / 1e9)?;
    let mut show = |what: &str, algorithm: String, time: Duration, pack: Option<Duration>| {
        let (ms, rate) = (time.as_secs_f64() * 1e3, flop / time.as_secs_f64());
        write!(out, "{what:<16} {algorithm:<14} {ms:9.3} ms {:5.0} % of peak", 100.0 * rate / peak)?;
        match pack {
            Some(pack) => writeln!(out, ", {:.3} ms to pack", pack.as_secs_f64() * 1e3),
            None => writeln!(out),
        }
    };
    for plan in ConvPlan::all(shape) {
        let mut packed = Buffer::zeroed(plan.packed_len());
        let mut scratch = Buffer::zeroed(plan.scratch_len(n, threads));
        let pack = time(1, |_| plan.pack(&pool, isa, &weights, &mut packed));
        let run = time(copies, |i| {
            let x = View::dense(&xs[i], c);
            let operands = Operands { x, packed: &packed, next: &[], epilogue: Epilogue::default() };
            plan.forward(&pool, isa, operands, ViewMut::dense(&mut ys[i], o), &mut scratch);
        });
        show("forward", plan.algorithm().to_string(), run, Some(pack))?;
    }
    for plan in GradInput::all(shape) {
        let mut packed = Buffer::zeroed(plan.packed_len());
        let mut scratch = Buffer::zeroed(plan.scratch_len(n, threads));
        let pack = time(1, |_| plan.pack(&pool, isa, &weights, &mut packed));
        let run = time(copies, |i| {
            let (dy, dx) = (View::dense(&ys[i], o), ViewMut::dense(&mut dxs[i], c));
            plan.run(&pool, isa, dy, &packed, false, dx, &mut scratch);
        });
        show("input gradient", plan.algorithm().to_string(), run, Some(pack))?;
    }
    for plan in GradWeight::all(shape) {
        let mut scratch = Buffer::zeroed(plan.scratch_len(n, threads));
        let run = time(copies, |i| {
            let (x, dy) = (View::dense(&xs[i], c), View::dense(&ys[i], o));
            plan.run(&pool, isa, x, dy, false, &mut dw, &mut scratch);
        });
        show("weight gradient", plan.algorithm().to_string(), run, None)?;
    }
    Ok(())
}
