//! Steps that several processes take together, each on its part of the batch.
//!
//! ```text
//! gradient of a batch = Σ over all of the gradients of their parts       statistics, loss, right answers and pictures likewise
//! ```
//! The gradient is summed in buckets, in the order in which the backward pass is done with them, while it goes on.

/// Sums over all who take steps together. All ask for the same sums, of the same lengths, in the same order.
///
/// Where the others are lost, sums come back as they went, and [`Peers::finish`] says so.
pub trait Peers {
    /// Begins the sum of `values`, called `what`, which goes on while other work is done; they travel as `wire` says.
    fn begin(&self, what: &str, values: Vec<f32>, wire: Wire);
    /// The sum that was begun first of those that have not been finished; waits for it.
    fn finish(&self) -> Result<Vec<f32>, PeersLost>;
    /// `values` become their sums, called `what`, at once.
    fn sum(&self, what: &str, values: &mut [f64]);
}

/// How values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// As they are.
    F32,
    /// Rounded to bfloat16, before they are added up, and their sum once more: half the bytes, 8 bits of precision.
    Bf16,
}

impl Wire {
    /// Values in each 32 bits.
    pub fn per_word(self) -> usize {
        match self {
            Wire::F32 => 1,
            Wire::Bf16 => 2,
        }
    }

    /// Values, a whole number of words of them, as they travel.
    pub fn pack(self, mut values: Vec<f32>) -> Vec<f32> {
        if self == Wire::Bf16 {
            let (pairs, _) = values.as_chunks();
            let word = |&[a, b]: &[f32; 2]| f32::from_bits(bf16(a) >> 16 | bf16(b));
            values = pairs.iter().map(word).collect();
        }
        values
    }

    /// What was packed.
    pub fn unpack(self, words: &[f32]) -> Vec<f32> {
        match self {
            Wire::F32 => words.to_vec(),
            Wire::Bf16 => {
                let pair =
                    |word: &f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000].map(f32::from_bits);
                words.iter().flat_map(pair).collect()
            }
        }
    }
}

/// The bits of the nearest bfloat16, of two the even one, in the upper half of a word.
fn bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    match value.is_nan() {
        // Rounding up would make an infinity or a zero of it.
        true => (bits | 0x0040_0000) & 0xffff_0000,
        false => (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000,
    }
}

/// Others do not take steps any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersLost(pub String);

/// Which part of a batch one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Pictures of the batch before its own.
    pub first: usize,
    /// Pictures of the batch, where none is left out.
    pub batch: usize,
}

/// Values of a bucket, at least; the last has what is left.
const BUCKET: usize = 1 << 20;

/// Parameters by `(index, values)` in the order in which their gradients are complete, cut into buckets: indices of the first to
/// that of the last.
pub(crate) fn buckets(params: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let (mut buckets, mut len) = (Vec::new(), BUCKET);
    for (index, values) in params {
        if len >= BUCKET {
            buckets.push(Vec::new());
            len = 0;
        }
        let last = buckets.len() - 1;
        buckets[last].push(index);
        len += values;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_bytes_hold_the_nearest_values() {
        let unit = f32::EPSILON * (1 << 16) as f32;
        // A half of the last place goes to the even one, up and down; what is too large becomes infinite.
        let values =
            [1.0, 1.0 + unit / 2.0, 1.0 + 1.5 * unit, -1.0 - 0.51 * unit, 0.0, -0.0, f32::MAX, 1e-40];
        let expected = [1.0, 1.0, 1.0 + 2.0 * unit, -1.0 - unit, 0.0, -0.0, f32::INFINITY];
        let words = Wire::Bf16.pack(values.to_vec());
        assert_eq!(words.len(), values.len() / Wire::Bf16.per_word());
        let found = Wire::Bf16.unpack(&words);
        assert_eq!(found[..7], expected);
        assert!((found[7] - values[7]).abs() <= f32::from_bits(1 << 15), "a denormal number: {:e}", found[7]);
        assert!(found[5].is_sign_negative());
        let strange = [f32::NAN, f32::from_bits(0x7f80_0001), f32::NEG_INFINITY, f32::from_bits(0xffff_ffff)];
        let found = Wire::Bf16.unpack(&Wire::Bf16.pack(strange.to_vec()));
        assert!(found[0].is_nan() && found[1].is_nan() && found[3].is_nan());
        assert_eq!(found[2], f32::NEG_INFINITY);
        assert_eq!(Wire::F32.unpack(&Wire::F32.pack(values.to_vec())), values);
    }

    #[test]
    fn buckets_are_cut_where_they_are_full() {
        let half = BUCKET / 2;
        let found = buckets([(9, half), (7, half - 1), (8, 1), (3, BUCKET * 3), (2, 1)].into_iter());
        assert_eq!(found, [vec![9, 7, 8], vec![3], vec![2]]);
        assert!(buckets(std::iter::empty()).is_empty());
    }
}
