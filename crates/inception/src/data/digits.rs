//! A data set inside the program: 1,797 handwritten digits of 8×8 greys.
//!
//! The UCI *Optical Recognition of Handwritten Digits* data set (E. Alpaydin and C. Kaynak, 1998; CC BY 4.0), in the
//! part that the crate `smartcore` carries.

use std::sync::Arc;

use super::dataset::{Dataset, Picture, Rgb, Sample, Splits};
use super::error::DataError;

const SIDE: usize = 8;

/// The digits, a fifth of each held out.
pub fn digits(seed: u64) -> Result<Splits, DataError> {
    let raw = smartcore::dataset::digits::load_dataset();
    let pictures = raw.data.chunks_exact(SIDE * SIDE).zip(&raw.target).enumerate();
    let samples = pictures.map(|(i, (greys, &digit))| {
        // Greys are counts of set pixels in 4×4 cells, 0 to 16; ink is dark on white paper, as people write.
        let pixels = greys.iter().flat_map(|&v| [255 - (v * 255.0 / 16.0).round() as u8; 3]).collect();
        let rgb = Arc::new(Rgb { width: SIDE, height: SIDE, pixels });
        Sample { picture: Picture::Memory { name: format!("digit {i}"), rgb }, label: digit as u32 }
    });
    let all = Dataset {
        root: "handwritten digits".into(),
        classes: (0..10).map(|d| d.to_string()).collect(),
        samples: samples.collect(),
        ignored: Vec::new(),
        groups: Vec::new(),
    };
    Splits::stratified(all, 0.2, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_digits_are_there_and_a_fifth_is_held_out() {
        let splits = digits(1).expect("inside the program");
        assert_eq!(splits.train.samples.len() + splits.val.samples.len(), 1797);
        let known = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
        let (train, val) = (splits.train.counts(), splits.val.counts());
        for digit in 0..10 {
            assert_eq!(train[digit] + val[digit], known[digit], "digit {digit}");
            assert_eq!(val[digit], (known[digit] as f64 * 0.2).round() as usize);
        }
        assert_ne!(
            splits.val.samples[0].picture.name(),
            digits(2).expect("inside").val.samples[0].picture.name()
        );
    }
}
