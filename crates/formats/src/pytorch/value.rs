//! What a pickle describes, without any of its classes.
//!
//! ```text
//! Values: [None, "conv.weight", Call(rebuild_tensor_v2, …) → Tensor, Dict[(1, 2)], …]    one node refers to others by index
//! ```
//! An index into one vector stands for a Python reference: objects that refer to each other, or to themselves, need no
//! counting and end with the vector, however deeply they nest.

use std::rc::Rc;

use crate::Dtype;

/// Index of a node.
pub(crate) type Id = usize;

/// One Python object.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A value of which nothing here depends: None, a float, a long integer, bytes, a device, a type of values, the
    /// arguments of a training program.
    Plain,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function that is known and stood in for.
    Function(Function),
    /// The class of a storage.
    StorageClass(Dtype),
    /// A class or function that is not known, by name. Never called.
    Foreign(String),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
}

/// What an allocation takes beside its contents, roughly: its header, and the room that vectors keep.
const ALLOCATION: usize = 32;

impl Node {
    /// Bytes it takes, roughly.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Node>()
            + match self {
                Node::Text(text) | Node::Foreign(text) => ALLOCATION + text.len(),
                Node::Tuple(items) | Node::List(items) => ALLOCATION + items.len() * size_of::<Id>(),
                Node::Dict(items) => ALLOCATION + items.len() * size_of::<(Id, Id)>(),
                Node::Storage(storage) => 2 * ALLOCATION + size_of::<Storage>() + storage.key.len(),
                Node::Tensor(view) => 3 * ALLOCATION + size_of::<View>() + 16 * view.shape.len(),
                Node::Plain | Node::Bool(_) | Node::Int(_) | Node::Function(_) | Node::StorageClass(_) => 0,
            }
    }
}

/// All objects of the pickles of one file.
#[derive(Default)]
pub(crate) struct Values {
    nodes: Vec<Node>,
    /// Bytes they take, roughly.
    pub(super) cost: usize,
}

impl Values {
    pub(crate) fn push(&mut self, node: Node) -> Id {
        self.cost += node.cost();
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(crate) fn get(&self, id: Id) -> &Node {
        &self.nodes[id]
    }
}

/// The functions that this crate stands in for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    /// `collections.OrderedDict`, and what else makes a dictionary.
    Dict,
    /// `list`, `set` and `frozenset`, `torch.Size`: of their argument, only its values.
    Sequence,
    /// Its result matters to nobody, and neither would Python run anything for it but its own constructor.
    Plain,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.
    Tensor,
    /// `torch._utils._rebuild_parameter`: its first argument.
    Parameter,
}

/// A run of values in the file.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) key: String,
    pub(crate) dtype: Dtype,
    /// First value of it that belongs to this storage; not 0 in files of PyTorch 0.1 only.
    pub(crate) first: u64,
    /// Number of values.
    pub(crate) count: u64,
}

/// A tensor as a view of a storage.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) storage: Rc<Storage>,
    /// First value, counted from the start of the file's storage.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
    /// Distance between neighbours along each extent, in values.
    pub(crate) strides: Vec<u64>,
}

/// What stands in for the class or function `name`.
pub(crate) fn global(name: &str) -> Node {
    // Python 2's name, which pickles of protocol 2 keep.
    let name = &name.replacen("__builtin__.", "builtins.", 1);
    match name.as_str() {
        "collections.OrderedDict" | "collections.defaultdict" | "collections.Counter" | "builtins.dict" => {
            Node::Function(Function::Dict)
        }
        "torch.Size" | "builtins.list" | "builtins.set" | "builtins.frozenset" => {
            Node::Function(Function::Sequence)
        }
        // What training programs keep beside the weights: their arguments, paths, numbers of NumPy's.
        "torch.device"
        | "argparse.Namespace"
        | "types.SimpleNamespace"
        | "pathlib.Path"
        | "pathlib.PosixPath"
        | "pathlib.WindowsPath"
        | "pathlib.PurePosixPath"
        | "pathlib.PureWindowsPath"
        | "datetime.datetime"
        | "datetime.timedelta"
        | "_codecs.encode"
        | "numpy.dtype"
        | "numpy.ndarray"
        | "numpy.core.multiarray.scalar"
        | "numpy._core.multiarray.scalar"
        | "numpy.core.multiarray._reconstruct"
        | "numpy._core.multiarray._reconstruct"
        | "builtins.bytearray"
        | "builtins.bytes"
        | "builtins.complex"
        | "builtins.int"
        | "builtins.float"
        | "builtins.str"
        | "builtins.bool" => Node::Function(Function::Plain),
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
            Node::Function(Function::Tensor)
        }
        "torch._utils._rebuild_parameter" => Node::Function(Function::Parameter),
        "torch.float32" | "torch.float64" | "torch.float16" | "torch.bfloat16" | "torch.int8"
        | "torch.uint8" | "torch.int16" | "torch.int32" | "torch.int64" | "torch.bool" => Node::Plain,
        name => storage_class(name).map_or_else(|| Node::Foreign(name.into()), Node::StorageClass),
    }
}

fn storage_class(name: &str) -> Option<Dtype> {
    let class = name.strip_prefix("torch.")?;
    let class = class.strip_prefix("cuda.").or_else(|| class.strip_prefix("storage.")).unwrap_or(class);
    Some(match class {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "ShortStorage" => Dtype::I16,
        "IntStorage" => Dtype::I32,
        "LongStorage" => Dtype::I64,
        "BoolStorage" => Dtype::Bool,
        _ => return None,
    })
}
