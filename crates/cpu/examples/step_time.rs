//! Images per second of training and inference: `cargo run --release -p inception-cpu --example step_time -- NET SIDE WIDTH BATCH`.
#![allow(clippy::print_stdout, reason = "a measuring tool")]

use std::time::Instant;

use inception_cpu::{Device, Model, Optimizer, Scratch, StepOptions, Trainer};
use inception_graph::{Spec, Weights, build};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [net, side, width, batch] = args.as_slice() else { return Err("NET SIDE WIDTH BATCH".into()) };
    let (side, batch): (usize, usize) = (side.parse()?, batch.parse()?);
    let graph = build(&Spec::new(net.as_str()).img_size(side).width(width.parse()?).classes(12))?;
    let device = Device::new(None)?;
    let weights = Weights::init(&graph, 0);
    let pixels: Vec<f32> =
        (0..batch * side * side * 3).map(|i| (i * 7919 % 251) as f32 / 125.0 - 1.0).collect();
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 12).collect();
    let time = |name: &str, flop: f64, mut f: Box<dyn FnMut() + '_>| {
        f();
        let mut times: Vec<f64> = (0..7)
            .map(|_| {
                let start = Instant::now();
                f();
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let t = times[times.len() / 2];
        println!(
            "{name}: {:.1} ms a batch, {:.1} images/s, {:.1} GFLOP/s",
            t * 1e3,
            batch as f64 / t,
            flop / t / 1e9
        );
    };
    let flop = 2.0 * graph.macs() as f64 * batch as f64;
    let model = Model::new(&graph, &weights, &device);
    let mut scratch = Scratch::default();
    time(
        "inference",
        flop,
        Box::new(|| {
            model.run(&pixels, "logits", &mut scratch);
        }),
    );
    let mut trainer = Trainer::new(&graph, weights, &device);
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    let options = StepOptions {
        optimizer,
        lr: 1e-4,
        weight_decay: 1e-4,
        clip_grad: None,
        label_smoothing: 0.1,
        bn_decay: 0.9,
        ema_decay: Some(0.99),
        random: [0, 0],
    };
    time(
        "training",
        3.0 * flop,
        Box::new(|| {
            trainer.step(&pixels, &labels, &options).expect("finite");
        }),
    );
    Ok(())
}
