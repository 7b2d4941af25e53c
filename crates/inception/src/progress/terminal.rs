//! Stderr, where messages and progress go: the one place that writes there.
//!
//! A dashboard has the alternate screen, and no raw mode: signals keep working. What is said meanwhile is kept, and written when
//! the screen goes, however it goes: at the end, with an error, in a panic, at the second Ctrl-C.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use serde_json::json;
use terminal_size::{Height, Width, terminal_size_of};

/// What stderr shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Lines,
    /// The last line is a bar.
    Bar,
    Screen,
    Json,
}

struct Terminal {
    mode: Mode,
    /// What was said while the screen was up.
    kept: Vec<String>,
}

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal { mode: Mode::Lines, kept: Vec::new() });

/// Alternate screen, no cursor, no wrapping; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// From the first column on, nothing.
const CLEAR_LINE: &str = "\r\x1b[K";

fn terminal() -> MutexGuard<'static, Terminal> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody can be told that stderr is closed.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// A message to the user, of rank 0 where there are several.
pub fn say(text: &str) {
    if !crate::ranks::world().leads() {
        return;
    }
    let mut terminal = terminal();
    match terminal.mode {
        Mode::Lines => write(&format!("{text}\n")),
        Mode::Bar => write(&format!("{CLEAR_LINE}{text}\n")),
        Mode::Screen => terminal.kept.push(text.to_string()),
        Mode::Json => write(&format!("{}\n", json!({ "kind": "message", "text": text }))),
    }
}

/// Why the program ends.
pub fn say_error(text: &str) {
    let terminal = terminal();
    match terminal.mode {
        Mode::Json => write(&format!("{}\n", json!({ "kind": "error", "text": text }))),
        // Red where a person reads it.
        _ if std::io::stderr().is_terminal() && has_colours() => {
            write(&format!("\x1b[1;31merror:\x1b[0m {text}\n"));
        }
        _ => write(&format!("error: {text}\n")),
    }
}

/// Messages are JSON, an object a line, from now on.
pub(super) fn speak_json() {
    terminal().mode = Mode::Json;
}

/// An object where stderr is JSON.
pub(super) fn say_json(record: &serde_json::Value) {
    write(&format!("{record}\n"));
}

/// Whether the user wants colours: <https://no-color.org>.
pub(super) fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns and rows of the terminal that stderr is, where it can place text.
pub(super) fn size() -> Option<(usize, usize)> {
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return None;
    }
    let (Width(columns), Height(rows)) = terminal_size_of(std::io::stderr())?;
    Some((columns.into(), rows.into()))
}

/// The last line becomes `bar`.
pub(super) fn bar(bar: &str) {
    terminal().mode = Mode::Bar;
    write(&format!("{CLEAR_LINE}{bar}"));
}

/// The bar goes.
pub(super) fn end_bar() {
    let mut terminal = terminal();
    if terminal.mode == Mode::Bar {
        terminal.mode = Mode::Lines;
        write(CLEAR_LINE);
    }
}

/// Shows the screen, which a panic takes away before it says what happened.
pub(super) fn enter_screen() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let then = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave_screen();
            then(panic);
        }));
    });
    terminal().mode = Mode::Screen;
    write(ENTER);
}

/// Puts a frame on the screen, if it is up; whether it is.
pub(super) fn show(frame: &str) -> bool {
    let terminal = terminal();
    if terminal.mode == Mode::Screen {
        write(frame);
    }
    terminal.mode == Mode::Screen
}

/// The last `count` lines that were said while the screen was up.
pub(super) fn kept(count: usize) -> Vec<String> {
    let kept = &terminal().kept;
    kept[kept.len().saturating_sub(count)..].to_vec()
}

/// Gives the terminal back as it was, with what was said meanwhile below.
pub(crate) fn leave_screen() {
    let mut terminal = terminal();
    if terminal.mode == Mode::Screen {
        terminal.mode = Mode::Lines;
        let lines: String = terminal.kept.drain(..).map(|line| line + "\n").collect();
        write(&format!("{LEAVE}{lines}"));
    }
}
