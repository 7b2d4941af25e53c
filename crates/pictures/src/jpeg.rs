//! JPEG files as libjpeg-turbo decodes them: fancy upsampling, smoothed blocks where scans are missing, the inverse DCT that
//! the program asks it for. Four channels become RGB by that program's own arithmetic.
//!
//! ```text
//! Pillow      C, M, Y, K = 255 − stored;  R = 255 − K − round((255 − K)·C / 255), G and B likewise, at least 0
//! TensorFlow  with Adobe's marker R = ⌊K·C / 255⌋ of what is stored; without, of 255 − that
//! ```

use libjpeg_turbo_rs::{
    ComponentInfo, DctMethod, DecodeLimits, Decoder, FrameHeader, JpegError, PixelFormat, ScalingFactor,
};

use super::decode::{MAX_PIXELS, Program, check_size};
use super::error::PictureError;
use super::jpeg_structure::{Marks, is_complete, marks, with_adobe};
use super::part::Part;
use super::{Rgb, Window};

/// Pixels that a byte can account for at most: the first scan of a channel spends a bit on a block of 64 samples, and with
/// the coarsest sampling a sample covers 16 pixels. A header that promises more is refused before anything is allocated.
const PIXELS_PER_BYTE: u64 = 8 * 64 * 16;

/// Progressive files of more scans are refused, for the work that a small one can cause. Encoders write 6 to 12, and at the
/// very most one for each bit of each coefficient band they distinguish.
const MAX_SCANS: usize = 256;

/// Columns beside a part that are decoded with it: chroma is interpolated between neighbours, and a part knows none.
const NEIGHBOURS: usize = 4;

/// The picture as it is stored, or a part of it.
pub(crate) fn decode(bytes: &[u8], program: Program, part: Option<Part>) -> Result<Rgb, PictureError> {
    if !is_complete(bytes) {
        return Err(PictureError::Truncated("JPEG"));
    }
    let limits = DecodeLimits { max_pixels: MAX_PIXELS, max_scans: MAX_SCANS, ..DecodeLimits::default() };
    let marks = marks(bytes);
    let corrected;
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(broken)?;
    if let Some(transform) = correction(&decoder, &marks) {
        corrected = with_adobe(bytes, &marks, transform);
        decoder = Decoder::new_with_limits(&corrected, limits).map_err(broken)?;
    }
    let header = decoder.header();
    let (width, height) = (header.width(), header.height());
    check_size(width as u64, height as u64)?;
    if header.precision != 8 || header.is_lossless {
        let kind = if header.is_lossless { "lossless".into() } else { format!("{}-bit", header.precision) };
        return Err(PictureError::Unsupported(format!(
            "is a {kind} JPEG: expected one of 8 bits, convert it"
        )));
    }
    if width == 0 || height == 0 || width as u64 * height as u64 > PIXELS_PER_BYTE * bytes.len() as u64 {
        let problem = format!("{width}×{height} pixels in {} bytes", bytes.len());
        return Err(PictureError::Broken { format: "JPEG", problem });
    }
    if header.components.len() > 1 && header.components[1..].iter().any(|c| finer(c, &header.components[0])) {
        let problem = "is a JPEG whose colours are finer than its brightness, which is not read: convert it";
        return Err(PictureError::Unsupported(problem.into()));
    }
    let format = match header.components.len() {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        4 => PixelFormat::Cmyk,
        n => {
            let problem = format!("is a JPEG of {n} channels: expected 1, 3 or 4, convert it");
            return Err(PictureError::Unsupported(problem));
        }
    };
    let method = match program {
        Program::Pillow => DctMethod::IsLow,
        Program::TensorFlow => DctMethod::IsFast,
    };
    let mut decoder = decoder.with_output_format(format).with_dct_method(method).with_block_smoothing(true);
    // Of four channels all is decoded, in full.
    let decoded = match part.filter(|_| format != PixelFormat::Cmyk) {
        Some(part) => narrow(&mut decoder, part),
        None => Window::whole(width, height),
    };
    let stored = decoder.decode_image().map_err(broken)?.into_vec();
    let Window { width, height, .. } = decoded;
    if stored.len() != width * height * format.bytes_per_pixel() {
        let problem = format!("{} bytes for {width}×{height} pixels", stored.len());
        return Err(PictureError::Broken { format: "JPEG", problem });
    }
    let pixels = match (format, program) {
        (PixelFormat::Grayscale, _) => stored.iter().flat_map(|&v| [v; 3]).collect(),
        (PixelFormat::Cmyk, Program::Pillow) => four_channels(&stored, pillow),
        (PixelFormat::Cmyk, Program::TensorFlow) if marks.adobe.is_some() => four_channels(&stored, scaled),
        (PixelFormat::Cmyk, Program::TensorFlow) => four_channels(&stored, |v, k| scaled(255 - v, 255 - k)),
        _ => stored,
    };
    let rgb = Rgb { width, height, pixels };
    let Some(Part { window, .. }) = part else { return Ok(rgb) };
    rgb.cut(Window { left: window.left - decoded.left, top: window.top - decoded.top, ..window })
}

/// Has the decoder make a part and little else; what it will make. It starts at a whole number of its units of columns.
fn narrow(decoder: &mut Decoder<'_>, Part { window, shrink }: Part) -> Window {
    let frame: &FrameHeader = decoder.header();
    let sampling = frame.components.iter().map(|c| usize::from(c.horizontal_sampling)).max().unwrap_or(1);
    let (unit, columns) = (sampling * 8 / shrink, usize::from(frame.width).div_ceil(shrink));
    let left = window.left.saturating_sub(NEIGHBOURS) / unit * unit;
    let width = (window.left + window.width + NEIGHBOURS).min(columns) - left;
    decoder.set_scale(ScalingFactor::new(1, shrink as u32));
    decoder.set_crop_region(left, window.top, width, window.height);
    Window { left, width, ..window }
}

/// Adobe's transform if libjpeg-turbo takes three channels for other colours than the decoder does: a JFIF marker says
/// YCbCr whatever Adobe's says, and without either the names R, G, B are taken by their word.
fn correction(decoder: &Decoder<'_>, marks: &Marks) -> Option<u8> {
    let names: Vec<u8> = decoder.header().components.iter().map(|c| c.id).collect();
    match (names.len(), decoder.saw_jfif_marker(), marks.adobe) {
        (3, true, Some(0)) => Some(1),
        (3, false, None) if names == *b"RGB" => Some(0),
        _ => None,
    }
}

/// Whether a channel has more samples than the first.
fn finer(channel: &ComponentInfo, first: &ComponentInfo) -> bool {
    channel.horizontal_sampling > first.horizontal_sampling
        || channel.vertical_sampling > first.vertical_sampling
}

fn broken(error: JpegError) -> PictureError {
    match error {
        JpegError::Unsupported(what) => {
            PictureError::Unsupported(format!("is a JPEG with {what}, which is not read: convert it"))
        }
        other => PictureError::Broken { format: "JPEG", problem: other.to_string() },
    }
}

/// RGB from stored values, each colour from its own and the fourth.
fn four_channels(stored: &[u8], colour: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    stored.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| colour(p[c], p[3]))).collect()
}

fn pillow(value: u8, black: u8) -> u8 {
    let product = u32::from(255 - value) * u32::from(black) + 128;
    black.saturating_sub(((product + (product >> 8)) >> 8) as u8)
}

fn scaled(value: u8, black: u8) -> u8 {
    (u32::from(value) * u32::from(black) / 255) as u8
}
