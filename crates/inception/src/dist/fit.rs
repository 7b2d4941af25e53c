//! Latency and bandwidth from the times of sums.

use serde::{Deserialize, Serialize};

use super::model::{Algorithm, Link, Ranks, SumTime};

/// The time of sums of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Bytes of each rank.
    pub bytes: usize,
    /// Median, in seconds.
    pub seconds: f64,
    /// Seconds of the process's threads meanwhile.
    pub busy_seconds: f64,
}

/// Bytes from which on a sum is as large as those of gradients, and up to which it is as good as empty.
const LARGE: usize = 1 << 20;
const EMPTY: usize = 1 << 10;

/// The link over which sums of [`Algorithm::Pieces`] take these times: latency of the empty ones, and for the large ones the bandwidth
/// with the smallest sum of squares of relative errors. In between a network may do as it likes. `None` where large ones take no
/// longer than empty ones.
pub fn fit(points: &[Point], ranks: Ranks) -> Option<Link> {
    let mut empty: Vec<f64> = points.iter().filter(|p| p.bytes <= EMPTY).map(|p| p.seconds).collect();
    empty.sort_by(f64::total_cmp);
    let a = *empty.first()?;
    // Weighted by 1/t², both sides divided by t.
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for Point { bytes, seconds, .. } in points.iter().filter(|p| p.bytes >= LARGE) {
        let x = *bytes as f64 / seconds;
        sxx += x * x;
        sxy += x * (seconds - a) / seconds;
    }
    let b = sxy / sxx;
    if !b.is_finite() || b <= 0.0 {
        return None;
    }
    // What a link of a byte a second and no latency takes for one byte.
    let unit = Link { latency: 0.0, bandwidth: 1.0, busy: 0.0 };
    let SumTime { latency: overhead, transfer } = SumTime::of(Algorithm::Pieces, 1.0, ranks, unit);
    let largest = points.iter().max_by_key(|point| point.bytes)?;
    Some(Link {
        latency: ((a - overhead) / 2.0).max(0.0),
        bandwidth: transfer / b,
        busy: (largest.busy_seconds / largest.seconds).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_again() {
        let link = Link { latency: 5e-4, bandwidth: 2e8, busy: 0.25 };
        for ranks in [
            Ranks { count: 2, per_host: 2 },
            Ranks { count: 4, per_host: 1 },
            Ranks { count: 8, per_host: 4 },
        ] {
            let point = |&bytes: &usize| {
                let SumTime { latency, transfer } = SumTime::of(Algorithm::Pieces, bytes as f64, ranks, link);
                Point { bytes, seconds: latency + transfer, busy_seconds: 0.25 * (latency + transfer) }
            };
            let points: Vec<Point> = [4, 4096, 1 << 22, 1 << 24].iter().map(point).collect();
            let found = fit(&points, ranks).expect("rising");
            // Four bytes are not quite none.
            assert!((found.latency / link.latency - 1.0).abs() < 1e-3, "{found:?}");
            assert!((found.bandwidth / link.bandwidth - 1.0).abs() < 1e-3, "{found:?}");
            assert!((found.busy - 0.25).abs() < 1e-12, "{found:?}");
        }
        let flat = [4, 1 << 22].map(|bytes| Point { bytes, seconds: 1e-3, busy_seconds: 0.0 });
        assert_eq!(fit(&flat, Ranks { count: 2, per_host: 1 }), None);
    }
}
