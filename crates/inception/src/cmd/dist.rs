//! `inception dist`: what several ranks cost and bring.

mod doctor;
mod plan;
mod table;

use anyhow::Result;
use clap::Subcommand;
use inception_graph::{Graph, Spec, build};

use crate::exit::Exit;

/// Arguments of `inception dist`.
#[derive(clap::Args, Clone, Debug)]
pub struct DistArgs {
    #[command(subcommand)]
    command: DistCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum DistCommand {
    /// Started by mpirun: who is there, whether all have the same, and how fast sums are
    Doctor(doctor::DoctorArgs),
    /// Forecast the speed of training on so many ranks
    Plan(plan::PlanArgs),
}

/// Runs the command.
pub fn run(args: DistArgs) -> Result<Exit> {
    match args.command {
        DistCommand::Doctor(args) => doctor::run(args),
        DistCommand::Plan(args) => plan::run(args),
    }
}

/// Of which network steps are measured.
#[derive(clap::Args, Clone, Copy, Debug)]
struct SizeArgs {
    /// Side of the input in pixels [default: the network's own]
    #[arg(long, value_name = "N")]
    img_size: Option<usize>,
    /// Multiplier of the channels
    #[arg(long, value_name = "F", default_value = "1")]
    width: f64,
    /// Seconds that each measurement takes at least, after a tenth of them for warming up
    #[arg(long, value_name = "S", default_value = "5")]
    seconds: f64,
}

impl SizeArgs {
    fn graph(&self, net: &str) -> Result<Graph> {
        Ok(build(&Spec { img_size: self.img_size, width: self.width, ..Spec::new(net) })?)
    }
}
