//! Files that were published, and the accuracy that their publishers report (ILSVRC-2012 validation, single crop).
//!
//! A line of the table is a file's name, its digest where one is known, layout, network, classes, accuracy. The digest is
//! the beginning of SHA-256, which PyTorch's file names end in, or MD5, which Keras checks.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use inception_graph::Layout;
use md5::Md5;
use sha2::{Digest, Sha256};

const TABLE: &str = include_str!("published.tsv");

/// A published file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// `sha256:` or `md5:` and digits; empty where none is known.
    digest: &'static str,
    layout: &'static str,
    net: &'static str,
    classes: &'static str,
    /// What its publishers report.
    pub accuracy: &'static str,
}

fn all() -> impl Iterator<Item = Published> {
    TABLE.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, digest, layout, net, classes, accuracy] = fields[..] else { panic!("six fields: {line}") };
        Published { name, digest, layout, net, classes, accuracy }
    })
}

/// Everything that was published of `net` in `layout` with that many classes.
pub fn of(layout: Layout, net: &str, classes: usize) -> impl Iterator<Item = Published> {
    let classes = classes.to_string();
    all().filter(move |p| (p.layout, p.net) == (layout.name(), net) && p.classes == classes)
}

/// What a file is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// MD5 in hexadecimal.
    pub md5: String,
}

impl Digests {
    /// Of the file at `path`; `None` where that is the name of a checkpoint of several files.
    pub fn of(path: &Path) -> io::Result<Option<Digests>> {
        if !path.is_file() {
            return Ok(None);
        }
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            sha256.update(&buffer[..n]);
            md5.update(&buffer[..n]);
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Some(Digests { sha256: hex(&sha256.finalize()), md5: hex(&md5.finalize()) }))
    }

    /// The published file that has them.
    pub fn published(&self) -> Option<Published> {
        all().find(|p| match p.digest.split_once(':') {
            Some(("sha256", start)) => self.sha256.starts_with(start),
            Some((_, md5)) => self.md5 == md5,
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use inception_graph::find;

    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let digests = Digests::of(file.path()).unwrap().unwrap();
        assert_eq!(digests.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digests.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(digests.published(), None);
    }

    #[test]
    fn a_checkpoint_of_several_files_has_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.ckpt.index"), "abc").unwrap();
        assert_eq!(Digests::of(&folder.path().join("model.ckpt")).unwrap(), None);
    }

    #[test]
    fn every_digest_of_the_table_tells_its_own_file() {
        let other = || Digests { sha256: "0".repeat(64), md5: "0".repeat(32) };
        let mut told = 0;
        for p in all().filter(|p| !p.digest.is_empty()) {
            let (kind, digits) = p.digest.split_once(':').unwrap();
            assert!(digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", p.name);
            let digests = match (kind, digits.len()) {
                ("sha256", 8) => {
                    assert!(p.name.contains(&format!("-{digits}.")), "{}", p.name);
                    Digests { sha256: format!("{digits:f<64}"), ..other() }
                }
                ("md5", 32) => Digests { md5: digits.into(), ..other() },
                other => panic!("{}: {other:?}", p.name),
            };
            assert_eq!(digests.published(), Some(p));
            told += 1;
        }
        assert!(told >= 13, "{told}");
        assert_eq!(other().published(), None);
    }

    #[test]
    fn every_file_is_of_a_network_in_its_layout() {
        for p in all() {
            let layout = Layout::find(p.layout).unwrap_or_else(|| panic!("{}", p.name));
            assert!(layout.nets().contains(&p.net) && find(p.net).is_ok(), "{}", p.name);
            let classes: usize = p.classes.parse().unwrap();
            assert!(of(layout, p.net, classes).any(|other| other == p), "{}", p.name);
        }
    }

    #[test]
    fn only_files_of_as_many_classes_are_named() {
        let names = |classes| of(Layout::Torchvision, "inception_v3.torchvision", classes).map(|p| p.name);
        let thousand_and_one: Vec<_> = names(1001).collect();
        assert_eq!(thousand_and_one, ["tf_inception_v3-e0069de4.pth", "adv_inception_v3-9e27bd63.pth"]);
        assert_eq!(names(2).count(), 0);
    }
}
