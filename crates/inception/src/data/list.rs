//! Lists of pictures: CSV, TSV, or a path and a label a line.
//!
//! ```text
//! path,label,split,group            a header, columns in any order; `split` and `group` may be missing
//! a/1.jpg,ant,train,patient-7
//! ```
//! Without a header a line is a path and a label, behind a comma, a semicolon, a tab or blanks. Paths are relative to the folder of the
//! list, or URLs. Pictures of one group are never on both sides of a split.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Picture, Splits};
use super::error::DataError;
use super::folder::{Division, TRAIN, VAL};
use super::storage;

/// Names of columns, in any case.
const PATH: &[&str] = &["path", "filename", "file", "file_name", "filepath", "image", "image_path", "img"];
const LABEL: &[&str] = &["label", "class", "target", "category", "labels", "class_name"];
const SPLIT: &[&str] = &["split", "set", "subset"];
const GROUP: &[&str] = &["group", "group_id", "patient", "subject"];

/// Whether `path` is called like a list.
pub(super) fn is(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("csv" | "tsv" | "txt" | "lst"))
}

/// A list that was read.
pub(super) struct List {
    data: Dataset,
    /// What the column `split` says of each picture, where there is one.
    splits: Option<Vec<String>>,
}

impl List {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let problem = |problem: String| DataError::Layout { path: path.into(), problem };
        let text = storage::read(path).map_err(|source| DataError::io(path, source))?;
        let text = String::from_utf8(text).map_err(|e| {
            problem(format!("is not UTF-8 at byte {}: save it as UTF-8", e.utf8_error().valid_up_to()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let rows = rows(text).map_err(problem)?;
        let Some(first) = rows.first() else { return Err(problem("has no line".into())) };
        let column =
            |names: &[&str]| first.1.iter().position(|cell| names.contains(&cell.to_lowercase().as_str()));
        let (columns, rows) = match (column(PATH), column(LABEL)) {
            (Some(path), Some(label)) => {
                ([Some(path), Some(label), column(SPLIT), column(GROUP)], &rows[1..])
            }
            _ => ([Some(0), Some(1), None, None], &rows[..]),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut pictures, mut splits, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for (line, row) in rows {
            let cell = |column: Option<usize>| column.and_then(|column| row.get(column)).map(String::as_str);
            let (Some(file), Some(label)) = (cell(columns[0]), cell(columns[1])) else {
                let missing = if cell(columns[0]).is_none() { "path" } else { "label" };
                return Err(problem(format!(
                    "line {line} has no {missing}: expected columns path and label, or a header that names them"
                )));
            };
            if file.is_empty() || label.is_empty() {
                return Err(problem(format!("line {line} has an empty path or label")));
            }
            let file = place(folder, file).map_err(|what| problem(format!("line {line} {what}")))?;
            pictures.push((Picture::File(file), label.to_string()));
            splits.extend(cell(columns[2]).map(str::to_lowercase));
            if let Some(group) = cell(columns[3]) {
                let next = numbers.len() as u32;
                groups.push(*numbers.entry(group).or_insert(next));
            }
        }
        // A root that is another than the list means is found at once, not picture by picture.
        let mut some = false;
        for (picture, _) in pictures.iter().take(100) {
            some = some || matches!(picture, Picture::File(path) if storage::exists(path)?);
        }
        if let Some((picture, _)) = pictures.first()
            && !some
        {
            return Err(problem(format!(
                "there is no {}: paths are relative to the folder of the list",
                picture.name()
            )));
        }
        let data = Dataset { groups, ..Dataset::named(path, pictures, Vec::new()) };
        if data.samples.is_empty() {
            return Err(problem("has a header and no picture".into()));
        }
        Ok(List { data, splits: columns[2].map(|_| splits) })
    }

    /// Its pictures by what they are for; all are to learn from where it does not tell.
    pub(super) fn parts(self, path: &Path) -> Result<(Dataset, Option<Dataset>), DataError> {
        match &self.splits {
            None => Ok((self.data, None)),
            Some(_) => self.split(path).map(|(train, val)| (train, Some(val))),
        }
    }

    /// Its pictures, those to judge by where it tells them apart.
    pub(super) fn into_val(self, path: &Path) -> Result<Dataset, DataError> {
        match &self.splits {
            None => Ok(self.data),
            Some(_) => Ok(self.split(path)?.1),
        }
    }

    /// Its pictures as the column `split` or `val_split` divides them.
    pub(super) fn splits(self, path: &Path, division: Division) -> Result<Splits, DataError> {
        let layout = |problem: &str| Err(DataError::Layout { path: path.into(), problem: problem.into() });
        match (&self.splits, division.val_split) {
            (Some(_), None) => {
                let (train, val) = self.split(path)?;
                division.join(train, val)
            }
            (Some(_), Some(_)) => {
                layout("has a column `split`, so --val-split would be ignored: leave one of them out")
            }
            (None, Some(share)) => Splits::stratified(self.data, share, division.seed),
            (None, None) => {
                layout("has no column `split`: add one, or give --val-split 0.1 to hold out a tenth")
            }
        }
    }

    /// The pictures to learn from, under the classes that have some, and those to judge by.
    fn split(self, path: &Path) -> Result<(Dataset, Dataset), DataError> {
        let splits = self.splits.unwrap_or_default();
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &splits {
            if !TRAIN.contains(&name.as_str()) && !VAL.contains(&name.as_str()) {
                *others.entry(name).or_default() += 1;
            }
        }
        if let Some((name, count)) = others.first_key_value() {
            let problem = format!(
                "{count} pictures have the split `{name}`: expected one of {} or {}",
                TRAIN.join(", "),
                VAL.join(", ")
            );
            return Err(DataError::Layout { path: path.into(), problem });
        }
        // The first of these names that is there, as with folders.
        let val = VAL.iter().find(|name| splits.iter().any(|split| split == *name)).copied();
        let train = self.data.filtered(|i| TRAIN.contains(&splits[i].as_str()));
        let held = self.data.filtered(|i| Some(splits[i].as_str()) == val);
        for (data, name) in [(&train, "train"), (&held, "val")] {
            if data.samples.is_empty() {
                let problem = format!("no picture has the split `{name}`");
                return Err(DataError::Layout { path: path.into(), problem });
            }
        }
        // A class without a picture to learn from is one that training does not know.
        let learnt: Vec<bool> = train.counts().iter().map(|&count| count > 0).collect();
        let known: Vec<bool> = learnt.iter().zip(held.counts()).map(|(&learnt, n)| learnt || n > 0).collect();
        Ok((train.only(&learnt), held.only(&known)))
    }
}

/// Where a picture of a list in `folder` lies.
fn place(folder: &Path, file: &str) -> Result<PathBuf, String> {
    let path = Path::new(file);
    match storage::is_remote(path) {
        true => Ok(path.into()),
        // What comes from elsewhere names no files of this machine.
        false if path.is_absolute() && storage::is_remote(folder) => {
            Err(format!("has the path `{file}`: expected one relative to {}, or a URL", folder.display()))
        }
        false => Ok(folder.join(path)),
    }
}

impl Dataset {
    /// The same pictures, without the classes that are not `used`, of which it has none.
    fn only(mut self, used: &[bool]) -> Self {
        let mut next = 0;
        let labels: Vec<u32> = used.iter().map(|&used| (next, next += u32::from(used)).0).collect();
        self.samples.iter_mut().for_each(|sample| sample.label = labels[sample.label as usize]);
        let mut used = used.iter();
        self.classes.retain(|_| used.next().copied().unwrap_or(true));
        self
    }
}

/// Number and cells of each line that is not empty.
fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let Some(delimiter) = ['\t', ',', ';'].into_iter().find(|&c| first.contains(c)) else {
        // The label is the last word, for paths have blanks, too.
        let pair = |line: &str| match line.trim().rsplit_once(char::is_whitespace) {
            Some((path, label)) => vec![path.trim_end().to_string(), label.to_string()],
            None => vec![line.trim().to_string()],
        };
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        return Ok(lines.map(|(number, line)| (number, pair(line))).collect());
    };
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).delimiter(delimiter as u8).trim(csv::Trim::All);
    let records = reader.from_reader(text.as_bytes()).into_records();
    records
        .map(|record| {
            let record = record.map_err(|e| format!("cannot be read: {e}"))?;
            let line = record.position().map_or(0, |position| position.line() as usize);
            Ok((line, record.iter().map(str::to_string).collect()))
        })
        .collect()
}
