//! PyTorch: `torch.save` of a dictionary of tensors, as a zip archive or in the form before 1.6.
//!
//! ```text
//! zip:     <prefix>/data.pkl: the pickle    <prefix>/data/<key>: the values of a storage    <prefix>/byteorder: "little"
//! legacy:  pickles [magic, 1001, {"little_endian": True, …}, the object, [key, …]]    then per key: u64 count, the values
//! ```
//! A tensor is a view of a storage: an offset, a shape, strides. Its values are brought into row-major order when they are
//! read. Prefixes of names, such as `module.`, stay.

mod pickle;
mod rebuild;
mod state;
mod storage;
mod value;

use std::collections::HashMap;
use std::io::{BufReader, Seek};
use std::rc::Rc;

use crate::input::{Fields, Input};
use crate::zip_archive::Member;
use crate::{Problem, Source, Tensor};
use storage::Range;
use value::{Id, Node, Values, View};

/// First object of the legacy form: 0x1950a86a20f9469cfc6c, of which the machine keeps the digits.
const MAGIC: &str = "1950a86a20f9469cfc6c";
/// Version of the legacy form.
const VERSION: i64 = 1001;

/// Whether a file that begins with `start` is a pickle.
pub(crate) fn is(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
}

/// The member of a zip archive that makes it one of PyTorch's.
pub(crate) fn object_of(members: &[Member]) -> Option<&Member> {
    members.iter().find(|member| {
        member.name == "data.pkl"
            || member.name.ends_with("/data.pkl") && member.name.matches('/').count() == 1
    })
}

/// State dictionary of a file that `torch.save` wrote.
pub(crate) struct Pytorch {
    input: Input,
    tensors: Vec<Tensor>,
    views: Vec<Rc<View>>,
    storages: HashMap<String, Range>,
    texts: Vec<(String, String)>,
}

impl Pytorch {
    /// The zip form.
    pub(crate) fn open_zip(mut input: Input, members: &[Member], object: &Member) -> Result<Self, Problem> {
        let prefix = object.name.strip_suffix("data.pkl").unwrap_or_default();
        let named = |name: &str| {
            members.iter().find(|m| m.name.strip_prefix(prefix).is_some_and(|rest| rest == name))
        };
        if named("constants.pkl").is_some() {
            return Err(Problem::Refused(
                "it is a TorchScript program: load it with torch.jit.load and save model.state_dict() instead".into(),
            ));
        }
        if let Some(order) = named("byteorder")
            && order.size < 16
            && order.read(&mut input)?.trim_ascii() != b"little"
        {
            return Err(big_endian());
        }
        if object.size > pickle::LONGEST {
            return Err(Problem::damaged(format!("its pickle claims {} bytes", object.size)));
        }
        let bytes = object.read(&mut input)?;
        let mut values = Values::default();
        let root = pickle::read(&mut bytes.as_slice(), &mut values)?;
        let mut storages = HashMap::new();
        let folder = [prefix, "data/"].concat();
        for member in members {
            if let Some(key) = member.name.strip_prefix(&folder) {
                let Some(start) = member.stored_at(&mut input)? else {
                    return Err(Problem::Refused(format!(
                        "`{}` in it is compressed, which torch.save never does: unpack it and zip it without compression",
                        member.name
                    )));
                };
                storages.insert(key.to_owned(), Range { start, length: member.size });
            }
        }
        Self::new(input, &values, root, storages)
    }

    /// The legacy form, or a plain pickle, which is refused.
    pub(crate) fn open_legacy(input: Input) -> Result<Self, Problem> {
        let mut values = Values::default();
        let mut reader = BufReader::new(input);
        let magic = pickle::read(&mut reader, &mut values)?;
        if !matches!(values.get(magic), Node::Text(digits) if digits == MAGIC) {
            return Err(Problem::Refused("it is a pickle that torch.save did not write".into()));
        }
        let version = pickle::read(&mut reader, &mut values)?;
        if !matches!(values.get(version), Node::Int(VERSION)) {
            return Err(Problem::Refused(format!("its legacy form is not of version {VERSION}")));
        }
        let system = pickle::read(&mut reader, &mut values)?;
        if !little_endian(&values, system) {
            return Err(big_endian());
        }
        let root = pickle::read(&mut reader, &mut values)?;
        let keys = pickle::read(&mut reader, &mut values)?;
        let mut at = reader.stream_position()?;
        let mut input = reader.into_inner();
        let mut storages = HashMap::new();
        let Node::List(keys) = values.get(keys) else {
            return Err(Problem::damaged("the names of its storages are no list"));
        };
        let sizes = storage::sizes(&values);
        for &key in keys {
            let (Node::Text(key), Some(size)) =
                (values.get(key), storage::key(&values, key).and_then(|k| sizes.get(k)))
            else {
                return Err(Problem::damaged("it names a storage that none of its tensors uses"));
            };
            let count = Fields::new(&input.at(at, 8)?).u64()?;
            let length = count.saturating_mul(*size as u64);
            input.holds(at + 8, length)?;
            storages.insert(key.clone(), Range { start: at + 8, length });
            at += 8 + length;
        }
        Self::new(input, &values, root, storages)
    }

    fn new(
        input: Input,
        values: &Values,
        root: Id,
        storages: HashMap<String, Range>,
    ) -> Result<Self, Problem> {
        let state::State { tensors: found, texts } = state::find(values, root)?;
        let (mut tensors, mut views) = (Vec::new(), Vec::new());
        let mut names = std::collections::HashSet::new();
        for (name, view) in found {
            if !names.insert(name.clone()) {
                return Err(Problem::damaged(format!("`{name}` is in it twice")));
            }
            storage::check(&name, view, &storages)?;
            let shape = view.shape.iter().map(|&extent| usize::try_from(extent)).collect::<Result<_, _>>();
            let shape =
                shape.map_err(|_| Problem::damaged(format!("`{name}` claims a shape beyond any memory")))?;
            tensors.push(Tensor { name, dtype: view.storage.dtype, shape });
            views.push(Rc::clone(view));
        }
        Ok(Pytorch { input, tensors, views, storages, texts })
    }
}

fn little_endian(values: &Values, system: Id) -> bool {
    let Node::Dict(pairs) = values.get(system) else { return true };
    !pairs.iter().any(|&(key, value)| {
        matches!(values.get(key), Node::Text(name) if name == "little_endian")
            && matches!(values.get(value), Node::Bool(false))
    })
}

fn big_endian() -> Problem {
    Problem::Refused(
        "its values are big endian: load it with PyTorch on a common machine and save it again".into(),
    )
}

impl Source for Pytorch {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&mut self, index: usize, to: &mut Vec<u8>) -> Result<(), Problem> {
        let view = &self.views[index];
        storage::read(&mut self.input, view, self.storages[&view.storage.key], to)
    }

    fn texts(&self) -> &[(String, String)] {
        &self.texts
    }
}
