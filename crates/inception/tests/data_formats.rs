//! Data sets that are no class folders: lists, tar files, TFRecord shards, ImageNet's validation set as it is distributed.

mod shards;

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use inception::data::folder::{open_single, open_splits};
use inception::data::{
    Cache, DataError, Dataset, Eval, Interpolation, Loader, OnBad, Request, Resize, Transform,
};
use shards::{bytes, feature, field, record, tar, varint};
use tempfile::TempDir;

/// A PNG of one colour.
fn png(value: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([value; 3]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("written");
    bytes.into_inner()
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, bytes).expect("written");
}

fn new() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Names of pictures (their last part) with class and the value of their colour, read by the loader.
fn seen(data: Dataset) -> Vec<(String, String, u8)> {
    let eval = Eval { crop_pct: 1.0, interpolation: Interpolation::Bilinear, resize: Resize::Shorter };
    let count = data.samples.len();
    let data = Arc::new(data);
    let loader = Loader::new(Request {
        dataset: data.clone(),
        order: (0..count).collect(),
        transform: Transform::Eval,
        preprocessing: eval.into(),
        side: 8,
        batch_size: 1,
        drop_last: false,
        keep_empty: false,
        on_bad: OnBad::Error,
        workers: 2,
        cache: Cache::new(1 << 20),
    });
    let batches = loader.map(|batch| batch.expect("readable"));
    let row = |batch: inception::data::Batch| {
        let sample = &data.samples[batch.indices[0]];
        let name = sample.picture.name();
        let last = name.rsplit(['/', ':']).next().unwrap_or_default().to_string();
        (last, data.classes[sample.label as usize].clone(), (batch.pixels[0] * 127.5 + 127.5).round() as u8)
    };
    batches.map(row).collect()
}

fn row(name: &str, class: &str, value: u8) -> (String, String, u8) {
    (name.into(), class.into(), value)
}

