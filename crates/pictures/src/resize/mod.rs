//! Pillow's `Image.resize` of RGB bytes, byte for byte.
//!
//! ```text
//! region fits the target in whole pixels: copy
//! nearest:  source = left + (target + ½) · scale, cut to whole pixels
//! else:     along the rows, then along the columns ([`Order`]), each if anything changes along it:
//!           byte = clip((½ + Σ weight · byte), weights as whole numbers of 2⁻²²)
//! ```
//! Weights are made in f64 and cut to 22 bits ([`weights`]); a filter widens when a picture shrinks. Sums of whole numbers do
//! not depend on their order, so the loops may be as they like; Pillow rounds between the two passes, so the passes may not.
//!
//! Of a [`Window`] only what is seen is computed: the weights of its columns and rows, and the source rows they need.

mod nearest;
mod passes;
mod weights;

use std::borrow::Cow;
use std::ops::Range;

use super::decode::check_size;
use super::{PictureError, Rgb, Window};
use passes::Piece;
use weights::Weights;

/// Pillow's resampling filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// One pixel of the source.
    Nearest,
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = −½.
    Bicubic,
}

/// Which axis is resampled first. Between the two every value is rounded to a byte, so a few pixels differ by one or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows, always, as in Pillow 12.0.
    RowsFirst,
    /// Columns if the height shrinks by more than twice the pixels that the width does, as in Pillow 13; else rows.
    Pillow13,
}

/// Pillow's `box`: the part of the source that is resized, in pixels and fractions of them. In f32, as Pillow takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge.
    pub left: f32,
    /// Upper edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Lower edge.
    pub bottom: f32,
}

/// What to make of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// Columns of the whole result.
    pub width: usize,
    /// Rows of the whole result.
    pub height: usize,
    /// Resampling filter.
    pub filter: Filter,
    /// Which axis comes first.
    pub order: Order,
    /// What is resized; all of the picture if not said.
    pub region: Option<Region>,
    /// What is wanted of the result; all of it if not said.
    pub window: Option<Window>,
}

impl Resize {
    /// All of a picture to all of the result, rows first.
    pub fn new(width: usize, height: usize, filter: Filter) -> Resize {
        Resize { width, height, filter, order: Order::RowsFirst, region: None, window: None }
    }

    /// The picture resized, or the window of it.
    pub fn apply(&self, rgb: &Rgb) -> Result<Rgb, PictureError> {
        rgb.check()?;
        let whole = Window::whole(self.width, self.height);
        let window = self.window.unwrap_or(whole);
        whole.check(self.width, self.height)?;
        window.check(self.width, self.height)?;
        check_size(window.width as u64, window.height as u64)?;
        check_size(self.width.max(self.height) as u64, 1)?;
        let (columns, rows) = self.axes(rgb)?;
        let (columns, rows) = (columns.seen(window.left, window.width), rows.seen(window.top, window.height));
        if self.filter == Filter::Nearest {
            return Ok(nearest::nearest(rgb, &columns, &rows));
        }
        let (columns, rows) = (Taps::new(&columns, self.filter)?, Taps::new(&rows, self.filter)?);
        let (across, down) = (columns.needed(), rows.needed());
        let source = Piece { pixels: Cow::Borrowed(&rgb.pixels), left: 0, top: 0, width: rgb.width };
        let resized = if self.rows_first(rgb) {
            check_size(window.width as u64, down.len() as u64)?;
            source.along_rows(&columns, down).along_columns(&rows, 0..window.width)
        } else {
            check_size(across.len() as u64, window.height as u64)?;
            source.along_columns(&rows, across).along_rows(&columns, 0..window.height)
        };
        Ok(Rgb { width: window.width, height: window.height, pixels: resized.pixels.into_owned() })
    }

    fn rows_first(&self, rgb: &Rgb) -> bool {
        match self.order {
            Order::RowsFirst => true,
            Order::Pillow13 => {
                let lost = |from: usize, to: usize| from as i64 - to as i64;
                let (columns, rows) = (lost(rgb.width, self.width), lost(rgb.height, self.height));
                rows <= 0 || rows <= 2 * columns
            }
        }
    }

    /// Where the columns and the rows of the result come from.
    fn axes(&self, rgb: &Rgb) -> Result<(Axis, Axis), PictureError> {
        let (w, h) = (rgb.width as f32, rgb.height as f32);
        let r = self.region.unwrap_or(Region { left: 0.0, top: 0.0, right: w, bottom: h });
        if r.left >= 0.0
            && r.top >= 0.0
            && r.right > r.left
            && r.bottom > r.top
            && r.right <= w
            && r.bottom <= h
        {
            let axis =
                |low, high, source, target| Axis { low, high, source, target, start: 0, count: target };
            return Ok((
                axis(r.left, r.right, rgb.width, self.width),
                axis(r.top, r.bottom, rgb.height, self.height),
            ));
        }
        Err(PictureError::Region(format!(
            "a region from column {} to {}, row {} to {} is not inside {}×{} pixels: expected one that is and has an area",
            r.left, r.right, r.top, r.bottom, rgb.width, rgb.height
        )))
    }
}

/// One direction of a resize: `source` pixels of which `low` to `high` become `target`, of which `count` from `start` on are
/// wanted.
struct Axis {
    low: f32,
    high: f32,
    source: usize,
    target: usize,
    start: usize,
    count: usize,
}

impl Axis {
    fn seen(self, start: usize, count: usize) -> Axis {
        Axis { start, count, ..self }
    }

    /// The source pixels of the wanted ones, if each is one of them whole.
    fn copied(&self) -> Option<Range<usize>> {
        let whole = self.low.fract() == 0.0 && self.high - self.low == self.target as f32;
        let first = self.low as usize + self.start;
        (whole && first + self.count <= self.source).then_some(first..first + self.count)
    }
}

/// What each wanted pixel of an axis is made of. Weights of a whole-pixel move are 1 and 0, so copying is the same.
enum Taps {
    Copy(Range<usize>),
    Weighted(Weights),
}

impl Taps {
    fn new(axis: &Axis, filter: Filter) -> Result<Taps, PictureError> {
        match axis.copied() {
            Some(pixels) => Ok(Taps::Copy(pixels)),
            None => Weights::new(axis, filter).map(Taps::Weighted),
        }
    }

    /// The number of wanted pixels.
    fn len(&self) -> usize {
        match self {
            Taps::Copy(pixels) => pixels.len(),
            Taps::Weighted(weights) => weights.len(),
        }
    }

    /// The source pixels that are looked at.
    fn needed(&self) -> Range<usize> {
        match self {
            Taps::Copy(pixels) => pixels.clone(),
            Taps::Weighted(weights) => weights.needed(),
        }
    }
}
