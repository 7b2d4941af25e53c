//! Finding and decoding pictures, and everything that can be wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use inception::data::files::list_pictures;
use inception::data::folder::{Division, divide, open_single, open_splits};
use inception::data::{DataError, Dataset};
use tempfile::TempDir;

fn picture(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let pixel = |x, y| image::Rgb([x * seed, y * (seed + 3), x + y].map(|v: u32| (v % 256) as u8));
    image::RgbImage::from_fn(20, 14, pixel).save(path).expect("saved");
}

/// `train` and `val` with these numbers of pictures a class.
fn tree(splits: &[(&str, &[(&str, u32)])]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (split, classes) in splits {
        for (class, count) in *classes {
            fs::create_dir_all(dir.path().join(split).join(class)).expect("created");
            (0..*count)
                .for_each(|i| picture(&dir.path().join(split).join(class).join(format!("{i}.png")), i + 1));
        }
    }
    dir
}

fn message<T>(result: Result<T, DataError>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn labels_follow_names_in_both_splits() {
    let dir = tree(&[("train", &[("b", 2), ("a", 3), ("C", 1)]), ("val", &[("C", 1), ("a", 1), ("b", 2)])]);
    let splits = open_splits(dir.path(), None, 1).expect("valid");
    assert_eq!(splits.train.classes, ["C", "a", "b"], "sorted by bytes");
    assert_eq!(splits.val.classes, splits.train.classes);
    assert_eq!((splits.train.counts(), splits.val.counts()), (vec![1, 3, 2], vec![1, 1, 2]));
    for sample in splits.train.samples.iter().chain(&splits.val.samples) {
        let class = &splits.train.classes[sample.label as usize];
        assert!(sample.picture.name().contains(&format!("/{class}/")), "{sample:?}");
    }
}

#[test]
fn splits_that_disagree_are_shown_in_a_table() {
    let missing = tree(&[("train", &[("a", 1), ("b", 1), ("c", 1)]), ("val", &[("a", 1), ("c", 1)])]);
    let text = message(open_splits(missing.path(), None, 1));
    assert!(text.contains("b      known     no picture  1 picture in train"), "{text}");
    assert!(text.contains("give both splits the same class folders"), "{text}");
    let extra = tree(&[("train", &[("a", 1), ("b", 1)]), ("val", &[("a", 1), ("b", 1), ("dog", 1)])]);
    let text = message(open_splits(extra.path(), None, 1));
    assert!(text.contains("dog    unknown   1 picture"), "{text}");

    let val = open_single(missing.path()).expect("valid");
    let names: Vec<String> = ["a", "b", "c"].map(String::from).into();
    assert!(val.clone().join(&names, |_| false).is_err());
    let joined = val.join(&names, |_| true).expect("allowed");
    assert_eq!(joined.counts(), [1, 0, 1], "labels are the authority's, not the folder's");
}

/// Missing, empty and unknown classes at once; what is left is what a folder without them would hold.
#[test]
fn splits_that_disagree_are_joined_by_name_on_request() {
    let train = ("train", &[("a", 2), ("b", 2), ("c", 2), ("e", 2)][..]);
    let dir = tree(&[train, ("val", &[("aa", 3), ("b", 2), ("c", 0), ("dog", 0), ("e", 1)])]);
    let allow_missing = true;
    let splits = divide(dir.path(), Division { allow_missing, ..Division::default() }).expect("allowed");
    assert_eq!(splits.val.classes, splits.train.classes);
    assert_eq!((splits.val.counts(), splits.val.empty_classes()), (vec![0, 2, 0, 1], vec!["a", "c"]));
    let names: Vec<String> = splits.val.samples.iter().map(|sample| sample.picture.name()).collect();
    assert!(names.iter().zip(["/b/", "/b/", "/e/"]).all(|(name, class)| name.contains(class)), "{names:?}");
    let left_out: Vec<_> =
        splits.left_out.iter().map(|class| (class.class.as_str(), class.pictures)).collect();
    assert_eq!(left_out, [("aa", 3), ("dog", 0)]);

    let none = tree(&[train, ("val", &[("dog", 1), ("cow", 1)])]);
    let text = message(divide(none.path(), Division { allow_missing, ..Division::default() }));
    assert!(text.contains("dog    unknown   1 picture") && text.contains("not one picture"), "{text}");
}

#[test]
fn layouts_that_cannot_be_trained_on_say_why() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    assert!(message(open_splits(empty.path(), None, 1)).contains("is empty"));
    let one = tree(&[("train", &[("only", 2)]), ("val", &[("only", 1)])]);
    assert!(message(open_splits(one.path(), None, 1)).contains("one class only, `only`"));
    let hollow = tree(&[("train", &[("a", 2), ("b", 0)]), ("val", &[("a", 1)])]);
    assert!(message(open_splits(hollow.path(), None, 1)).contains("class folders without a picture: b"));
    let no_val = tree(&[("train", &[("a", 2), ("b", 2)])]);
    assert!(message(open_splits(no_val.path(), None, 1)).contains("--val-split 0.1"));
    let flat = tree(&[("", &[("a", 2), ("b", 2)])]);
    assert!(message(open_splits(flat.path(), None, 1)).contains("--val-split 0.1"));
    assert!(message(open_splits(flat.path(), Some(1.5), 1)).contains("--val-split 1.5 is not a share"));
    assert!(message(open_splits(&flat.path().join("nowhere"), None, 1)).contains("nowhere"));
    assert!(message(open_splits(&flat.path().join("a/0.png"), None, 1)).contains("is a file"));
    let loose = flat.path().join("a");
    assert!(message(open_splits(&loose, None, 1)).contains("2 pictures but no class folders"));
    let single = tree(&[("", &[("a", 1), ("b", 5)])]);
    assert!(message(open_splits(single.path(), Some(0.2), 1)).contains("class `a` has 1 picture"));
}

