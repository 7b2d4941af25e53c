//! A run on the whole terminal: how far it is, its numbers, its curves, its last messages.
//!
//! The training thread writes into a [`Board`]; a thread of its own draws it four times a second, so that a step of any length
//! neither waits for the terminal nor holds the clock up.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use inception_graph::thousands;

use super::board::{Board, Phase};
use super::canvas::{Area, Canvas};
use super::chart::{Chart, Curve, Mark};
use super::terminal;
use super::units::{blocks, bytes, duration, rate, significant};
use crate::{interrupt, memory};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(250);

/// Columns and rows that a dashboard is worth its place from.
pub(super) const SMALLEST: (usize, usize) = (60, 16);
/// More cells than any screen has; a terminal may claim what it likes.
const LARGEST: (usize, usize) = (500, 200);

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const LOSS: Style = AnsiColor::Cyan.on_default();
const EACH: Style = AnsiColor::Blue.on_default().dimmed();
const TRAIN: Style = AnsiColor::Yellow.on_default();
const VAL: Style = AnsiColor::Green.on_default().bold();

/// A dashboard that is on the terminal until it is dropped.
pub(super) struct Dashboard {
    board: Arc<Mutex<Board>>,
    /// The thread ends when this is gone.
    going: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Takes the screen; `None` where the system has no thread for us.
    pub(super) fn start(board: Board) -> Option<Dashboard> {
        let board = Arc::new(Mutex::new(board));
        let (going, gone) = channel();
        let drawn = board.clone();
        let thread = std::thread::Builder::new().name("dashboard".into());
        terminal::enter_screen();
        let Ok(thread) = thread.spawn(move || draw(&drawn, &gone)) else {
            terminal::leave_screen();
            return None;
        };
        Some(Dashboard { board, going: Some(going), thread: Some(thread) })
    }

    /// What it shows.
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.going = None;
        // A panic of that thread has been said, and has given the terminal back.
        let _ = self.thread.take().map(JoinHandle::join);
        terminal::leave_screen();
    }
}

/// Draws until the run ends or the screen is gone.
fn draw(board: &Mutex<Board>, gone: &Receiver<()>) {
    let colours = terminal::has_colours();
    loop {
        let now = Now {
            size: terminal::size().unwrap_or(SMALLEST),
            time: Instant::now(),
            stopping: interrupt::asked(),
            memory: memory::resident().zip(memory::peak()),
            messages: terminal::kept(LARGEST.1),
        };
        let frame = render(&board.lock().unwrap_or_else(PoisonError::into_inner), &now);
        if !terminal::show(&frame.to_ansi(colours))
            || gone.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout)
        {
            return;
        }
    }
}

/// What a frame depends on beside the board.
pub(super) struct Now {
    /// Columns and rows.
    pub(super) size: (usize, usize),
    pub(super) time: Instant,
    /// The user has asked for an end.
    pub(super) stopping: bool,
    /// Bytes now and at most.
    pub(super) memory: Option<(u64, u64)>,
    pub(super) messages: Vec<String>,
}

/// A frame of any size.
pub(super) fn render(board: &Board, now: &Now) -> Canvas {
    let (width, height) = (now.size.0.min(LARGEST.0), now.size.1.min(LARGEST.1));
    let mut canvas = Canvas::new(width, height);
    let all = Area { x: 1, y: 0, width: width.saturating_sub(2), height };
    let gap = usize::from(height >= 20);
    head(&mut canvas, all, board, now);
    gauges(&mut canvas, Area { y: 1 + gap, ..all }, board, now);
    let columns = if all.width >= 72 { 4 } else { 2 };
    let y = 3 + 2 * gap;
    let rows = numbers(&mut canvas, Area { y, ..all }, columns, board, now);
    let (top, bottom) = (y + rows + gap, height.saturating_sub(1 + (height / 5).clamp(1, 8)));
    let middle = Area { y: top, height: bottom.saturating_sub(top), ..all };
    charts(&mut canvas, middle, board);
    let bottom = bottom.max(top);
    messages(&mut canvas, Area { y: bottom, height: height.saturating_sub(bottom), ..all }, board, now);
    canvas
}

