//! Folders with everything that goes wrong in the world.

// Every test file uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::cli_support::Place;

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures/tests/fixtures").join(name)).unwrap()
}

pub(crate) fn write(place: &Place, name: &str, bytes: &[u8]) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two classes in two splits, all sound.
pub(crate) fn place() -> Place {
    let place = Place::new();
    for (c, class) in ["ant", "bee"].iter().enumerate() {
        let name = |split: &str, i: usize| format!("data/{split}/{class}/{i}.png");
        (0..4).for_each(|i| noise(&place, &name("train", i), (10 * c + i) as u64, 90, 80));
        (0..2).for_each(|i| noise(&place, &name("val", i), (10 * c + i + 5) as u64, 90, 80));
    }
    place
}

/// A picture that looks like no other: squares of random colours.
pub(crate) fn noise(place: &Place, name: &str, seed: u64, width: u32, height: u32) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    squares(seed, width, height).save(path).unwrap();
}

pub(crate) fn squares(seed: u64, width: u32, height: u32) -> image::RgbImage {
    use rand::RngExt;
    let mut random = inception_graph::stream(&[seed]);
    let colours: Vec<[u8; 3]> = (0..120).map(|_| random.random()).collect();
    let square = |x, y| (y * 10 / height * 12 + x * 12 / width) as usize;
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb(colours[square(x, y)]))
}

/// A file of each kind, named, with the kind that it must be found to be.
pub(crate) const KINDS: [(&str, &str); 21] = [
    ("cmyk.jpg", "cmyk"),
    ("ycck.jpg", "ycck"),
    ("png_named.jpg", "wrong-extension"),
    ("jpeg_named.png", "wrong-extension"),
    ("grey.jpg", "grey"),
    ("deep.png", "sixteen-bits"),
    ("clear.png", "transparent"),
    ("turned.jpg", "rotated"),
    ("small.jpg", "tiny"),
    ("half.jpg", "truncated"),
    ("half.png", "truncated"),
    ("empty.jpg", "empty"),
    ("letter.jpg", "no-picture"),
    ("page.jpg", "no-picture"),
    ("animation.jpg", "foreign-format"),
    ("web.jpg", "foreign-format"),
    ("bitmap.png", "foreign-format"),
    ("scan.jpg", "foreign-format"),
    ("twelve.jpg", "unsupported"),
    ("bomb.png", "too-large"),
    ("damaged.png", "broken"),
];

pub(crate) const ERRORS: [&str; 7] =
    ["truncated", "empty", "no-picture", "foreign-format", "unsupported", "too-large", "broken"];

pub(crate) fn content(name: &str) -> Vec<u8> {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    match name {
        "cmyk.jpg" => fixture("cmyk.jpg"),
        "ycck.jpg" => fixture("ycck.jpg"),
        "png_named.jpg" => fixture("png_named.JPEG"),
        "jpeg_named.png" => fixture("jpeg_named.png"),
        "grey.jpg" => fixture("grey.jpg"),
        "deep.png" => fixture("kind2_16.png"),
        "clear.png" => fixture("kind6_8.png"),
        "turned.jpg" => fixture("orientation_6.jpg"),
        "small.jpg" => fixture("size_31x33.jpg"),
        "half.jpg" => half(fixture("noise_100.jpg")),
        "half.png" => half(fixture("kind2_8.png")),
        "empty.jpg" => Vec::new(),
        "letter.jpg" => b"Dear all,".into(),
        "page.jpg" => b"<!DOCTYPE html><p>404".into(),
        "animation.jpg" => b"GIF89a\x01\0\x01\0\0\0\0;".into(),
        "web.jpg" => b"RIFF\x10\0\0\0WEBPVP8 ".into(),
        "bitmap.png" => b"BM\x36\0\0\0\0\0\0\0".into(),
        "scan.jpg" => b"II*\0\x08\0\0\0".into(),
        "twelve.jpg" => fixture("refused_12_bits.jpg"),
        "bomb.png" => {
            let mut bytes = fixture("kind2_8.png");
            // 65,535 columns and rows, and the checksum of that.
            bytes[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
            let checksum = crc32(&bytes[12..29]).to_be_bytes();
            bytes[29..33].copy_from_slice(&checksum);
            bytes
        }
        _ => {
            let mut bytes = fixture("kind2_8.png");
            let at = bytes.windows(4).position(|name| name == b"IDAT").unwrap() + 10;
            bytes[at..at + 4].copy_from_slice(b"oops");
            bytes
        }
    }
}

/// PNG's checksum, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

pub(crate) fn hostile() -> Place {
    let place = place();
    for (i, (name, _)) in KINDS.iter().enumerate() {
        let class = if i % 2 == 0 { "ant" } else { "bee" };
        let split = if i % 5 == 4 { "val" } else { "train" };
        write(&place, &format!("data/{split}/{class}/{name}"), &content(name));
    }
    place
}

pub(crate) fn check(place: &Place, more: &[&str], code: i32) -> Value {
    let json = place.run(&[&["data", "check", "data", "--json"], more].concat()).expect(code);
    serde_json::from_str(&json).unwrap()
}

/// The kinds found in the file called `name`.
pub(crate) fn kinds(report: &Value, name: &str) -> Vec<String> {
    let files = report["files"].as_array().unwrap().iter();
    let is = |file: &&Value| file["path"].as_str().unwrap().rsplit(['/', '\\']).next() == Some(name);
    let remarks = files.filter(is).flat_map(|file| file["remarks"].as_array().unwrap());
    remarks.map(|remark| remark["kind"].as_str().unwrap().into()).collect()
}
