//! (being written)

/// Arguments of `inception train`.
#[derive(clap::Args, Clone, Debug)]
pub struct TrainArgs {}

/// Runs the command.
pub fn run(_args: TrainArgs) -> anyhow::Result<crate::exit::Exit> {
    anyhow::bail!("being written")
}
