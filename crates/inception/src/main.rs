//! The command line: arguments in, one call for each command, and the one place where an error becomes a message and
//! an exit code.

use std::process::ExitCode;

use clap::Parser;
use inception::args::{Cli, Command};
use inception::cmd;
use inception::exit::{self, Exit};
use inception::ranks;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Average(args) => cmd::average::run(args),
        Command::Bench(args) => cmd::bench::run(args),
        Command::Compare(args) => cmd::compare::run(*args),
        Command::Convert(args) => cmd::convert::run(args),
        Command::Data(args) => cmd::data::run(args),
        Command::Dist(args) => cmd::dist::run(args),
        Command::Demo(args) => cmd::demo::run(args),
        Command::Info(args) => cmd::info::run(args),
        Command::Predict(args) => cmd::predict::run(args),
        Command::Eval(args) => cmd::eval::run(args),
        Command::Verify(args) => cmd::verify::run(args),
        Command::Train(args) => cmd::train::run(*args),
    };
    let exit = match result {
        Ok(exit) => exit,
        // `inception info … | head` has read enough, which is no failure.
        Err(error) if exit::is_broken_pipe(&error) && ranks::world().size() == 1 => Exit::Done,
        Err(error) => {
            let exit = exit::of(&error);
            ranks::fail(&exit::message(&error));
            exit
        }
    };
    ranks::leave(exit);
    exit.into()
}
