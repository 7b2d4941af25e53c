//! `inception convert`: a file of weights in another layout.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use inception_formats::Dtype;
use inception_graph::{Layout, Role};

use super::weights::known;
use super::{check_output, stdout};
use crate::checkpoint::{self, Checkpoint, Out, Values};
use crate::exit::{BadData, Exit, UsageError};
use crate::weights::Extra;

const NOTES: &str = "\
Without --layout OUT is a checkpoint of this tool: network, classes and preprocessing inside, and beside the network
whatever else IN held, so that converting back gives IN's tensors again. With --layout OUT is a safetensors file with
the names and axes of that program, and in its metadata what those cannot say: network, classes, preprocessing.

Layouts: slim, facenet, inception-2015, torchvision, pytorch-fid, timm, facenet-pytorch, keras, keras3

Examples:
  inception convert inceptionv4-8e4777a0.pth inception_v4.safetensors
  inception convert inception_v4.safetensors slim.safetensors --layout slim
  inception convert finetuned.pth flowers.safetensors --class-names names.txt";

/// Arguments of `inception convert`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct ConvertArgs {
    /// File to read, of any format
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// File to write, a .safetensors
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Names and axes of OUT [default: canonical, this tool's own]
    #[arg(long, value_name = "LAYOUT", default_value = "canonical")]
    pub layout: String,
    /// Which of several networks with the same tensors IN is of [default: recognised]
    #[arg(short, long, value_name = "NET")]
    pub model: Option<String>,
    /// Names of the classes in order, one a line [default: ImageNet's for 1000 and 1001, otherwise numbers]
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(args: ConvertArgs) -> Result<Exit> {
    let layout = match args.layout.as_str() {
        "canonical" => None,
        name => Some(find_layout(name)?),
    };
    check_output(&args.output, args.force)?;
    let mut found = checkpoint::open(&args.input, known(args.model.as_ref())?, true)?;
    if let Some(doubt) = found.doubts.first() {
        let input = args.input.display();
        return Err(BadData(format!("{input}: {}; correct it there, or move it away", doubt.reason)).into());
    }
    if let Some(file) = &args.class_names {
        found.metadata.classes = class_names(file, found.graph.classes())?;
    }
    let mut out = stdout();
    writeln!(out, "{}: {}", args.input.display(), found.metadata.net)?;
    found.report.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    let tensors = match layout {
        None => {
            checkpoint::save_with(&args.output, &found.weights, &found.metadata, &found.extras)?;
            found.weights.params().len() + found.extras.len()
        }
        Some(layout) => in_layout(&args, &found, layout)?,
    };
    writeln!(out, "{}: {tensors} tensors in the layout {}", args.output.display(), args.layout)?;
    out.flush()?;
    Ok(Exit::Done)
}

fn find_layout(name: &str) -> Result<Layout> {
    Layout::find(name).ok_or_else(|| {
        let names: Vec<&str> = Layout::ALL.iter().map(|l| l.name()).collect();
        UsageError(format!("no layout `{name}`: expected canonical, {}", names.join(", "))).into()
    })
}

fn class_names(file: &std::path::Path, classes: usize) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading the names in {}", file.display()))?;
    let names: Vec<String> =
        text.lines().map(|line| line.trim().to_string()).filter(|l| !l.is_empty()).collect();
    if names.len() != classes {
        bail!("{} has {} names, the network has {classes} classes", file.display(), names.len());
    }
    Ok(names)
}

/// Writes the file as another program names things; the number of tensors.
fn in_layout(args: &ConvertArgs, found: &Checkpoint, layout: Layout) -> Result<usize> {
    let net = found.metadata.net.as_str();
    if !layout.nets().contains(&net) {
        let (name, nets) = (layout.name(), layout.nets().join(", "));
        let others: Vec<&str> =
            Layout::ALL.iter().filter(|l| l.nets().contains(&net)).map(|l| l.name()).collect();
        let others = if others.is_empty() { "no layout".into() } else { others.join(", ") };
        let message = format!("the layout {name} has no {net}: it has {nets}; {net} is in {others}");
        return Err(UsageError(message).into());
    }
    if found.metadata.width != 1.0 {
        let message = format!(
            "{net} has width {}: the layout {} has only width 1",
            found.metadata.width,
            layout.name()
        );
        return Err(UsageError(message).into());
    }
    let names = layout.names(&found.graph);
    // How the file had its tensors, and what it held beside the network, belongs to its own layout only.
    let same = found.origin() == Some(layout);
    let extras: &[Extra] = if same { &found.extras } else { &[] };
    let (mut tensors, mut scaled) = (Vec::new(), Vec::new());
    for (i, (param, foreign)) in found.weights.params().iter().zip(&names).enumerate() {
        let values = found.weights.get(i);
        let Some(foreign) = foreign else {
            if param.role == Role::Gamma && values.iter().any(|&v| v != 1.0) {
                scaled.push(param.name.as_str());
            }
            continue;
        };
        let (axes, shape) = (foreign.axes, &param.shape);
        let original = same.then(|| found.metadata.provenance.tensors.get(&param.name)).flatten();
        let narrow = original.and_then(|o| Dtype::find(&o.dtype)).filter(|d| d.exactly(values).is_some());
        let dtype = narrow.unwrap_or(Dtype::F32);
        let made =
            move || dtype.exactly(&axes.to_foreign(shape, values)).expect("they fit, whatever their order");
        tensors.push(Out {
            name: original.map_or(&foreign.name, |o| &o.name).clone(),
            dtype,
            shape: axes.shape(shape),
            values: Values::Made(Box::new(made)),
        });
    }
    if !scaled.is_empty() {
        bail!(
            "the layout {} has no scale in its batch norms, and {} of {net} are not one (the first is `{}`): nothing was written",
            layout.name(),
            scaled.len(),
            scaled[0]
        );
    }
    tensors.extend(extras.iter().map(|Extra { name, dtype, shape, bytes }| Out {
        name: name.clone(),
        dtype: *dtype,
        shape: shape.clone(),
        values: Values::Bytes(bytes),
    }));
    let count = tensors.len();
    checkpoint::write(&args.output, checkpoint::description(&found.metadata)?, tensors)?;
    Ok(count)
}
