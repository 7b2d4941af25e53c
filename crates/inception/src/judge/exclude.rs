//! Pictures that are not to be judged, by a list of them.
//!
//! A line is the path of a picture as DATA has it, with or without what DATA is called, or the name of its file, each with or without its
//! extension; of ImageNet's validation pictures the number will do, 12 for `ILSVRC2012_val_00000012`, as in the devkit's
//! `ILSVRC2014_clsloc_validation_blacklist.txt`. Empty lines are none. Every line stands for one picture.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result};

use crate::data::{Dataset, validation_name};
use crate::exit::BadData;
use crate::progress::counted;

/// Lines shown in a message.
const SHOWN: usize = 10;

/// What a line stands for.
#[derive(Clone, Copy)]
enum Found {
    One(usize),
    Several,
}

/// `data` without the pictures that the file `list` names, and how many these are.
pub fn exclude(data: Dataset, list: &Path) -> Result<(Dataset, usize)> {
    let text = std::fs::read_to_string(list).with_context(|| format!("reading {}", list.display()))?;
    let excluded = find(&data, &text).map_err(|problem| BadData(format!("{}: {problem}", list.display())))?;
    if excluded.len() == data.samples.len() {
        let message = format!("{}: excludes every picture of {}", list.display(), data.root.display());
        return Err(BadData(message).into());
    }
    let kept = data.filtered(|i| !excluded.contains(&i));
    Ok((kept, excluded.len()))
}

/// Indices of the pictures that the lines of `text` name.
fn find(data: &Dataset, text: &str) -> Result<BTreeSet<usize>, String> {
    let named = names(data);
    let (mut found, mut unknown, mut ambiguous) = (BTreeSet::new(), Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let numbered = || named.get(&validation_name(line.parse().ok()?));
        match named.get(line.trim_start_matches("./")).or_else(numbered) {
            Some(Found::One(index)) => _ = found.insert(*index),
            Some(Found::Several) => ambiguous.push(line),
            None => unknown.push(line),
        }
    }
    let shown = |lines: &[&str]| match lines.len().saturating_sub(SHOWN) {
        0 => lines.join(", "),
        more => format!("{} and {more} more", lines[..SHOWN].join(", ")),
    };
    match (&unknown[..], &ambiguous[..]) {
        ([], []) => Ok(found),
        ([], lines) => Err(format!(
            "{} with several pictures each: {}; give their paths below {}",
            counted(lines.len(), "line"),
            shown(lines),
            data.root.display()
        )),
        (lines, _) => Err(format!(
            "{} without a picture in {}: {}; expected names of its pictures, or numbers of ImageNet's validation pictures",
            counted(lines.len(), "line"),
            data.root.display(),
            shown(lines)
        )),
    }
}

/// All that the pictures may be called.
fn names(data: &Dataset) -> HashMap<String, Found> {
    let mut named = HashMap::new();
    for (index, sample) in data.samples.iter().enumerate() {
        let path = sample.picture.path();
        let below = data.below(path);
        let file = Path::new(path.file_name().unwrap_or_default());
        let paths = [path, below, file].map(|path| [path.to_path_buf(), path.with_extension("")]);
        let paths = paths.concat().into_iter().map(|path| path.to_string_lossy().into_owned());
        for name in paths.collect::<BTreeSet<String>>() {
            named.entry(name).and_modify(|found| *found = Found::Several).or_insert(Found::One(index));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Picture, Sample};

    fn data(paths: &[&str]) -> Dataset {
        let sample = |path: &&str| Sample { picture: Picture::File(Path::new("d").join(path)), label: 0 };
        Dataset {
            root: "d".into(),
            classes: vec!["a".into()],
            samples: paths.iter().map(sample).collect(),
            ignored: Vec::new(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_picture_has_many_names() {
        let data = data(&["a/x.y.jpg", "b/2.png", "b/ILSVRC2012_val_00000012.JPEG"]);
        for (line, index) in [
            ("a/x.y.jpg", 0),
            ("d/a/x.y.jpg", 0),
            ("./a/x.y.jpg", 0),
            ("x.y.jpg", 0),
            ("a/x.y", 0),
            ("x.y", 0),
            ("2", 1),
            ("12", 2),
            ("00012", 2),
            (" ILSVRC2012_val_00000012 ", 2),
            ("ILSVRC2012_val_00000012.JPEG", 2),
        ] {
            assert_eq!(find(&data, line), Ok(BTreeSet::from([index])), "{line}");
        }
        assert_eq!(find(&data, "12\r\n\r\nx.y\n12\n"), Ok(BTreeSet::from([0, 2])));
    }

    #[test]
    fn every_line_is_one_picture() {
        let data = data(&["a/1.png", "b/1.png", "b/2.png"]);
        let error = find(&data, "1.png\n2.png").expect_err("refused");
        assert!(error.contains("1 line with several pictures each: 1.png"), "{error}");
        assert_eq!(find(&data, "a/1.png"), Ok(BTreeSet::from([0])));
        let lines: Vec<String> = (3..30).map(|i| i.to_string()).collect();
        let error = find(&data, &lines.join("\n")).expect_err("refused");
        assert!(error.starts_with("27 lines without a picture in d: "), "{error}");
        assert!(error.contains("3, 4, 5") && error.contains("and 17 more"), "{error}");
    }
}
