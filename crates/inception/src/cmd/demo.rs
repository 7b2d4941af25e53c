//! `inception demo`: trains two or four small networks on digits inside the program and shows their curves.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use inception_cpu::Device;

use crate::demo::Demo;
use crate::exit::{Exit, UsageError};
use crate::interrupt;
use crate::progress::{duration, say};
use crate::ranks;
use crate::recipe::{Recipe, parse_set};
use crate::run_dir::timestamp;

/// Arguments of `inception demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {
    /// Also the larger pair: inception_v4 and inception_resnet_v2
    #[arg(long)]
    all: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Passes over the training pictures
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Folder for demos; each makes a folder of its own inside
    #[arg(long, value_name = "DIR", default_value = "output/demo")]
    output: PathBuf,
    /// Threads that compute [default: what affinity and cgroup allow]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Any value of the recipe `demo`, for example --set schedule.lr=0.1
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Runs the command.
pub fn run(args: DemoArgs) -> Result<Exit> {
    let flag = |key: &str, value: Option<String>| value.map(|v| (key.to_string(), v));
    let mut sets: Vec<(String, String)> =
        [flag("seed", args.seed.map(|v| v.to_string())), flag("epochs", args.epochs.map(|v| v.to_string()))]
            .into_iter()
            .flatten()
            .collect();
    for set in &args.sets {
        sets.push(parse_set(set)?);
    }
    Recipe::load("demo", &sets).map_err(|e| UsageError(format!("{e:#}")))?;
    let folder = args.output.join(timestamp());
    let demo = Demo { all: args.all, sets, folder: folder.clone(), device: Device::new(args.threads)? };
    ranks::alone("demo")?;
    interrupt::catch()?;
    say(
        "1,797 handwritten digits, a fifth held out. A plain network and its residual twin of about equal cost learn \
         them, epoch by epoch in turn; the bars are their top-1 errors on the held-out digits.",
    );
    let mut out = std::io::stdout().lock();
    let outcome = demo.run(&mut out)?;
    writeln!(
        out,
        "\n{:<22} {:>11} {:>8} {:>12} {:>12} {:>8}",
        "network", "parameters", "M MACs", "top-1 error", "best epoch", "time"
    )?;
    for s in &outcome.networks {
        let best = s.epochs.get(s.best_epoch.wrapping_sub(1)).map_or(f64::NAN, |e| 100.0 * e.eval_top1_error);
        let macs = s.macs as f64 / 1e6;
        let time = duration(s.seconds);
        writeln!(
            out,
            "{:<22} {:>11} {macs:>8.1} {best:>10.2} % {:>12} {time:>8}",
            s.net, s.parameters, s.best_epoch
        )?;
    }
    writeln!(out, "\ncurves       {}", folder.join("curves.svg").display())?;
    let last = outcome.networks.last().map_or(String::new(), |s| s.net.clone());
    let checkpoint =
        folder.join(last).join(if outcome.stopped { "last.safetensors" } else { "best.safetensors" });
    writeln!(out, "checkpoint   {}", checkpoint.display())?;
    if outcome.stopped {
        say("stopped; what was learnt is saved");
        return Ok(Exit::Stopped);
    }
    let picture = outcome.samples.get(7).or(outcome.samples.first());
    if let Some(picture) = picture {
        writeln!(out, "\nNow try:\n  inception predict -w {} {}", checkpoint.display(), picture.display())?;
    }
    Ok(Exit::Done)
}
