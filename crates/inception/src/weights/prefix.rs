//! What a training program puts in front of every name: `module.`, `_orig_mod.module.`, `net.encoder.`, `tower_0/`.
//!
//! ```text
//! _orig_mod.model.Conv2d_1a_3x3.conv.weight ─ the longest ending that some layout knows ─▶ a vote for `_orig_mod.model.`
//! ```

use std::collections::{HashMap, HashSet};

use inception_graph::{Layout, Spec, build};

/// Most components of a prefix.
const LONGEST: usize = 8;

/// Takes the prefix with most votes off `names`, in place; the prefix, where there is one, and which names lie outside.
/// A name outside that a layout knows, such as that of a new head, stands as it is.
pub(super) fn take_off(names: &mut [String]) -> Option<(String, Vec<bool>)> {
    let known = known();
    let prefix = most_voted(names, &known).filter(|prefix| !prefix.is_empty())?.to_string();
    let inside: HashSet<String> =
        names.iter().filter_map(|name| name.strip_prefix(&prefix)).map(String::from).collect();
    let mut outside = vec![false; names.len()];
    for (name, outside) in names.iter_mut().zip(&mut outside) {
        match name.strip_prefix(&prefix) {
            Some(rest) => *name = rest.into(),
            None => *outside = !known.contains(name) || inside.contains(name),
        }
    }
    Some((prefix, outside))
}

/// The names of every network in every layout.
fn known() -> HashSet<String> {
    let nets = Layout::ALL.into_iter().flat_map(|layout| layout.nets().iter().map(move |&net| (layout, net)));
    let names = nets.filter_map(|(layout, net)| Some(layout.names(&build(&Spec::new(net)).ok()?)));
    names.flatten().flatten().map(|foreign| foreign.name).collect()
}

/// Of several with as many votes the one that comes first.
fn most_voted<'a>(names: &'a [String], known: &HashSet<String>) -> Option<&'a str> {
    let mut votes: HashMap<&str, (usize, usize)> = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        let starts = std::iter::once(0).chain(name.match_indices(['.', '/']).map(|(at, _)| at + 1));
        if let Some(start) = starts.take(LONGEST + 1).find(|&start| known.contains(&name[start..])) {
            votes.entry(&name[..start]).or_insert((0, usize::MAX - place)).0 += 1;
        }
    }
    votes.into_iter().max_by_key(|&(_, votes)| votes).map(|(prefix, _)| prefix)
}
