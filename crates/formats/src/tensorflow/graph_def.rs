//! A graph with its weights in it, as "freezing" one makes it.
//!
//! ```text
//! GraphDef { node* = 1: { name = 1, op = 2, attr* = 5: { key = 1, value = 2: AttrValue { tensor = 8: TensorProto } } } }
//! weights: the attribute `value` of nodes with the op `Const`
//! ```
//! The file has no magic and no checksum, and one that is cut off between two nodes is sound. It is told by its first
//! node: a name and an op in the letters of such.

use std::io::{Read, Seek};

use super::wire::{Content, Field, Span, Wire};
use super::{proto, values, within};
use crate::{Problem, Source, Tensor};

/// Longest name of a first node, or of its op.
const LONGEST_NAME: u64 = 4096;

pub(super) struct GraphDef<R> {
    wire: Wire<R>,
    tensors: Vec<Tensor>,
    /// Where the TensorProto of each is.
    protos: Vec<Span>,
}

/// Whether the input begins with a node of a graph.
pub(super) fn is<R: Read + Seek>(wire: &mut Wire<R>) -> Result<bool, Problem> {
    match first_node(wire) {
        Ok(is) => Ok(is),
        Err(Problem::Io(error)) => Err(Problem::Io(error)),
        Err(Problem::Damaged(_) | Problem::Refused(_) | Problem::Unknown(_)) => Ok(false),
    }
}

fn first_node<R: Read + Seek>(wire: &mut Wire<R>) -> Result<bool, Problem> {
    let mut file = 0..wire.end();
    if wire.varint(&mut file)? != 1 << 3 | 2 {
        return Ok(false);
    }
    let length = wire.varint(&mut file)?;
    let mut node = file.start..file.start.saturating_add(length);
    Ok(has_text(wire, &mut node, 1, b"._/\\-> ")? && has_text(wire, &mut node, 2, b"._>")?)
}

/// Whether the next field of `node` is this one, a text of letters, digits and `also`.
fn has_text<R: Read + Seek>(
    wire: &mut Wire<R>,
    node: &mut Span,
    number: u64,
    also: &[u8],
) -> Result<bool, Problem> {
    match wire.field(node)? {
        Some(Field { number: found, content: Content::Bytes(span) })
            if found == number && (1..=LONGEST_NAME).contains(&(span.end - span.start)) =>
        {
            let text = wire.text(&span)?;
            Ok(text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b)))
        }
        _ => Ok(false),
    }
}

impl<R: Read + Seek> GraphDef<R> {
    pub(super) fn open(mut wire: Wire<R>) -> Result<Self, Problem> {
        let (mut tensors, mut protos) = (Vec::new(), Vec::new());
        let mut file = 0..wire.end();
        while let Some(field) = wire.field(&mut file)? {
            if let (1, Content::Bytes(node)) = (field.number, field.content)
                && let Some((name, proto)) = constant(&mut wire, node)?
                && let Some(tensor) = tensor(&mut wire, name, proto.clone())?
            {
                super::check_size(&tensor, wire.end())?;
                tensors.push(tensor);
                protos.push(proto);
            }
        }
        if tensors.is_empty() {
            return Err(Problem::Refused(
                "it is a graph without weights, which TensorFlow keeps in a checkpoint beside it: give that"
                    .into(),
            ));
        }
        Ok(GraphDef { wire, tensors, protos })
    }
}

/// Name and value of a node that is a constant.
fn constant<R: Read + Seek>(wire: &mut Wire<R>, mut node: Span) -> Result<Option<(String, Span)>, Problem> {
    let (mut name, mut is_constant, mut value) = (String::new(), false, None);
    while let Some(field) = wire.field(&mut node)? {
        match (field.number, field.content) {
            (1, Content::Bytes(span)) => name = wire.text(&span)?,
            (2, Content::Bytes(span)) => is_constant = wire.text(&span)? == "Const",
            (5, Content::Bytes(span)) => value = attribute(wire, span)?.or(value),
            _ => {}
        }
    }
    match value {
        Some(value) if is_constant => Ok(Some((name, value))),
        None if is_constant => Err(Problem::damaged(format!("the constant `{name}` has no value"))),
        _ => Ok(None),
    }
}

/// The tensor of an attribute `value`.
fn attribute<R: Read + Seek>(wire: &mut Wire<R>, mut entry: Span) -> Result<Option<Span>, Problem> {
    let (mut is_value, mut content, mut tensor) = (false, 0..0, None);
    while let Some(field) = wire.field(&mut entry)? {
        match (field.number, field.content) {
            (1, Content::Bytes(span)) => is_value = wire.text(&span)? == "value",
            (2, Content::Bytes(span)) => content = span,
            _ => {}
        }
    }
    while is_value && let Some(field) = wire.field(&mut content)? {
        if let (8, Content::Bytes(span)) = (field.number, field.content) {
            tensor = Some(span);
        }
    }
    Ok(tensor)
}

fn tensor<R: Read + Seek>(
    wire: &mut Wire<R>,
    name: String,
    mut proto: Span,
) -> Result<Option<Tensor>, Problem> {
    let (mut datatype, mut shape) = (0, Vec::new());
    while let Some(field) = wire.field(&mut proto)? {
        match (field.number, field.content) {
            (1, Content::Varint(n)) => datatype = n,
            (2, Content::Bytes(span)) => shape = proto::shape(wire, span).map_err(within(&name))?,
            _ => {}
        }
    }
    let dtype = proto::dtype(&name, datatype)?;
    Ok(dtype.map(|dtype| Tensor { name, dtype, shape }))
}

impl<R: Read + Seek> Source for GraphDef<R> {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        let tensor = &self.tensors[index];
        let bytes = tensor.bytes().unwrap_or(usize::MAX);
        values::append(&mut self.wire, self.protos[index].clone(), tensor.dtype, bytes, to)
            .map_err(within(&tensor.name))
    }
}
