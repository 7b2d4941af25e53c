//! The words of the command line.

use clap::{Parser, Subcommand};

use crate::cmd::{average, bench, compare, convert, data, demo, dist, eval, info, predict, train, verify};

const EXAMPLES: &str = "\
Examples:
  inception demo                                      train two small networks and see their curves
  inception info                                      the networks
  inception info inception_v4 --layers                one of them, box by box
  inception data check pictures/                      what would go wrong with a folder of pictures
  inception data pack pictures/ -o packed/            the same pictures, of the size that training needs
  inception train pictures/ -m inception_v4           train on a folder with a folder a class
  inception compare pictures/ -m inception_v4 -m inception_resnet_v2   the paper's comparison, on your pictures
  inception eval -w best.safetensors pictures/        loss and errors of a checkpoint
  inception predict -w best.safetensors cat.jpg       what is on a picture
  inception predict -w inceptionv4-8e4777a0.pth a.jpg the same with weights that others published
  inception average *.safetensors -o mean.safetensors the mean of several checkpoints
  inception bench inception_v4 --layers               how fast it is here, and where the time goes

Data go to stdout, messages to stderr.
Exit codes: 0 done, 1 failed, 2 usage, 65 bad data, 75 stopped and saved.";

/// The Inception networks of arXiv:1602.07261: train, evaluate, predict.
#[derive(Parser, Debug)]
#[command(name = "inception", version, propagate_version = true, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Train a plain and a residual network on a small data set inside the program, and draw both error curves
    Demo(demo::DemoArgs),
    /// Shapes, parameters and cost of a network, or what a checkpoint holds
    #[command(visible_alias = "summary")]
    Info(info::InfoArgs),
    /// Say what is on pictures
    #[command(visible_aliases = ["classify", "infer"])]
    Predict(predict::PredictArgs),
    /// Measure loss and errors of a checkpoint on labelled pictures
    #[command(visible_aliases = ["val", "validate"])]
    Eval(eval::EvalArgs),
    /// Write the mean of the weights of several checkpoints
    #[command(visible_alias = "soup")]
    Average(average::AverageArgs),
    /// Measure how fast a network runs here, and where the time goes
    #[command(visible_alias = "benchmark")]
    Bench(bench::BenchArgs),
    /// Write a file of weights in another layout
    Convert(convert::ConvertArgs),
    /// What is in a folder of pictures, and what would go wrong in training
    Data(data::DataArgs),
    /// Several ranks of MPI: what they cost and bring
    Dist(dist::DistArgs),
    /// Prove that a file of weights gives the numbers of the program it came from
    Verify(verify::VerifyArgs),
    /// Train several networks alike, and draw their errors side by side
    Compare(Box<compare::CompareArgs>),
    /// Train a network, or go on training one
    Train(Box<train::TrainArgs>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flags_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
