//! Bytes against those that Pillow, TensorFlow and PyTorch gave: `python reference/pictures.py`.

use std::fs;
use std::path::{Path, PathBuf};

use inception_pictures::geometry::{central_crop, centre_crop, shorter_side};
use inception_pictures::unfiltered::{half_pixel_bilinear, tf1_bilinear};
use inception_pictures::{Filter, Options, Order, PictureError, Region, Resize, Rgb, RgbF32, Window, decode};
use sha2::{Digest, Sha256};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).expect("a fixture")
}

/// The lines of a table, each cut at its commas.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(file(name)).expect("text");
    text.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect()
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The reference's source of pixels.
fn noise(width: usize, height: usize) -> Rgb {
    let byte = |i: u32| {
        let i = i.wrapping_mul(0x9e37_79b1);
        ((i ^ i >> 15).wrapping_mul(0x85eb_ca77) >> 24) as u8
    };
    Rgb { width, height, pixels: (0..(width * height * 3) as u32).map(byte).collect() }
}

/// Names of the cases that fail, for one message with all of them.
fn none(failed: Vec<String>, of: usize, at_least: usize) {
    assert!(of >= at_least, "only {of} cases");
    assert!(failed.is_empty(), "{} of {of} differ:\n{}", failed.len(), failed.join("\n"));
}

fn same(rgb: &Result<Rgb, PictureError>, row: &[String]) -> bool {
    rgb.as_ref().is_ok_and(|p| {
        (p.width, p.height, sha256(&p.pixels)) == (number(&row[0]), number(&row[1]), row[2].clone())
    })
}

fn what(rgb: &Result<Rgb, PictureError>) -> String {
    match rgb {
        Ok(p) => format!("{}×{}, first bytes {:?}", p.width, p.height, &p.pixels[..p.pixels.len().min(12)]),
        Err(e) => e.to_string(),
    }
}

#[test]
fn files_decode_to_the_bytes_of_pillow() {
    let (rows, mut failed) = (table("decode.csv"), vec![]);
    for row in &rows {
        let bytes = file(&row[0]);
        for (exif, expected) in [(false, &row[1..4]), (true, &row[4..7])] {
            let found = decode(&bytes, Options { exif, ..Options::PILLOW });
            if !same(&found, expected) {
                failed.push(format!("{} exif {exif}: {}", row[0], what(&found)));
            }
        }
    }
    none(failed, rows.len(), 100);
}

#[test]
fn files_decode_to_the_bytes_of_tensorflow() {
    let (rows, mut failed) = (table("decode_tensorflow.csv"), vec![]);
    for row in &rows {
        let found = decode(&file(&row[0]), Options::TENSORFLOW);
        if !same(&found, &row[1..4]) {
            failed.push(format!("{}: {}", row[0], what(&found)));
        }
    }
    none(failed, rows.len(), 100);
}

fn filter(name: &str) -> Filter {
    match name {
        "nearest" => Filter::Nearest,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        other => panic!("filter {other}"),
    }
}

fn resizes() -> Vec<(Rgb, Resize, [String; 2])> {
    let case = |row: &Vec<String>| {
        let edges: Vec<f32> = row[3].split_whitespace().map(|v| v.parse().expect("a number")).collect();
        let region = match edges[..] {
            [left, top, right, bottom] => Some(Region { left, top, right, bottom }),
            _ => None,
        };
        let (width, height) = (number(&row[4]), number(&row[5]));
        let resize = Resize { region, ..Resize::new(width, height, filter(&row[2])) };
        (noise(number(&row[0]), number(&row[1])), resize, [row[6].clone(), row[7].clone()])
    };
    table("resize.csv").iter().map(case).collect()
}

#[test]
fn resizes_are_those_of_pillow() {
    let (mut failed, mut count) = (vec![], 0);
    for (source, resize, expected) in resizes() {
        for (order, expected) in [Order::RowsFirst, Order::Pillow13].into_iter().zip(expected) {
            count += 1;
            let resize = Resize { order, ..resize };
            let found = resize.apply(&source);
            if !found.as_ref().is_ok_and(|p| sha256(&p.pixels) == expected) {
                failed.push(format!("{}×{} {resize:?}: {}", source.width, source.height, what(&found)));
            }
        }
    }
    none(failed, count, 800);
}

