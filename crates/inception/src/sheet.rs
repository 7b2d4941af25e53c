//! Contact sheets: pictures as the network sees them, to be looked at before a run is paid for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use inception_pictures::{Filter, Resize};

use crate::data::{Batch, DataError, Dataset, Preprocessing, Range, Rgb, Source, Train, decode};

/// Pictures of a sheet, and columns: each as in evaluation, then distorted as in the first epochs.
const ROWS: usize = 8;
const COLUMNS: usize = 8;
/// Pixels between two pictures.
const GAP: usize = 4;
/// Largest side of a picture on a page.
const THUMBNAIL: usize = 128;

/// Writes RGB bytes as a PNG file.
pub fn save_png(path: &Path, width: usize, height: usize, pixels: &[u8]) -> Result<()> {
    let write = || -> Result<()> { encode(BufWriter::new(File::create(path)?), width, height, pixels) };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Writes RGB bytes as PNG.
pub(crate) fn encode(to: impl Write, width: usize, height: usize, pixels: &[u8]) -> Result<()> {
    let mut encoder = png::Encoder::new(to, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(())
}

/// A picture as the network takes it, `[side, side, 3]`, as a PNG file of at most [`THUMBNAIL`] pixels a side.
pub fn thumbnail(pixels: &[f32], side: usize, range: Range) -> Result<Vec<u8>> {
    at_most(pixels, side, range, THUMBNAIL)
}

fn at_most(pixels: &[f32], side: usize, range: Range, largest: usize) -> Result<Vec<u8>> {
    let mut square = Rgb { width: side, height: side, pixels: range.to_bytes(pixels) };
    if side > largest {
        square = Resize::new(largest, largest, Filter::Bilinear).apply(&square)?;
    }
    let mut file = Vec::new();
    encode(&mut file, square.width, square.height, &square.pixels)?;
    Ok(file)
}

/// Some pictures of `dataset`, evenly spread: in the first column as evaluation sees them, then as the first epochs of training do.
/// Those that cannot be read are left out.
pub fn distortions(
    path: &Path,
    dataset: &Dataset,
    train: &Train,
    preprocessing: &Preprocessing,
    side: usize,
    seed: u64,
) -> Result<()> {
    let count = dataset.samples.len();
    let mut squares = Vec::new();
    for row in 0..ROWS.min(count) {
        let index = row * count / ROWS.min(count);
        let picture = &dataset.samples[index].picture;
        let rgb = match decode::decode(picture, preprocessing.decoding()) {
            Ok(rgb) => rgb,
            Err(DataError::Picture { .. } | DataError::Io { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        squares.push(preprocessing.range.to_bytes(&preprocessing.apply(&rgb, side)?));
        for epoch in 0..COLUMNS as u64 - 1 {
            squares.push(train.apply(&Source::Decoded(&rgb), side, &[seed, epoch, index as u64])?);
        }
    }
    save_grid(path, &squares, side)
}

/// The first pictures of each batch as they go into the network, a row for a batch.
pub fn batches(
    path: &Path,
    batches: impl Iterator<Item = Result<Batch, DataError>>,
    preprocessing: &Preprocessing,
    side: usize,
) -> Result<()> {
    let mut squares = Vec::new();
    for batch in batches.take(ROWS) {
        let pictures = batch?.pixels;
        let first = pictures.chunks_exact(side * side * 3).take(COLUMNS);
        squares.extend(first.map(|pixels| preprocessing.range.to_bytes(pixels)));
    }
    save_grid(path, &squares, side)
}

/// Squares in rows on white.
fn save_grid(path: &Path, squares: &[Vec<u8>], side: usize) -> Result<()> {
    let columns = COLUMNS.min(squares.len()).max(1);
    let extent = |count: usize| count * (side + GAP) + GAP;
    let (width, height) = (extent(columns), extent(squares.len().div_ceil(columns)));
    let mut pixels = vec![255; width * height * 3];
    for (i, square) in squares.iter().enumerate() {
        let (left, top) = (extent(i % columns), extent(i / columns));
        for (y, row) in square.chunks_exact(side * 3).enumerate() {
            pixels[((top + y) * width + left) * 3..][..side * 3].copy_from_slice(row);
        }
    }
    save_png(path, width, height, &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_is_the_picture_or_a_smaller_one() {
        // Left black, right a colour: so it stays when it shrinks.
        let bytes: Vec<u8> =
            (0..10 * 10).flat_map(|i| if i % 10 < 5 { [0; 3] } else { [250, 100, 5] }).collect();
        let pixels: Vec<f32> = bytes.iter().map(|&byte| (f32::from(byte) - 127.5) / 127.5).collect();
        for (largest, side) in [(10, 10), (128, 10), (4, 4)] {
            let file = at_most(&pixels, 10, Range::Signed, largest).expect("encoded");
            let picture = image::load_from_memory(&file).expect("a PNG file").into_rgb8();
            assert_eq!(picture.dimensions(), (side, side));
            assert_eq!(
                (picture.get_pixel(0, side / 2).0, picture.get_pixel(side - 1, 0).0),
                ([0; 3], [250, 100, 5])
            );
        }
    }
}
