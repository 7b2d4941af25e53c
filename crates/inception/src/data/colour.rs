//! Colours changed: blends of bytes, and hue, saturation and value.

/// ITU-R 601 luma.
pub(super) fn grey(p: &[u8]) -> f32 {
    0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])
}

/// The nearest byte. The addition and the cut are instructions, `f32::round` would be a call.
pub(super) fn to_byte(x: f32) -> u8 {
    (x.clamp(0.0, 255.0) + 0.5) as u8
}

/// `factor · pixel + (1 − factor) · other`, clipped.
pub(super) fn blend(pixels: &mut [u8], factor: f32, other: impl Fn(&[u8]) -> f32) {
    for p in pixels.chunks_exact_mut(3) {
        let base = other(p) * (1.0 - factor);
        p.iter_mut().for_each(|v| *v = to_byte(factor * f32::from(*v) + base));
    }
}

/// `x` from −6 to 12 on the circle of 6 sextants; a remainder would cost most of the colour steps' time.
pub(super) fn wrap(x: f32) -> f32 {
    if x < 0.0 {
        x + 6.0
    } else if x >= 6.0 {
        x - 6.0
    } else {
        x
    }
}

/// A colour changed as hue (in sextants), saturation and value. Negative components, as brightness leaves them, keep their place: the
/// value and the saturation are those of TensorFlow's formula, `value = max`, `saturation = (max − min) / max`.
pub(super) fn with_hsv(p: [f32; 3], change: impl FnOnce([f32; 3]) -> [f32; 3]) -> [f32; 3] {
    let [r, g, b] = p;
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let range = high - low;
    if high <= 0.0 || range == 0.0 {
        return p;
    }
    let [hue, saturation, value] = change([wrap(sextant(p, high, range)), range / high, high]);
    PEAKS.map(|peak| value - value * saturation * distance(peak, hue))
}

/// Where the three channels have their peaks on the circle of 6 sextants.
const PEAKS: [f32; 3] = [5.0, 3.0, 1.0];

/// The hue of a colour whose largest component is `high`, `range` above the smallest; from −1 to 5.
fn sextant([r, g, b]: [f32; 3], high: f32, range: f32) -> f32 {
    if high == r {
        (g - b) / range
    } else if high == g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    }
}

/// Distance of a hue from a channel's peak, 0 to 1: it decides the channel's value.
fn distance(peak: f32, hue: f32) -> f32 {
    let k = wrap(peak + hue);
    k.min(4.0 - k).clamp(0.0, 1.0)
}

/// Turns every colour by `turns` of the HSV circle, −1 to 1.
pub(super) fn turn_hue(pixels: &mut [u8], turns: f32) {
    for p in pixels.chunks_exact_mut(3) {
        let [r, g, b] = [f32::from(p[0]), f32::from(p[1]), f32::from(p[2])];
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        let range = high - low;
        if range == 0.0 {
            continue;
        }
        let hue = wrap(sextant([r, g, b], high, range) + 6.0 * turns);
        for (v, peak) in p.iter_mut().zip(PEAKS) {
            *v = to_byte(high - range * distance(peak, hue));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_steps_have_known_values() {
        let mut p = [100, 150, 200];
        blend(&mut p, 1.2, |_| 0.0);
        assert_eq!(p, [120, 180, 240]);
        let mut p = [100, 150, 200];
        blend(&mut p, 0.5, |_| 50.0);
        assert_eq!(p, [75, 100, 125]);
        let mut p = [255, 0, 0];
        turn_hue(&mut p, 1.0 / 3.0);
        assert_eq!(p, [0, 255, 0], "red a third of a turn on is green");
        let mut p = [200, 100, 50];
        turn_hue(&mut p, 0.5);
        assert_eq!(p, [50, 150, 200], "the opposite colour");
        let mut p = [200, 100, 50];
        turn_hue(&mut p, 1.0);
        assert_eq!(p, [200, 100, 50]);
    }

    /// By hand: `tf.image`'s formulas on one colour.
    #[test]
    fn hue_saturation_and_value() {
        let close = |a: [f32; 3], b: [f32; 3]| {
            a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"))
        };
        close(with_hsv([0.8, 0.4, 0.2], |hsv| hsv), [0.8, 0.4, 0.2]);
        // Half the saturation: every component half way to the largest.
        close(with_hsv([0.8, 0.4, 0.2], |[h, s, v]| [h, s / 2.0, v]), [0.8, 0.6, 0.5]);
        // A third of the circle on: red, green, blue change places.
        close(with_hsv([0.8, 0.4, 0.2], |[h, s, v]| [wrap(h + 2.0), s, v]), [0.2, 0.8, 0.4]);
    }
}