/// A window is the same as the whole and then a crop.
#[test]
fn windows_are_parts_of_the_whole() {
    for (i, (source, resize, _)) in resizes().into_iter().enumerate() {
        let resize = Resize { order: if i % 2 == 0 { Order::RowsFirst } else { Order::Pillow13 }, ..resize };
        let whole = resize.apply(&source).expect("resized");
        let (left, top) = (i % resize.width, i * 7 % resize.height);
        let window = Window {
            left,
            top,
            width: 1 + i * 3 % (resize.width - left),
            height: 1 + i * 5 % (resize.height - top),
        };
        let part = Resize { window: Some(window), ..resize }.apply(&source).expect("resized");
        let rows = (top..top + window.height)
            .flat_map(|y| &whole.pixels[(y * whole.width + left) * 3..][..window.width * 3]);
        assert!(part.pixels.iter().eq(rows), "{window:?} of {resize:?}");
    }
}

type Unfiltered = fn(&Rgb, Window, usize, usize) -> Result<RgbF32, PictureError>;

fn unfiltered(name: &str, resize: Unfiltered) {
    let rows = table(name);
    assert!(rows.len() >= 17);
    for row in rows {
        let [w, h, tw, th] = [0, 1, 2, 3].map(|i| number(&row[i]));
        // Around the source lies what must not be looked at.
        let (source, mut framed) = (noise(w, h), Rgb { width: w + 5, height: h + 3, pixels: vec![] });
        framed.pixels.resize(framed.width * framed.height * 3, 77);
        for y in 0..h {
            framed.pixels[((y + 1) * framed.width + 2) * 3..][..w * 3]
                .copy_from_slice(&source.pixels[y * w * 3..][..w * 3]);
        }
        let found = resize(&source, Window::whole(w, h), tw, th).expect("resized");
        let crop = Window { left: 2, top: 1, width: w, height: h };
        assert_eq!(resize(&framed, crop, tw, th).as_ref(), Ok(&found), "the crop of {row:?}");
        let expected: Vec<f32> = row[4].split_whitespace().map(|v| v.parse().expect("a number")).collect();
        assert_eq!(expected.len(), found.values.len());
        let scale = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
        for (a, b) in expected.iter().zip(&found.values) {
            assert!((a - b).abs() <= 1e-6 * scale, "{w}×{h} to {tw}×{th}: {a} and {b}");
        }
    }
}

#[test]
fn tf1_bilinear_is_that_of_tensorflow() {
    unfiltered("tf1.csv", tf1_bilinear);
}

#[test]
fn half_pixel_bilinear_is_that_of_torch() {
    unfiltered("half_pixel.csv", half_pixel_bilinear);
}

#[test]
fn resize_and_centre_crop_are_those_of_torchvision() {
    let rows = table("geometry.csv");
    assert!(rows.len() > 500);
    for row in rows {
        let n: Vec<usize> = row.iter().map(|v| number(v)).collect();
        let to = shorter_side(n[0], n[1], n[2]);
        assert_eq!(to, (n[4], n[5]), "{row:?}");
        let crop = centre_crop(to.0, to.1, (n[3], n[3]));
        let visible = Window { left: n[6], top: n[7], width: n[10], height: n[11] };
        assert_eq!((crop.visible, crop.pad_left, crop.pad_top), (visible, n[8], n[9]), "{row:?}");
    }
}

#[test]
fn central_crops_are_those_of_tensorflow() {
    for row in table("central_crop.csv") {
        let fraction = row[2].parse().expect("a number");
        let [left, top, width, height] = [3, 4, 5, 6].map(|i| number(&row[i]));
        let expected = Window { left, top, width, height };
        assert_eq!(central_crop(number(&row[0]), number(&row[1]), fraction), expected, "{row:?}");
    }
}
