//! NumPy's `.npy`: a header in text, then the values.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `values` of `shape`, the last extent contiguous, as `float32`.
pub fn save(path: &Path, shape: &[usize], values: &[f32]) -> io::Result<()> {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    // Magic, version and length take 10 bytes; the values start at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(padded - header.len() - 1));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numpy_reads_what_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        super::save(file.path(), &[1, 2], &[1.0, -2.5]).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        // What numpy.save writes for np.array([[1, -2.5]], np.float32), but for the blanks.
        let text = String::from_utf8_lossy(&bytes[10..128]);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2,), }"), "{text}");
        assert!(text.ends_with('\n'));
        assert_eq!(bytes[128..], [1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat());
    }
}
