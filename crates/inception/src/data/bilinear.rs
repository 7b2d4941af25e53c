//! Bilinear resampling without antialias, unrounded: what TensorFlow 1 and PyTorch's `interpolate` do to a picture.
//!
//! ```text
//! TensorFlow 1   source = target · scale                 scale = source extent / target extent
//! plain          source = (target + ½) · scale − ½, at least 0
//! value          between the two nearest rows and columns, the last repeated
//! ```

use super::dataset::Rgb;

/// A part of a picture in whole pixels: left, top, width, height.
pub type Window = [usize; 4];

/// Where the centre of a target pixel lies in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Corners on corners, without half a pixel's offset: TensorFlow 1, `align_corners` false.
    Tf1,
    /// Centres between centres.
    HalfPixel,
}

/// For each target cell the first of its two source cells, the second, and the share of the second.
fn taps(source: usize, target: usize, grid: Grid) -> Vec<(usize, usize, f32)> {
    let scale = source as f32 / target as f32;
    let tap = |i: usize| {
        let at = match grid {
            Grid::Tf1 => i as f32 * scale,
            Grid::HalfPixel => ((i as f32 + 0.5) * scale - 0.5).max(0.0),
        };
        let low = (at.floor() as usize).min(source - 1);
        (low, (low + 1).min(source - 1), at - low as f32)
    };
    (0..target).map(tap).collect()
}

/// `[side, side, 3]` values from 0 to 255 of a window that lies inside the picture.
pub fn resize(rgb: &Rgb, window: Window, side: usize, grid: Grid) -> Vec<f32> {
    resize_to(rgb, window, [side, side], grid, [0, 0, side, side])
}

/// Values from 0 to 255 of a `window` of the picture resized to `[width, height]`, of which `part` is computed.
pub fn resize_to(rgb: &Rgb, window: Window, size: [usize; 2], grid: Grid, part: Window) -> Vec<f32> {
    let [left, top, width, height] = window;
    let (columns, rows) = (taps(width, size[0], grid), taps(height, size[1], grid));
    let mut out = Vec::with_capacity(part[2] * part[3] * 3);
    for &(upper, lower, down) in &rows[part[1]..part[1] + part[3]] {
        for &(before, after, right) in &columns[part[0]..part[0] + part[2]] {
            for c in 0..3 {
                let at =
                    |x: usize, y: usize| f32::from(rgb.pixels[((top + y) * rgb.width + left + x) * 3 + c]);
                let above = at(before, upper) + (at(after, upper) - at(before, upper)) * right;
                let below = at(before, lower) + (at(after, lower) - at(before, lower)) * right;
                out.push(above + (below - above) * down);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both conventions on the ramp 0, 1, 2, 3 enlarged to 8, as TensorFlow computes them.
    #[test]
    fn a_ramp_shows_the_two_conventions() {
        let pixels = (0..4).flat_map(|_| (0..4u8).flat_map(|v| [v; 3])).collect();
        let rgb = Rgb { width: 4, height: 4, pixels };
        let row = |grid| -> Vec<f32> {
            resize(&rgb, [0, 0, 4, 4], 8, grid)[..24].iter().step_by(3).copied().collect()
        };
        assert_eq!(row(Grid::Tf1), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]);
        assert_eq!(row(Grid::HalfPixel), [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]);
        assert_eq!(resize(&rgb, [2, 1, 1, 2], 2, Grid::Tf1), [2.0; 12]);
    }
}
