//! The paper's pairs, and widths at which two networks cost the same.

use anyhow::Result;
use inception_graph::{Spec, build};

/// A plain network and the residual one that the paper holds against it (Figures 21 to 24).
pub const PAIRS: [[&str; 2]; 2] =
    [["inception_v3", "inception_resnet_v1"], ["inception_v4", "inception_resnet_v2"]];

/// The width at which the network of `spec` costs nearest to `macs` multiply-accumulates a picture, between 0.6 and 1.6 times the spec's.
/// Layers have multiples of 8 channels, so costs come in steps.
pub fn width_at_cost(spec: &Spec, macs: u64) -> Result<f64> {
    let cost = |width: f64| Ok::<_, anyhow::Error>(build(&spec.clone().width(width))?.macs());
    let mut best = (spec.width, cost(spec.width)?.abs_diff(macs));
    let percent = |times: f64| (100.0 * times * spec.width).round() as u32;
    for width in (percent(0.6)..=percent(1.6)).map(|percent| f64::from(percent.max(1)) / 100.0) {
        let off = cost(width)?.abs_diff(macs);
        if off < best.1 {
            best = (width, off);
        }
    }
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_networks_cost_what_their_plain_partners_do() {
        for ([plain, residual], width) in PAIRS.into_iter().zip([0.25, 0.5]) {
            let spec = |net: &str, width: f64| Spec::new(net).img_size(75).classes(10).width(width);
            let macs = build(&spec(plain, width)).expect("valid").macs();
            let found = width_at_cost(&spec(residual, width), macs).expect("valid");
            let cost = |width: f64| build(&spec(residual, width)).expect("valid").macs() as f64 / macs as f64;
            assert!((cost(found) - 1.0).abs() < 0.05, "{residual} at {found}: {}", cost(found));
            assert!((cost(found) - 1.0).abs() <= (cost(width) - 1.0).abs());
        }
    }
}
