//! Data as it is found in the world: names that lie, links in circles, classes called `train`.

use std::fs;
use std::path::{Path, PathBuf};

use inception::data::files::list_pictures;
use inception::data::folder::{open_single, open_splits};
use inception_pictures::Options;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures/tests/fixtures").join(name))
        .expect("a fixture")
}

fn class(dir: &Path, name: &str, count: usize) {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).expect("created");
    (0..count).for_each(|i| fs::write(folder.join(format!("{i}.jpg")), "").expect("written"));
}

#[test]
fn content_decides_and_not_the_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (png, jpg) = (dir.path().join("really-png.jpg"), dir.path().join("really-jpeg.png"));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(1, 1, image::Rgb([9, 8, 7]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("encoded");
    fs::write(&png, bytes.into_inner()).expect("written");
    fs::write(&jpg, fixture("size_31x33.jpg")).expect("written");
    let decode = |path: PathBuf| {
        inception::data::decode::decode(&inception::data::Picture::File(path), Options::VIEWER)
    };
    assert_eq!(decode(png).expect("a PNG").pixels, [9, 8, 7]);
    assert_eq!(decode(jpg).expect("a JPEG").width, 31);
    let error = decode(dir.path().join("none.jpg")).expect_err("no such file").to_string();
    assert!(error.contains("none.jpg"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = dir.path().join("data");
    class(dir.path(), "elsewhere", 3);
    class(&root, "cat", 2);
    symlink(dir.path().join("elsewhere"), root.join("dog")).expect("linked");
    symlink(dir.path().join("elsewhere/0.jpg"), root.join("cat/linked.jpg")).expect("linked");
    let data = open_single(&root).expect("valid");
    assert_eq!((data.classes.clone(), data.counts()), (vec!["cat".into(), "dog".into()], vec![3, 3]));
    symlink(&root, root.join("cat/again")).expect("linked");
    let error = open_single(&root).expect_err("a circle").to_string();
    assert!(error.contains("again") && error.contains("remove the link"), "{error}");
    assert!(list_pictures(&[root]).is_err());
}

#[test]
fn split_folders_go_by_many_names() {
    for (train, val) in
        [("Train", "Valid"), ("training", "validation"), ("TRAIN", "test"), ("train", "Testing")]
    {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for split in [train, val] {
            ["a", "b"].iter().for_each(|c| class(&dir.path().join(split), c, 2));
        }
        let splits = open_splits(dir.path(), None, 1).expect("valid");
        assert_eq!((splits.train.classes.len(), splits.val.counts()), (2, vec![2, 2]), "{train}, {val}");
        assert!(
            splits.val.root.ends_with(val) && open_single(dir.path()).expect("valid").root.ends_with(val)
        );
        assert!(
            open_splits(dir.path(), Some(0.5), 1)
                .expect_err("ambiguous")
                .to_string()
                .contains("leave it out")
        );
    }
}

#[test]
fn a_class_may_be_called_train() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    ["bus", "car", "train"].iter().for_each(|c| class(dir.path(), c, 4));
    let splits = open_splits(dir.path(), Some(0.25), 1).expect("valid");
    assert_eq!(
        (splits.train.classes, splits.val.samples.len()),
        (["bus", "car", "train"].map(String::from).into(), 3)
    );
}

#[test]
fn empty_and_misspelt_classes_are_in_the_table() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    ["rose", "tulip", "violet"].iter().for_each(|c| class(&dir.path().join("train"), c, 2));
    [("Rose", 1), ("tulip", 0), ("violet", 1)]
        .iter()
        .for_each(|(c, n)| class(&dir.path().join("val"), c, *n));
    let error = open_splits(dir.path(), None, 1).expect_err("they disagree").to_string();
    for row in [
        "class  train     val",
        "rose   known     no picture  2 pictures in train",
        "tulip  known     no picture  2 pictures in train",
        "Rose   unknown   1 picture  did you mean `rose`?",
    ] {
        assert!(error.contains(row), "no row `{row}` in\n{error}");
    }
    assert!(!error.contains("violet"), "{error}");

    fs::remove_dir_all(dir.path().join("val/Rose")).expect("removed");
    let names: Vec<String> = ["rose", "tulip", "violet"].map(String::from).into();
    let data = open_single(dir.path()).expect("valid");
    let error = data.clone().join(&names, |_| false).expect_err("tulip is empty").to_string();
    assert!(error.contains("tulip") && error.contains("--allow-missing"), "{error}");
    assert_eq!(data.join(&names, |_| true).expect("allowed").counts(), [0, 0, 1]);
}

#[test]
fn a_missing_folder_says_so() {
    let error = open_splits(Path::new("/nowhere/at/all"), None, 1).expect_err("missing").to_string();
    assert_eq!(error, "/nowhere/at/all: no such folder: check how it is spelt");
}
