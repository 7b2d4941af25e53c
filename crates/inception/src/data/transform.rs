//! From a picture of any size to the square a network takes.

use inception_graph::{Stream, stream};
use inception_pictures::PictureError;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::colour::{Planes, Step};
use super::crop::{CropBox, Source};
use super::rand_augment::RandAugment;

/// Random distortions of training pictures, in torchvision's order and meaning: a crop resized to the square, a mirror
/// image, RandAugment, then brightness, contrast, saturation and hue in a random order. Crops are not rounded to whole pixels, and
/// values are rounded where Pillow cuts them off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Smallest and largest share of the picture's area that a crop covers.
    pub scale: [f64; 2],
    /// Smallest and largest width/height of a crop.
    pub ratio: [f64; 2],
    /// Probability of mirroring left and right.
    pub flip: f64,
    /// Operations of RandAugment, behind the flip.
    pub rand_augment: RandAugment,
    /// Brightness factor from `1 − b` to `1 + b`.
    pub brightness: f32,
    /// Contrast factor, likewise.
    pub contrast: f32,
    /// Saturation factor, likewise.
    pub saturation: f32,
    /// Hue shift from `−h` to `h` turns of the colour circle, at most 0.5.
    pub hue: f32,
    /// Whose brightness and contrast these are.
    pub colour: Colour,
    /// Probability that a rectangle becomes noise.
    pub erase: f64,
}

/// Whose colour steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// torchvision's: factors, steps in any order, rounded to bytes between them.
    Jitter,
    /// Those of Google's Inception trainers: brightness is added, contrast is around the mean of each channel, in one of two orders;
    /// cut off once, at the end.
    Tensorflow,
}

impl Train {
    /// `[side, side, 3]` bytes, distorted by the random numbers of `key`, for example `[seed, epoch, sample]`.
    pub fn apply(&self, source: &Source<'_>, side: usize, key: &[u64]) -> Result<Vec<u8>, PictureError> {
        let random = &mut stream(key);
        let (width, height) = source.size();
        let crop = self.crop_box(width, height, random);
        let mut pixels = source.resample(crop, side)?;
        if random.random_bool(self.flip) {
            mirror(&mut pixels, side);
        }
        self.rand_augment.apply(&mut pixels, side, random);
        match self.colour {
            Colour::Jitter => self.jitter(&mut pixels, random),
            Colour::Tensorflow => self.distort(&mut pixels, random),
        }
        if random.random_bool(self.erase) {
            erase(&mut pixels, side, random);
        }
        Ok(pixels)
    }

    /// A random rectangle of the wanted area and aspect; after ten misfits the largest centred one.
    pub fn crop_box(&self, width: usize, height: usize, random: &mut Stream) -> CropBox {
        let (w, h) = (width as f64, height as f64);
        let within = |random: &mut Stream, [low, high]: [f64; 2]| low + (high - low) * random.random::<f64>();
        for _ in 0..10 {
            let area = w * h * within(random, self.scale);
            let ratio = within(random, self.ratio.map(f64::ln)).exp();
            let (cw, ch) = ((area * ratio).sqrt(), (area / ratio).sqrt());
            if cw <= w && ch <= h {
                let (x, y) = (within(random, [0.0, w - cw]), within(random, [0.0, h - ch]));
                return CropBox { x, y, width: cw, height: ch };
            }
        }
        let ratio = (w / h).clamp(self.ratio[0], self.ratio[1]);
        let (cw, ch) = if w / h > ratio { (h * ratio, h) } else { (w, w / ratio) };
        CropBox { x: (w - cw) / 2.0, y: (h - ch) / 2.0, width: cw, height: ch }
    }

    /// Brightness, saturation, hue, contrast, or brightness, contrast, saturation, hue.
    fn distort(&self, pixels: &mut [u8], random: &mut Stream) {
        let order = if random.random_bool(0.5) { [0, 2, 3, 1] } else { [0, 1, 2, 3] };
        let mut planes = Planes::of(pixels);
        for step in order {
            let strength = self.strengths()[step];
            let shift = random.random_range(-strength..=strength);
            let factor = 1.0 + shift;
            planes.change(match step {
                0 => Step::Add(255.0 * shift),
                1 => Step::Around { factor, means: planes.means() },
                2 => Step::Saturate(factor),
                _ => Step::Turn(shift),
            });
        }
        planes.write(pixels);
    }