fn message<T>(result: Result<T, DataError>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn lists_with_and_without_a_header_are_the_same() {
    let dir = new();
    (1..=4).for_each(|i| write(&dir, &format!("images/a {i}.png"), png(i * 10)));
    let lists = [
        ("a.csv", "label,path\nbee,images/a 1.png\nant,images/a 2.png\n\"bee\",\"images/a 3.png\"\n"),
        ("b.csv", "\u{feff}images/a 1.png, bee\r\nimages/a 2.png, ant\r\n\r\nimages/a 3.png, bee\r\n"),
        (
            "c.tsv",
            "Filename\tClass\tremark\nimages/a 1.png\tbee\t\nimages/a 2.png\tant\tx\nimages/a 3.png\tbee\ty",
        ),
        (
            "d.txt",
            "images/a 1.png bee\nimages/a 2.png   ant\nimages/a 3.png\tbee\n".replace('\t', " ").leak(),
        ),
        ("e.lst", "images/a 1.png;bee\nimages/a 2.png;ant\nimages/a 3.png;bee\n"),
    ];
    let expected = [row("a 1.png", "bee", 10), row("a 2.png", "ant", 20), row("a 3.png", "bee", 30)];
    for (name, text) in lists {
        write(&dir, name, text);
        let data = open_single(&dir.path().join(name)).expect(name);
        assert_eq!(data.classes, ["ant", "bee"], "{name}");
        assert_eq!(seen(data), expected, "{name}");
    }
}

#[test]
fn classes_that_are_numbers_are_sorted_as_numbers() {
    let dir = new();
    let lines: String = [10, 9, 0, 100].iter().map(|n| format!("{n}.png {n}\n")).collect();
    [10, 9, 0, 100].iter().for_each(|n| write(&dir, &format!("{n}.png"), png(*n)));
    write(&dir, "list.txt", lines);
    assert_eq!(open_single(&dir.path().join("list.txt")).expect("valid").classes, ["0", "9", "10", "100"]);
}

#[test]
fn a_list_divides_its_pictures_by_a_column_or_by_whole_groups() {
    let dir = new();
    let mut text = String::from("path,label,split\n");
    for i in 0..6 {
        write(&dir, &format!("{i}.png"), png(i));
        text += &format!(
            "{i}.png,{},{}\n",
            ["ant", "bee"][i as usize % 2],
            if i < 4 { "Train" } else { "valid" }
        );
    }
    write(&dir, "all.csv", &text);
    let path = dir.path().join("all.csv");
    let splits = open_splits(&path, None, 1).expect("valid");
    assert_eq!((splits.train.counts(), splits.val.counts()), (vec![2, 2], vec![1, 1]));
    assert_eq!(open_single(&path).expect("valid").samples.len(), 2, "those to judge by");
    assert!(message(open_splits(&path, Some(0.5), 1)).contains("leave one of them out"));
    write(&dir, "all.csv", text.replace("valid", "dev"));
    assert!(
        message(open_splits(&path, None, 1))
            .contains("2 pictures have the split `dev`: expected one of train")
    );

    let mut text = String::from("path,label,group\n");
    for i in 0..60 {
        text += &format!("{}.png,{},g{}\n", i % 6, ["ant", "bee"][i % 2], i / 6);
    }
    write(&dir, "groups.csv", text);
    let path = dir.path().join("groups.csv");
    assert!(message(open_splits(&path, None, 1)).contains("--val-split"));
    let splits = open_splits(&path, Some(0.2), 1).expect("valid");
    assert_eq!((splits.train.samples.len(), splits.val.samples.len()), (48, 12), "two groups of ten");
    assert!(splits.train.groups.iter().all(|group| !splits.val.groups.contains(group)));
    let other = open_splits(&path, Some(0.2), 2).expect("valid").val.groups;
    assert!(other != splits.val.groups && other.len() == 12);
}

#[test]
fn lists_that_cannot_be_used_say_where() {
    let dir = new();
    write(&dir, "0.png", png(0));
    let open = |name: &str, text: &[u8]| {
        write(&dir, name, text);
        message(open_single(&dir.path().join(name)))
    };
    assert!(open("a.csv", b"").contains("has no line"));
    assert!(open("a.csv", b"path,label\n").contains("no picture"));
    assert!(open("a.csv", b"0.png,ant\n0.png\n").contains("line 2"));
    assert!(open("a.csv", b"0.png,ant\n0.png,\n").contains("line 2 has an empty path or label"));
    assert!(
        open("a.csv", b"x/0.png,ant\n").contains("x/0.png: paths are relative to the folder of the list")
    );
    assert!(open("a.csv", b"0.png,\xff\n").contains("is not UTF-8 at byte 6"));
}

/// Files of `reference/devkit_meta.py`: tench is 2, cock 3, hen 1, bird 1001 with children; rows are in another order than numbers
/// and synsets.
#[test]
fn the_devkits_numbers_are_those_of_its_table() {
    let fixture = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect("recorded")
    };
    let truth = "ILSVRC2012_validation_ground_truth.txt";
    for (meta, folder) in [("meta.mat", ""), ("meta_plain.mat", "ILSVRC2012_devkit_t12/data/")] {
        let dir = new();
        (1..=4).for_each(|i| write(&dir, &format!("ILSVRC/val/ILSVRC2012_val_0000000{i}.JPEG"), png(i)));
        let open = || open_single(&dir.path().join("ILSVRC/val"));
        assert!(message(open()).contains("or ILSVRC2012_validation_ground_truth.txt with meta.mat"));
        write(&dir, &format!("{folder}{truth}"), "2\n3\n1\n2\n");
        assert!(message(open()).contains("meta.mat of the same devkit says of which synsets"));
        write(&dir, &format!("{folder}meta.mat"), fixture(meta));
        let picture = |i: u8, class: &str| row(&format!("ILSVRC2012_val_0000000{i}.JPEG"), class, i);
        let expected = [
            picture(1, "n01440764"),
            picture(2, "n01514668"),
            picture(3, "n01514859"),
            picture(4, "n01440764"),
        ];
        assert_eq!(seen(open().expect("valid")), expected, "{meta}");
        // A picture that is put aside does not move the others' lines.
        fs::remove_file(dir.path().join("ILSVRC/val/ILSVRC2012_val_00000001.JPEG")).expect("removed");
        assert_eq!(seen(open().expect("valid")), expected[1..], "{meta}");
        for (text, part) in [
            ("2\n1001\n1\n2\n", "line 2 is `1001`: expected the number of one of the 3 classes"),
            ("2\nx\n1\n2\n", "line 2 is `x`"),
            ("2\n3\n1\n", "has no class for"),
        ] {
            write(&dir, &format!("{folder}{truth}"), text);
            assert!(message(open()).contains(part), "{part}");
        }
        write(&dir, &format!("{folder}meta.mat"), "Dear all");
        let text = message(open());
        assert!(text.contains("meta.mat: is no MATLAB file") && text.contains("devkit_t12.tar.gz"), "{text}");
    }
}