#[test]
fn a_share_of_each_class_is_held_out() {
    let dir = tree(&[("", &[("a", 10), ("b", 20), ("c", 2)])]);
    let split = |seed| {
        let splits = open_splits(dir.path(), Some(0.2), seed).expect("valid");
        assert_eq!((splits.train.counts(), splits.val.counts()), (vec![8, 16, 1], vec![2, 4, 1]));
        splits.val.samples.iter().map(|s| s.picture.name()).collect::<Vec<_>>()
    };
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
}

#[test]
fn files_that_are_no_pictures_are_counted_and_hidden_ones_skipped() {
    let dir = tree(&[("", &[("a", 2), ("b", 1)])]);
    fs::write(dir.path().join("a/notes.txt"), "x").expect("written");
    fs::write(dir.path().join("readme.md"), "x").expect("written");
    fs::write(dir.path().join("a/.DS_Store"), "x").expect("written");
    picture(&dir.path().join("b/deeper/UPPER.PNG"), 1);
    let data = open_single(dir.path()).expect("valid");
    assert_eq!((data.counts(), data.ignored.len()), (vec![2, 2], 2));
    let listed = list_pictures(&[dir.path().into(), PathBuf::from("missing.jpg")]).expect("listed");
    assert_eq!(listed.len(), 5, "four pictures, and the missing file that its reader will report");
    assert!(
        message(list_pictures(&[tempfile::tempdir().expect("a folder").path().into()])).contains("no .jpg")
    );
}

/// ImageNet's folders are called by synset, a published network's classes by name; with 1001 classes all stand one further.
#[test]
fn synsets_are_joined_with_imagenets_names() {
    let sample =
        |label| inception::data::Sample { picture: inception::data::Picture::File("x.png".into()), label };
    let data = |classes: [&str; 2]| Dataset {
        root: "val".into(),
        classes: classes.map(String::from).into(),
        samples: vec![sample(0), sample(1)],
        groups: Vec::new(),
        ignored: vec![],
    };
    let labels = |classes, count| {
        let names = inception::weights::imagenet::names(count);
        let joined = data(classes).join(&names, |_| true).map_err(|e| e.to_string())?;
        Ok::<_, String>(joined.samples.iter().map(|s| s.label).collect::<Vec<_>>())
    };
    assert_eq!(labels(["n15075141", "n01440764"], 1000), Ok(vec![999, 0]));
    assert_eq!(labels(["n15075141", "n01440764"], 1001), Ok(vec![1000, 1]));
    assert_eq!(labels(["toilet tissue", "tench"], 1000), Ok(vec![999, 0]));
    assert!(labels(["n15075141", "n99999999"], 1000).is_err());
}