    fn jitter(&self, pixels: &mut [u8], random: &mut Stream) {
        let strengths = self.strengths();
        if strengths == [0.0; 4] {
            return;
        }
        let mut order = [0, 1, 2, 3];
        rand::seq::SliceRandom::shuffle(&mut order[..], random);
        let mut planes = Planes::of(pixels);
        for step in order {
            let strength = strengths[step];
            if strength == 0.0 {
                continue;
            }
            // Factors start at 0 at the least; a hue has no such end.
            let shift = random.random_range(-strength.min(1.0)..=strength);
            let factor = 1.0 + shift;
            planes.change(match step {
                0 => Step::Around { factor, means: [0.0; 3] },
                1 => Step::Around { factor, means: [planes.mean_grey(); 3] },
                2 => Step::FromGrey(factor),
                _ => Step::Turn(shift),
            });
            planes.change(Step::Round);
        }
        planes.write(pixels);
    }

    /// Of brightness, contrast, saturation and hue.
    fn strengths(&self) -> [f32; 4] {
        [self.brightness, self.contrast, self.saturation, self.hue]
    }
}

/// Noise in a rectangle of 2 to 33 % of the area, 0.3 to 3.3 times as wide as high; after ten misfits nothing.
fn erase(pixels: &mut [u8], side: usize, random: &mut Stream) {
    for _ in 0..10 {
        let area = random.random_range(0.02..=1.0 / 3.0) * (side * side) as f64;
        let ratio: f64 = random.random_range(f64::ln(0.3)..=f64::ln(3.3));
        let [w, h] = [area * ratio.exp(), area / ratio.exp()].map(|square| square.sqrt().round() as usize);
        if (1..=side).contains(&w) && (1..=side).contains(&h) {
            let (x, y) = (random.random_range(0..=side - w), random.random_range(0..=side - h));
            for row in y..y + h {
                pixels[(row * side + x) * 3..][..w * 3].fill_with(|| random.random());
            }
            return;
        }
    }
}

