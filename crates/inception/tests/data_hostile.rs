//! Data as it is found in the world: thumbnails in truncated pictures, links in circles, classes called `train`.

use std::fs;
use std::path::{Path, PathBuf};

use image::ImageEncoder;
use inception::data::folder::{list_pictures, open_single, open_splits};
use inception_pictures::MAX_PIXELS;
use inception_pictures::Options;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect("a fixture")
}

/// A JPEG of noise, with this EXIF block.
fn jpeg(exif: Vec<u8>) -> Vec<u8> {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let picture = image::RgbImage::from_fn(64, 48, |_, _| image::Rgb([noise(), noise(), noise()]));
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.set_exif_metadata(exif).expect("supported");
    picture.write_with_encoder(encoder).expect("encoded");
    bytes
}

/// A little-endian TIFF header with one entry: the orientation.
fn orientation(value: u8) -> Vec<u8> {
    [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0, 0]].concat()
}

fn class(dir: &Path, name: &str, count: usize) {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).expect("created");
    (0..count).for_each(|i| fs::write(folder.join(format!("{i}.jpg")), "").expect("written"));
}

/// The end marker of an embedded thumbnail once passed for the picture's own.
#[test]
fn a_truncated_jpeg_with_a_thumbnail_is_an_error() {
    let whole = jpeg([orientation(1), fixture("rgb.jpg")].concat());
    assert_eq!(decode_bytes(&whole).map(|p| (p.width, p.height)), Ok((64, 48)));
    for percent in [20, 50, 75, 90, 99] {
        let error = decode_bytes(&whole[..whole.len() * percent / 100]).expect_err("refused");
        assert!(error.contains("is a truncated JPEG"), "{percent} %: {error}");
    }
    let padded = [&whole[..whole.len() / 2], &vec![0; whole.len() / 2]].concat();
    assert!(decode_bytes(&padded).expect_err("refused").contains("truncated"), "a download that stopped");
    let appended = [&whole[..], b"what a camera appends"].concat();
    assert_eq!(decode_bytes(&appended), decode_bytes(&whole));
}

/// A JPEG need not be upright: where each of the eight orientations puts the four corners.
#[test]
fn all_orientations_are_applied() {
    let stored = decode_bytes(&jpeg(orientation(1))).expect("a picture");
    for value in 1..=8u8 {
        let turned = decode_bytes(&jpeg(orientation(value))).expect("a picture");
        let sides = if value < 5 { (64, 48) } else { (48, 64) };
        assert_eq!((turned.width, turned.height), sides, "orientation {value}");
        for (x, y) in [(0, 0), (5, 7), (63, 0), (31, 47)] {
            // Row 0 and column 0 of what is stored are, by the EXIF standard: top left, top right, bottom right, bottom
            // left, left top, right top, right bottom, left bottom.
            let (tx, ty) = match value {
                1 => (x, y),
                2 => (63 - x, y),
                3 => (63 - x, 47 - y),
                4 => (x, 47 - y),
                5 => (y, x),
                6 => (47 - y, x),
                7 => (47 - y, 63 - x),
                _ => (y, 63 - x),
            };
            let at = |p: &inception::data::Rgb, x: usize, y: usize| {
                p.pixels[(y * p.width + x) * 3..][..3].to_vec()
            };
            assert_eq!(at(&turned, tx, ty), at(&stored, x, y), "orientation {value}, {x},{y}");
        }
    }
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
    fs::write(&jpg, fixture("rgb.jpg")).expect("written");
    let decode = |path: PathBuf| {
        inception::data::decode::decode(&inception::data::Picture::File(path), Options::VIEWER)
    };
    assert_eq!(decode(png).expect("a PNG").pixels, [9, 8, 7]);
    assert_eq!(decode(jpg).expect("a JPEG").width, 32);
    let error = decode(dir.path().join("none.jpg")).expect_err("no such file").to_string();
    assert!(error.contains("none.jpg"), "{error}");
}

#[test]
fn what_other_things_are_is_said() {
    let error = |bytes: &[u8]| decode_bytes(bytes).expect_err("refused");
    assert!(error(b"\0\0\0\x18ftypheic\0\0\0\0").contains("HEIC"));
    assert!(error(b"RIFF\x10\0\0\0WEBPVP8 ").contains("is a WEBP file"));
    assert!(error(b"version https://git-lfs.github.com/spec/v1").contains("Git LFS"));
    // 512 bytes end in the middle of a character.
    assert!(error(format!(" {}", "\u{e9}".repeat(400)).as_bytes()).contains("but text"));
    assert!(error(&[0xff, 0xd8, 0xff, 0xd9]).contains("truncated"));
}

/// A header may promise any size; nothing of it is allocated.
#[test]
fn pictures_beyond_the_limit_are_refused_by_their_header() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(1, 1).write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    let mut bytes = bytes.into_inner();
    let side = (MAX_PIXELS as f64).sqrt() as u32 + 1;
    // IHDR: 8 bytes of signature, 8 of length and type, width, height, 5 more, then the checksum.
    bytes[16..24].copy_from_slice(&[side.to_be_bytes(), side.to_be_bytes()].concat());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = decode_bytes(&bytes).expect_err("refused");
    assert!(error.contains(&format!("has {side}×{side} pixels")), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

/// Bytes changed anywhere give a picture or an error, never a panic or a hang.
#[test]
fn damaged_files_do_not_panic() {
    for name in ["rgb.jpg", "cmyk.jpg", "ycck.jpg", "grey.jpg"] {
        let whole = fixture(name);
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1 << (i % 8);
            if let Ok(rgb) = decode_bytes(&bytes) {
                assert_eq!(rgb.pixels.len(), rgb.width * rgb.height * 3, "{name}, byte {i}");
            }
        }
    }
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
    let error = data.clone().join(&names, false).expect_err("tulip is empty").to_string();
    assert!(error.contains("tulip") && error.contains("--allow-missing"), "{error}");
    assert_eq!(data.join(&names, true).expect("allowed").counts(), [0, 0, 1]);
}

#[test]
fn a_missing_folder_says_so() {
    let error = open_splits(Path::new("/nowhere/at/all"), None, 1).expect_err("missing").to_string();
    assert_eq!(error, "/nowhere/at/all: no such folder: check how it is spelt");
}

fn decode_bytes(bytes: &[u8]) -> Result<inception_pictures::Rgb, String> {
    inception_pictures::decode(bytes, Options::VIEWER).map_err(|e| e.to_string())
}
