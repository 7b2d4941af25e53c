//! scratch
#![allow(clippy::print_stdout, reason = "a measuring tool")]
use inception_cpu::{Device, Model, Scratch, peak_flops};
use inception_graph::{Spec, Weights, build};
use std::collections::HashMap;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let batch: usize = args[1].parse().unwrap();
    let alternatives = args.len() > 2;
    let graph = build(&Spec::new(args[0].as_str())).unwrap();
    let device = Device::new(None).unwrap();
    let weights = Weights::init(&graph, 0);
    let model = Model::new(&graph, &weights, &device);
    let side = graph.img_size();
    let x: Vec<f32> = (0..batch * side * side * 3).map(|i| (i * 7919 % 251) as f32 / 125.0 - 1.0).collect();
    let peak = peak_flops(&device.pool, device.isa, 5) / 1e9;
    let mut scratch = Scratch::default();
    model.profile(&x, 2, &mut scratch);
    let times = model.profile(&x, 15, &mut scratch);
    let mut groups: HashMap<String, (f64, f64)> = HashMap::new();
    let mut total = 0.0;
    let mut seen = std::collections::HashSet::new();
    for t in &times {
        let node = graph.node(t.id);
        let ms = t.time.as_secs_f64() * 1e3;
        total += ms;
        let g = 2.0 * graph.node_macs(t.id) as f64 * batch as f64 / 1e9;
        let kind = match node.op {
            inception_graph::Op::Conv { kernel, stride, .. } => {
                format!("{}x{} s{stride} {}", kernel[0], kernel[1], t.algorithm.unwrap())
            }
            ref op => format!("{op:?}").split([' ', '{']).next().unwrap().to_string(),
        };
        let e = groups.entry(kind.clone()).or_default();
        e.0 += ms;
        e.1 += g;
        if ms > 0.05 || args.len() > 2 {
            let x = if node.inputs.is_empty() { node.shape } else { graph.input_shape(t.id) };
            let key = format!("{kind} {x:?} {:?}", node.shape);
            if seen.insert(key) {
                println!(
                    "{:24} {:22} {:3}x{:<3}x{:<4} -> {:3}x{:<3}x{:<4} {ms:7.3} ms {:6.1}",
                    node.name,
                    kind,
                    x.h,
                    x.w,
                    x.c,
                    node.shape.h,
                    node.shape.w,
                    node.shape.c,
                    g / ms * 1e3
                );
                if alternatives {
                    for (a, d) in model.alternatives(t.id, batch, 9) {
                        println!("      {a:20} {:7.3} ms {:6.1}", d.as_secs_f64() * 1e3, g / d.as_secs_f64());
                    }
                }
            }
        }
    }
    println!("total {total:.2} ms, peak {peak:.1} -> {:.1}", peak_flops(&device.pool, device.isa, 5) / 1e9);
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    for (k, (ms, g)) in groups {
        println!("{k:28} {ms:7.2} ms {:6.1} GFLOP/s", g / ms * 1e3);
    }
}