fn mirror(pixels: &mut [u8], side: usize) {
    pixels.chunks_exact_mut(side * 3).for_each(|row| row.as_chunks_mut::<3>().0.reverse());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rgb;

    fn picture(width: usize, height: usize) -> Rgb {
        let pixels = (0..width * height * 3).map(|i| (i * 37 % 256) as u8).collect();
        Rgb { width, height, pixels }
    }

    const STILL: Train = Train {
        scale: [1.0, 1.0],
        ratio: [1.0, 1.0],
        flip: 0.0,
        rand_augment: RandAugment { ops: 0, magnitude: 0.0 },
        brightness: 0.0,
        contrast: 0.0,
        saturation: 0.0,
        hue: 0.0,
        colour: Colour::Jitter,
        erase: 0.0,
    };

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let rgb = picture(16, 16);
        assert_eq!(STILL.apply(&Source::Decoded(&rgb), 16, &[1]).unwrap(), rgb.pixels);
    }

    #[test]
    fn flipping_mirrors_every_row() {
        let rgb = picture(5, 5);
        let flipped = Train { flip: 1.0, ..STILL }.apply(&Source::Decoded(&rgb), 5, &[1]).unwrap();
        for (y, x) in (0..5).flat_map(|y| (0..5).map(move |x| (y, x))) {
            assert_eq!(flipped[(y * 5 + x) * 3..][..3], rgb.pixels[(y * 5 + 4 - x) * 3..][..3]);
        }
    }

    #[test]
    fn crops_lie_inside_and_have_the_area_asked_for() {
        let train = Train { scale: [0.08, 0.6], ratio: [0.75, 4.0 / 3.0], ..STILL };
        for i in 0..500 {
            let (w, h) = (40 + i % 7 * 30, 50 + i % 5 * 40);
            let c = train.crop_box(w, h, &mut stream(&[i as u64]));
            assert!(
                c.x >= 0.0
                    && c.y >= 0.0
                    && c.x + c.width <= w as f64 + 1e-9
                    && c.y + c.height <= h as f64 + 1e-9
            );
            let (area, ratio) = (c.width * c.height / (w * h) as f64, c.width / c.height);
            assert!(
                (0.0799..=0.6001).contains(&area) && (0.7499..=1.3334).contains(&ratio),
                "{area} {ratio}"
            );
        }
        // No crop of such a picture has the ratio; the fallback is the largest centred one.
        let c = Train { scale: [1.0, 1.0], ratio: [0.75, 4.0 / 3.0], ..STILL }.crop_box(
            300,
            30,
            &mut stream(&[1]),
        );
        assert_eq!(c, CropBox { x: 130.0, y: 0.0, width: 40.0, height: 30.0 });
    }

    #[test]
    fn pictures_of_extreme_shape_still_work() {
        let train = Train { scale: [0.08, 1.0], ratio: [0.75, 1.33], flip: 0.5, hue: 0.1, ..STILL };
        for (w, h) in [(1, 1), (1, 900), (2000, 1), (3, 2)] {
            let rgb = picture(w, h);
            assert_eq!(train.apply(&Source::Decoded(&rgb), 75, &[3]).unwrap().len(), 75 * 75 * 3);
        }
    }

    /// By hand: `tf.image`'s formulas on one pixel and on two.
    #[test]
    fn tensorflows_colours() {
        let still = Train { colour: Colour::Tensorflow, ..STILL };
        let rgb = picture(8, 8);
        assert_eq!(
            still.apply(&Source::Decoded(&rgb), 8, &[1]).unwrap(),
            rgb.pixels,
            "nothing asked for changes nothing"
        );
        let mut seen = std::collections::BTreeSet::new();
        let one = Rgb { width: 1, height: 1, pixels: vec![100, 100, 250] };
        for key in 0..200 {
            let bright = Train { brightness: 0.1, ..still }.apply(&Source::Decoded(&one), 1, &[key]).unwrap();
            assert!(bright[0] == bright[1] && (74..=126).contains(&bright[0]), "{bright:?}");
            assert_eq!(bright[2], (u32::from(bright[0]) + 150).min(255) as u8, "added, then cut off");
            seen.insert(bright[0]);
        }
        assert!(seen.len() > 40 && *seen.first().unwrap() < 78 && *seen.last().unwrap() > 122);
        // Contrast leaves the mean of a channel where it is.
        let two = Rgb {
            width: 2,
            height: 2,
            pixels: [[100, 40, 7], [140, 40, 7], [100, 40, 7], [140, 40, 7]].concat(),
        };
        let stretched = Train { contrast: 0.5, ..still }.apply(&Source::Decoded(&two), 2, &[5]).unwrap();
        let (low, high) = (i32::from(stretched[0]), i32::from(stretched[3]));
        assert!((low + high - 240).abs() <= 1 && (20..=60).contains(&(high - low)), "{stretched:?}");
        assert_eq!(stretched[1..3], [40, 7]);
    }

    #[test]
    fn a_rectangle_is_erased_as_often_as_asked() {
        let rgb = Rgb { width: 30, height: 30, pixels: vec![7; 2700] };
        let mut erased = 0;
        for key in 0..200 {
            let square = Train { erase: 0.5, ..STILL }.apply(&Source::Decoded(&rgb), 30, &[key]).unwrap();
            let changed = square.as_chunks::<3>().0.iter().filter(|p| **p != [7; 3]).count();
            erased += usize::from(changed > 0);
            assert!(changed == 0 || (10..=330).contains(&changed), "{changed}");
        }
        assert!((70..130).contains(&erased), "{erased}");
    }

    #[test]
    fn the_key_decides_everything() {
        let train = Train { scale: [0.2, 1.0], ratio: [0.75, 1.33], flip: 0.5, brightness: 0.4, ..STILL };
        let rgb = picture(60, 40);
        assert_eq!(
            train.apply(&Source::Decoded(&rgb), 32, &[1, 2, 3]),
            train.apply(&Source::Decoded(&rgb), 32, &[1, 2, 3])
        );
        assert_ne!(
            train.apply(&Source::Decoded(&rgb), 32, &[1, 2, 3]),
            train.apply(&Source::Decoded(&rgb), 32, &[1, 2, 4])
        );
    }
}
