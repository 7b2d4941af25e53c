//! NumPy's `.npy`: a header in text, then the values, row behind row.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

/// Bytes before the values: room for any number of rows, and a multiple of 64 as NumPy wants it.
const HEADER: usize = 128;

/// Writes a `float32` array whose number of rows is known at the end.
pub struct Writer {
    out: BufWriter<File>,
    row: Vec<usize>,
    values: usize,
}

impl Writer {
    /// Creates the file of an array `[…, row]`.
    pub fn create(path: &Path, row: &[usize]) -> io::Result<Writer> {
        let mut writer = Writer { out: BufWriter::new(File::create(path)?), row: row.into(), values: 0 };
        writer.header()?;
        Ok(writer)
    }

    /// Appends whole rows.
    pub fn append(&mut self, values: &[f32]) -> io::Result<()> {
        self.values += values.len();
        values.iter().try_for_each(|v| self.out.write_all(&v.to_le_bytes()))
    }

    /// Says in the header how many rows there are.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.rewind()?;
        self.header()?;
        self.out.flush()
    }

    fn header(&mut self) -> io::Result<()> {
        let rows = self.values / self.row.iter().product::<usize>();
        let extents: Vec<String> = [&[rows], &self.row[..]].concat().iter().map(usize::to_string).collect();
        let shape = extents.join(", ");
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
        // Magic, version and length take 10 bytes, the end of the line one.
        let length = HEADER - 10;
        assert!(text.len() < length, "{text}");
        self.out.write_all(b"\x93NUMPY\x01\x00")?;
        self.out.write_all(&(length as u16).to_le_bytes())?;
        writeln!(self.out, "{text:<0$}", length - 1)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numpy_reads_what_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = super::Writer::create(file.path(), &[2]).unwrap();
        writer.append(&[1.0, -2.5]).unwrap();
        writer.append(&[0.0, 3.0, 4.0, 5.0]).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        // What numpy.save writes for np.array([[1, -2.5], [0, 3], [4, 5]], np.float32).
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(String::from_utf8_lossy(&bytes[10..128]), format!("{header:<117}\n"));
        let values: Vec<u8> =
            [1.0f32, -2.5, 0.0, 3.0, 4.0, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(bytes[128..], values);
    }
}
