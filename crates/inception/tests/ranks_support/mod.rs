//! What tests of several ranks share.

// Every test file uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::process::{Command, Output};

use crate::cli_support::Place;

/// A short training, but for how long and what it is called.
pub(crate) const NET: [&str; 15] = [
    "train",
    "data",
    "-m",
    "inception_resnet_v1",
    "--img-size",
    "75",
    "--width",
    "0.05",
    "-b",
    "8",
    "--micro-batch",
    "2",
    "--threads",
    "1",
    "--output=out",
];

/// Lets Open MPI's `mpirun` run as root, and in a container.
pub(crate) fn as_root(command: &mut Command) {
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        command.env(name, "1");
    }
    // Containers forbid reading another process's memory, and Open MPI says so.
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes of the weights and columns of the summary that no number of ranks may change.
pub(crate) fn trained(place: &Place, run: &str) -> (Vec<u8>, Vec<String>) {
    let folder = place.path("out").join(run);
    let bytes = fs::read(folder.join("last.safetensors")).unwrap();
    let head = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let summary = fs::read_to_string(folder.join("summary.csv")).unwrap();
    let row = |line: &str| {
        // Losses are sums of the ranks' sums: all but their last digits.
        let short = |cell: &str| cell.parse::<f64>().map_or(cell.into(), |loss| format!("{loss:.5}"));
        line.split(',').map(short).collect::<Vec<String>>().join(",")
    };
    (bytes[8 + head..].to_vec(), summary.lines().map(row).collect())
}
