//! Rows of predictions and the three forms in which they are written.
//!
//! `filename` comes first in every form, and rows keep the order of the pictures. A picture without an answer has an
//! `error` in its place, so no row is ever missing.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::metrics::{softmax, top_k};

/// Which numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputType {
    /// Probabilities, the softmax of the logits.
    Prob,
    /// Logits.
    Logit,
}

impl OutputType {
    /// Name of a column or key with one such number.
    pub fn name(self) -> &'static str {
        match self {
            OutputType::Prob => "prob",
            OutputType::Logit => "logit",
        }
    }

    fn values(self, logits: &[f32]) -> Vec<f32> {
        match self {
            OutputType::Prob => softmax(logits).into_iter().map(|p| p as f32).collect(),
            OutputType::Logit => logits.to_vec(),
        }
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: the picture, then a line for each of its classes.
    Table,
    /// Comma-separated values with a header: a line for each picture and class.
    Csv,
    /// One JSON object a line and picture.
    Jsonl,
}

/// Writes predictions, row by row.
pub struct Writer<W> {
    out: W,
    classes: Vec<String>,
    /// Best classes shown; all of them, in class order, where 0.
    topk: usize,
    output_type: OutputType,
    format: Format,
}

impl<W: Write> Writer<W> {
    /// A writer of the best `topk` of `classes`, or where it is 0 of all of them in class order.
    pub fn new(
        mut out: W,
        classes: Vec<String>,
        topk: usize,
        output_type: OutputType,
        format: Format,
    ) -> io::Result<Self> {
        if format == Format::Csv {
            writeln!(out, "filename,index,label,{},error", output_type.name())?;
        }
        Ok(Writer { out, classes, topk, output_type, format })
    }

    /// Writes one picture: its logits, or why there are none. Whether the row holds an answer.
    pub fn write(&mut self, filename: &str, answer: Result<&[f32], &str>) -> io::Result<bool> {
        let answer = match answer {
            Ok(logits) if logits.iter().any(|v| !v.is_finite()) => {
                Err("the network's answer is no finite number")
            }
            other => other,
        };
        match (self.format, answer) {
            (Format::Table, Ok(logits)) => self.table(filename, logits),
            (Format::Table, Err(error)) => writeln!(self.out, "{filename}\n  error: {error}"),
            (Format::Csv, Ok(logits)) => self.csv(filename, logits),
            (Format::Csv, Err(error)) => writeln!(self.out, "{},,,,{}", quoted(filename), quoted(error)),
            (Format::Jsonl, Ok(logits)) => self.jsonl(filename, logits),
            (Format::Jsonl, Err(error)) => {
                writeln!(self.out, "{}", json!({"filename": filename, "error": error}))
            }
        }?;
        Ok(answer.is_ok())
    }

    /// Hands everything written so far to the reader.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Classes to be shown, in order.
    fn shown(&self, logits: &[f32]) -> Vec<usize> {
        if self.topk == 0 { (0..logits.len()).collect() } else { top_k(logits, self.topk) }
    }

    fn table(&mut self, filename: &str, logits: &[f32]) -> io::Result<()> {
        let values = self.output_type.values(logits);
        writeln!(self.out, "{filename}")?;
        for index in self.shown(logits) {
            let label = &self.classes[index];
            match self.output_type {
                OutputType::Prob => writeln!(self.out, "  {:>7.2}%  {label}", 100.0 * values[index])?,
                OutputType::Logit => writeln!(self.out, "  {:>9.4}  {label}", values[index])?,
            }
        }
        Ok(())
    }

    fn csv(&mut self, filename: &str, logits: &[f32]) -> io::Result<()> {
        let (filename, values) = (quoted(filename), self.output_type.values(logits));
        for index in self.shown(logits) {
            writeln!(self.out, "{filename},{index},{},{},", quoted(&self.classes[index]), values[index])?;
        }
        Ok(())
    }

    fn jsonl(&mut self, filename: &str, logits: &[f32]) -> io::Result<()> {
        let mut row = Map::from_iter([("filename".to_string(), Value::from(filename))]);
        if self.classes.is_empty() {
            row.insert("embedding".into(), json!(logits));
            return writeln!(self.out, "{}", Value::Object(row));
        }
        let (name, values) = (self.output_type.name(), self.output_type.values(logits));
        if self.topk == 0 {
            row.insert(format!("{name}s"), json!(values));
        } else {
            let one = |index| json!({"index": index, "label": self.classes[index], name: values[index]});
            row.insert("predictions".into(), self.shown(logits).into_iter().map(one).collect());
        }
        writeln!(self.out, "{}", Value::Object(row))
    }
}

/// A CSV field, in quotes where RFC 4180 wants them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [f32; 3] = [0.0, 1.0, 0.5];

    fn written(topk: usize, output_type: OutputType, format: Format) -> String {
        let mut out = Vec::new();
        let classes = vec!["ant".into(), "bee, or wasp".into(), "cat".into()];
        let mut writer = Writer::new(&mut out, classes, topk, output_type, format).unwrap();
        writer.write("a \"b\".png", Ok(&ROW)).unwrap();
        writer.write("c.png", Err("not a picture")).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_and_keeps_a_row_for_an_error() {
        assert_eq!(
            written(2, OutputType::Logit, Format::Csv),
            "filename,index,label,logit,error\n\"a \"\"b\"\".png\",1,\"bee, or wasp\",1,\n\
             \"a \"\"b\"\".png\",2,cat,0.5,\nc.png,,,,not a picture\n"
        );
    }

    #[test]
    fn jsonl_with_the_best_and_with_all() {
        assert_eq!(
            written(1, OutputType::Logit, Format::Jsonl),
            "{\"filename\":\"a \\\"b\\\".png\",\"predictions\":[{\"index\":1,\"label\":\"bee, or wasp\",\"logit\":1.0}]}\n\
             {\"filename\":\"c.png\",\"error\":\"not a picture\"}\n"
        );
        let all = written(0, OutputType::Logit, Format::Jsonl);
        assert!(all.starts_with("{\"filename\":\"a \\\"b\\\".png\",\"logits\":[0.0,1.0,0.5]}\n"), "{all}");
        let all = written(0, OutputType::Prob, Format::Jsonl);
        let row: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
        let sum: f64 = row["probs"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_table_shows_percents() {
        let table = written(1, OutputType::Prob, Format::Table);
        assert_eq!(table, "a \"b\".png\n    50.65%  bee, or wasp\nc.png\n  error: not a picture\n");
    }

    #[test]
    fn an_answer_that_is_no_number_is_an_error() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, vec!["a".into()], 1, OutputType::Prob, Format::Jsonl).unwrap();
        assert!(!writer.write("x", Ok(&[f32::NAN])).unwrap());
        assert!(String::from_utf8(out).unwrap().contains("error"));
    }
}
