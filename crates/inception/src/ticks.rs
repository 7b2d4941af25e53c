//! Round values along an axis, and numbers that would lie over one another moved apart.

/// Round values in a range, about `count` of them, with all their digits.
pub(crate) fn ticks([low, high]: [f64; 2], count: usize) -> Vec<(f64, String)> {
    let raw = (high - low) / count as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|&step| step >= raw);
    let Some(step) = step.filter(|step| step.is_finite() && *step > 0.0) else { return Vec::new() };
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let first = (low / step).ceil();
    let values = (0..=count + 1).map(|i| (first + i as f64) * step);
    let inside = values.take_while(|value| *value <= high + 1e-9 * step);
    let label = |value: f64| match value {
        0.0 => "0".into(),
        _ if low.abs().max(high.abs()) < 1e6 => format!("{value:.digits$}"),
        _ => format!("{value:.1e}"),
    };
    inside.map(|value| (value, label(value))).collect()
}

/// The places nearest to those `wanted`, which ascend, that are `gap` apart, and in the range where there is room for all.
///
/// Less `i · gap`, place `i` must not be smaller than the one before: the nearest such places are means of neighbours (pool adjacent
/// violators; Ayer et al., 1955).
pub(crate) fn apart(wanted: &[f64], gap: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (i, place) in wanted.iter().enumerate() {
        let mut pool = (place - i as f64 * gap, 1);
        while let Some((sum, count)) = pools.pop_if(|(sum, n)| *sum / *n as f64 > pool.0 / pool.1 as f64) {
            pool = (pool.0 + sum, pool.1 + count);
        }
        pools.push(pool);
    }
    let high = (high - gap * wanted.len().saturating_sub(1) as f64).max(low);
    let starts = pools
        .into_iter()
        .flat_map(|(sum, count)| std::iter::repeat_n((sum / count as f64).clamp(low, high), count));
    starts.enumerate().map(|(i, start)| start + i as f64 * gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let labels = |range, count| ticks(range, count).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(labels([0.3, 2.4], 4), ["1", "2"]);
        assert_eq!(labels([0.0, 10.0], 5), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels([1.04, 1.11], 4), ["1.04", "1.06", "1.08", "1.10"]);
        assert!(labels([0.0, f64::NAN], 4).is_empty() && labels([0.0, 0.0], 4).is_empty());
    }

    #[test]
    fn places_move_no_further_than_they_must() {
        assert_eq!(apart(&[1.0, 5.0, 9.0], 4.0, [0.0, 10.0]), [1.0, 5.0, 9.0]);
        // Two at one place give way to both sides, three around their mean.
        assert_eq!(apart(&[5.0, 5.0], 2.0, [0.0, 10.0]), [4.0, 6.0]);
        assert_eq!(apart(&[1.0, 5.0, 5.5, 6.0], 2.0, [0.0, 10.0]), [1.0, 3.5, 5.5, 7.5]);
        // At an end of the range all move; without room they begin where it does.
        assert_eq!(apart(&[9.0, 9.5], 2.0, [0.0, 10.0]), [8.0, 10.0]);
        assert_eq!(apart(&[0.0, 0.0], 2.0, [0.0, 10.0]), [0.0, 2.0]);
        assert_eq!(apart(&[0.0, 0.0, 0.0], 2.0, [0.0, 1.0]), [0.0, 2.0, 4.0]);
        assert!(apart(&[], 2.0, [0.0, 1.0]).is_empty());
    }
}
