//! Numbers of the command line: `10Gbit/s`, `20us`, `1..1024`.

/// Bytes a second: bits as networks are sold (`10Gbit`, `100Gbps`), or bytes (`1.2GB/s`).
pub fn parse_bandwidth(text: &str) -> Result<f64, String> {
    let (number, unit) = number_of(text)?;
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    let (prefix, each) = if let Some(prefix) = unit.strip_suffix("bit").or(unit.strip_suffix("bps")) {
        (prefix, 1.0 / 8.0)
    } else if let Some(prefix) = unit.strip_suffix('b') {
        (prefix, 1.0 / 8.0)
    } else if let Some(prefix) = unit.strip_suffix('B') {
        (prefix, 1.0)
    } else {
        return Err(format!("`{text}` has no unit: expected for example 10Gbit or 1.2GB/s"));
    };
    let factor = match prefix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        _ => return Err(format!("`{text}`: unknown prefix `{prefix}`: expected k, M, G or T")),
    };
    Ok(number * factor * each)
}

/// Seconds: `20us`, `1.5ms`, `2s`.
pub fn parse_latency(text: &str) -> Result<f64, String> {
    let (number, unit) = number_of(text)?;
    let factor = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(format!("`{text}` has no unit of time: expected for example 20us or 1.5ms")),
    };
    Ok(number * factor)
}

/// A finite number of more than nothing, and what is behind it.
fn number_of(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number, unit.trim_start())),
        _ => Err(format!("`{text}` does not begin with a number of more than 0")),
    }
}

/// The most ranks that are asked about.
const MOST: usize = 1 << 20;

/// How many ranks: numbers and ranges, of which the powers of two and both ends are taken: `1..1024`, `2,4,20`.
pub fn parse_ranks(text: &str) -> Result<Vec<usize>, String> {
    let count = |text: &str| match text.trim().parse() {
        Ok(count @ 1..=MOST) => Ok(count),
        _ => Err(format!("`{text}` is no number of ranks from 1 to {MOST}")),
    };
    let mut ranks = Vec::new();
    for part in text.split(',') {
        let Some((first, last)) = part.split_once("..") else {
            ranks.push(count(part)?);
            continue;
        };
        let (first, last) = (count(first)?, count(last.trim_start_matches('='))?);
        if first > last {
            return Err(format!("`{part}` ends before it begins"));
        }
        let powers = (0..).map(|power| 1 << power).take_while(|&count| count < last);
        ranks.push(first);
        ranks.extend(powers.filter(|&count| count > first));
        ranks.push(last);
    }
    ranks.sort_unstable();
    ranks.dedup();
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        assert_eq!(parse_bandwidth("10Gbit"), Ok(1.25e9));
        assert_eq!(parse_bandwidth("10Gb/s"), Ok(1.25e9));
        assert_eq!(parse_bandwidth("100 Mbps"), Ok(1.25e7));
        assert_eq!(parse_bandwidth("1.5GB/s"), Ok(1.5e9));
        assert_eq!(parse_latency("20us"), Ok(20.0 * 1e-6));
        assert_eq!(parse_latency("1.5 ms"), Ok(1.5e-3));
        for text in ["", "10", "Gbit", "10Xbit", "0Gbit", "-1Gbit", "1e9B", "nanB", "10GB/h"] {
            assert!(parse_bandwidth(text).is_err(), "{text}");
        }
        for text in ["", "20", "us", "0us", "20m", "-3s"] {
            assert!(parse_latency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_of_ranks() {
        assert_eq!(parse_ranks("1..10"), Ok(vec![1, 2, 4, 8, 10]));
        assert_eq!(parse_ranks("3..=8,20,2"), Ok(vec![2, 3, 4, 8, 20]));
        assert_eq!(parse_ranks("7..7"), Ok(vec![7]));
        for text in ["", "0", "1..", "8..2", "x", "1,,2", "99999999"] {
            assert!(parse_ranks(text).is_err(), "{text}");
        }
    }
}
