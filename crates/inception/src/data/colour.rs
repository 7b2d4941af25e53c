//! Colours changed, many pixels at a time: red, green and blue lie apart, and no step has a branch, so that every instruction set's
//! widest vectors do it.
//!
//! ```text
//! high, low   the largest and the smallest of a colour's components;   range = high − low
//! hue         on a circle of 6: (g − b) / range where red is high, 2 + (b − r) / range green, 4 + (r − g) / range blue
//! component   high − range · distance of the hue from the component's peak (red 0, green 2, blue 4), 0 within 1 of it, 1 from 2 on
//! ```

use inception_kernels::Isa;
use inception_kernels::isa::Loops;

/// Pixels whose components lie apart, 0 to 255 or, between the steps, beyond.
pub(super) struct Planes([Vec<f32>; 3]);

/// What happens to every pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Something is added to every component.
    Add(f32),
    /// `mean + factor · (value − mean)`.
    Around {
        /// The factor.
        factor: f32,
        /// The mean of each component.
        means: [f32; 3],
    },
    /// `grey + factor · (value − grey)`, grey being ITU-R 601's luma, rounded.
    FromGrey(f32),
    /// HSV's saturation, `range / high`, becomes so many times itself, 1 at most. Colours of which nothing is positive stay.
    Saturate(f32),
    /// Hues turn by so much of the circle, −1 to 1; likewise.
    Turn(f32),
    /// Every component becomes the nearest of the numbers from 0 to 255.
    Round,
}

impl Planes {
    /// Of `[n, 3]` bytes.
    pub(super) fn of(pixels: &[u8]) -> Planes {
        let pixels = pixels.as_chunks::<3>().0;
        Planes([0, 1, 2].map(|c| pixels.iter().map(|p| f32::from(p[c])).collect()))
    }

    /// The nearest bytes.
    pub(super) fn write(mut self, pixels: &mut [u8]) {
        self.change(Step::Round);
        let [r, g, b] = &self.0;
        for (to, ((r, g), b)) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(r.iter().zip(g).zip(b)) {
            *to = [*r as u8, *g as u8, *b as u8];
        }
    }

    /// The mean of each component.
    pub(super) fn means(&self) -> [f32; 3] {
        let count = self.0[0].len().max(1) as f32;
        [0, 1, 2].map(|c| {
            let (lanes, rest) = self.0[c].as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            lanes.iter().for_each(|values| (0..LANES).for_each(|i| sums[i] += values[i]));
            (sums.iter().sum::<f32>() + rest.iter().sum::<f32>()) / count
        })
    }

    /// The mean of the greys, rounded.
    pub(super) fn mean_grey(&self) -> f32 {
        let [r, g, b] = &self.0;
        // Whole numbers: exact in f64, whatever their order.
        let sum: f64 = r.iter().zip(g).zip(b).map(|((&r, &g), &b)| f64::from(grey([r, g, b]))).sum();
        (sum / r.len().max(1) as f64).round() as f32
    }

    /// Does one step to all.
    pub(super) fn change(&mut self, step: Step) {
        Isa::best().run_loops(Change { planes: self, step });
    }
}

/// Sums that are made side by side.
const LANES: usize = 16;

struct Change<'a> {
    planes: &'a mut Planes,
    step: Step,
}

impl Loops for Change<'_> {
    #[inline(always)]
    fn run(self) {
        let planes = &mut self.planes.0;
        match self.step {
            Step::Add(x) => planes.iter_mut().flatten().for_each(|v| *v += x),
            Step::Around { factor, means } => {
                for (plane, mean) in planes.iter_mut().zip(means) {
                    plane.iter_mut().for_each(|v| *v = mean + factor * (*v - mean));
                }
            }
            Step::Round => planes.iter_mut().flatten().for_each(|v| *v = (v.clamp(0.0, 255.0) + 0.5).floor()),
            Step::FromGrey(factor) => each(planes, |p| {
                let grey = grey(p);
                p.map(|v| grey + factor * (v - grey))
            }),
            Step::Saturate(factor) => each(planes, |p| {
                let (high, low) = ends(p);
                let ratio = factor.min(high / (high - low));
                let changes = high > 0.0;
                p.map(|v| if changes { high - (high - v) * ratio } else { v })
            }),
            Step::Turn(turns) => each(planes, |p| turned(p, 6.0 * turns)),
        }
    }
}

/// Does something to every pixel.
#[inline(always)]
fn each(planes: &mut [Vec<f32>; 3], change: impl Fn([f32; 3]) -> [f32; 3]) {
    let [r, g, b] = planes;
    for ((r, g), b) in r.iter_mut().zip(g.iter_mut()).zip(b.iter_mut()) {
        [*r, *g, *b] = change([*r, *g, *b]);
    }
}

#[inline(always)]
fn grey([r, g, b]: [f32; 3]) -> f32 {
    (0.299 * r + 0.587 * g + 0.114 * b + 0.5).floor()
}

/// The largest and the smallest component.
#[inline(always)]
fn ends([r, g, b]: [f32; 3]) -> (f32, f32) {
    (r.max(g).max(b), r.min(g).min(b))
}

