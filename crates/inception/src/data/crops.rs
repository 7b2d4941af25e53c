//! Which parts of a picture are shown to a network when several are: the protocols of the papers' tables.
//!
//! ```text
//! scale s of 4    the shorter side becomes S = round(N · (256, 288, 320, 352)[s] / 224), N the network's input
//! square q of 3   of side S: left, centre, right; of an upright picture top, centre, bottom
//! crop c of 6     N×N at top left, top right, bottom left, bottom right, centre; the whole square resized to N×N
//! mirror m of 2   as it is; its mirror image
//! index           ((s · 3 + q) · 6 + c) · 2 + m: 144 views
//! ```
//! GoogLeNet (arXiv:1409.4842, section 7) has a network of 224 pixels; the scales keep its ratios. The paper's 12 crops are
//! described nowhere: taken for those of the first scale and the centre square. The 10 of the residual networks are the same
//! without the whole square. Halves are cut where a centre falls between two pixels, and rounded up in the longer side.
//!
//! Squares that coincide, all three of a square picture, are given once, with their number.

use inception_pictures::Window;

/// How many views of a picture are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Crops {
    /// One, by the weights' own geometry.
    #[default]
    #[value(name = "1")]
    Single,
    /// Corners and centre of the centre square at the first scale, mirrored.
    #[value(name = "10")]
    Ten,
    /// The same and the whole square.
    #[value(name = "12")]
    Twelve,
    /// Four scales, three squares, six crops, mirrored.
    #[value(name = "144")]
    OneFortyFour,
}

/// A square of a picture that is resized before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Square {
    /// Columns and rows that the picture is resized to.
    pub picture: (usize, usize),
    /// Where the square lies in it.
    pub window: Window,
    /// How many of the protocol's squares it is.
    pub count: usize,
}

impl Crops {
    /// Views of a picture.
    pub fn views(self) -> usize {
        match self {
            Crops::Single => 1,
            Crops::Ten => 10,
            Crops::Twelve => 12,
            Crops::OneFortyFour => 144,
        }
    }

    /// Crops of a square, their mirror images aside: the first of [`crops`].
    pub fn of_a_square(self) -> usize {
        if self == Crops::Ten { 5 } else { 6 }
    }

    /// The squares of a `width`×`height` picture for a network with an input of `side` pixels, in the protocol's order. None for a
    /// single view, whose geometry is the weights'.
    pub fn squares(self, width: usize, height: usize, side: usize) -> Vec<Square> {
        let (scales, squares): (&[usize], &[usize]) = match self {
            Crops::Single => (&[], &[]),
            Crops::Ten | Crops::Twelve => (&SCALES[..1], &[1]),
            Crops::OneFortyFour => (&SCALES, &[0, 1, 2]),
        };
        let mut found: Vec<Square> = Vec::new();
        for scale in scales {
            let short = rounded(side * scale, GOOGLENET);
            let long = rounded(width.max(height) * short, width.min(height));
            for square in squares {
                let start = square * (long - short) / 2;
                let (picture, left, top) =
                    if width >= height { ((long, short), start, 0) } else { ((short, long), 0, start) };
                let window = Window { left, top, width: short, height: short };
                match found.last_mut().filter(|last| (last.picture, last.window) == (picture, window)) {
                    Some(last) => last.count += 1,
                    None => found.push(Square { picture, window, count: 1 }),
                }
            }
        }
        found
    }
}

/// Shorter sides for a network of [`GOOGLENET`] pixels.
const SCALES: [usize; 4] = [256, 288, 320, 352];
const GOOGLENET: usize = 224;

/// `a / b` to the nearest whole number, halves up.
fn rounded(a: usize, b: usize) -> usize {
    (2 * a + b) / (2 * b)
}

