//! What a network is, as data for machines ([`Graph::describe`]) and as tables for people ([`Graph::summary`]).

use serde::Serialize;

use crate::graph::{Graph, NodeId, Shape};
use crate::op::Op;
use crate::param::{BN_EPSILON, Param};
use crate::table::{Align, Table, thousands};

/// A network's numbers. All of them are for one picture, except the activations, which are for `batch` pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name on the command line.
    pub net: String,
    /// Side of the square input in pixels.
    pub img_size: usize,
    /// Multiplier of the channels.
    pub width: f64,
    /// Classes, 0 without a classifier.
    pub classes: usize,
    /// Trainable parameters, batch norm counted with γ and β.
    pub parameters: usize,
    /// Trainable parameters, batch norm counted with β alone.
    pub parameters_without_gamma: usize,
    /// Multiply-accumulates of a forward pass.
    pub macs: u64,
    /// Bytes of all parameters and running statistics in f32.
    pub weight_bytes: u64,
    /// Pictures at a time.
    pub batch: usize,
    /// Bytes of the largest set of activations alive at one time, see [`Graph::peak_activation_bytes`].
    pub peak_activation_bytes: u64,
    /// The named outputs.
    pub outputs: Vec<OutputRow>,
    /// Boxes outside any block and whole blocks, in order.
    pub endpoints: Vec<EndpointRow>,
    /// Every box, in execution order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRow>,
    /// Added to the variance in every batch norm.
    pub bn_epsilon: f32,
    /// The graph itself: enough to build the network in another program.
    pub nodes: Vec<NodeRow>,
}

/// A named output.
#[derive(Clone, Debug, Serialize)]
pub struct OutputRow {
    /// Name: `logits`, `embedding`.
    pub name: String,
    /// The box that it comes from.
    pub node: String,
    /// Height, width, channels.
    pub shape: [usize; 3],
}

/// A box outside any block, or a whole block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointRow {
    /// Name of the endpoint.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Trainable parameters, γ and β counted.
    pub parameters: usize,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// One box.
#[derive(Clone, Debug, Serialize)]
pub struct LayerRow {
    /// Path of the box.
    pub name: String,
    /// Its kind, see [`crate::Op::kind`].
    pub op: &'static str,
    /// The operation in a few words.
    pub what: String,
    /// Names of the boxes it reads.
    pub inputs: Vec<String>,
    /// Height and width of the window.
    pub kernel: Option<[usize; 2]>,
    /// Stride of the window.
    pub stride: Option<usize>,
    /// Border, `same` or `valid`.
    pub pad: Option<&'static str>,
    /// Height, width, channels of each input.
    pub input_shapes: Vec<[usize; 3]>,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Trainable parameters, γ and β counted.
    pub parameters: usize,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// One box, and all that it takes to compute it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// Path of the box.
    pub name: String,
    /// Its kind, [`Op::kind`], under `op`, and the kind's attributes.
    #[serde(flatten)]
    pub op: Op,
    /// Rows above and below, columns left and right by which `pad` widens the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<[usize; 2]>,
    /// Names of the boxes it reads, in order.
    pub inputs: Vec<String>,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Its parameters.
    pub params: Vec<Param>,
}

impl From<Shape> for [usize; 3] {
    fn from(Shape { h, w, c }: Shape) -> Self {
        [h, w, c]
    }
}

impl Graph {
    /// The network's numbers for `batch` pictures.
    pub fn describe(&self, batch: usize) -> Summary {
        let endpoint = |block: &crate::block::Block| EndpointRow {
            name: self.node(block.end()).name.clone(),
            what: self.block_text(block),
            shape: self.node(block.end()).shape.into(),
            parameters: block.ids().map(|id| self.node_parameter_count(id)).sum(),
            macs: block.ids().map(|id| self.node_macs(id)).sum(),
        };
        let output = |(name, id): &(String, NodeId)| OutputRow {
            name: name.clone(),
            node: self.node(*id).name.clone(),
            shape: self.node(*id).shape.into(),
        };
        Summary {
            net: self.spec().net.clone(),
            img_size: self.img_size(),
            width: self.spec().width,
            classes: self.classes(),
            parameters: self.parameter_count(),
            parameters_without_gamma: self.parameter_count_without_gamma(),
            macs: self.macs(),
            weight_bytes: self.params().iter().map(|p| (p.len() * size_of::<f32>()) as u64).sum(),
            batch,
            peak_activation_bytes: self.peak_activation_bytes(batch),
            outputs: self.outputs().iter().map(output).collect(),
            endpoints: self.blocks().iter().map(endpoint).collect(),
            layers: self.ids().map(|id| self.layer_row(id)).collect(),
            bn_epsilon: BN_EPSILON,
            nodes: self.ids().map(|id| self.node_row(id)).collect(),
        }
    }

