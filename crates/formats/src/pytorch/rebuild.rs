//! Stand-ins for the few functions that a checkpoint calls.
//!
//! ```text
//! ('storage', FloatStorage, key, device, count) ─▶ Storage ─ _rebuild_tensor_v2(storage, offset, shape, strides, …) ─▶ View
//! ```

use std::rc::Rc;

use super::value::{Function, Id, Node, Storage, Values, View};
use crate::Problem;

/// Highest rank of a tensor; PyTorch's own limit is 64, and a convolution has four.
const HIGHEST_RANK: usize = 16;

/// What the owner of a file with more than weights can do.
pub(crate) const ADVICE: &str =
    "where it is trusted, load it in Python and save only the weights: torch.save(model.state_dict(), PATH)";

/// `function(*arguments)`.
pub(crate) fn call(values: &mut Values, function: Id, arguments: Id) -> Result<Id, Problem> {
    let function = match values.get(function) {
        Node::Function(function) => *function,
        Node::Foreign(name) => return Err(code(name)),
        _ => return Err(Problem::damaged("its pickle calls something that is no function")),
    };
    let Node::Tuple(arguments) = values.get(arguments) else {
        return Err(Problem::damaged("its pickle calls a function with arguments that are no tuple"));
    };
    let first = arguments.first().map(|&id| (id, values.get(id)));
    let made = match function {
        Function::Plain => Node::Plain,
        Function::Parameter => match first {
            Some((id, Node::Tensor(_))) => return Ok(id),
            _ => return Err(Problem::damaged("it has a parameter that is no tensor")),
        },
        Function::Tensor => Node::Tensor(Rc::new(tensor(values, arguments)?)),
        // Items come later, by SETITEMS, but for a list of pairs that Python 2 wrote.
        Function::Dict => match first {
            // `defaultdict(list)`: what it makes of missing keys.
            None | Some((_, Node::Function(_))) => Node::Dict(Vec::new()),
            Some((id, Node::Dict(_))) => return Ok(id),
            Some((_, Node::List(items))) => {
                Node::Dict(items.iter().map(|&item| pair(values, item)).collect::<Result<_, _>>()?)
            }
            Some(_) => {
                return Err(Problem::damaged(
                    "it has a dictionary made of something that is no list of pairs",
                ));
            }
        },
        Function::Sequence => match first {
            None => Node::Tuple(Vec::new()),
            Some((id, Node::List(_) | Node::Tuple(_))) => return Ok(id),
            Some(_) => {
                return Err(Problem::damaged("it has a set or a size made of something that is no list"));
            }
        },
    };
    Ok(values.push(made))
}

fn pair(values: &Values, item: Id) -> Result<(Id, Id), Problem> {
    match values.get(item) {
        Node::List(both) | Node::Tuple(both) if both.len() == 2 => Ok((both[0], both[1])),
        _ => Err(Problem::damaged("it has a dictionary with an item that is no pair")),
    }
}

/// `object.__setstate__(…)`: the metadata of a state dictionary and what is plain are let go, anything else is not known.
pub(crate) fn set_state(values: &Values, object: Id) -> Result<(), Problem> {
    match values.get(object) {
        Node::Dict(_) | Node::Plain => Ok(()),
        _ => Err(Problem::damaged("its pickle sets the state of something that has none")),
    }
}

/// The refusal of a call of `name`.
pub(crate) fn code(name: &str) -> Problem {
    Problem::Refused(format!("the file wants to run code: `{name}`; {ADVICE}"))
}

/// `class.__new__(class, …)`.
pub(crate) fn instance(values: &Values, class: Id) -> Result<Node, Problem> {
    match values.get(class) {
        Node::Function(Function::Plain) => Ok(Node::Plain),
        Node::Foreign(name) => Err(whole_model(name)),
        _ => Err(Problem::damaged("its pickle makes an object of something that is no class")),
    }
}

fn whole_model(name: &str) -> Problem {
    Problem::Refused(format!(
        "it holds an object of the class `{name}`, for example a whole model, which is code and not only weights; {ADVICE}"
    ))
}

