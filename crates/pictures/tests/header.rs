//! Headers against what the decoder makes of the same files.

use std::fs;
use std::path::Path;

use inception_pictures::{Colours, Content, Header, Options, decode};

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect("a fixture")
}

#[test]
fn sizes_are_those_of_the_decoded_pictures_upright_and_as_stored() {
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).expect("a folder")
    {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let (Ok(stored), Ok(upright)) = (decode(&bytes, Options::PILLOW), decode(&bytes, Options::VIEWER))
        else {
            continue;
        };
        let header = Header::of(&bytes).expect("a header");
        let size = |(w, h): (u32, u32)| (w as usize, h as usize);
        assert_eq!(size((header.width, header.height)), (stored.width, stored.height), "{path:?}");
        assert_eq!(size(header.upright()), (upright.width, upright.height), "{path:?}");
        assert_eq!(
            header.orientation == 1,
            stored == upright || header.transparent || header.bits == 16,
            "{path:?}"
        );
        seen += 1;
    }
    assert!(seen > 90, "{seen}");
}

#[test]
fn depth_colours_and_transparency_are_the_files() {
    use Colours::{Cmyk, Grey, Palette, Rgb, Ycck};
    for (name, bits, colours, transparent) in [
        ("baseline_420.jpg", 8, Rgb, false),
        ("progressive_444.jpg", 8, Rgb, false),
        ("grey.jpg", 8, Grey, false),
        ("progressive_grey.jpg", 8, Grey, false),
        ("cmyk.jpg", 8, Cmyk, false),
        ("cmyk_no_adobe.jpg", 8, Cmyk, false),
        ("ycck.jpg", 8, Ycck, false),
        ("ycck_420.jpg", 8, Ycck, false),
        ("refused_12_bits.jpg", 12, Rgb, false),
        ("kind0_16.png", 16, Grey, false),
        ("kind0_1.png", 1, Grey, false),
        ("kind2_16_transparent.png", 16, Rgb, true),
        ("kind3_4.png", 4, Palette, false),
        ("kind3_8_transparent.png", 8, Palette, true),
        ("kind4_16.png", 16, Grey, true),
        ("kind6_8.png", 8, Rgb, true),
    ] {
        let header = Header::of(&file(name)).expect("a header");
        assert_eq!((header.bits, header.colours, header.transparent), (bits, colours, transparent), "{name}");
    }
    for (name, orientation) in [
        ("orientation_6_big_endian.jpg", 6),
        ("orientation_3.jpg", 3),
        ("exif_6.png", 6),
        ("orientation_9.jpg", 1),
    ] {
        assert_eq!(Header::of(&file(name)).expect("a header").orientation, orientation, "{name}");
    }
}

#[test]
fn files_that_end_early_have_a_header_or_none() {
    for name in ["ycck.jpg", "orientation_6.jpg", "kind6_16.png", "exif_after.png"] {
        let (whole, mut first) = (file(name), None);
        for end in 0..whole.len() {
            let header = Header::of(&whole[..end]);
            assert!(first.is_none() || header.is_some(), "{name}, {end} bytes: it was there before");
            first = first.or(header);
        }
        assert!(first.is_some(), "{name}");
    }
}

#[test]
fn contents_are_told_by_their_first_bytes() {
    assert_eq!(Content::of(&file("png_named.JPEG")), Content::Png);
    assert_eq!(Content::of(&file("jpeg_named.png")), Content::Jpeg);
    assert_eq!(Content::of(b"GIF89a..."), Content::Foreign("a GIF file"));
    assert_eq!(Content::of(b"RIFF....WEBPVP8 "), Content::Foreign("a WEBP file"));
    assert_eq!(Content::of(b"<!DOCTYPE html>"), Content::Other("a web page or XML"));
    assert_eq!(Content::of(b""), Content::Other("an empty file"));
    assert_eq!(Content::of(b"Dear all,").to_string(), "is no picture but text");
}