/// Two lists, or two archives, with the words train and val in their names.
#[test]
fn files_are_splits_by_their_names() {
    let dir = new();
    for i in 0..6 {
        write(&dir, &format!("images/{i}.png"), png(i));
    }
    write(&dir, "train.csv", "images/0.png,ant\nimages/1.png,bee\nimages/2.png,bee\n");
    write(&dir, "my-val.csv", "images/3.png,bee\nimages/4.png,ant\n");
    let splits = open_splits(dir.path(), None, 1).expect("valid");
    assert_eq!((splits.train.counts(), splits.val.counts()), (vec![1, 2], vec![1, 1]));
    assert_eq!(open_single(dir.path()).expect("valid").samples.len(), 2);
    fs::remove_file(dir.path().join("my-val.csv")).expect("removed");
    assert!(message(open_splits(dir.path(), None, 1)).contains("has train.csv but no val"));
}

#[test]
fn webdataset_shards_are_read_in_place() {
    let dir = new();
    let json = |label: &str| format!("{{\"label\": {label}, \"caption\": \"…\"}}").into_bytes();
    write(
        &dir,
        "data/train-000.tar",
        tar(&[
            ("a/001.png", png(1)),
            ("a/001.cls", b"7\n".to_vec()),
            ("a/002.seg.txt", b"about it".to_vec()),
            ("a/002.cls", b"12".to_vec()),
            ("a/002.png", png(2)),
        ]),
    );
    write(&dir, "data/train-001.tar", tar(&[("003.json", json("12")), ("003.png", png(3))]));
    write(
        &dir,
        "data/val-000.tar",
        tar(&[("1.png", png(4)), ("1.json", json("\"12\"")), ("2.png", png(5)), ("2.cls", b"7".to_vec())]),
    );
    let splits = open_splits(&dir.path().join("data"), None, 1).expect("valid");
    assert_eq!(splits.train.classes, ["7", "12"]);
    assert_eq!(
        seen(splits.train),
        [row("001.png", "7", 1), row("002.png", "12", 2), row("003.png", "12", 3)]
    );
    assert_eq!(seen(splits.val), [row("1.png", "12", 4), row("2.png", "7", 5)]);

    write(&dir, "bad.tar", tar(&[("1.png", png(1)), ("1.cls", b"1".to_vec()), ("2.png", png(2))]));
    assert!(message(open_single(&dir.path().join("bad.tar"))).contains("`2.png` has no label beside it"));
    write(&dir, "none.tar", tar(&[("readme.md", b"no".to_vec())]));
    assert!(
        message(open_single(&dir.path().join("none.tar"))).contains("expected a .cls or .json beside each")
    );
    write(&dir, "cut.tar", &tar(&[("a/1.png", png(1))])[..300]);
    assert!(message(open_single(&dir.path().join("cut.tar"))).contains("cut.tar"));
}

