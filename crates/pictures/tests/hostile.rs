//! Files as they are found in the world: cut off, damaged, misnamed, or made to do harm.

use std::fs;
use std::path::Path;

use inception_pictures::geometry::resize_and_crop;
use inception_pictures::unfiltered::tf1_bilinear;
use inception_pictures::{
    Alpha, Filter, MAX_PIXELS, Options, Order, PictureError, Program, Region, Resize, Rgb, Window, decode,
};

/// Every fixture that is a picture.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files = vec![];
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e != "csv") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            files.push((name, fs::read(&path).expect("a file")));
        }
    }
    files.sort();
    assert!(files.len() > 100);
    files
}

fn file(name: &str) -> Vec<u8> {
    files().into_iter().find(|f| f.0 == name).expect("a fixture").1
}

fn options() -> impl Iterator<Item = Options> {
    [Options::PILLOW, Options::TENSORFLOW, Options::VIEWER].into_iter()
}

/// A picture with its pixels or an error, in no case a decoder's panic.
fn assert_sane(found: &Result<Rgb, PictureError>, what: &str) {
    match found {
        Ok(rgb) => assert_eq!(rgb.pixels.len(), rgb.width * rgb.height * 3, "{what}"),
        Err(e) => assert_ne!(*e, PictureError::Panicked, "{what}"),
    }
}

#[test]
fn files_cut_off_are_errors() {
    for (name, whole) in files() {
        // What is appended may be cut.
        let end = if name == "appended.jpg" { whole.len() - 21 } else { whole.len() };
        for cut in (0..end).step_by(7).chain(end.saturating_sub(3)..end) {
            let found = decode(&whole[..cut], Options::PILLOW);
            assert_sane(&found, &format!("{name}, {cut} bytes"));
            assert!(found.is_err(), "{name}, {cut} of {} bytes", whole.len());
        }
    }
}

#[test]
fn damaged_files_are_pictures_or_errors() {
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, whole) in files() {
        for round in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..=round % 3 {
                let at = random(bytes.len());
                bytes[at] = if round % 2 == 0 { bytes[at] ^ 1 << random(8) } else { random(256) as u8 };
            }
            for options in options() {
                assert_sane(&decode(&bytes, options), &format!("{name}, round {round}, {options:?}"));
            }
        }
    }
}

/// The end marker of an embedded thumbnail once passed for the picture's own.
#[test]
fn a_thumbnails_end_is_not_the_pictures() {
    let (jpeg, thumbnail) = (file("noise_100.jpg"), file("size_8x8.jpg"));
    let length = (2 + thumbnail.len()) as u16;
    let whole = [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes(), &thumbnail, &jpeg[2..]].concat();
    let picture = decode(&whole, Options::PILLOW);
    assert_eq!(picture, decode(&jpeg, Options::PILLOW));
    for percent in [20, 50, 75, 90, 99] {
        let error = decode(&whole[..whole.len() * percent / 100], Options::PILLOW).expect_err("refused");
        assert!(error.to_string().contains("is a truncated JPEG"), "{percent} %: {error}");
    }
    let padded = [&whole[..whole.len() / 2], &vec![0; whole.len() / 2]].concat();
    let error = decode(&padded, Options::PILLOW).expect_err("a download that stopped").to_string();
    assert!(error.contains("truncated"), "{error}");
    let appended = [&whole[..], b"what a camera appends"].concat();
    assert_eq!(decode(&appended, Options::PILLOW), picture);
}

#[test]
fn what_is_not_read_says_so() {
    let error = |name: &str| decode(&file(name), Options::PILLOW).expect_err("refused").to_string();
    assert!(error("refused_12_bits.jpg").contains("12-bit JPEG: expected one of 8 bits"));
    assert!(error("refused_two.jpg").contains("2 channels: expected 1, 3 or 4"));
    assert!(error("refused_chroma_finer.jpg").contains("colours are finer"));
}

#[test]
fn other_files_are_named() {
    let error = |bytes: &[u8]| decode(bytes, Options::PILLOW).expect_err("refused").to_string();
    assert_eq!(error(b""), "is no picture but an empty file: expected JPEG or PNG, convert it");
    assert!(error(b"\0\0\0\x18ftypheic\0\0\0\0").contains("HEIC"));
    assert!(error(b"RIFF\x10\0\0\0WEBPVP8 ").contains("is a WEBP file"));
    assert!(error(b"version https://git-lfs.github.com/spec/v1").contains("Git LFS"));
    assert!(error(b" <html>").contains("web page"));
    // 512 bytes end in the middle of a character.
    assert!(error(format!(" {}", "\u{e9}".repeat(400)).as_bytes()).contains("but text"));
    assert!(error(&[0xff, 0xd8, 0xff, 0xd9]).contains("truncated"));
    assert!(error(&[1, 2, 3]).contains("unknown bytes"));
}

