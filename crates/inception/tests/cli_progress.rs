//! What `inception` shows while it works: a dashboard on a terminal, JSON for programs.

mod cli_support;

use cli_support::Place;
use serde_json::Value;

const SMALL: [&str; 14] = [
    "train",
    "data",
    "-m",
    "inception_resnet_v1",
    "--img-size",
    "75",
    "--width",
    "0.05",
    "-b",
    "4",
    "--output",
    "out",
    "--experiment",
    "a",
];

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Every line is an object, the log's records are among them, and nothing else is said.
#[test]
fn json_has_the_records_of_the_log() {
    let place = Place::with_pictures();
    let more = ["--epochs", "2", "--log-interval", "1", "--progress", "json"];
    let ended = place.run(&[&SMALL[..], &more].concat());
    let told = objects(&ended.stderr);
    ended.expect(0);
    let log = objects(&std::fs::read_to_string(place.path("out/a/log.jsonl")).unwrap());
    let of =
        |all: &[Value], kind: &str| all.iter().filter(|r| r["kind"] == kind).cloned().collect::<Vec<_>>();
    for kind in ["step", "eval"] {
        let (told, logged) = (of(&told, kind), of(&log, kind));
        assert_eq!(told.len(), if kind == "step" { 4 } else { 2 });
        for (told, logged) in told.iter().zip(&logged) {
            assert!(
                logged.as_object().unwrap().iter().all(|(key, value)| told[key] == *value),
                "{told}\n{logged}"
            );
            assert_eq!((&told["epochs"], &told["steps"]), (&2.into(), &4.into()));
            assert!(told["seconds_left"].is_f64(), "{told}");
        }
    }
    assert_eq!(of(&told, "save").last().unwrap()["step"], 4);
    let said = of(&told, "message");
    assert!(said.iter().any(|m| m["text"].as_str().unwrap().starts_with("best top-1 error")), "{said:?}");
    let ended = place.run(&[&SMALL[..], &more].concat());
    let error = objects(&ended.stderr).pop().unwrap();
    assert!(
        error["kind"] == "error" && error["text"].as_str().unwrap().contains("never overwritten"),
        "{error}"
    );
    ended.expect(2);
}

#[test]
fn work_without_curves_has_json_and_no_dashboard() {
    let place = Place::with_pictures();
    place
        .run(&["data", "stats", "data", "--progress", "dashboard"])
        .fails(2, "[possible values: auto, bar, plain, json, none]");
    let ended = place.run(&["data", "stats", "data", "--progress", "json"]);
    objects(&ended.stderr);
    ended.expect(0);
}

#[cfg(unix)]
mod on_a_terminal {
    use std::fs::File;
    use std::io::Read;
    use std::process::Child;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    use super::cli_support::command;
    use super::*;

    /// The program with a terminal as its stderr.
    struct Terminal {
        child: Child,
        pieces: Receiver<Vec<u8>>,
        seen: String,
    }

    impl Terminal {
        fn start(place: &Place, args: &[&str], [columns, rows]: [u16; 2]) -> Terminal {
            let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&ours).unwrap();
            unlockpt(&ours).unwrap();
            tcsetwinsize(&ours, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })
                .unwrap();
            let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
            let theirs = File::options().read(true).write(true).open(path).unwrap();
            let mut command = command(place.dir.path(), &[&SMALL[..], args].concat());
            let child = command.env("TERM", "xterm").env_remove("NO_COLOR").stderr(theirs).spawn().unwrap();
            // The child's copy is dropped with `command`, so that its end is seen.
            drop(command);
            let (send, pieces) = channel();
            let mut ours = File::from(ours);
            std::thread::spawn(move || {
                let mut piece = vec![0; 1 << 16];
                while let Ok(count @ 1..) = ours.read(&mut piece) {
                    if send.send(piece[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
            Terminal { child, pieces, seen: String::new() }
        }

        /// Waits until the terminal has been sent `text`.
        fn wait_for(&mut self, text: &str) {
            while !self.seen.contains(text) {
                let piece = self.pieces.recv_timeout(Duration::from_secs(60));
                let piece = piece.unwrap_or_else(|_| panic!("`{text}` is not in\n{}", self.seen));
                self.seen += &String::from_utf8_lossy(&piece);
            }
        }

        fn interrupt(&self) {
            let id = self.child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        }

        /// The exit code, and what was written after the screen was left, which it must have been for good.
        fn end(mut self) -> (Option<i32>, String) {
            let code = self.child.wait().unwrap().code();
            while let Ok(piece) = self.pieces.recv_timeout(Duration::from_secs(60)) {
                self.seen += &String::from_utf8_lossy(&piece);
            }
            let (screen, after) = self.seen.split_once("\x1b[?7h\x1b[?25h\x1b[?1049l").expect(&self.seen);
            assert_eq!(screen.matches("\x1b[?1049h").count(), 1);
            assert!(!after.contains("\x1b[?"), "{after}");
            (code, after.to_string())
        }
    }

    #[test]
    fn a_run_that_is_interrupted_gives_the_terminal_back() {
        let place = Place::with_pictures();
        let mut terminal = Terminal::start(&place, &["--epochs", "100000"], [100, 30]);
        for text in
            ["\x1b[?1049h", "Ctrl-C saves and stops", "images/s", "data wait", "val", "epoch 2/100000", "⠶"]
        {
            terminal.wait_for(text);
        }
        terminal.interrupt();
        let (code, after) = terminal.end();
        assert_eq!(code, Some(75), "{after}");
        assert!(after.contains("epoch 1/100000  loss ") && after.contains("top-5 error"), "{after}");
        assert!(after.contains("--resume out/a"), "{after}");
    }

    #[test]
    fn the_end_and_an_error_give_the_terminal_back() {
        let place = Place::with_pictures();
        let (code, after) = Terminal::start(&place, &["--epochs", "2"], [60, 16]).end();
        assert_eq!(code, Some(0), "{after}");
        assert!(after.contains("epoch 2/2  loss ") && after.contains("best top-1 error"), "{after}");
        let place = Place::with_pictures();
        std::fs::write(place.path("data/train/ant/letter.jpg"), "Dear all,").unwrap();
        let (code, after) = Terminal::start(&place, &[], [100, 30]).end();
        assert_eq!(code, Some(65), "{after}");
        assert!(after.contains("error:") && after.contains("letter.jpg"), "{after}");
    }

    /// The second signal may come before or after the run has ended for the first.
    #[test]
    fn a_second_interrupt_gives_the_terminal_back() {
        let place = Place::with_pictures();
        let mut terminal = Terminal::start(&place, &["--epochs", "100000"], [100, 30]);
        terminal.wait_for("images/s");
        terminal.interrupt();
        terminal.interrupt();
        let (code, after) = terminal.end();
        assert!(matches!(code, Some(75 | 130)), "{code:?} {after}");
    }

    #[test]
    fn a_small_terminal_has_a_bar() {
        let place = Place::with_pictures();
        let mut terminal = Terminal::start(&place, &["--epochs", "40"], [50, 10]);
        terminal.wait_for("\r\x1b[K");
        terminal.wait_for("best top-1 error");
        assert!(!terminal.seen.contains("\x1b[?") && terminal.seen.contains("█"), "{}", terminal.seen);
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    }
}