/// ImageNet's training set: an archive a class, in a folder or in one large archive; and class folders, packed.
#[test]
fn archives_of_classes_are_read_in_place() {
    let dir = new();
    let tench = tar(&[("n01440764_18.JPEG", png(18)), ("n01440764_36.JPEG", png(36))]);
    let cock = tar(&[("n01514668_5.JPEG", png(5))]);
    let expected = [
        row("n01440764_18.JPEG", "n01440764", 18),
        row("n01440764_36.JPEG", "n01440764", 36),
        row("n01514668_5.JPEG", "n01514668", 5),
    ];
    write(&dir, "apart/train/n01440764.tar", &tench);
    write(&dir, "apart/train/n01514668.tar", &cock);
    assert_eq!(seen(open_single(&dir.path().join("apart/train")).expect("valid")), expected);
    write(&dir, "one/ILSVRC2012_img_train.tar", tar(&[("n01440764.tar", tench), ("n01514668.tar", cock)]));
    assert_eq!(seen(open_single(&dir.path().join("one/ILSVRC2012_img_train.tar")).expect("valid")), expected);
    let packed = tar(&[
        ("./flowers/ant/1.png", png(1)),
        ("./flowers/bee/2.png", png(2)),
        ("./flowers/._x.png", png(9)),
    ]);
    write(&dir, "packed.tar", packed);
    let packed = open_splits(&dir.path().join("packed.tar"), Some(0.5), 1);
    assert!(message(packed).contains("class `ant` has 1 picture"));
    let packed = open_single(&dir.path().join("packed.tar")).expect("valid");
    assert_eq!(seen(packed), [row("1.png", "ant", 1), row("2.png", "bee", 2)]);
}

#[test]
fn imagenets_validation_pictures_get_their_classes_from_a_file_above() {
    let solution = "ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764 1 2 3 4\nILSVRC2012_val_00000001,n01514668 1 2 3 4 n01514668 5 6 7 8\n";
    let files = [
        ("LOC_val_solution.csv", solution),
        ("ILSVRC/val.txt", "ILSVRC2012_val_00000001.JPEG 7\nILSVRC2012_val_00000002.JPEG 0\n"),
        ("ILSVRC/val/imagenet_2012_validation_synset_labels.txt", "n01514668\nn01440764\n"),
    ];
    for (name, text) in files {
        let dir = new();
        (1..=2).for_each(|i| write(&dir, &format!("ILSVRC/val/ILSVRC2012_val_0000000{i}.JPEG"), png(i)));
        let root = dir.path().join("ILSVRC/val");
        assert!(message(open_single(&root)).contains("LOC_val_solution.csv"));
        write(&dir, name, text);
        let data = open_single(&dir.path().join("ILSVRC")).expect(name);
        let expected = [
            row("ILSVRC2012_val_00000001.JPEG", "n01514668", 1),
            row("ILSVRC2012_val_00000002.JPEG", "n01440764", 2),
        ];
        assert_eq!(seen(data), expected, "{name}");
        // Joined with a network's classes by their names.
        let names = ["cock", "tench"].map(String::from);
        assert_eq!(
            open_single(&root).expect("valid").join(&names, |_| false).expect("known").counts(),
            [1, 1]
        );
        write(&dir, "ILSVRC/val/ILSVRC2012_val_00000003.JPEG", png(3));
        assert!(message(open_single(&root)).contains("has no class for"), "{name}");
    }
}

