//! CRC-32C, masked as LevelDB does: a checksum of data that holds checksums would otherwise tend to the same values.
//!
//! ```text
//! masked = rotate_right(crc32c(data), 15) + 0xa282ead8
//! ```

use crate::Problem;

const MASK_DELTA: u32 = 0xa282_ead8;

/// Whether `parts`, one after the other, have this masked checksum; `what` is for the message.
pub(super) fn check(parts: [&[u8]; 2], masked: u32, what: impl FnOnce() -> String) -> Result<(), Problem> {
    let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    // A fuzzer cannot guess checksums; behind them is what it is to reach.
    if cfg!(fuzzing) || mask(crc) == masked {
        return Ok(());
    }
    Err(Problem::damaged(format!("the checksum of {} is wrong: download or copy the file again", what())))
}

/// The masked checksum of `data`, as TensorFlow's record files have it too.
pub fn masked_crc32c(data: &[u8]) -> u32 {
    mask(crc32c::crc32c(data))
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_and_its_mask() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(mask(0), MASK_DELTA);
        assert_eq!(mask(0xffff_ffff), 0xa282_ead7);
        assert!(check([b"1234", b"56789"], mask(0xe306_9283), String::new).is_ok());
        assert!(check([b"1234", b"56788"], mask(0xe306_9283), String::new).is_err());
    }
}
