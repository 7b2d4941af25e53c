//! Progress of long work: a bar on a terminal, plain lines elsewhere. Both go to stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// A bar on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// A line every ten seconds and for each result.
    Plain,
    /// Nothing.
    None,
}

/// Time between two plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Progress of one piece of work, counted in pictures.
pub struct Progress {
    style: Style,
    bar: ProgressBar,
    done: u64,
    /// Of them, what was done before this process.
    before: u64,
    total: u64,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// Progress over `total` pictures.
    pub fn new(style: Style, total: u64) -> Self {
        let style = match style {
            Style::Auto if std::io::stderr().is_terminal() => Style::Bar,
            Style::Auto => Style::Plain,
            chosen => chosen,
        };
        let bar = ProgressBar::with_draw_target(
            Some(total),
            if style == Style::Bar {
                ProgressDrawTarget::stderr_with_hz(10)
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let template = "{bar:24} {percent:>3}%  {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let now = Instant::now();
        Progress { style, bar, done: 0, before: 0, total, start: now, last: now }
    }

    /// So many pictures have been done, before the rate is measured anew.
    pub fn start_at(&mut self, pictures: usize) {
        (self.done, self.before, self.start) = (pictures as u64, pictures as u64, Instant::now());
        self.bar.set_position(self.done);
    }

    /// `pictures` more are done; `state` says where the work stands.
    pub fn advance(&mut self, pictures: usize, state: &str) {
        self.done += pictures as u64;
        match self.style {
            Style::Bar => {
                self.bar.set_position(self.done);
                self.bar.set_message(format!("{state}  {}", self.rate()));
            }
            Style::Plain if self.last.elapsed() >= INTERVAL => {
                let share = 100.0 * self.done as f64 / self.total.max(1) as f64;
                self.line(&format!("{share:3.0} %  {state}  {}", self.rate()));
            }
            _ => {}
        }
    }

    /// Pictures a second so far and the time left at that rate.
    fn rate(&self) -> String {
        let rate = (self.done - self.before) as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let left = (self.total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
        format!("{rate:.0} images/s  {} left", duration(left))
    }

    /// A result that stays to be read.
    pub fn line(&mut self, text: &str) {
        self.last = Instant::now();
        match self.style {
            Style::Bar => self.bar.suspend(|| say(text)),
            Style::Plain => say(text),
            Style::Auto | Style::None => {}
        }
    }

    /// Ends the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A message to the user.
pub fn say(text: &str) {
    // Nobody can be told that stderr is closed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `59 s`, `3:05`, `2:03:00`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9).round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_read_at_a_glance() {
        let all = [0.4, 59.0, 185.0, 7380.0, f64::INFINITY].map(super::duration);
        assert_eq!(all, ["0 s", "59 s", "3:05", "2:03:00", "277777:46:40"]);
    }
}