/// The six crops of a square of `square` pixels for a network of `side`, counted from its corner; the last is all of it.
pub fn crops(square: usize, side: usize) -> [Window; 6] {
    let d = square - side;
    let crop = |left, top| Window { left, top, width: side, height: side };
    [crop(0, 0), crop(d, 0), crop(0, d), crop(d, d), crop(d / 2, d / 2), Window::whole(square, square)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners(w: Window) -> [usize; 4] {
        [w.left, w.top, w.left + w.width, w.top + w.height]
    }

    /// 500×375 for 299 pixels, by hand.
    #[test]
    fn the_boxes_of_a_photograph() {
        let found = Crops::OneFortyFour.squares(500, 375, 299);
        let scales = [(342, 456), (384, 512), (427, 569), (470, 627)];
        let lefts = [[0, 57, 114], [0, 64, 128], [0, 71, 142], [0, 78, 157]];
        let (d, c) = ([43, 85, 128, 171], [21, 42, 64, 85]);
        assert_eq!(found.len(), 12);
        for (i, square) in found.iter().enumerate() {
            let ((side, long), left) = (scales[i / 3], lefts[i / 3][i % 3]);
            assert_eq!((square.picture, square.count), ((long, side), 1));
            assert_eq!(corners(square.window), [left, 0, left + side, side]);
            let (d, c) = (d[i / 3], c[i / 3]);
            let expected = [
                [0, 0, 299, 299],
                [d, 0, d + 299, 299],
                [0, d, 299, d + 299],
                [d, d, d + 299, d + 299],
                [c, c, c + 299, c + 299],
                [0, 0, side, side],
            ];
            assert_eq!(crops(side, 299).map(corners), expected);
        }
        let twelve = Crops::Twelve.squares(500, 375, 299);
        assert_eq!((&twelve[..], &Crops::Ten.squares(500, 375, 299)[..]), (&found[1..2], &found[1..2]));
        assert!(Crops::Single.squares(500, 375, 299).is_empty());
    }

    #[test]
    fn the_scales_of_googlenet_are_its_own() {
        let sides: Vec<usize> =
            Crops::OneFortyFour.squares(300, 200, 224).iter().map(|s| s.window.height).collect();
        assert_eq!(sides, [256, 256, 256, 288, 288, 288, 320, 320, 320, 352, 352, 352]);
    }

    #[test]
    fn upright_pictures_are_cut_from_top_to_bottom() {
        let turned = |s: Square| {
            let Window { left, top, width, height } = s.window;
            let picture = (s.picture.1, s.picture.0);
            Square { picture, window: Window { left: top, top: left, width: height, height: width }, ..s }
        };
        for (w, h) in [(500, 375), (101, 99), (900, 1), (640, 639)] {
            let lying: Vec<_> = Crops::OneFortyFour.squares(w, h, 107).into_iter().map(turned).collect();
            assert_eq!(Crops::OneFortyFour.squares(h, w, 107), lying, "{w}×{h}");
        }
    }

    /// Whatever the shape, all squares lie in the picture, and with their numbers they are twelve.
    #[test]
    fn squares_that_coincide_are_counted() {
        for (w, h, distinct) in [(64, 64, 4), (640, 639, 4), (1, 900, 12), (2000, 1, 12), (3, 2, 12)] {
            let found = Crops::OneFortyFour.squares(w, h, 75);
            assert!(found.len() >= distinct && (w != h || found.len() == distinct), "{w}×{h}");
            assert_eq!(found.iter().map(|s| s.count).sum::<usize>(), 12);
            for Square { picture, window, .. } in found {
                let [_, _, right, bottom] = corners(window);
                assert!(right <= picture.0 && bottom <= picture.1 && window.width > 75, "{w}×{h}");
            }
        }
        // One pixel longer at the scale of 86: the first two squares begin at the same column.
        let found = Crops::OneFortyFour.squares(87, 86, 75);
        assert_eq!((found[0].window.left, found[0].count), (0, 2));
        assert_eq!((found[1].window.left, found[1].count), (1, 1));
    }
}
