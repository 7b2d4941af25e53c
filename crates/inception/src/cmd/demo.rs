//! (being written)

/// Arguments of `inception demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {}

/// Runs the command.
pub fn run(_args: DemoArgs) -> anyhow::Result<crate::exit::Exit> {
    anyhow::bail!("being written")
}
