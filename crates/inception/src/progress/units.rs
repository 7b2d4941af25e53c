//! Numbers as people read them.

/// `59 s`, `3:05`, `2:03:00`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9).round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// Bytes in the unit in which they are read at a glance.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// `1 picture`, `2,000 pictures`.
pub fn counted(count: usize, thing: &str) -> String {
    let number = inception_graph::thousands(count as u64);
    if count == 1 { format!("{number} {thing}") } else { format!("{number} {thing}s") }
}

/// A value with `digits` that count: `0.0450`, `12.3`, `1.20e-5`.
pub(super) fn significant(value: f64, digits: usize) -> String {
    let size = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    match size {
        _ if !value.is_finite() => "–".into(),
        -4..6 => format!("{value:.*}", (digits as i32 - 1 - size).max(0) as usize),
        _ => format!("{value:.*e}", digits - 1),
    }
}

/// `1,234 images/s`, `0.42 images/s`.
pub(super) fn rate(images_per_s: f64) -> String {
    if images_per_s < 99.5 {
        return format!("{} images/s", significant(images_per_s, 2));
    }
    format!("{} images/s", inception_graph::thousands(images_per_s.round() as u64))
}

/// A share as a bar of at most `width` cells, to an eighth of a cell.
pub fn blocks(share: f64, width: usize) -> String {
    let cells = share.clamp(0.0, 1.0) * width as f64;
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][(cells.fract() * 8.0) as usize];
    "█".repeat(cells as usize) + part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        let all = [0.4, 59.0, 185.0, 7380.0, f64::INFINITY, f64::NAN].map(duration);
        assert_eq!(all, ["0 s", "59 s", "3:05", "2:03:00", "277777:46:40", "0 s"]);
    }

    #[test]
    fn bytes_are_read_at_a_glance() {
        let all = [0, 999, 1_500, 12_345_678, 1 << 30].map(bytes);
        assert_eq!(all, ["0 B", "999 B", "1.5 kB", "12.3 MB", "1.07 GB"]);
    }

    #[test]
    fn rates_have_the_digits_that_count() {
        let all = [0.0, 0.4234, 9.96, 45.0, 12_345.6].map(rate);
        let expected = ["0.0", "0.42", "10.0", "45", "12,346"].map(|number| format!("{number} images/s"));
        assert_eq!(all, expected);
        let all = [0.045, 0.00001234, 123.4, f64::NAN].map(|value| significant(value, 3));
        assert_eq!(all, ["0.0450", "1.23e-5", "123", "–"]);
    }

    #[test]
    fn bars_fill_by_eighths() {
        assert_eq!([0.0, 0.5, 0.53125, 2.0, f64::NAN].map(|s| blocks(s, 4)), ["", "██", "██▏", "████", ""]);
    }
}
