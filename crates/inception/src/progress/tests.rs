//! Frames of made-up runs, as text.

use std::time::{Duration, Instant};

use serde_json::json;

use super::board::{Board, Phase};
use super::canvas::Canvas;
use super::dashboard::{Now, render};
use super::{Clock, Plan, Step};
use crate::train::EpochReport;

const PLAN: (usize, usize, usize) = (20, 400, 32);

fn board() -> (Board, Instant) {
    let (epochs, steps_per_epoch, batch_size) = PLAN;
    let title = "inception_resnet_v1 at 128 px".into();
    let folder = "output/train/flowers".into();
    let plan = Plan { title, folder, epochs, steps_per_epoch, batch_size, log_interval: 10 };
    let start = Instant::now();
    let total = (epochs * steps_per_epoch * batch_size) as u64;
    (Board::new(plan, Clock { done: 0, before: 0, total, start }), start)
}

fn report(epoch: usize, error: f64) -> EpochReport {
    serde_json::from_value(json!({
        "epoch": epoch, "step": epoch * PLAN.1, "train_loss": 1.0, "train_top1_error": 0.5, "eval_loss": 1.0,
        "eval_top1_error": error, "eval_top5_error": 0.1, "lr": 0.1, "seconds": 1.0, "count": 100,
    }))
    .expect("a report")
}

/// From -0.5 to 0.5, the same every time.
fn noise(step: u64) -> f64 {
    let mixed = (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f64 / (1u64 << 24) as f64 - 0.5
}

/// So many steps, each of a second: the loss falls from 4 to 1 with noise, the error with it, validation a little better.
fn after(steps: usize) -> (Board, Instant) {
    let (mut board, start) = board();
    let mut best = (1, 1.0);
    for step in 1..=steps {
        let fall = (-(step as f64) / 1500.0).exp();
        let noise = 0.8 * noise(step as u64);
        let done = (step * PLAN.2) as u64;
        let taken = Step {
            epoch: (step - 1) / PLAN.1 + 1,
            step,
            lr: 0.045,
            loss: (1.0 + 3.0 * fall + noise) as f32,
            top1_error: 0.1 + 0.8 * fall + 0.2 * noise,
            grad_norm: 1.0,
            images_per_s: 32.0,
            data_wait: 0.021,
            mean_loss: 1.0,
            mean_error: 0.5,
        };
        board.step(&taken, Clock { done, ..board.clock });
        if step % PLAN.1 == 0 {
            let error = 0.08 + 0.7 * fall;
            best = if error < best.1 { (step / PLAN.1, error) } else { best };
            board.epoch(&report(step / PLAN.1, error), best);
        }
    }
    board.saved = Some((steps / 1000 * 1000, start));
    (board, start + Duration::from_secs(steps as u64))
}

fn frame((board, time): &(Board, Instant), size: (usize, usize)) -> Canvas {
    let messages = ["left out: rose/0042.jpg: truncated", "epoch 7/20  loss 1.354  train error 24.1 %"];
    let now = Now {
        size,
        time: *time,
        stopping: false,
        memory: Some((3_210_000_000, 3_400_000_000)),
        messages: messages.map(String::from).into(),
    };
    render(board, &now)
}

#[track_caller]
fn shows(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in\n{text}"));
}

fn braille(text: &str) -> usize {
    text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count()
}

#[test]
fn a_frame_says_how_the_run_stands() {
    let run = after(3000);
    // Of 8,000 steps of a second 5,000 are left; of the epoch 200.
    let all = [
        "inception_resnet_v1 at 128 px   output/train/flowers",
        "Ctrl-C saves and stops",
        "37.5 %   epoch 8/20     1:23:20 left",
        "50.0 %   step 200/400      3:20 left",
        "loss 1.487",
        "train error 22.6 %",
        "val error 18.82 %",
        "best   18.82 % at 7",
        "rate 32 images/s",
        "data wait   2.1 %",
        "0.0450",
        "3.21 GB",
        "state saved after step 3,000",
        "top-1 error, %  ● val  ⠶ train",
        "epoch 7/20  loss 1.354",
    ];
    for size in [(80, 24), (120, 40)] {
        let text = frame(&run, size).to_text();
        shows(&text, &all);
        assert!(braille(&text) > size.0, "no curves in\n{text}");
        assert_eq!(text.lines().count(), size.1);
        assert!(text.lines().all(|line| line.chars().count() <= size.0));
    }
}

/// The picture in the documentation is what is drawn.
#[test]
fn the_picture_in_the_documentation_is_fresh() {
    let text = frame(&after(3000), (80, 24)).to_text();
    let docs = include_str!("../../../../docs/training.md");
    assert!(docs.contains(text.trim_end()), "docs/training.md does not show\n{text}");
}

#[test]
fn a_frame_has_any_size_and_any_values() {
    let (mut broken, time) = after(450);
    for loss in [f32::NAN, f32::INFINITY, 1e30] {
        let latest = broken.latest.expect("a step");
        let step = Step { loss, step: latest.step + 1, images_per_s: f64::NAN, ..latest };
        broken.step(&step, broken.clock);
    }
    broken.phase = Phase::Validating(10, 0);
    for run in [board(), after(1), after(450), (broken, time)] {
        for width in 1..130 {
            for height in (1..12).chain([24, 39]) {
                assert_eq!(frame(&run, (width, height)).to_text().lines().count(), height);
            }
        }
        frame(&run, (0, 0));
        frame(&run, (65535, 65535));
    }
    shows(&frame(&board(), (80, 24)).to_text(), &["loss –", "step 0/400", "– left", "epoch 1/20"]);
    shows(&frame(&after(450), (30, 8)).to_text(), &["run", "epoch", "loss"]);
    shows(&frame(&after(450), (60, 30)).to_text(), &["each step", "top-1 error, %  ● val"]);
}

#[test]
fn validation_and_a_stop_are_announced() {
    let (mut board, time) = after(400);
    board.phase = Phase::Validating(1500, 5000);
    let now = Now { size: (80, 24), time, stopping: true, memory: None, messages: Vec::new() };
    shows(
        &render(&board, &now).to_text(),
        &["validate", "30.0 %   1,500/5,000", "pictures", "stopping after this step"],
    );
}

/// Curves of a long run stay short, and a run that goes back forgets what came later.
#[test]
fn curves_are_bounded_and_go_back() {
    let (mut board, _) = after(7900);
    assert!((1024..=2048).contains(&board.points.len()), "{}", board.points.len());
    assert!(board.points.is_sorted_by_key(|point| point.step) && board.points[0].step < 8.0);
    assert!(board.points.last().is_some_and(|point| point.step > 7890.0));
    board.go_on(400, &[report(1, 0.5)], board.clock);
    assert!(board.points.iter().all(|point| point.step <= 400.0) && board.points.len() > 50);
    assert_eq!(board.validated, [(400.0, 50.0)]);
    // Another process knows the epochs alone.
    let (mut board, _) = self::board();
    board.go_on(900, &[report(1, 0.5), report(2, 0.4)], board.clock);
    assert_eq!(board.points.iter().map(|point| point.step).collect::<Vec<_>>(), [400.0, 800.0]);
    assert_eq!(board.mean(), (1.0, 0.5));
}
