//! RandAugment (arXiv:1909.13719): a few operations, drawn from fourteen, all of one strength.
//!
//! Operations, strengths and what becomes of pixels are torchvision's on Pillow pictures: nearest pixels, black where there were none.

use inception_graph::Stream;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::colour::{Planes, Step};

/// How many operations, and how strong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// Operations on each picture, 0 for none.
    pub ops: u8,
    /// Strength, 0 to 30.
    pub magnitude: f32,
}

/// The largest strength.
pub(crate) const MOST: f32 = 30.0;

/// An operation; signed ones go either way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Operation::*;

const OPERATIONS: [Operation; 14] = [
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

impl RandAugment {
    /// Changes `[side, side, 3]` bytes.
    pub(super) fn apply(&self, pixels: &mut [u8], side: usize, random: &mut Stream) {
        for _ in 0..self.ops {
            let operation = OPERATIONS[random.random_range(0..OPERATIONS.len())];
            let (most, signed) = operation.range(side);
            let share = (self.magnitude / MOST).clamp(0.0, 1.0);
            let strength = if signed && random.random_bool(0.5) { -share } else { share };
            operation.apply(pixels, side, most * strength);
        }
    }
}

impl Operation {
    /// What the largest strength means, and whether its negative is drawn as often.
    fn range(self, side: usize) -> (f32, bool) {
        match self {
            Identity | AutoContrast | Equalize => (0.0, false),
            ShearX | ShearY => (0.3, true),
            TranslateX | TranslateY => (150.0 / 331.0 * side as f32, true),
            Rotate => (30.0, true),
            Brightness | Color | Contrast | Sharpness => (0.9, true),
            // Bits that are lost.
            Posterize => (4.0, false),
            // How far the threshold lies under 255.
            Solarize => (255.0, false),
        }
    }

    fn apply(self, pixels: &mut [u8], side: usize, by: f32) {
        let whole = f64::from(by.trunc());
        match self {
            Identity => {}
            ShearX => moved(pixels, side, [1.0, f64::from(by), 0.0, 0.0, 1.0, 0.0]),
            ShearY => moved(pixels, side, [1.0, 0.0, 0.0, f64::from(by), 1.0, 0.0]),
            TranslateX => moved(pixels, side, [1.0, 0.0, -whole, 0.0, 1.0, 0.0]),
            TranslateY => moved(pixels, side, [1.0, 0.0, 0.0, 0.0, 1.0, -whole]),
            Rotate => moved(pixels, side, rotation(side, f64::from(by))),
            Brightness => recoloured(pixels, |_| Step::Around { factor: 1.0 + by, means: [0.0; 3] }),
            Color => recoloured(pixels, |_| Step::FromGrey(1.0 + by)),
            Contrast => {
                recoloured(pixels, |planes| Step::Around { factor: 1.0 + by, means: [planes.mean_grey(); 3] })
            }
            Sharpness => sharpen(pixels, side, 1.0 + by),
            Posterize => {
                let mask = 0xffu8 << (by.round() as u32).min(7);
                pixels.iter_mut().for_each(|v| *v &= mask);
            }
            Solarize => {
                let inverted = pixels.iter_mut().filter(|v| f32::from(**v) >= 255.0 - by);
                inverted.for_each(|v| *v = 255 - *v);
            }
            AutoContrast => by_channel(pixels, stretched),
            Equalize => by_channel(pixels, equalised),
        }
    }
}

fn recoloured(pixels: &mut [u8], step: impl FnOnce(&Planes) -> Step) {
    let mut planes = Planes::of(pixels);
    planes.change(step(&planes));
    planes.write(pixels);
}

/// Fractions of a pixel are counted in 2⁻¹⁶, as Pillow does.
const FIXED: f64 = 65536.0;

/// Each pixel from where `[a, b, c; d, e, f]` sends its centre: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`.
fn moved(pixels: &mut [u8], side: usize, [a, b, c, d, e, f]: [f64; 6]) {
    let fixed = |x: f64| (x * FIXED + 0.5).floor() as i64;
    let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    let [across, down] = [[a, d], [b, e]].map(|step| step.map(fixed));
    let from = pixels.to_vec();
    let at = |i: usize, x: usize, y: usize| (start[i] + across[i] * x as i64 + down[i] * y as i64) >> 16;
    let inside = |i: i64| usize::try_from(i).ok().filter(|&i| i < side);
    for (i, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (i % side, i / side);
        *pixel = match (inside(at(0, x, y)), inside(at(1, x, y))) {
            (Some(x), Some(y)) => std::array::from_fn(|c| from[(y * side + x) * 3 + c]),
            _ => [0; 3],
        };
    }
}

/// Anticlockwise around the middle.
fn rotation(side: usize, degrees: f64) -> [f64; 6] {
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let middle = side as f64 / 2.0;
    let [a, b, d, e] = [cos, sin, -sin, cos];
    [a, b, middle - (a + b) * middle, d, e, middle - (d + e) * middle]
}

/// Away from, or towards, the mean of a pixel (five times) and its eight neighbours; the border stays.
fn sharpen(pixels: &mut [u8], side: usize, factor: f32) {
    let from = pixels.to_vec();
    for y in 1..side.saturating_sub(1) {
        for i in (y * side + 1) * 3..((y + 1) * side - 1) * 3 {
            let row = |i: usize| [i - 3, i, i + 3].map(|i| u32::from(from[i])).iter().sum::<u32>();
            let sum = row(i - side * 3) + row(i) + row(i + side * 3) + 4 * u32::from(from[i]);
            let smooth = (sum as f32 / 13.0).round();
            // The cast cuts off at 0 and at 255.
            pixels[i] = (smooth + factor * (f32::from(from[i]) - smooth) + 0.5) as u8;
        }
    }
}

/// Maps each channel's bytes by what a function makes of their histogram.
fn by_channel(pixels: &mut [u8], map: fn(&[usize; 256]) -> Option<[u8; 256]>) {
    for c in 0..3 {
        let mut histogram = [0; 256];
        pixels.iter().skip(c).step_by(3).for_each(|&v| histogram[usize::from(v)] += 1);
        if let Some(map) = map(&histogram) {
            pixels.iter_mut().skip(c).step_by(3).for_each(|v| *v = map[usize::from(*v)]);
        }
    }
}

/// From 0 for the smallest to 255 for the largest.
fn stretched(histogram: &[usize; 256]) -> Option<[u8; 256]> {
    let low = histogram.iter().position(|&n| n > 0)?;
    let high = histogram.iter().rposition(|&n| n > 0).filter(|&high| high > low)?;
    let scale = 255.0 / (high - low) as f64;
    Some(std::array::from_fn(|v| (v as f64 * scale - low as f64 * scale).clamp(0.0, 255.0) as u8))
}

/// About as many of each value.
fn equalised(histogram: &[usize; 256]) -> Option<[u8; 256]> {
    let last = *histogram.iter().rfind(|&&n| n > 0)?;
    let step = (histogram.iter().sum::<usize>() - last) / 255;
    if step == 0 {
        return None;
    }
    let mut below = step / 2;
    Some(std::array::from_fn(|v| {
        let value = (below / step).min(255) as u8;
        below += histogram[v];
        value
    }))
}

#[cfg(test)]
mod tests {
    use inception_graph::stream;

    use super::*;

    const RECORDED: &str = include_str!("../../tests/fixtures/rand_augment.csv");
    const SIDE: usize = 8;

    /// Lines of `python reference/rand_augment.py`: name, magnitude, pixels.
    fn recorded() -> Vec<(&'static str, f32, Vec<u8>)> {
        let bytes = |hex: &str| {
            hex.as_bytes()
                .as_chunks::<2>()
                .0
                .iter()
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let line = |line: &'static str| {
            let mut cells = line.split(',');
            let mut next = || cells.next().unwrap();
            (next(), next().parse().unwrap(), bytes(next()))
        };
        RECORDED.lines().skip(1).map(line).collect()
    }

    #[test]
    fn operations_are_torchvisions() {
        let recorded = recorded();
        let (_, _, picture) = &recorded[0];
        let mut seen = Vec::new();
        for (name, magnitude, expected) in &recorded[1..] {
            let operation = OPERATIONS.into_iter().find(|o| format!("{o:?}") == *name).unwrap();
            let by = match operation {
                Posterize => 8.0 - magnitude,
                Solarize => 255.0 - magnitude,
                _ => *magnitude,
            };
            let mut found = picture.clone();
            operation.apply(&mut found, SIDE, by);
            // Pillow cuts off what a blend leaves behind the point.
            let tolerance = u8::from(matches!(operation, Brightness | Color | Contrast | Sharpness));
            let off = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= tolerance, "{name} {magnitude}: {off}\n{found:?}\n{expected:?}");
            seen.push(operation);
        }
        seen.dedup();
        assert_eq!(seen, OPERATIONS);
    }

    /// The strength of level 9 of 30 is what torchvision's tables have there.
    #[test]
    fn strengths_are_torchvisions() {
        let at = |operation: Operation| operation.range(SIDE).0 * 9.0 / MOST;
        for (name, magnitude, _) in &recorded()[1..] {
            let operation = OPERATIONS.into_iter().find(|o| format!("{o:?}") == *name).unwrap();
            let level = match operation {
                Posterize => 8.0 - magnitude,
                Solarize => 255.0 - magnitude,
                _ => magnitude.abs(),
            };
            let most = operation.range(SIDE).0;
            let levels = [3.0, 9.0, 30.0].map(|level| most * level / MOST);
            let near =
                |l: &f32| if operation == Posterize { l.round() == level } else { (l - level).abs() < 1e-4 };
            assert!(levels.iter().any(near), "{name} {level} {levels:?}");
        }
        assert_eq!(at(Rotate), 9.0);
    }

    #[test]
    fn every_operation_comes_as_often_and_both_ways() {
        let picture = recorded()[0].2.clone();
        let mut results = std::collections::HashMap::new();
        for key in 0..4000 {
            let mut pixels = picture.clone();
            RandAugment { ops: 1, magnitude: 9.0 }.apply(&mut pixels, SIDE, &mut stream(&[key]));
            *results.entry(pixels).or_insert(0) += 1;
        }
        // Nine signed operations, three others that change something, and all that changes nothing.
        assert!(results.len() >= 20, "{}", results.len());
        let unchanged = f64::from(results[&picture]) / 4000.0;
        assert!((0.05..0.25).contains(&unchanged), "{unchanged}");
        let mut same = picture.clone();
        RandAugment { ops: 0, magnitude: 30.0 }.apply(&mut same, SIDE, &mut stream(&[1]));
        assert_eq!(same, picture);
    }

    #[test]
    fn any_strength_and_size_will_do() {
        for side in [1, 2, 3, 75] {
            for (key, magnitude) in (0..200).zip([0.0, 9.0, 30.0, 1e9, f32::NAN].into_iter().cycle()) {
                let mut pixels = vec![100; side * side * 3];
                RandAugment { ops: 3, magnitude }.apply(&mut pixels, side, &mut stream(&[key]));
                assert_eq!(pixels.len(), side * side * 3);
            }
        }
    }
}
