//! PNG files row by row to RGB.
//!
//! ```text
//! sample = `depth` bits of a row
//! pixel  = grey spread to 8 bits | colour of the palette | three samples | with the fourth or a colour key as alpha
//! ```

use std::io::{Cursor, ErrorKind};

use png::{BitDepth, ColorType, DecodingError, Info, Reader, Transformations};

use super::Rgb;
use super::decode::{Alpha, Options, Program, check_size};
use super::error::PictureError;
use super::exif::orientation;

/// The picture and its EXIF orientation.
pub(crate) fn decode(bytes: &[u8], options: Options) -> Result<(Rgb, u8), PictureError> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width as u64, height as u64)?;
    let mut reader = decoder.read_info().map_err(broken)?;
    let layout = Layout::new(reader.info(), options);
    // Grows with what is decoded: a header alone allocates nothing.
    let mut pixels = Vec::new();
    if reader.info().interlaced {
        let length = reader.output_buffer_size().ok_or_else(|| broken(DecodingError::LimitsExceeded))?;
        let mut rows = vec![0; length];
        reader.next_frame(&mut rows).map_err(broken)?;
        let row = reader.output_line_size(width as u32).unwrap_or(length).max(1);
        rows.chunks_exact(row).for_each(|row| layout.convert(row, width, &mut pixels));
    } else {
        // An animation goes on with rows of its next frame.
        for _ in 0..height {
            let row = next_row(&mut reader)?;
            layout.convert(row, width, &mut pixels);
        }
    }
    reader.finish().map_err(broken)?;
    if pixels.len() != width * height * 3 {
        let problem = format!("{} bytes for {width}×{height} pixels", pixels.len());
        return Err(PictureError::Broken { format: "PNG", problem });
    }
    let turned = reader.info().exif_metadata.as_deref().map_or(1, orientation);
    Ok((Rgb { width, height, pixels }, turned))
}

fn next_row<'a>(reader: &'a mut Reader<Cursor<&[u8]>>) -> Result<&'a [u8], PictureError> {
    match reader.next_row().map_err(broken)? {
        Some(row) => Ok(row.data()),
        None => Err(PictureError::Truncated("PNG")),
    }
}

fn broken(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => PictureError::Truncated("PNG"),
        other => PictureError::Broken { format: "PNG", problem: other.to_string() },
    }
}

/// How a row's bytes are pixels.
struct Layout {
    kind: ColorType,
    depth: usize,
    /// RGB and alpha; black beyond the file's colours, as in Pillow.
    palette: Vec<[u8; 4]>,
    /// The samples of the one transparent colour.
    key: Option<Vec<u16>>,
    options: Options,
}

impl Layout {
    fn new(info: &Info<'_>, options: Options) -> Layout {
        let depth = match info.bit_depth {
            BitDepth::One => 1,
            BitDepth::Two => 2,
            BitDepth::Four => 4,
            BitDepth::Eight => 8,
            BitDepth::Sixteen => 16,
        };
        let transparent = info.trns.as_deref();
        let mut palette = vec![[0, 0, 0, 255]; 256];
        for (entry, colour) in
            palette.iter_mut().zip(info.palette.as_deref().unwrap_or_default().chunks_exact(3))
        {
            entry[..3].copy_from_slice(colour);
        }
        let indexed = info.color_type == ColorType::Indexed;
        if indexed {
            palette.iter_mut().zip(transparent.unwrap_or_default()).for_each(|(entry, &a)| entry[3] = a);
        }
        // The library leaves one byte of each sample where one holds it.
        let sample = |b: &[u8]| b.iter().fold(0, |n, &b| n << 8 | u16::from(b));
        let key = transparent.filter(|_| !indexed);
        let key = key.map(|bytes| bytes.chunks(if depth == 16 { 2 } else { 1 }).map(sample).collect());
        Layout { kind: info.color_type, depth, palette, key, options }
    }

    /// Adds a row's RGB to `pixels`.
    fn convert(&self, row: &[u8], width: usize, pixels: &mut Vec<u8>) {
        if (self.kind, self.depth) == (ColorType::Rgb, 8)
            && (self.key.is_none() || self.options.alpha == Alpha::Drop)
        {
            return pixels.extend_from_slice(row);
        }
        for x in 0..width {
            let (rgb, alpha) = self.pixel(row, x);
            match self.options.alpha {
                Alpha::Drop => pixels.extend(rgb),
                Alpha::White => pixels.extend(rgb.map(|v| over_white(v, alpha))),
            }
        }
    }

    fn pixel(&self, row: &[u8], x: usize) -> ([u8; 3], u8) {
        let channels = self.kind.samples();
        let sample = |c: usize| self.sample(row, x * channels + c);
        // The upper 8 of 16 bits.
        let byte = |c: usize| if self.depth == 16 { (sample(c) >> 8) as u8 } else { sample(c) as u8 };
        let keyed = || {
            let hit = |key: &Vec<u16>| key.iter().enumerate().all(|(c, &k)| k == sample(c));
            if self.key.as_ref().is_some_and(hit) { 0 } else { 255 }
        };
        match self.kind {
            ColorType::Grayscale => ([self.grey(sample(0)); 3], keyed()),
            ColorType::Indexed => {
                let [r, g, b, a] = self.palette[usize::from(byte(0))];
                ([r, g, b], a)
            }
            ColorType::Rgb => ([byte(0), byte(1), byte(2)], keyed()),
            ColorType::GrayscaleAlpha => ([byte(0); 3], byte(1)),
            ColorType::Rgba => ([byte(0), byte(1), byte(2)], byte(3)),
        }
    }

    fn sample(&self, row: &[u8], i: usize) -> u16 {
        match self.depth {
            16 => u16::from_be_bytes([row[2 * i], row[2 * i + 1]]),
            8 => u16::from(row[i]),
            depth => {
                let bit = i * depth;
                u16::from(row[bit / 8] >> (8 - depth - bit % 8)) & ((1 << depth) - 1)
            }
        }
    }

    fn grey(&self, sample: u16) -> u8 {
        match self.depth {
            16 => match (self.options.program, self.options.alpha) {
                (Program::TensorFlow, _) => (sample >> 8) as u8,
                (Program::Pillow, Alpha::Drop) => sample.min(255) as u8,
                (Program::Pillow, Alpha::White) => ((u32::from(sample) * 255 + 32_767) / 65_535) as u8,
            },
            8 => sample as u8,
            depth => (sample * 255 / ((1 << depth) - 1)) as u8,
        }
    }
}

fn over_white(value: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