/// A header may promise any size; nothing of it is allocated.
#[test]
fn promises_of_a_header_are_not_believed() {
    let mut png = file("kind2_8.png");
    let side = (MAX_PIXELS as f64).sqrt() as u32 + 1;
    // IHDR: 8 bytes of signature, 8 of length and type, width, height, 5 more, then the checksum.
    let mut resized = |width: u32, height: u32| {
        png[16..24].copy_from_slice(&[width.to_be_bytes(), height.to_be_bytes()].concat());
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        decode(&png, Options::PILLOW).expect_err("refused").to_string()
    };
    assert!(resized(side, side).contains(&format!("has {side}×{side} pixels")));
    assert!(resized(1 << 30, 1 << 30).contains("pixels"));
    assert!(resized(13_000, 13_000).contains("PNG"));

    let jpeg = file("baseline_444.jpg");
    // SOF: marker, length, precision, height, width.
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame") + 5;
    let resized = |width: u16, height: u16| {
        let mut jpeg = jpeg.clone();
        jpeg[frame..frame + 4].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        decode(&jpeg, Options::PILLOW).expect_err("refused").to_string()
    };
    assert!(resized(65_000, 65_000).contains("65000×65000 pixels"));
    assert!(resized(13_000, 13_000).contains("13000×13000 pixels in"));
    assert!(resized(0, 5).contains("JPEG") && resized(5, 0).contains("JPEG"));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

#[test]
fn transparency_is_dropped_or_on_white() {
    let pixels = |name: &str, alpha| {
        decode(&file(name), Options { exif: false, alpha, program: Program::Pillow })
            .expect("a picture")
            .pixels
    };
    assert_eq!(pixels("rgb_transparent_hit.png", Alpha::Drop), [1, 2, 3, 9, 9, 9, 1, 2, 4]);
    assert_eq!(pixels("rgb_transparent_hit.png", Alpha::White), [255, 255, 255, 9, 9, 9, 1, 2, 4]);
    for name in ["kind4_8", "kind6_8", "kind4_16", "kind6_16", "kind3_8_transparent", "kind3_4_transparent"] {
        let name = format!("{name}.png");
        let (dropped, white) = (pixels(&name, Alpha::Drop), pixels(&name, Alpha::White));
        assert!(dropped != white && dropped.iter().zip(&white).all(|(d, w)| d <= w), "{name}");
    }
    for name in ["kind0_1.png", "kind2_16.png", "kind3_2.png", "baseline_420.jpg"] {
        assert_eq!(pixels(name, Alpha::Drop), pixels(name, Alpha::White), "{name}");
    }
    let grey = |alpha| pixels("kind0_16.png", alpha).into_iter().filter(|&v| v == 255).count();
    assert!(grey(Alpha::Drop) > 4 * grey(Alpha::White), "sixteen bits are cut off and scaled");
}

#[test]
fn what_cannot_be_resized_is_an_error() {
    let rgb = Rgb { width: 4, height: 3, pixels: vec![7; 36] };
    let text = |resize: Resize, rgb: &Rgb| resize.apply(rgb).expect_err("refused").to_string();
    let two = Resize::new(2, 2, Filter::Bilinear);
    let region =
        |left, top, right, bottom| Resize { region: Some(Region { left, top, right, bottom }), ..two };
    for bad in [
        region(-1.0, 0.0, 2.0, 2.0),
        region(0.0, 0.0, 4.5, 2.0),
        region(2.0, 0.0, 2.0, 2.0),
        region(0.0, 2.0, 2.0, 1.0),
        region(f32::NAN, 0.0, 2.0, 2.0),
        region(0.0, 0.0, f32::INFINITY, 2.0),
    ] {
        assert!(text(bad, &rgb).contains("is not inside 4×3 pixels"), "{bad:?}");
    }
    let window =
        |left, top, width, height| Resize { window: Some(Window { left, top, width, height }), ..two };
    for bad in [window(0, 0, 3, 1), window(1, 0, 2, 1), window(0, 0, 0, 1), window(usize::MAX, 0, 2, 1)] {
        assert!(text(bad, &rgb).contains("is not inside 2×2 pixels"), "{bad:?}");
    }
    assert!(text(Resize::new(0, 2, Filter::Nearest), &rgb).contains("is not inside"));
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
        assert!(text(Resize::new(1 << 20, 1 << 20, filter), &rgb).contains("more than the"));
        assert!(text(Resize::new(usize::MAX, 1, filter), &rgb).contains("more than the"));
        let corner = Window { left: 0, top: 0, width: 1, height: 1 };
        let one = Resize { window: Some(corner), ..Resize::new(1 << 20, 1 << 20, filter) };
        assert_eq!(one.apply(&rgb).expect("one pixel").pixels, [7; 3], "only the window counts");
    }
    for lying in [Rgb { width: 5, ..rgb.clone() }, Rgb { width: usize::MAX, ..rgb.clone() }] {
        assert!(text(two, &lying).contains("found 36 bytes"));
        assert!(tf1_bilinear(&lying, Window::whole(1, 1), 1, 1).is_err());
    }
    assert!(text(two, &Rgb { width: 0, height: 0, pixels: vec![] }).contains("at least one"));
    assert!(tf1_bilinear(&rgb, Window { left: 3, top: 0, width: 2, height: 1 }, 2, 2).is_err());
    assert!(tf1_bilinear(&rgb, Window::whole(4, 3), 0, 2).is_err());
}

/// A strip's longer side grows beyond what could be held; only the crop is made.
#[test]
fn strips_are_cropped_without_being_resized_whole() {
    let strip = Rgb { width: 1, height: 60_000, pixels: (0..180_000).map(|i| (i / 3 % 251) as u8).collect() };
    let square = resize_and_crop(&strip, (299, 299 * 60_000), (299, 299), Filter::Bicubic, Order::Pillow13);
    let square = square.expect("resized");
    assert_eq!((square.width, square.height, square.pixels.len()), (299, 299, 299 * 299 * 3));
    let small = Rgb { width: 3, height: 2, pixels: vec![200; 18] };
    let padded = resize_and_crop(&small, (3, 2), (6, 3), Filter::Bilinear, Order::RowsFirst).expect("padded");
    let lit = |x: usize, y: usize| padded.pixels[(y * 6 + x) * 3] == 200;
    for (x, y) in (0..3).flat_map(|y| (0..6).map(move |x| (x, y))) {
        assert_eq!(lit(x, y), (1..4).contains(&x) && y < 2, "{x}, {y}");
    }
}
