//! Progress of long work, on stderr: a dashboard or a bar on a terminal, plain lines or JSON elsewhere.

mod board;
mod canvas;
mod chart;
mod dashboard;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;
mod units;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use crate::ranks::world;
use crate::train::EpochReport;
use board::{Board, Phase};
use dashboard::Dashboard;
pub use terminal::{say, say_error};
use units::rate;
pub use units::{blocks, bytes, counted, duration};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// On a terminal a dashboard in training and a bar elsewhere; plain lines where there is no terminal.
    #[default]
    Auto,
    /// Curves, numbers and the last messages on the whole terminal.
    Dashboard,
    /// A bar.
    Bar,
    /// A line every ten seconds and for each result.
    Plain,
    /// An object a line: the records of log.jsonl, and messages.
    Json,
    /// Nothing but messages.
    None,
}

impl Style {
    /// Reads a style of work that has no curves.
    pub fn without_dashboard() -> impl TypedValueParser<Value = Style> {
        let styles = Style::value_variants().iter().filter(|style| **style != Style::Dashboard);
        let names = styles.filter_map(ValueEnum::to_possible_value);
        PossibleValuesParser::new(names).map(|name| Style::from_str(&name, false).unwrap_or_default())
    }

    /// Where JSON is asked for, messages are JSON from now on.
    pub fn begin(self) {
        if self == Style::Json {
            terminal::speak_json();
        }
    }

    /// The style that stderr can show, none where another rank talks, for work that has a dashboard or not.
    fn shown(self, has_dashboard: bool) -> Style {
        if !world().leads() {
            return Style::None;
        }
        let size = terminal::size();
        let is_large = size
            .is_some_and(|(columns, rows)| columns >= dashboard::SMALLEST.0 && rows >= dashboard::SMALLEST.1);
        match self {
            Style::Auto | Style::Dashboard if has_dashboard && is_large => Style::Dashboard,
            Style::Dashboard | Style::Bar if size.is_some() => Style::Bar,
            Style::Auto if size.is_some() && std::io::stderr().is_terminal() => Style::Bar,
            Style::Auto | Style::Dashboard | Style::Bar => Style::Plain,
            Style::Plain | Style::Json | Style::None => self,
        }
    }
}

/// Time between two plain lines.
const PLAIN: Duration = Duration::from_secs(10);
/// Time between two objects of work that is not training.
const JSON: Duration = Duration::from_secs(1);
/// Time between two states of a bar.
const BAR: Duration = Duration::from_millis(100);

/// What a run is to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Network and size.
    pub title: String,
    /// The run's folder.
    pub folder: String,
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Steps in each.
    pub steps_per_epoch: usize,
    /// Pictures in each step.
    pub batch_size: usize,
    /// Steps between two records.
    pub log_interval: usize,
}

/// A step that was taken. Errors are shares.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// From 1.
    pub epoch: usize,
    /// Steps taken, this one included.
    pub step: usize,
    /// Learning rate.
    pub lr: f32,
    /// Loss of its batch.
    pub loss: f32,
    /// Share of its pictures that were wrong.
    pub top1_error: f64,
    /// Norm of the gradient.
    pub grad_norm: f32,
    /// Pictures a second in this epoch.
    pub images_per_s: f64,
    /// Share of the epoch's time that went by without pictures.
    pub data_wait: f64,
    /// Mean loss of the epoch so far.
    pub mean_loss: f64,
    /// Share of the epoch's pictures so far that were wrong.
    pub mean_error: f64,
}

impl Step {
    /// The record of it in `log.jsonl`.
    pub fn record(&self) -> Value {
        json!({
            "kind": "step",
            "epoch": self.epoch,
            "step": self.step,
            "lr": self.lr,
            "loss": self.loss,
            "top1_error": self.top1_error,
            "grad_norm": self.grad_norm,
            "images_per_s": self.images_per_s,
            "data_wait": self.data_wait,
        })
    }

    fn line(&self, epochs: usize) -> String {
        format!(
            "epoch {}/{epochs}  loss {:.3}  train error {:.1} %  lr {:.4}  data wait {:.0} %",
            self.epoch,
            self.mean_loss,
            100.0 * self.mean_error,
            self.lr,
            100.0 * self.data_wait
        )
    }
}

/// Pictures that are done, and when the first of this process was begun.
#[derive(Clone, Copy, Debug)]
struct Clock {
    done: u64,
    /// Of them, what was done before this process.
    before: u64,
    total: u64,
    start: Instant,
}

impl Clock {
    /// Pictures a second so far.
    fn rate(&self, now: Instant) -> f64 {
        (self.done - self.before) as f64 / now.saturating_duration_since(self.start).as_secs_f64().max(1e-9)
    }

    /// Seconds to the end at that rate; `None` before there is one.
    fn left(&self, now: Instant) -> Option<f64> {
        (self.done > self.before).then(|| self.total.saturating_sub(self.done) as f64 / self.rate(now))
    }

    fn line(&self) -> String {
        let now = Instant::now();
        let left = self.left(now).map_or("–".into(), duration);
        format!("{}  {left} left", rate(self.rate(now)))
    }

    fn share(&self) -> f64 {
        self.done as f64 / self.total.max(1) as f64
    }
}

enum View {
    Dashboard(Dashboard),
    Bar,
    Plain,
    Json,
    None,
}

