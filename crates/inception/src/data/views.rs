//! What a network sees of a picture: one square, or the crops of a protocol.
//!
//! ```text
//! RGB ─ resize, a square of each scale at a time ─▶ squares ─ cut, mirror ─▶ views ─ range ─▶ [side, side, 3] each
//! ```
//! Kept are the squares alone, each with its smaller copy, some 10 MB of the 39 MB of 144 views of 299 pixels; a view is cut when
//! the network wants it.

use inception_pictures::PictureError;

use super::crops::{Crops, crops};
use super::dataset::Rgb;
use super::pixels::Pixels;
use super::preprocess::{Preprocessing, Range};

/// How a network sees pictures.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// How they are decoded, resized and scaled.
    pub how: Preprocessing,
    /// Side of the network's input.
    pub side: usize,
    /// How many views of a picture.
    pub crops: Crops,
}

/// Views of one picture.
pub struct Views {
    sight: Sight,
    content: Content,
}

enum Content {
    Single(Pixels),
    Crops(Vec<Shown>),
}

/// A square and the views that are cut from it.
struct Shown {
    square: Pixels,
    /// The whole of it, of the network's size; nothing where it is no view.
    small: Option<Pixels>,
    /// Side of the square.
    side: usize,
    /// How many squares of the protocol it is.
    count: usize,
}

impl Sight {
    /// The views of a picture.
    pub fn of(self, rgb: &Rgb) -> Result<Views, PictureError> {
        let Sight { how, side, crops } = self;
        let content = match crops {
            Crops::Single => Content::Single(how.eval.square(rgb, side)?),
            _ => {
                let interpolation = how.eval.interpolation;
                let squares = crops.squares(rgb.width, rgb.height, side);
                let shown = squares.into_iter().map(|at| {
                    let square = interpolation.resize(rgb, at.picture, at.window)?;
                    let small = (crops != Crops::Ten).then(|| square.squared(interpolation, side));
                    Ok(Shown { small: small.transpose()?, square, side: at.window.width, count: at.count })
                });
                Content::Crops(shown.collect::<Result<_, PictureError>>()?)
            }
        };
        Ok(Views { sight: self, content })
    }

    /// Values of a view.
    pub fn values(&self) -> usize {
        self.side * self.side * 3
    }
}

impl Views {
    /// How many differ.
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Single(_) => 1,
            Content::Crops(shown) => shown.len() * self.of_a_square(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of_a_square(&self) -> usize {
        2 * self.sight.crops.of_a_square()
    }

    /// How many views of the protocol the view `index` is.
    pub fn count(&self, index: usize) -> usize {
        match &self.content {
            Content::Single(_) => 1,
            Content::Crops(shown) => shown[index / self.of_a_square()].count,
        }
    }

    /// Appends the network's input that the view `index` is.
    ///
    /// # Panics
    /// Where there is none.
    pub fn append(&self, index: usize, values: &mut Vec<f32>) {
        let Sight { how: Preprocessing { range, .. }, side, .. } = self.sight;
        match &self.content {
            Content::Single(square) => square.append(range, values),
            Content::Crops(shown) => {
                let (shown, view) = (&shown[index / self.of_a_square()], index % self.of_a_square());
                shown.append(view / 2, view % 2 == 1, side, range, values);
            }
        }
    }
}

impl Shown {
    fn append(&self, crop: usize, mirrored: bool, side: usize, range: Range, values: &mut Vec<f32>) {
        let boxes = crops(self.side, side);
        match &self.small {
            Some(small) if crop == boxes.len() - 1 => {
                let whole = inception_pictures::Window::whole(side, side);
                small.append_window(whole, mirrored, range, values);
            }
            _ => self.square.append_window(boxes[crop], mirrored, range, values),
        }
    }
}
