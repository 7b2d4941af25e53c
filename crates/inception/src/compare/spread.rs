//! What several runs come to.

/// Mean and spread over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Runs.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of the sample (n − 1); NaN for one.
    pub std: f64,
}

impl Spread {
    /// Of one value a run; `None` without any.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Spread { count, mean, std: (squares / (count as f64 - 1.0)).sqrt() })
    }

    /// `12.34 ± 0.56`, with so many digits behind the point.
    pub fn text(&self, digits: usize) -> String {
        let Spread { mean, std, .. } = self;
        if std.is_finite() {
            format!("{mean:.digits$} ± {std:.digits$}")
        } else {
            format!("{mean:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_standard_deviation() {
        let spread = Spread::of(&[1.0, 2.0, 6.0]).expect("three");
        assert_eq!((spread.count, spread.mean), (3, 3.0));
        assert!((spread.std - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(spread.text(1), "3.0 ± 2.6");
        assert_eq!(Spread::of(&[2.0]).expect("one").text(2), "2.00");
        assert_eq!(Spread::of(&[]), None);
    }
}