/// Progress of one piece of work, counted in pictures.
pub struct Progress {
    view: View,
    clock: Clock,
    plan: Plan,
    /// When the bar, a line or an object was last written.
    last: Instant,
}

impl Progress {
    /// Progress over `total` pictures.
    pub fn new(style: Style, total: u64) -> Self {
        Progress::with(style.shown(false), Plan::default(), total)
    }

    /// Progress of a run.
    pub fn of_run(style: Style, plan: Plan) -> Self {
        let total = (plan.epochs * plan.steps_per_epoch * plan.batch_size) as u64;
        Progress::with(style.shown(true), plan, total)
    }

    fn with(style: Style, plan: Plan, total: u64) -> Self {
        let start = Instant::now();
        let clock = Clock { done: 0, before: 0, total, start };
        style.begin();
        let view = match style {
            Style::Dashboard => {
                Dashboard::start(Board::new(plan.clone(), clock)).map_or(View::Plain, View::Dashboard)
            }
            Style::Bar => View::Bar,
            Style::Json => View::Json,
            Style::Auto | Style::Plain => View::Plain,
            Style::None => View::None,
        };
        Progress { view, clock, plan, last: start }
    }

    /// `pictures` more are done; `state` says where the work stands.
    pub fn advance(&mut self, pictures: usize, state: &str) {
        self.clock.done += pictures as u64;
        if matches!(self.view, View::Json) && self.is_due(JSON) {
            terminal::say_json(&json!({
                "kind": "progress",
                "state": state,
                "done": self.clock.done,
                "total": self.clock.total,
                "images_per_s": self.clock.rate(self.last),
                "seconds_left": self.clock.left(self.last),
            }));
        }
        self.show(|| state.to_string());
    }

    /// A step of the run has been taken.
    pub fn step(&mut self, step: &Step) {
        self.clock.done += self.plan.batch_size as u64;
        match &self.view {
            View::Dashboard(dashboard) => dashboard.board().step(step, self.clock),
            View::Json if step.step.is_multiple_of(self.plan.log_interval) => self.record(step.record()),
            _ => {}
        }
        let epochs = self.plan.epochs;
        self.show(|| step.line(epochs));
    }

    /// So many pictures have been validated, of so many.
    pub fn validate(&mut self, done: usize, all: usize) {
        if let View::Dashboard(dashboard) = &self.view {
            dashboard.board().phase = Phase::Validating(done, all);
        }
    }

    /// An epoch of the run is done; `best` is the best so far, and its error.
    pub fn epoch(&mut self, report: &EpochReport, best: (usize, f64)) {
        match &self.view {
            View::Dashboard(dashboard) => dashboard.board().epoch(report, best),
            View::Json => return self.record(report.record(best.0 == report.epoch)),
            _ => {}
        }
        self.line(&report.line(self.plan.epochs, best));
    }

    /// The run's state is saved.
    pub fn saved(&mut self, step: usize) {
        match &self.view {
            View::Dashboard(dashboard) => dashboard.board().saved = Some((step, Instant::now())),
            View::Json => terminal::say_json(&json!({ "kind": "save", "step": step })),
            _ => {}
        }
    }

    /// The run goes on after so many steps and these epochs.
    pub fn go_on(&mut self, step: usize, epochs: &[EpochReport], best: Option<(usize, f64)>) {
        let done = (step * self.plan.batch_size) as u64;
        self.clock = Clock { done, before: done, start: Instant::now(), ..self.clock };
        if let View::Dashboard(dashboard) = &self.view {
            let mut board = dashboard.board();
            board.go_on(step, epochs, self.clock);
            board.best = best;
        }
    }

    /// A record of the log, with what is left.
    fn record(&self, mut record: Value) {
        record["epochs"] = json!(self.plan.epochs);
        record["steps"] = json!(self.plan.epochs * self.plan.steps_per_epoch);
        record["seconds_left"] = json!(self.clock.left(Instant::now()));
        terminal::say_json(&record);
    }

    /// Whether it is time to write again.
    fn is_due(&mut self, interval: Duration) -> bool {
        let now = Instant::now();
        let is_due = now.saturating_duration_since(self.last) >= interval;
        if is_due {
            self.last = now;
        }
        is_due
    }

    /// The state as a bar or a line, if it is time.
    fn show(&mut self, state: impl FnOnce() -> String) {
        let is_bar = matches!(self.view, View::Bar);
        if !(is_bar || matches!(self.view, View::Plain)) || !self.is_due(if is_bar { BAR } else { PLAIN }) {
            return;
        }
        let share = self.clock.share();
        let text = format!("{:3.0} %  {}  {}", 100.0 * share, state(), self.clock.line());
        if is_bar {
            let text = format!("{:░<24} {text}", blocks(share, 24));
            // A bar that wraps cannot be taken back.
            let columns = terminal::size().map_or(80, |size| size.0);
            terminal::bar(&text.chars().take(columns.saturating_sub(1)).collect::<String>());
        } else {
            say(&text);
        }
    }

    /// A result that stays to be read.
    pub fn line(&mut self, text: &str) {
        if !matches!(self.view, View::None) {
            self.last = Instant::now();
            say(text);
        }
    }

    /// Gives the terminal back.
    pub fn finish(&mut self) {
        match self.view {
            View::Bar => terminal::end_bar(),
            View::Dashboard(_) => self.view = View::Plain,
            View::Plain | View::Json | View::None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