    fn layer_row(&self, id: NodeId) -> LayerRow {
        let node = self.node(id);
        let window = node.op.window();
        LayerRow {
            name: node.name.clone(),
            op: node.op.kind(),
            what: node.op.to_string(),
            inputs: self.input_names(id),
            kernel: window.as_ref().map(|w| w.kernel),
            stride: window.as_ref().map(|w| w.stride),
            pad: window.as_ref().map(|w| w.pad.name()),
            input_shapes: node.inputs.iter().map(|&i| self.node(i).shape.into()).collect(),
            shape: node.shape.into(),
            parameters: self.node_parameter_count(id),
            macs: self.node_macs(id),
        }
    }

    fn node_row(&self, id: NodeId) -> NodeRow {
        let node = self.node(id);
        NodeRow {
            name: node.name.clone(),
            op: node.op.clone(),
            padding: node.op.window().map(|w| w.kernel.map(|side| w.pad.amount(side))),
            inputs: self.input_names(id),
            shape: node.shape.into(),
            params: self.node_params(id),
        }
    }

    fn input_names(&self, id: NodeId) -> Vec<String> {
        self.node(id).inputs.iter().map(|&i| self.node(i).name.clone()).collect()
    }

    /// A page for people: the network's numbers, then a table of its endpoints, or of every box where `layers` is set.
    pub fn summary(&self, batch: usize, layers: bool) -> String {
        let summary = self.describe(batch);
        let table = if layers { summary.layer_table() } else { summary.endpoint_table() };
        format!("{}\n{table}", summary.header())
    }
}

fn shape_text(shape: [usize; 3]) -> String {
    Shape::from(shape).to_string()
}

impl Summary {
    fn share(&self, macs: u64) -> String {
        format!("{:.1} %", 100.0 * macs as f64 / self.macs.max(1) as f64)
    }

    fn header(&self) -> String {
        let outputs = self.outputs.iter().map(|o| format!("{} {}", o.name, shape_text(o.shape)));
        let megabytes = |bytes: u64| format!("{:.1} MB in f32", bytes as f64 / 1e6);
        let width = if self.width == 1.0 { String::new() } else { format!(", width {}", self.width) };
        let mut table = Table::new([Align::Left, Align::Left]);
        table.row(["network".into(), format!("{}{width}", self.net)]);
        table.row(["input".into(), shape_text([self.img_size, self.img_size, 3])]);
        table.row(["outputs".into(), outputs.collect::<Vec<_>>().join(", ")]);
        table.row([
            "classes".into(),
            if self.classes == 0 { "none".into() } else { thousands(self.classes as u64) },
        ]);
        table.row([
            "parameters".into(),
            format!(
                "{} ({} without batch norm's γ)",
                thousands(self.parameters as u64),
                thousands(self.parameters_without_gamma as u64)
            ),
        ]);
        table.row([
            "weights".into(),
            format!("{}, running statistics included", megabytes(self.weight_bytes)),
        ]);
        table.row(["cost".into(), format!("{:.3} GMAC a picture", self.macs as f64 / 1e9)]);
        let peak = format!("{} at their peak, batch {}", megabytes(self.peak_activation_bytes), self.batch);
        table.row(["activations".into(), peak]);
        table.to_string()
    }

    fn endpoint_table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([Left, Left, Right, Right, Right, Right]);
        table.head(["endpoint", "what", "output", "parameters", "MACs", "share"]);
        for row in &self.endpoints {
            table.row([
                row.name.clone(),
                row.what.clone(),
                shape_text(row.shape),
                thousands(row.parameters as u64),
                thousands(row.macs),
                self.share(row.macs),
            ]);
        }
        let (parameters, macs) = (thousands(self.parameters as u64), thousands(self.macs));
        table.row(["total".into(), String::new(), String::new(), parameters, macs, self.share(self.macs)]);
        table.to_string()
    }

    fn layer_table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([Left, Left, Right, Right, Right, Right, Right]);
        table.head(["layer", "what", "input", "output", "parameters", "MACs", "share"]);
        for row in &self.layers {
            let input = match row.input_shapes[..] {
                [] => String::new(),
                [one] => shape_text(one),
                [..] => format!("{} inputs", row.inputs.len()),
            };
            table.row([
                row.name.clone(),
                row.what.clone(),
                input,
                shape_text(row.shape),
                thousands(row.parameters as u64),
                thousands(row.macs),
                self.share(row.macs),
            ]);
        }
        table.to_string()
    }
}
