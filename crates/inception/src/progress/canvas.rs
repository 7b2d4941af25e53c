//! Cells of characters, drawn upon and then shown at once.

use std::fmt::Write;

use anstyle::Style;

/// A rectangle of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Rows of cells, each a character in a style.
pub(super) struct Canvas {
    width: usize,
    cells: Vec<(char, Style)>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, cells: vec![(' ', Style::new()); width * height] }
    }

    /// A character; outside of the canvas it is lost, and what would move the cursor is replaced.
    pub(super) fn put(&mut self, x: usize, y: usize, character: char, style: Style) {
        let inside = x < self.width;
        if let Some(cell) = self.cells.get_mut(y * self.width + x).filter(|_| inside) {
            *cell = (if character.is_control() { ' ' } else { character }, style);
        }
    }

    /// A line of text in at most `width` cells, the last of them `…` where it does not fit. Its end.
    pub(super) fn text(&mut self, x: usize, y: usize, width: usize, text: &str, style: Style) -> usize {
        let (count, mut end) = (text.chars().count(), x);
        for character in text.chars().take(width) {
            let cut = count > width && end + 1 == x + width;
            self.put(end, y, if cut { '…' } else { character }, style);
            end += 1;
        }
        end
    }

    /// The rows without styles and without blanks at their ends.
    #[cfg(test)]
    pub(super) fn to_text(&self) -> String {
        let row = |cells: &[(char, Style)]| cells.iter().map(|cell| cell.0).collect::<String>();
        self.cells.chunks(self.width.max(1)).map(|cells| row(cells).trim_end().to_string() + "\n").collect()
    }

    /// What a terminal must be sent to show it, shown at once where the terminal can.
    pub(super) fn to_ansi(&self, colours: bool) -> String {
        let mut out = String::from("\x1b[?2026h");
        for (y, row) in self.cells.chunks(self.width.max(1)).enumerate() {
            let mut now = Style::new();
            // Writing to a string does not fail.
            let _ = write!(out, "\x1b[{};1H\x1b[0m", y + 1);
            for &(character, style) in row {
                if colours && style != now {
                    let _ = write!(out, "\x1b[0m{style}");
                    now = style;
                }
                out.push(character);
            }
        }
        out + "\x1b[0m\x1b[?2026l"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_nothing_moves_the_cursor() {
        let mut canvas = Canvas::new(6, 2);
        assert_eq!(canvas.text(1, 0, 4, "abcdef", Style::new()), 5);
        canvas.text(4, 1, 9, "a\x1bcd", Style::new().bold());
        canvas.put(0, 7, 'x', Style::new());
        assert_eq!(canvas.to_text(), " abc…\n    a\n");
        assert_eq!(
            canvas.to_ansi(false),
            "\x1b[?2026h\x1b[1;1H\x1b[0m abc… \x1b[2;1H\x1b[0m    a \x1b[0m\x1b[?2026l"
        );
        assert!(canvas.to_ansi(true).contains("    \x1b[0m\x1b[1ma "), "{:?}", canvas.to_ansi(true));
    }
}
