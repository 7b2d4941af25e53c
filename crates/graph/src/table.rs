//! Tables of text with aligned columns.

/// On which side a column's cells are flush.
#[derive(Clone, Copy, Debug)]
pub enum Align {
    /// Left: words.
    Left,
    /// Right: numbers.
    Right,
}

/// Rows of `N` cells, written with each column as wide as its widest cell.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    align: [Align; N],
    rows: Vec<[String; N]>,
    has_head: bool,
}

impl<const N: usize> Table<N> {
    /// No rows yet.
    pub fn new(align: [Align; N]) -> Self {
        Table { align, rows: Vec::new(), has_head: false }
    }

    /// The headings, before any row.
    pub fn head(&mut self, cells: [&str; N]) {
        self.row(cells.map(String::from));
        self.has_head = true;
    }

    /// A row below the others.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> std::fmt::Display for Table<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(self.align).zip(widths).map(|((cell, align), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            if i == 0 && self.has_head {
                writeln!(f, "{}", widths.map(|width| "─".repeat(width)).join("  "))?;
            }
        }
        Ok(())
    }
}

/// `n` with a comma between groups of three digits.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