fn head(canvas: &mut Canvas, area: Area, board: &Board, now: &Now) {
    let (key, style) = match now.stopping {
        false => ("Ctrl-C saves and stops", DIM),
        true => ("stopping after this step", AnsiColor::Red.on_default().bold()),
    };
    let end = canvas.text(area.x, area.y, area.width, &board.plan.title, BOLD) + 3;
    let right = (area.x + area.width).saturating_sub(key.len());
    let middle = right.saturating_sub(end + 2);
    if middle > 8 {
        canvas.text(end, area.y, middle, &board.plan.folder, DIM);
    }
    if right > area.x {
        canvas.text(right, area.y, key.len(), key, style);
    }
}

/// How far the run and the epoch are.
fn gauges(canvas: &mut Canvas, area: Area, board: &Board, now: &Now) {
    let (plan, clock) = (&board.plan, &board.clock);
    let step = (clock.done / plan.batch_size.max(1) as u64) as usize;
    let epoch = (board.validated.len() + 1).min(plan.epochs.max(1));
    let taken = step.saturating_sub((epoch - 1) * plan.steps_per_epoch).min(plan.steps_per_epoch);
    let left = |seconds: Option<f64>| seconds.map_or("– left".into(), |s| format!("{} left", duration(s)));
    let speed = board.latest.map(|latest| latest.images_per_s).filter(|rate| *rate > 0.0);
    let pictures = ((plan.steps_per_epoch - taken) * plan.batch_size) as f64;
    let second = match board.phase {
        Phase::Training => {
            let of = format!("step {}/{}", thousands(taken as u64), thousands(plan.steps_per_epoch as u64));
            ("epoch", share(taken, plan.steps_per_epoch), of, left(speed.map(|speed| pictures / speed)))
        }
        Phase::Validating(done, all) => {
            let of = format!("{}/{}", thousands(done as u64), thousands(all as u64));
            ("validate", share(done, all), of, "pictures".into())
        }
    };
    let first = (
        "run",
        share(clock.done as usize, clock.total as usize),
        format!("epoch {epoch}/{}", plan.epochs),
        left(clock.left(now.time)),
    );
    let (of_width, left_width) =
        (first.2.len().max(second.2.len()), first.3.chars().count().max(second.3.chars().count()));
    for (y, (name, share, of, left)) in (area.y..).zip([first, second]) {
        let text = format!("{:>5.1} %   {of:<of_width$}   {left:>left_width$}", 100.0 * share);
        let bar = area.width.saturating_sub(9 + text.chars().count() + 1);
        canvas.text(area.x, y, area.width.min(8), name, DIM);
        (0..bar).for_each(|i| canvas.put(area.x + 9 + i, y, '░', DIM));
        canvas.text(area.x + 9, y, bar, &blocks(share, bar), LOSS);
        let x = area.x + 9 + bar + usize::from(bar > 0);
        canvas.text(x, y, (area.x + area.width).saturating_sub(x), &text, Style::new());
    }
}

fn share(done: usize, all: usize) -> f64 {
    done as f64 / all.max(1) as f64
}

/// The numbers, in so many columns; how many rows they take.
fn numbers(canvas: &mut Canvas, area: Area, columns: usize, board: &Board, now: &Now) -> usize {
    let (loss, error) = board.mean();
    let of_step = |text: fn(&super::Step) -> String| board.latest.as_ref().map_or("–".into(), text);
    let val = board.validated.last().map_or("–".into(), |last| format!("{:.2} %", last.1));
    let best = board.best.map_or("–".into(), |(epoch, error)| format!("{:.2} % at {epoch}", 100.0 * error));
    let used = now.memory.map_or("–".into(), |(resident, peak)| match area.width / columns {
        0..32 => bytes(resident),
        _ => format!("{} (peak {})", bytes(resident), bytes(peak)),
    });
    let all = [
        ("loss", significant(loss, 4), LOSS.bold()),
        ("train error", percent(error), TRAIN.bold()),
        ("val error", val, VAL),
        ("best", best, VAL),
        ("rate", of_step(|step| rate(step.images_per_s)), BOLD),
        ("data wait", of_step(|step| percent(step.data_wait)), BOLD),
        ("lr", of_step(|step| significant(f64::from(step.lr), 3)), BOLD),
        ("memory", used, BOLD),
    ];
    table(canvas, area, columns, &all);
    all.len() / columns
}

