//! What training a network takes on this CPU.

use std::io::{self, Write};

use anyhow::Result;
use inception_cpu::{Device, Keep, Needs, Optimizer, TrainNeeds};
use inception_graph::Graph;
use serde::Serialize;

use crate::exit::UsageError;
use crate::memory;

/// Memory of training steps, in bytes.
#[derive(Serialize)]
pub(super) struct Training {
    batch: usize,
    threads: usize,
    /// Weights and running statistics; the gradient is as large, and so is the moving average.
    weights: usize,
    /// What this process may have.
    available: Option<u64>,
    optimizers: Vec<Buffers>,
    choices: Vec<Choice>,
}

/// What an optimizer keeps.
#[derive(Serialize)]
struct Buffers {
    name: &'static str,
    bytes: usize,
}

/// A way to compute a step.
#[derive(Serialize)]
struct Choice {
    flags: String,
    /// Activations, their gradients and the kernels' memory.
    step: usize,
    /// All of a run: weights, gradient, buffer of SGD, moving average, a step, and evaluation between epochs.
    total: usize,
    /// Multiply–adds over those of a step that keeps what the gradient needs.
    work: f64,
    /// Pictures of the largest batch that fits.
    largest_batch: Option<usize>,
}

/// The largest batch that is looked for.
const MOST: usize = 4096;
/// The rule whose state is counted.
const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };

impl Training {
    pub(super) fn of(graph: &Graph, batch: usize) -> Result<Self> {
        if graph.classes() == 0 {
            let name = &graph.spec().net;
            return Err(UsageError(format!("{name} has no classes to train on: leave out --train")).into());
        }
        let device = Device::new(None)?;
        let available = memory::available();
        let adam = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let weights = TrainNeeds::of(graph, &device, 1, Keep::Outputs).weight_bytes;
        let choice = |keep: Keep, at_a_time: usize| {
            let needs = TrainNeeds::of(graph, &device, at_a_time, keep);
            let evaluation = Needs::of(graph, &device, batch);
            // Forward once, backward twice as much.
            let work = 1.0 + needs.recomputed_macs as f64 / (3 * graph.macs()) as f64;
            let mut flags = Vec::new();
            if at_a_time < batch {
                flags.push(format!("--micro-batch {at_a_time}"));
            }
            if keep == Keep::Checkpoints {
                flags.push("--checkpoint-activations".into());
            }
            let find = |allowed| memory::largest_batch(graph, &device, keep, &SGD, true, allowed, MOST);
            Choice {
                flags: flags.join(" "),
                step: needs.step_bytes,
                total: memory::of_run(&needs, &evaluation, &SGD, true),
                work,
                // Groups of any size make any batch.
                largest_batch: (at_a_time == batch).then(|| available.and_then(find)).flatten(),
            }
        };
        let mut choices = vec![choice(Keep::Outputs, batch), choice(Keep::Checkpoints, batch)];
        if batch >= 4 {
            choices.push(choice(Keep::Outputs, batch.div_ceil(2)));
            choices.push(choice(Keep::Checkpoints, batch.div_ceil(2)));
        }
        let buffers = |name, rule: Optimizer| Buffers { name, bytes: rule.buffers() * weights };
        Ok(Training {
            batch,
            threads: device.pool.threads(),
            weights,
            available,
            optimizers: vec![buffers("sgd", SGD), buffers("rmsprop-tf, adamw", adam)],
            choices,
        })
    }
}

/// Below the table of the network and what inference needs.
pub(super) fn write(out: &mut impl Write, training: &Training) -> io::Result<()> {
    let Training { batch, threads, weights, available, optimizers, choices } = training;
    let mb = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
    writeln!(out, "\ntraining on this CPU ({threads} threads), batch {batch}")?;
    writeln!(out, "weights   {}, as much for the gradient and for the moving average", mb(*weights))?;
    let buffers: Vec<String> = optimizers.iter().map(|o| format!("{} for {}", mb(o.bytes), o.name)).collect();
    writeln!(out, "optimizer {}", buffers.join(", "))?;
    let widest = choices.iter().map(|c| c.flags.len()).max().unwrap_or(0).max("flags".len());
    writeln!(out, "\n{:<widest$}  a step's memory  a run's, with sgd  products  largest batch", "flags")?;
    for Choice { flags, step, total, work, largest_batch } in choices {
        let largest = match largest_batch {
            Some(MOST) => format!("{MOST} or more"),
            Some(batch) => batch.to_string(),
            None => String::new(),
        };
        let line =
            format!("{flags:<widest$}  {:>15}  {:>17}  {work:>7.2}×  {largest:>13}", mb(*step), mb(*total));
        writeln!(out, "{}", line.trim_end())?;
    }
    if let Some(bytes) = available {
        writeln!(
            out,
            "\nthe largest batches are for {:.1} GB, which this process may have now",
            *bytes as f64 / 1e9
        )?;
    }
    Ok(())
}
