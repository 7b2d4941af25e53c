//! What is known of objects without asking again: sizes and ETags, by folder and name.

use std::collections::{BTreeMap, HashMap};

use object_store::ObjectMeta;

use super::address::Address;

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) size: u64,
    pub(super) tag: Option<Box<str>>,
}

impl Meta {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Meta { size: meta.size, tag: meta.e_tag.as_deref().map(Box::from) }
    }
}

/// What a name in a folder stands for; an object, too, where there is a size.
#[derive(Debug, Default)]
struct Node {
    is_folder: bool,
    file: Option<Meta>,
}

/// Everything that was listed or asked for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By the URL of the folder.
    folders: HashMap<String, BTreeMap<String, Node>>,
    /// URLs below which everything is known.
    roots: Vec<String>,
}

impl Listing {
    /// Whether everything at and below `url` is known.
    pub(super) fn covers(&self, url: &str) -> bool {
        let is_below = |root: &String| {
            url.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.roots.iter().any(is_below)
    }

    pub(super) fn has_folder(&self, url: &str) -> bool {
        self.folders.contains_key(url) && self.covers(url)
    }

    /// What is in a folder.
    pub(super) fn names(&self, url: &str) -> impl Iterator<Item = &str> {
        self.folders.get(url).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// An object that is no folder.
    pub(super) fn file(&self, address: &Address) -> Option<Meta> {
        let url = address.url();
        let (folder, name) = url.rsplit_once('/')?;
        let node = self.folders.get(folder)?.get(name)?;
        node.file.clone().filter(|_| !node.is_folder)
    }

    pub(super) fn add_file(&mut self, address: &Address, meta: Meta) {
        let url = address.url();
        if let Some((folder, name)) = url.rsplit_once('/') {
            self.folders.entry(folder.into()).or_default().entry(name.into()).or_default().file = Some(meta);
        }
    }

    /// All objects below `root`; an error if one is called like a folder, for it would be hidden by it.
    pub(super) fn add_folder(&mut self, root: &Address, objects: &[ObjectMeta]) -> Result<(), String> {
        let top = root.url();
        for object in objects {
            let key = object.location.to_string();
            let address = Address { key, ..root.clone() };
            self.add_file(&address, Meta::of(object));
            self.add_folders_of(&address.url(), &top);
        }
        for (folder, nodes) in &self.folders {
            // An empty object marks a folder in consoles that show such.
            let hidden = |node: &Node| node.is_folder && node.file.as_ref().is_some_and(|meta| meta.size > 0);
            if let Some((name, _)) = nodes.iter().find(|(_, node)| hidden(node)) {
                return Err(format!("{folder}/{name} is an object and a folder: rename one of them"));
            }
        }
        if !objects.is_empty() {
            self.roots.push(top);
        }
        Ok(())
    }

    /// The folders from `url` up to `top`, or up to one that is there already.
    fn add_folders_of(&mut self, url: &str, top: &str) {
        let mut below = url;
        while let Some((folder, _)) = below.rsplit_once('/').filter(|(folder, _)| folder.len() > top.len()) {
            let Some((above, name)) = folder.rsplit_once('/') else { return };
            let node = self.folders.entry(above.into()).or_default().entry(name.into()).or_default();
            if std::mem::replace(&mut node.is_folder, true) {
                return;
            }
            below = folder;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn object(key: &str, size: u64) -> ObjectMeta {
        let (e_tag, version) = (Some(format!("\"{key}\"")), None);
        ObjectMeta { location: key.into(), last_modified: Default::default(), size, e_tag, version }
    }

    #[test]
    fn keys_become_folders_below_what_was_listed() {
        let mut listing = Listing::default();
        let root = Address::parse(Path::new("s3://b/data")).unwrap();
        let keys = ["data/train", "data/train/a/1.jpg", "data/train/a/2.jpg", "data/x.txt"];
        let sizes = [0, 7, 8, 9];
        let objects: Vec<_> = keys.iter().zip(sizes).map(|(key, size)| object(key, size)).collect();
        listing.add_folder(&root, &objects).unwrap();
        let names = |url| listing.names(url).collect::<Vec<_>>();
        assert_eq!(names("s3://b/data"), ["train", "x.txt"]);
        assert_eq!(names("s3://b/data/train"), ["a"]);
        assert_eq!(names("s3://b/data/train/a"), ["1.jpg", "2.jpg"]);
        assert!(listing.has_folder("s3://b/data/train/a") && !listing.has_folder("s3://b/data/x.txt"));
        assert!(
            !listing.covers("s3://b/data2") && !listing.covers("s3://b") && listing.covers("s3://b/data/q")
        );
        let file = |url: &str| listing.file(&Address::parse(Path::new(url)).unwrap());
        assert_eq!(file("s3://b/data/train/a/2.jpg").unwrap().size, 8);
        assert_eq!(file("s3://b/data/train"), None, "a marker");
    }

    #[test]
    fn an_object_behind_a_folder_of_its_name_is_not_lost() {
        let root = Address::parse(Path::new("s3://b")).unwrap();
        let objects = [object("a", 5), object("a/1.jpg", 7)];
        let problem = Listing::default().add_folder(&root, &objects).unwrap_err();
        assert!(problem.starts_with("s3://b/a is an object and a folder"), "{problem}");
    }
}
