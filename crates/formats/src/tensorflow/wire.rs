//! Protocol buffers as they lie in a file.
//!
//! ```text
//! message: { tag, content }*      tag: varint of field × 8 + kind
//! kind 0: varint    1: 8 bytes    2: varint of a length, that many bytes    5: 4 bytes
//! varint: 7 bits a byte, lowest first, the high bit set on all but the last
//! ```
//! A message is a range of its input, and so is the content of kind 2: nothing is loaded until it is asked for, every
//! range lies inside the one around it, and a walk over a file of large tensors is a walk of seeks.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use crate::Problem;

/// Where bytes lie in an input.
pub(super) type Span = Range<u64>;

/// Longest text, so that a damaged length cannot ask for more; TensorFlow's names have tens of characters.
const LONGEST_TEXT: u64 = 1 << 14;

/// An input with its position and its end.
pub(super) struct Wire<R> {
    input: R,
    at: u64,
    end: u64,
}

/// The content of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(Span),
}

/// One field of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) content: Content,
}

impl<R: Read + Seek> Wire<R> {
    /// The whole of `input`.
    pub(super) fn new(mut input: R) -> Result<Self, Problem> {
        let end = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        Ok(Wire { input, at: 0, end })
    }

    /// Where the input ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The next field of `message`, whose start moves behind it.
    pub(super) fn field(&mut self, message: &mut Span) -> Result<Option<Field>, Problem> {
        if message.is_empty() {
            return Ok(None);
        }
        let tag = self.varint(message)?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint(message)?),
            1 => Content::Fixed64(self.fixed(message)?),
            2 => {
                let length = self.varint(message)?;
                Content::Bytes(split(message, length)?)
            }
            5 => Content::Fixed32(self.fixed(message)?),
            kind => return Err(Problem::damaged(format!("a field of kind {kind}, which nothing here has"))),
        };
        Ok(Some(Field { number: tag >> 3, content }))
    }

    /// The varint at the start of `span`, which moves behind it.
    pub(super) fn varint(&mut self, span: &mut Span) -> Result<u64, Problem> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed(span)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Problem::damaged("a number of more than ten bytes"))
    }

    /// Appends the bytes of `span`.
    pub(super) fn bytes(&mut self, span: &Span, to: &mut Vec<u8>) -> Result<(), Problem> {
        let length = span.end.saturating_sub(span.start);
        if span.end > self.end {
            return Err(ends_early());
        }
        self.go(span.start)?;
        to.reserve_exact(usize::try_from(length).map_err(|_| ends_early())?);
        let read = self.input.by_ref().take(length).read_to_end(to)? as u64;
        self.at += read;
        if read == length { Ok(()) } else { Err(ends_early()) }
    }

    /// The text in `span`.
    pub(super) fn text(&mut self, span: &Span) -> Result<String, Problem> {
        let length = span.end.saturating_sub(span.start);
        if length > LONGEST_TEXT {
            return Err(Problem::damaged(format!("a name of {length} bytes")));
        }
        let mut bytes = Vec::new();
        self.bytes(span, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Problem::damaged("a name that is no UTF-8"))
    }

    fn fixed<const N: usize>(&mut self, span: &mut Span) -> Result<[u8; N], Problem> {
        let place = split(span, N as u64)?;
        self.go(place.start)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at = place.end;
        Ok(bytes)
    }

    /// Seeks within a buffer where there is one.
    fn go(&mut self, to: u64) -> Result<(), Problem> {
        if self.at != to {
            match i64::try_from(i128::from(to) - i128::from(self.at)) {
                Ok(by) => self.input.seek_relative(by)?,
                Err(_) => return Err(ends_early()),
            }
            self.at = to;
        }
        Ok(())
    }
}

/// The first `length` bytes of `span`, which moves behind them.
fn split(span: &mut Span, length: u64) -> Result<Span, Problem> {
    if length > span.end.saturating_sub(span.start) {
        return Err(Problem::damaged(format!(
            "at byte {} it claims {length} more bytes where {} are left",
            span.start,
            span.end.saturating_sub(span.start)
        )));
    }
    let first = span.start..span.start + length;
    span.start = first.end;
    Ok(first)
}

fn ends_early() -> Problem {
    Problem::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn walk(bytes: &[u8]) -> Result<Vec<Field>, Problem> {
        let mut wire = Wire::new(Cursor::new(bytes))?;
        let mut message = 0..wire.end();
        std::iter::from_fn(|| wire.field(&mut message).transpose()).collect()
    }

    #[test]
    fn a_field_of_each_kind() {
        let bytes = [8, 0xac, 2, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, 9, 9, 0x25, 1, 2, 3, 4];
        let found: Vec<_> = walk(&bytes).unwrap().into_iter().map(|f| (f.number, f.content)).collect();
        assert_eq!(
            found,
            [
                (1, Content::Varint(300)),
                (2, Content::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
                (3, Content::Bytes(14..16)),
                (4, Content::Fixed32([1, 2, 3, 4])),
            ]
        );
    }

    #[test]
    fn nothing_reaches_beyond_its_message() {
        let cases: [&[u8]; 6] = [
            &[8],
            &[8, 0x80],
            &[0x1a, 3, 1, 2],
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0b],
            &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ];
        for bytes in cases {
            assert!(walk(bytes).is_err(), "{bytes:?}");
        }
    }
}
