//! What is made of answers, against scikit-learn and NumPy, and by properties.

use inception::answers::Answers;
use inception::judge::{Around, Judged, confusion, write_text};
use inception::metrics::Metrics;
use serde_json::Value;

/// Written by `reference/judge.py`.
const RECORDED: &str = include_str!("fixtures/judged.json");
const CLASSES: usize = 7;
const PICTURES: usize = 600;

/// The answers of `reference/judge.py`.
fn answers() -> Answers {
    let mut answers = Answers::new(CLASSES);
    for i in 0..PICTURES {
        let label = (3 * i * i + 5 * i + i / 7) % CLASSES;
        let logit = |j: usize| {
            let more = if j == label && i % 3 != 0 { 2.5 } else { 0.0 };
            ((31 * i + 17 * j + 7 * i * j) % 41) as f32 / 8.0 + j as f32 / 64.0 + more
        };
        answers.indices.push(i);
        answers.labels.push(label as u32);
        answers.logits.extend((0..CLASSES).map(logit));
    }
    answers
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("class {i}")).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[track_caller]
fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

#[test]
fn the_numbers_are_those_of_scikit_learn() {
    let recorded: Value = serde_json::from_str(RECORDED).expect("JSON");
    let judged = Judged::new(&answers(), &names(CLASSES), None, Around::default());
    let found = serde_json::to_value(&judged.findings).expect("JSON");
    for (key, of) in [
        ("eval_loss", "loss"),
        ("eval_top1_error", "top1_error"),
        ("eval_top5_error", "top5_error"),
        ("calibration_error", "calibration_error"),
    ] {
        close(found[key].as_f64().expect("a number"), recorded[of].as_f64().expect("a number"), 1e-9);
        // Both ends are known up to the chance of a thousand resamples.
        let interval = numbers(&found[format!("{key}_interval")]);
        let expected = numbers(&recorded["intervals"][of]);
        let width = expected[1] - expected[0];
        (0..2).for_each(|end| close(interval[end], expected[end], 0.08 * width));
    }
    let counts: Vec<u64> = judged.findings.calibration.iter().map(|bin| bin.count).collect();
    assert_eq!(serde_json::json!(counts), recorded["bins"]);
    let classes = &judged.findings.per_class;
    for (i, class) in classes.iter().enumerate() {
        for (found, key) in [(class.precision, "precision"), (class.recall, "recall"), (class.f1, "f1")] {
            close(found, numbers(&recorded[key])[i], 1e-12);
        }
        close(class.top1_error + class.recall, 1.0, 1e-12);
        let row = numbers(&recorded["confusion"][i]);
        for (answer, &n) in row.iter().enumerate().filter(|(answer, _)| *answer != i) {
            let counted = judged.metrics.per_class()[i].confused.get(&answer).copied().unwrap_or(0);
            assert_eq!(counted as f64, n, "{i} taken for {answer}");
        }
        assert_eq!(row.iter().sum::<f64>(), class.count as f64);
    }
    // The same answers give the same digits.
    let again = Judged::new(&answers(), &names(CLASSES), None, Around::default());
    assert_eq!(serde_json::to_value(&again.findings).expect("JSON"), found);
}

#[test]
fn logarithms_of_probabilities_are_judged_as_the_logits_they_came_from() {
    let plain = answers();
    let mut logarithms = plain.clone();
    for row in logarithms.logits.chunks_exact_mut(CLASSES) {
        let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) - sum.ln()) as f32);
    }
    let [a, b] = [plain, logarithms].map(|of| Judged::new(&of, &names(CLASSES), None, Around::default()));
    close(a.findings.eval_loss, b.findings.eval_loss, 1e-6);
    close(a.findings.calibration_error, b.findings.calibration_error, 1e-6);
    assert_eq!(a.metrics.per_class(), b.metrics.per_class());
}

