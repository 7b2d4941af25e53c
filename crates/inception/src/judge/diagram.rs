//! The reliability diagram: how often answers of about the same probability are right.

use super::calibration::{BINS, Bin};
use super::draw::{Anchor, Drawing, LINE, RIGHT, SOFT, WRONG};

/// Side of the diagram, and height of the shares below it.
const SIDE: f64 = 360.0;
const SHARES: f64 = 70.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 48.0;
const GAP: f64 = 34.0;

/// Draws the bins of a calibration error, a share.
pub(super) fn reliability(bins: &[Bin], error: f64) -> String {
    let (width, floor) = (LEFT + SIDE + 190.0, TOP + SIDE + GAP + SHARES);
    let mut svg = Drawing::new(width, floor + 52.0);
    let x = |share: f64| LEFT + share * SIDE;
    let y = |share: f64| TOP + SIDE - share * SIDE;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let title = match error.is_nan() {
        true => "Calibration".into(),
        false => format!("Calibration error {:.2} %", 100.0 * error),
    };
    svg.text([LEFT, 28.0], Anchor::Start, 17.0, "#111", &title);
    for share in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        svg.line([LEFT, y(share)], [x(1.0), y(share)], LINE);
        svg.line([x(share), TOP], [x(share), y(0.0)], LINE);
        svg.text([LEFT - 7.0, y(share) + 4.0], Anchor::End, 12.0, SOFT, &percent(share));
        svg.text([x(share), floor + 18.0], Anchor::Middle, 12.0, SOFT, &percent(share));
    }
    let total = bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
    let step = SIDE / BINS as f64;
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let left = x(bin.from) + 1.0;
        let mut bar = |top: f64, bottom: f64, colour: &str, strength: f64| {
            svg.put(format_args!(
                r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="{colour}" fill-opacity="{strength}"><title>{:.1} to {:.1} %: {} pictures, mean probability {:.1} %, {:.1} % right</title></rect>"#,
                step - 2.0,
                (bottom - top).max(0.8),
                100.0 * bin.from,
                100.0 * bin.to,
                bin.count,
                100.0 * bin.confidence,
                100.0 * bin.accuracy
            ));
        };
        bar(y(bin.accuracy), y(0.0), RIGHT, 0.75);
        let (upper, lower) = (bin.accuracy.max(bin.confidence), bin.accuracy.min(bin.confidence));
        bar(y(upper), y(lower), WRONG, 0.45);
        let share = bin.count as f64 / total;
        bar(floor - share * SHARES, floor, SOFT, 0.8);
    }
    svg.line([x(0.0), y(0.0)], [x(1.0), y(1.0)], "#111");
    svg.line([LEFT, floor], [x(1.0), floor], SOFT);
    svg.text([LEFT - 7.0, floor + 4.0], Anchor::End, 12.0, SOFT, "0 %");
    svg.text([LEFT - 7.0, floor - SHARES + 4.0], Anchor::End, 12.0, SOFT, "100 %");
    svg.text([x(0.5), floor + 40.0], Anchor::Middle, 13.0, "#111", "probability of the first answer");
    let legend = [
        (TOP + 10.0, RIGHT, 0.75, "right answers"),
        (TOP + 32.0, WRONG, 0.45, "gap to the probability"),
        (floor - SHARES + 10.0, SOFT, 0.8, "share of the pictures"),
    ];
    for (at, colour, strength, text) in legend {
        svg.put(format_args!(
            r#"<rect x="{:.1}" y="{at:.1}" width="14" height="14" fill="{colour}" fill-opacity="{strength}"/>"#,
            x(1.0) + 14.0
        ));
        svg.text([x(1.0) + 34.0, at + 12.0], Anchor::Start, 13.0, "#111", text);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::calibration::bins;
    use crate::metrics::Verdict;

    #[test]
    fn bars_are_as_high_as_the_shares() {
        let verdict = |probability: f64, right: bool| Verdict {
            answer: Some(0),
            probability,
            loss: 0.0,
            rank: usize::from(!right),
        };
        let verdicts = [verdict(0.99, true), verdict(0.97, false), verdict(0.3, false)];
        let svg = reliability(&bins(&verdicts), 0.2);
        // Half of the last bin's two are right: the bar starts at half of the height.
        assert!(svg.contains(r#"y="228.0" width="22.0" height="180.0""#), "{svg}");
        assert!(svg.contains("2 pictures, mean probability 98.0 %, 50.0 % right"), "{svg}");
        assert!(svg.contains("Calibration error 20.00 %") && !svg.contains("NaN"));
        assert!(!reliability(&bins(&[]), f64::NAN).contains("NaN"));
    }
}
