//! `inception data stats`: numbers about a data set.

use std::io::Write;

use anyhow::Result;
use inception_graph::{Align, Table, thousands};

use super::LookArgs;
use crate::cmd::{stdout, write_json};
use crate::data::check::{Distribution, Split, Stats, stats};
use crate::exit::Exit;
use crate::progress::{bytes, counted};

const NOTES: &str = "\
Sizes and formats are of every picture, upright; mean and deviation of the channels, from 0 to 1, are of up to 2,000
pictures, evenly spread, cropped and resized as in evaluation. Files that cannot be read are counted: `inception data check`
says why.

Examples:
  inception data stats pictures/
  inception data stats pictures/ --img-size 160 --json | jq .mean";

/// Arguments of `inception data stats`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct StatsArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the command.
pub(super) fn run(args: StatsArgs) -> Result<Exit> {
    let stats = stats(&args.look.data, &args.look.options()?)?;
    let mut out = stdout();
    match args.look.json {
        true => write_json(&mut out, &stats)?,
        false => write_text(&mut out, &stats)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn write_text(out: &mut impl Write, stats: &Stats) -> Result<()> {
    use Align::{Left, Right};
    for split in &stats.splits {
        let name = if split.split == Split::Train { "train" } else { "val" };
        writeln!(out, "{name:5}  {}, {}", counted(split.pictures, "picture"), bytes(split.bytes))?;
    }
    if let Some(ratio) = stats.imbalance {
        writeln!(out, "\nlargest class / smallest  {ratio:.1}\n")?;
        let mut table = Table::new([Left, Right, Right, Right]);
        table.head(["class", "train", "val", "size"]);
        for (class, &size) in stats.classes.iter().zip(&stats.class_bytes) {
            let [train, val] = [class.train, class.val].map(|count| thousands(count as u64));
            table.row([class.class.clone(), train, val, bytes(size)]);
        }
        write!(out, "{table}")?;
    }
    if !stats.sizes.is_empty() {
        let mut table = Table::new([Left, Right, Right, Right, Right, Right]);
        table.head(["", "min", "quarter", "median", "3 quarters", "max"]);
        for Distribution { of, min, q1, median, q3, max } in &stats.sizes {
            let digits = if matches!(*of, "width" | "height") { 0 } else { 2 };
            let cells = [min, q1, median, q3, max].map(|value| format!("{value:.digits$}"));
            let [a, b, c, d, e] = cells;
            table.row([of.to_string(), a, b, c, d, e]);
        }
        write!(out, "\n{table}")?;
    }
    let mut table = Table::new([Left, Right]);
    table.head(["format", "pictures"]);
    for format in &stats.formats {
        table.row([format.format.clone(), thousands(format.pictures as u64)]);
    }
    if stats.unreadable > 0 {
        table.row(["cannot be read".into(), thousands(stats.unreadable as u64)]);
    }
    write!(out, "\n{table}")?;
    if let (Some(mean), Some(std)) = (stats.mean, stats.std) {
        let (n, side) = (counted(stats.measured, "picture"), stats.img_size);
        let triple = |values: [f64; 3]| values.map(|v| format!("{v:.4}")).join("  ");
        writeln!(out, "\nred, green, blue of {n} at {side} px, from 0 to 1")?;
        writeln!(out, "mean  {}", triple(mean))?;
        writeln!(out, "std   {}", triple(std))?;
    }
    Ok(())
}