fn integer(values: &Values, id: Option<&Id>) -> Option<u64> {
    match values.get(*id?) {
        Node::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

fn integers(values: &Values, id: Option<&Id>) -> Option<Vec<u64>> {
    match values.get(*id?) {
        Node::Tuple(items) | Node::List(items) if items.len() <= HIGHEST_RANK => {
            items.iter().map(|item| integer(values, Some(item))).collect()
        }
        _ => None,
    }
}

/// The object behind a persistent id, which in PyTorch's pickles is a storage.
pub(crate) fn persistent(values: &Values, id: Id) -> Result<Node, Problem> {
    let Node::Tuple(parts) = values.get(id) else {
        return Err(Problem::damaged("its pickle refers to something outside by what is no tuple"));
    };
    let part = |at: usize| parts.get(at).map(|&id| values.get(id));
    match (part(0), part(1), part(2)) {
        (Some(Node::Text(kind)), Some(Node::StorageClass(dtype)), Some(key)) if kind == "storage" => {
            let key = match key {
                Node::Text(key) => key.clone(),
                Node::Int(key) => key.to_string(),
                _ => return Err(Problem::damaged("it has a storage without a name")),
            };
            let count = integer(values, parts.get(4))
                .ok_or_else(|| Problem::damaged(format!("storage `{key}` has no number of values")))?;
            let (first, count) = match part(5) {
                Some(Node::Tuple(view)) => {
                    match (integer(values, view.get(1)), integer(values, view.get(2))) {
                        (Some(first), Some(length))
                            if first.checked_add(length).is_some_and(|end| end <= count) =>
                        {
                            (first, length)
                        }
                        _ => {
                            return Err(Problem::damaged(format!(
                                "storage `{key}` is a view beyond its end"
                            )));
                        }
                    }
                }
                _ => (0, count),
            };
            Ok(Node::Storage(Rc::new(Storage { key, dtype: *dtype, first, count })))
        }
        (Some(Node::Text(kind)), Some(Node::Foreign(name)), _) if kind == "storage" => {
            Err(Problem::Refused(format!("it has values of the type `{name}`, which no network here uses")))
        }
        (Some(Node::Text(kind)), Some(Node::Foreign(name)), _) if kind == "module" => Err(whole_model(name)),
        _ => Err(Problem::damaged("its pickle refers to something outside that is no storage")),
    }
}

/// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
fn tensor(values: &Values, arguments: &[Id]) -> Result<View, Problem> {
    let storage = match arguments.first().map(|&id| values.get(id)) {
        Some(Node::Storage(storage)) => Rc::clone(storage),
        _ => return Err(Problem::damaged("it has a tensor without a storage")),
    };
    let offset = integer(values, arguments.get(1));
    let (shape, strides) = (integers(values, arguments.get(2)), integers(values, arguments.get(3)));
    let (Some(offset), Some(shape), Some(strides)) = (offset, shape, strides) else {
        return Err(Problem::damaged(format!(
            "a tensor in storage `{}` has no offset, shape and strides",
            storage.key
        )));
    };
    if shape.len() != strides.len() {
        return Err(Problem::damaged(format!(
            "a tensor has {} extents and {} strides",
            shape.len(),
            strides.len()
        )));
    }
    let view = View { offset, shape, strides, storage };
    match view.end() {
        Some(end) if end <= view.storage.count => {
            let first = view.storage.first;
            Ok(View { offset: view.offset.saturating_add(first), ..view })
        }
        _ => Err(Problem::damaged(format!(
            "a tensor of shape {:?} lies beyond the {} values of its storage `{}`",
            view.shape, view.storage.count, view.storage.key
        ))),
    }
}

impl View {
    /// One after its last value, 0 where it has none; `None` beyond any memory.
    pub(crate) fn end(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let reach = self.shape.iter().zip(&self.strides).try_fold(self.offset, |end, (extent, stride)| {
            end.checked_add((extent - 1).checked_mul(*stride)?)
        });
        reach?.checked_add(1)
    }
}
