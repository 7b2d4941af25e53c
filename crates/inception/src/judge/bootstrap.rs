//! How far a number depends on which pictures it was measured on: percentile intervals of the bootstrap.
//!
//! ```text
//! RESAMPLES times: draw as many pictures as there are, with replacement; the statistic of those drawn
//! interval: the 2.5 % and 97.5 % quantiles of these statistics
//! ```
//! B. Efron, *Bootstrap Methods: Another Look at the Jackknife*, 1979. Draws are a function of the resample's number and of how
//! many pictures there are, so that the same answers give the same digits.

use rand::RngExt;

/// Lower and upper end.
pub type Interval = [f64; 2];

/// How often pictures are drawn anew.
pub const RESAMPLES: usize = 1000;
/// Share of the resamples whose statistic lies inside an interval.
pub const LEVEL: f64 = 0.95;

/// Marks the random streams of resamples.
const STREAM: u64 = 0x626f_6f74;

/// An interval for each of several statistics of the pictures drawn, which come as indices below `pictures`. NaN where a resample's
/// statistic is, and without pictures.
pub fn intervals<const N: usize>(
    pictures: usize,
    mut statistics: impl FnMut(&[u32]) -> [f64; N],
) -> [Interval; N] {
    if pictures == 0 {
        return [[f64::NAN; 2]; N];
    }
    let mut drawn = vec![0; pictures];
    let mut found: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(RESAMPLES));
    for resample in 0..RESAMPLES as u64 {
        let mut random = inception_graph::stream(&[STREAM, resample]);
        drawn.iter_mut().for_each(|i| *i = random.random_range(0..pictures as u32));
        found.iter_mut().zip(statistics(&drawn)).for_each(|(found, value)| found.push(value));
    }
    found.map(|mut values| {
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - LEVEL) / 2.0;
        [quantile(&values, tail), quantile(&values, 1.0 - tail)]
    })
}

/// The quantile at `share` of sorted values, linear between neighbours as NumPy's; NaN where a value is.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    if sorted.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8, 16], [0, 0.025, 0.3, 0.5, 0.975, 1])
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        let found = [0.0, 0.025, 0.3, 0.5, 0.975, 1.0].map(|share| quantile(&values, share));
        let expected = [1.0, 1.1, 2.4, 4.0, 15.2, 16.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    /// How many of n pictures are wrong in a resample is binomial. Quantiles of 0.025 and 0.975, scipy.stats.binom.ppf:
    /// n = 400, p = 0.1: 29 and 52; n = 50, p = 0.5: 18 and 32.
    #[test]
    fn the_interval_of_a_share_is_binomial() {
        for (n, wrong, expected) in [(400, 40, [29.0, 52.0]), (50, 25, [18.0, 32.0])] {
            let share = |drawn: &[u32]| [drawn.iter().filter(|&&i| i < wrong).count() as f64];
            let [found] = intervals(n, share);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1.5), "{found:?} {expected:?}");
            assert_eq!([found], intervals(n, share), "the same digits each time");
        }
    }

    #[test]
    fn what_is_no_number_has_no_interval() {
        let mean = |drawn: &[u32]| [drawn.iter().map(|&i| if i == 0 { f64::NAN } else { 1.0 }).sum()];
        assert!(intervals(5, mean)[0].iter().all(|end| end.is_nan()));
        assert!(intervals(0, |_| [0.0])[0][0].is_nan());
    }
}
