//! Parts of pictures against the same pixels of the whole.

use std::fs;
use std::path::{Path, PathBuf};

use inception_pictures::{Content, Header, Options, Part, Program, Window, decode, decode_part};

fn fixtures() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

/// Windows of every corner, edge and middle, from one pixel to all.
fn windows(width: usize, height: usize) -> Vec<Window> {
    let spans = |n: usize| {
        let mut spans = vec![(0, n), (0, 1), (n - 1, 1), (n / 2, 1), (n / 3, n - n / 3), (0, n.div_ceil(2))];
        spans.extend((0..n.saturating_sub(9)).step_by(7).map(|start| (start, 9)));
        spans.retain(|&(start, count)| start + count <= n);
        spans
    };
    let rows = spans(height);
    let all = |(left, width)| rows.iter().map(move |&(top, height)| Window { left, top, width, height });
    spans(width).into_iter().flat_map(all).collect()
}

#[test]
fn parts_have_the_pixels_of_the_whole() {
    let mut seen = 0;
    for (path, bytes) in fixtures() {
        for options in [Options::VIEWER, Options::TENSORFLOW] {
            let Ok(whole) = decode(&bytes, options) else { continue };
            for window in windows(whole.width, whole.height) {
                let part = decode_part(&bytes, options, Part { window, shrink: 1 });
                assert_eq!(part, whole.cut(window), "{} {window:?} {options:?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10_000, "{seen}");
}

#[test]
fn parts_of_shrunk_pictures_are_parts_of_them() {
    let mut seen = 0;
    for (path, bytes) in fixtures() {
        let Some(header) = Header::of(&bytes) else { continue };
        if decode(&bytes, Options::VIEWER).is_err() {
            continue;
        }
        for shrink in [2, 4, 8] {
            let (width, height) = header.upright();
            let [width, height] = [width, height].map(|n| (n as usize).div_ceil(shrink));
            let of = |window| decode_part(&bytes, Options::VIEWER, Part { window, shrink });
            let whole = of(Window::whole(width, height));
            if header.shrinks == 1 {
                assert!(whole.unwrap_err().to_string().contains("at most 1"), "{}", path.display());
                continue;
            }
            let whole = whole.expect("a shrunk picture");
            assert_eq!((whole.width, whole.height), (width, height));
            for window in windows(width, height) {
                assert_eq!(of(window), whole.cut(window), "{} 1/{shrink} {window:?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 5_000, "{seen}");
}

/// Every pixel is about the mean of those it stands for, also in pictures that are turned.
#[test]
fn shrunk_pixels_are_about_means() {
    let mut seen = 0;
    for (path, bytes) in fixtures() {
        let Ok(whole) = decode(&bytes, Options::VIEWER) else { continue };
        if Header::of(&bytes).is_none_or(|header| header.shrinks == 1 || header.orientation > 2) {
            continue;
        }
        let s = 2;
        let [width, height] = [whole.width / s, whole.height / s];
        if width == 0 || height == 0 {
            continue;
        }
        let part = Part { window: Window { left: 0, top: 0, width, height }, shrink: s };
        let small = decode_part(&bytes, Options::VIEWER, part).expect("a shrunk picture");
        let mean = |x: usize, y: usize, c: usize| {
            let pixel =
                |i: usize| f64::from(whole.pixels[((y * s + i / s) * whole.width + x * s + i % s) * 3 + c]);
            (0..s * s).map(pixel).sum::<f64>() / (s * s) as f64
        };
        let places = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (x, y, c))));
        let off = |(x, y, c): (usize, usize, usize)| {
            (mean(x, y, c) - f64::from(small.pixels[(y * width + x) * 3 + c])).abs()
        };
        let error = places.map(off).sum::<f64>() / small.pixels.len() as f64;
        assert!(error < 12.0, "{error} {}", path.display());
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn parts_that_are_not_there_are_refused() {
    let (_, bytes) = fixtures().into_iter().find(|(path, _)| path.ends_with("baseline_420.jpg")).expect("it");
    let header = Header::of(&bytes).expect("a header");
    let (width, height) = (header.width as usize, header.height as usize);
    let part = |window, shrink| decode_part(&bytes, Options::PILLOW, Part { window, shrink });
    let one = Window { left: width, top: 0, width: 1, height: 1 };
    for (window, shrink) in [
        (one, 1),
        (Window { width: 0, ..one }, 1),
        (Window { left: usize::MAX, ..one }, 1),
        (Window { left: 0, width, height: height + 1, top: 0 }, 1),
        (Window::whole(width, height), 2),
        (Window { left: 0, ..one }, 3),
        (Window { left: 0, ..one }, 0),
        (Window { left: 0, ..one }, 16),
    ] {
        assert!(part(window, shrink).is_err(), "{window:?} {shrink}");
    }
    assert_eq!(Content::of(&bytes), Content::Jpeg);
    let tensorflow = Options { program: Program::TensorFlow, ..Options::PILLOW };
    assert!(decode_part(&bytes[..900], tensorflow, Part { window: one, shrink: 1 }).is_err(), "truncated");
}