/// A colour whose hue is turned by so many sixths of the circle.
#[inline(always)]
fn turned(p: [f32; 3], sixths: f32) -> [f32; 3] {
    let [r, g, b] = p;
    let (high, low) = ends(p);
    let range = high - low;
    let is_red = high == r;
    let is_green = high == g;
    let difference = if is_red {
        g - b
    } else if is_green {
        b - r
    } else {
        r - g
    };
    let start = if is_red {
        0.0
    } else if is_green {
        2.0
    } else {
        4.0
    };
    let hue = wrap(wrap(start + difference / range) + sixths);
    let has_hue = range > 0.0 && high > 0.0;
    std::array::from_fn(|c| {
        let from_peak = wrap(hue + PEAKS[c]);
        let distance = from_peak.min(4.0 - from_peak).clamp(0.0, 1.0);
        if has_hue { high - range * distance } else { p[c] }
    })
}

/// What is added to a hue so that the component's peak is at 5, the middle of where its distance is 0.
const PEAKS: [f32; 3] = [5.0, 3.0, 1.0];

/// `x` from −6 to 12 on the circle of 6.
#[inline(always)]
fn wrap(x: f32) -> f32 {
    let up = if x < 0.0 { 6.0 } else { 0.0 };
    let down = if x >= 6.0 { 6.0 } else { 0.0 };
    x + up - down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pixel: [f32; 3], step: Step) -> [f32; 3] {
        let mut planes = Planes(pixel.map(|v| vec![v; 37]));
        planes.change(step);
        let [r, g, b] = &planes.0;
        assert!([r, g, b].iter().all(|plane| plane.iter().all(|v| *v == plane[0])), "all alike");
        [r[0], g[0], b[0]]
    }

    fn close(a: [f32; 3], b: [f32; 3]) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    }

    #[test]
    fn blends_have_known_values() {
        let p = [100.0, 150.0, 200.0];
        assert_eq!(changed(p, Step::Add(-120.0)), [-20.0, 30.0, 80.0]);
        close(changed(p, Step::Around { factor: 1.2, means: [0.0; 3] }), [120.0, 180.0, 240.0]);
        assert_eq!(changed(p, Step::Around { factor: 0.5, means: [50.0; 3] }), [75.0, 100.0, 125.0]);
        // 0.299 · 100 + 0.587 · 150 + 0.114 · 200 = 140.75, a grey of 141.
        assert_eq!(changed(p, Step::FromGrey(0.0)), [141.0; 3]);
        assert_eq!(changed(p, Step::FromGrey(2.0)), [59.0, 159.0, 259.0]);
        assert_eq!(changed([-3.0, 77.5, 300.0], Step::Round), [0.0, 78.0, 255.0]);
    }

    #[test]
    fn hues_turn_and_saturations_grow() {
        close(changed([255.0, 0.0, 0.0], Step::Turn(1.0 / 3.0)), [0.0, 255.0, 0.0]);
        close(changed([200.0, 100.0, 50.0], Step::Turn(0.5)), [50.0, 150.0, 200.0]);
        close(changed([200.0, 100.0, 50.0], Step::Turn(1.0)), [200.0, 100.0, 50.0]);
        close(changed([200.0, 100.0, 50.0], Step::Turn(-1.0 / 3.0)), [100.0, 50.0, 200.0]);
        // Half the saturation: every component half way to the largest.
        close(changed([200.0, 100.0, 50.0], Step::Saturate(0.5)), [200.0, 150.0, 125.0]);
        // At most 1: the smallest component is 0.
        close(changed([200.0, 100.0, 50.0], Step::Saturate(9.0)), [200.0, 200.0 / 3.0, 0.0]);
        // A saturation above 1, as brightness leaves it, is cut to 1.
        close(changed([100.0, 50.0, -100.0], Step::Saturate(1.0)), [100.0, 75.0, 0.0]);
        for step in [Step::Saturate(1.5), Step::Turn(0.2)] {
            assert_eq!(changed([70.0; 3], step), [70.0; 3], "greys stay");
            assert_eq!(changed([0.0; 3], step), [0.0; 3]);
            assert_eq!(changed([-9.0, -3.0, 0.0], step), [-9.0, -3.0, 0.0]);
        }
    }

    /// Hue, saturation and value by the book, there and back, on every kind of colour.
    #[test]
    fn turns_are_those_of_hsv() {
        let component = |h: f32, s: f32, v: f32, n: f32| {
            let k = (n + h).rem_euclid(6.0);
            v - v * s * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        let colour = |h: f32, s: f32, v: f32| [5.0, 3.0, 1.0].map(|n| component(h, s, v, n));
        for i in 0..600 {
            let (h, s, v) = (i as f32 / 100.0, (i % 7 + 1) as f32 / 8.0, (i % 11 * 20 + 40) as f32);
            let turns = (i % 19) as f32 / 19.0 - 0.5;
            let found = changed(colour(h, s, v), Step::Turn(turns));
            let expected = colour(h + 6.0 * turns, s, v);
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-2),
                "{h} {s} {v} {turns}: {found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn bytes_there_and_back_and_their_means() {
        let bytes: Vec<u8> = (0..333).map(|i| (i * 37 % 256) as u8).collect();
        let planes = Planes::of(&bytes);
        let mean = |c: usize| bytes.iter().skip(c).step_by(3).map(|v| f64::from(*v)).sum::<f64>() / 111.0;
        assert!((0..3).all(|c| (f64::from(planes.means()[c]) - mean(c)).abs() < 1e-3));
        let greys: f64 = bytes
            .chunks(3)
            .map(|p| (0.299 * f64::from(p[0]) + 0.587 * f64::from(p[1]) + 0.114 * f64::from(p[2])).round())
            .sum();
        assert_eq!(planes.mean_grey(), (greys / 111.0).round() as f32);
        let mut back = vec![0; 333];
        planes.write(&mut back);
        assert_eq!(back, bytes);
    }
}
