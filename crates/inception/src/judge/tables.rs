//! Tables of an evaluation as comma-separated values, RFC 4180.

use anyhow::Result;

use super::classes::{ClassReport, unanswered};
use super::findings::Judged;
use crate::answers::Answers;
use crate::data::Dataset;

/// Pictures of each class (a row) by what they were taken for (a column). A last column `(no answer)` where there are such.
pub(super) fn confusion(judged: &Judged, names: &[String]) -> Result<Vec<u8>> {
    let counts = judged.metrics.per_class();
    let some_unanswered = counts.iter().any(|class| unanswered(class) > 0);
    let mut table = csv::Writer::from_writer(Vec::new());
    let none = some_unanswered.then_some("(no answer)");
    table.write_record(["class"].into_iter().chain(names.iter().map(String::as_str)).chain(none))?;
    for (label, (class, name)) in counts.iter().zip(names).enumerate() {
        let answers = (0..names.len()).map(|answer| match answer == label {
            true => class.count - class.errors,
            false => class.confused.get(&answer).copied().unwrap_or(0),
        });
        let none = some_unanswered.then(|| unanswered(class));
        let row = answers.chain(none).map(|n| n.to_string());
        table.write_record(std::iter::once(name.clone()).chain(row))?;
    }
    Ok(table.into_inner()?)
}

/// A row a class; shares that there are no pictures for are empty.
pub(super) fn per_class(classes: &[ClassReport]) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let head =
        ["class", "pictures", "top1_error", "precision", "recall", "f1", "most_confused_with", "confusions"];
    table.write_record(head)?;
    for class in classes {
        let shares = [class.top1_error, class.precision, class.recall, class.f1].map(number);
        let row = [class.class.clone(), class.count.to_string()].into_iter().chain(shares);
        let other = [class.most_confused_with.clone().unwrap_or_default(), class.confusions.to_string()];
        table.write_record(row.chain(other))?;
    }
    Ok(table.into_inner()?)
}

/// A row a picture; what a picture without an answer has not is empty. The rank of the label is 1 where it is the first answer.
pub(super) fn predictions(
    judged: &Judged,
    answers: &Answers,
    data: &Dataset,
    names: &[String],
) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["picture", "label", "answer", "probability", "loss", "rank"])?;
    for ((verdict, &index), &label) in judged.verdicts.iter().zip(&answers.indices).zip(&answers.labels) {
        let answer = verdict.answer.map_or(String::new(), |answer| names[answer].clone());
        let rank = verdict.answer.map_or(String::new(), |_| (verdict.rank + 1).to_string());
        let [probability, loss] = [verdict.probability, verdict.loss].map(number);
        let name = names[label as usize].clone();
        table.write_record([data.name(index), name, answer, probability, loss, rank])?;
    }
    Ok(table.into_inner()?)
}

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}