/// A picture without finite logits is wrong; what needs its probability is not known.
#[test]
fn a_picture_without_an_answer_is_seen() {
    let mut answers = answers();
    answers.logits[3] = f32::NAN;
    let judged = Judged::new(&answers, &names(CLASSES), None, Around::default());
    let json = serde_json::to_value(&judged.findings).expect("JSON");
    for key in ["eval_loss", "calibration_error"] {
        assert_eq!(json[key], Value::Null);
        assert_eq!(json[format!("{key}_interval")], serde_json::json!([null, null]));
    }
    assert!(json["eval_top1_error_interval"][0].as_f64().is_some_and(|error| error > 0.0));
    let svg = confusion::svg(&judged.metrics, &names(CLASSES));
    assert!(svg.contains("no answer") && !svg.contains("NaN"));
}

/// Answers right but for `wrong`, a label and an answer each, to `each` pictures of every class.
fn metrics(classes: usize, each: usize, wrong: &[(usize, usize)]) -> Metrics {
    let mut metrics = Metrics::new(classes);
    let row = |answer: usize| (0..classes).map(|j| f32::from(u8::from(j == answer))).collect::<Vec<_>>();
    (0..classes).for_each(|i| (0..each).for_each(|_| metrics.add(&row(i), &[i as u32])));
    wrong.iter().for_each(|&(label, answer)| metrics.add(&row(answer), &[label as u32]));
    metrics
}

/// The numbers in an SVG that stand in the middle of their cells.
fn cells(svg: &str) -> usize {
    svg.matches(r#"text-anchor="middle">"#).count()
}

#[test]
fn few_classes_are_cells_and_many_are_dots() {
    let wrong = [(0, 1), (0, 1), (0, 1), (2, 0), (5, 4)];
    let svg = confusion::svg(&metrics(10, 4, &wrong), &names(10));
    // Ten right ones, three confusions; a name at both axes; the worst pair in the list.
    assert_eq!(cells(&svg), 13);
    assert!(svg.matches(">class 7<").count() == 2 && svg.contains("class 0 → class 1"), "{svg}");
    assert!(svg.contains("taken for class 1: 3 of 7") && svg.contains(">3 of 7<"));
    assert!(svg.contains("Top-1 error 11.11 %: 5 of 45 pictures"));

    let svg = confusion::svg(&metrics(100, 2, &wrong), &names(100));
    assert_eq!((cells(&svg), svg.matches("<title>").count()), (0, 103));
    assert!(svg.matches(">class 77<").count() == 2);

    let svg = confusion::svg(&metrics(1000, 1, &wrong), &names(1000));
    assert!(svg.matches("<title>").count() == 0 && svg.len() < 100_000, "{}", svg.len());
    // Dots of three pictures and of one, two of them in one path.
    assert_eq!((svg.matches(r#"stroke-linecap="round""#).count(), svg.matches("h0").count()), (2, 3));
    assert!(svg.contains("class 0 → class 1") && svg.contains(">class 25<") && !svg.contains(">class 26<"));
}

#[test]
fn names_from_outside_are_text() {
    let names = ["<b>\"&\u{1}", "a class with a name that is far too long for any axis"].map(String::from);
    let svg = confusion::svg(&metrics(2, 1, &[(0, 1)]), &names);
    assert!(svg.contains("&lt;b&gt;&quot;&amp;\u{fffd}") && !svg.contains("<b>") && !svg.contains('\u{1}'));
    assert!(svg.contains("a class with a name tha…"), "{svg}");
}

#[test]
fn of_many_classes_the_text_has_the_worst() {
    let text = |classes: usize| {
        let mut answers = Answers::new(classes);
        for i in 0..classes {
            // The odd classes are taken for their neighbours.
            let answer = i - i % 2;
            answers.indices.push(i);
            answers.labels.push(i as u32);
            answers.logits.extend((0..classes).map(|j| if j == answer { 5.0 } else { 0.0 }));
        }
        let mut out = Vec::new();
        let judged = Judged::new(&answers, &names(classes), None, Around::default());
        write_text(&mut out, &judged).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let (few, many) = (text(10), text(60));
    assert_eq!(few.lines().filter(|line| line.starts_with("class ")).count(), 1 + 10);
    assert!(!few.contains("--report"), "{few}");
    assert_eq!(many.lines().filter(|line| line.starts_with("class ")).count(), 1 + 20);
    assert!(many.contains("the 20 worst of 60 classes; --json and --report DIR have all"), "{many}");
    assert!(
        many.contains("class 1  ") && !many.contains("class 0  ") && many.contains("class 0 (1)"),
        "{many}"
    );
}
