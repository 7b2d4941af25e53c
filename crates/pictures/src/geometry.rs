//! Sizes and crops that the frameworks take of a picture before a network sees it.
//!
//! | framework | what it does to `width`×`height` |
//! |---|---|
//! | torchvision, timm | [`shorter_side`] to S, then [`centre_crop`]; timm's S is [`timm_side`] |
//! | slim | [`central_crop`] of 0.875, then to the network's size without regard to the aspect |

use super::{Filter, Order, PictureError, Resize, Rgb, Window};

/// The size at which the shorter side is `short`: the other is cut to whole pixels, not rounded. Zero where a side is.
pub fn shorter_side(width: usize, height: usize, short: usize) -> (usize, usize) {
    let longer = (short as f64 * width.max(height) as f64 / width.min(height) as f64) as usize;
    match (width == 0 || height == 0, width <= height) {
        (true, _) => (0, 0),
        (false, true) => (short, longer),
        (false, false) => (longer, short),
    }
}

/// timm's size before the crop, ⌊`side` / `crop_pct`⌋; torchvision's 342 before a crop of 299 is that of 299/342.
pub fn timm_side(side: usize, crop_pct: f64) -> usize {
    (side as f64 / crop_pct).floor() as usize
}

/// What a centre crop shows of a picture, and where on the black crop that lies if the picture is smaller than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentreCrop {
    /// The crop's columns and rows.
    pub size: (usize, usize),
    /// What is seen of the picture.
    pub visible: Window,
    /// Black columns before it.
    pub pad_left: usize,
    /// Black rows before it.
    pub pad_top: usize,
}

/// torchvision's `center_crop` of a `width`×`height` picture to `size` columns and rows.
pub fn centre_crop(width: usize, height: usize, size: (usize, usize)) -> CentreCrop {
    // An odd remainder leaves halves, which Python rounds to the even number.
    let along = |side: usize, crop: usize| {
        if side < crop {
            return (0, side, (crop - side) / 2);
        }
        let half = (side - crop) / 2;
        (half + (side - crop) % 2 * (half % 2), crop, 0)
    };
    let (left, visible_width, pad_left) = along(width, size.0);
    let (top, visible_height, pad_top) = along(height, size.1);
    let visible = Window { left, top, width: visible_width, height: visible_height };
    CentreCrop { size, visible, pad_left, pad_top }
}

/// TensorFlow's `central_crop`: `fraction` of each side, 0 to 1, what is cut off a side being cut to whole pixels.
pub fn central_crop(width: usize, height: usize, fraction: f64) -> Window {
    let along = |side: usize| {
        let start = ((side as f64 - side as f64 * fraction) / 2.0) as usize;
        (start, side.saturating_sub(2 * start))
    };
    let ((left, width), (top, height)) = (along(width), along(height));
    Window { left, top, width, height }
}

/// The picture resized to `to` columns and rows and cropped to `crop` of them about the centre; no more is computed than
/// is seen.
pub fn resize_and_crop(
    rgb: &Rgb,
    to: (usize, usize),
    crop: (usize, usize),
    filter: Filter,
    order: Order,
) -> Result<Rgb, PictureError> {
    let crop = centre_crop(to.0, to.1, crop);
    let resize = Resize { order, window: Some(crop.visible), ..Resize::new(to.0, to.1, filter) };
    let seen = resize.apply(rgb)?;
    if (seen.width, seen.height) == crop.size {
        return Ok(seen);
    }
    super::decode::check_size(crop.size.0 as u64, crop.size.1 as u64)?;
    let mut pixels = vec![0; crop.size.0 * crop.size.1 * 3];
    for (y, row) in seen.pixels.chunks_exact(seen.width * 3).enumerate() {
        pixels[((crop.pad_top + y) * crop.size.0 + crop.pad_left) * 3..][..row.len()].copy_from_slice(row);
    }
    Ok(Rgb { width: crop.size.0, height: crop.size.1, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's `math.floor(side / crop_pct)`. 81 / 0.675 is a little less than 120 in floating point.
    #[test]
    fn sizes_before_the_crop_are_those_of_timm() {
        let cases = [
            (299, 0.875, 341),
            (299, 0.8975, 333),
            (299, 299.0 / 342.0, 342),
            (299, 1.0, 299),
            (224, 0.875, 256),
            (81, 0.675, 119),
            (101, 0.808, 124),
        ];
        for (side, crop_pct, expected) in cases {
            assert_eq!(timm_side(side, crop_pct), expected, "{side} / {crop_pct}");
        }
    }
}