#[test]
fn tfrecords_are_read_in_place() {
    let dir = new();
    let packed = |label: u64| feature("image/class/label", 3, &field(1, &varint(label)));
    let single = |label: u64| feature("image/class/label", 3, &[varint(1 << 3), varint(label)].concat());
    let flowers = [
        record(&[
            packed(1),
            bytes("image/encoded", &png(1)),
            bytes("image/format", b"png"),
            feature("image/height", 3, &field(1, &varint(8))),
        ]),
        record(&[bytes("image/encoded", &png(2)), single(0), bytes("image/filename", b"two.png")]),
    ];
    write(&dir, "flowers_train_00000-of-00001.tfrecord", flowers.concat());
    write(
        &dir,
        "flowers_validation_00000-of-00001.tfrecord",
        record(&[single(1), bytes("image/encoded", &png(3))]),
    );
    write(&dir, "labels.txt", "0:daisy\n1:rose\n");
    let splits = open_splits(dir.path(), None, 1);
    assert!(message(splits).contains("daisy"), "no daisy to judge by");
    let train = open_single(&dir.path().join("flowers_train_00000-of-00001.tfrecord")).expect("valid");
    assert_eq!(seen(train), [row("record 0", "rose", 1), row("two.png", "daisy", 2)]);

    // ImageNet as slim's script writes it.
    let synset = |id: &str, value: u8| {
        record(&[
            packed(449),
            bytes("image/class/synset", id.as_bytes()),
            bytes("image/class/text", b"cock"),
            bytes("image/encoded", &png(value)),
        ])
    };
    write(&dir, "imagenet/train-00000-of-00002", synset("n01514668", 7));
    write(&dir, "imagenet/train-00001-of-00002", synset("n01440764", 8));
    write(
        &dir,
        "imagenet/validation-00000-of-00001",
        [synset("n01514668", 9), synset("n01440764", 10)].concat(),
    );
    let splits = open_splits(&dir.path().join("imagenet"), None, 1).expect("valid");
    assert_eq!(seen(splits.train), [row("record 0", "n01514668", 7), row("record 0", "n01440764", 8)]);
    assert_eq!(seen(splits.val), [row("record 0", "n01514668", 9), row("record 1", "n01440764", 10)]);
}

/// Whatever is cut off or changed, a shard is refused or read, and never brings the program down.
#[test]
fn damaged_shards_never_panic() {
    let dir = new();
    let packed = feature("image/class/label", 3, &field(1, &varint(1)));
    let whole = record(&[packed, bytes("image/class/text", b"rose"), bytes("image/encoded", &png(1))]);
    let path = dir.path().join("a.tfrecord");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        open_single(&path)
    };
    assert!(open(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(message(open(&whole[..length])).contains("a.tfrecord"), "{length}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        if let Err(error) = open(&changed) {
            assert!(error.to_string().contains("a.tfrecord"), "{error}");
        }
    }
    assert!(message(open(b"Dear all, this is no shard")).contains("it is no TFRecord file"));
    assert!(message(open(&record(&[]))).contains("has no `image/encoded`"));
}

#[test]
fn a_folder_of_several_kinds_is_refused() {
    let dir = new();
    write(&dir, "train.csv", "a.png,b\n");
    write(&dir, "train.tar", tar(&[("a/1.png", png(1))]));
    let val = Path::new("val.csv");
    write(&dir, &val.to_string_lossy(), "a.png,b\n");
    assert!(message(open_splits(dir.path(), None, 1)).contains("files of several kinds for one split"));
}

/// And never takes a URL for a folder that is not there.
#[cfg(not(feature = "cloud"))]
#[test]
fn a_build_without_the_feature_for_urls_says_how_to_get_one_with_it() {
    let way = "cargo build --release --features cloud";
    for url in ["s3://bucket/photos", "gs://bucket/a.tar", "az://box/list.csv", "https://host/val.tfrecord"] {
        assert!(message(open_splits(Path::new(url), Some(0.1), 1)).contains(way), "{url}");
        assert!(
            message(open_single(Path::new(url))).starts_with(&format!("{url}: this build reads no URLs"))
        );
    }
    let dir = new();
    write(&dir, "list.csv", "path,label\ns3://bucket/1.png,ant\n");
    assert!(message(open_single(&dir.path().join("list.csv"))).contains(way));
}