/// Names and values in aligned columns.
fn table(canvas: &mut Canvas, area: Area, columns: usize, all: &[(&str, String, Style)]) {
    let column = |column: usize| all.iter().skip(column).step_by(columns);
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let labels: Vec<_> =
        (0..columns).map(|c| widest(&mut column(c).map(|number| number.0.len())) + 1).collect();
    let values: Vec<_> =
        (0..columns).map(|c| widest(&mut column(c).map(|number| number.1.chars().count()))).collect();
    let used: usize = labels.iter().chain(&values).sum();
    let gap = (area.width.saturating_sub(used) / (columns - 1)).clamp(1, 8);
    let mut x = area.x;
    for c in 0..columns {
        for (y, (name, value, style)) in (area.y..).zip(column(c)) {
            let room = |x: usize| (area.x + area.width).saturating_sub(x);
            canvas.text(x, y, room(x), name, DIM);
            canvas.text(x + labels[c], y, room(x + labels[c]), value, *style);
        }
        x += labels[c] + values[c] + gap;
    }
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "–".into() }
}

/// Loss and errors, beside or above one another.
fn charts(canvas: &mut Canvas, area: Area, board: &Board) {
    let points = &board.points;
    let last = points.last().map_or(0.0, |point| point.step);
    let last = board.validated.last().map_or(last, |epoch| epoch.0.max(last)).max(1.0);
    let per_epoch = board.plan.steps_per_epoch.max(1) as f64;
    let (name, unit) = if last >= 2.0 * per_epoch { ("epoch", per_epoch) } else { ("step", 1.0) };
    let x = (name, last / unit);
    let curve = |name, style, mark, value: fn(&super::board::Point) -> f64| Curve {
        name,
        points: points.iter().map(|point| (point.step / unit, value(point))).collect(),
        style,
        mark,
    };
    let loss = Chart {
        title: "loss",
        x,
        curves: vec![
            curve("each step", EACH, Mark::Dots, |point| point.loss),
            curve("smoothed", LOSS, Mark::Line, |point| point.mean_loss),
        ],
    };
    let validated = Curve {
        name: "val",
        points: board.validated.iter().map(|&(step, error)| (step / unit, error)).collect(),
        style: VAL,
        mark: Mark::Marks,
    };
    let error = Chart {
        title: "top-1 error, %",
        x,
        curves: vec![curve("train", TRAIN, Mark::Line, |point| 100.0 * point.mean_error), validated],
    };
    let (beside, above) = (area.width >= 72, area.height >= 10);
    let [first, second] = match (beside, above) {
        (true, _) => {
            let width = (area.width - 3) / 2;
            [Area { width, ..area }, Area { x: area.x + area.width - width, width, ..area }]
        }
        (false, true) => {
            let height = area.height / 2;
            [Area { height, ..area }, Area { y: area.y + height, height: area.height - height, ..area }]
        }
        (false, false) => [area, Area { height: 0, ..area }],
    };
    loss.draw(canvas, first, DIM);
    error.draw(canvas, second, DIM);
}

/// A rule that says what is saved, and the last messages below.
fn messages(canvas: &mut Canvas, area: Area, board: &Board, now: &Now) {
    if area.height < 2 {
        return;
    }
    (0..area.width).for_each(|i| canvas.put(area.x + i, area.y, '─', DIM));
    if let Some((step, when)) = board.saved {
        let ago = duration(now.time.saturating_duration_since(when).as_secs_f64());
        let text = format!(" state saved after step {}, {ago} ago ", thousands(step as u64));
        if text.len() + 2 <= area.width {
            canvas.text(area.x + area.width - text.len() - 1, area.y, text.len(), &text, DIM);
        }
    }
    let rows = area.height - 1;
    let lines: Vec<&str> = now.messages.iter().flat_map(|message| message.lines()).collect();
    for (i, line) in lines[lines.len().saturating_sub(rows)..].iter().enumerate() {
        canvas.text(area.x, area.y + 1 + i, area.width, line, Style::new());
    }
}
