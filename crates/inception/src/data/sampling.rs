//! Classes of unequal size: how often each is seen, how much each counts.

use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::loader::shuffled;

/// Which pictures an epoch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Each once.
    Shuffled,
    /// As many as there are, of each class equally many: those of small classes come again and again.
    Balanced,
}

/// How much the loss of a picture counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// All alike.
    Equal,
    /// Inversely to the size of its class, 1 in the mean over all pictures.
    Balanced,
}

/// Marks the random streams of the classes' orders.
const CLASS: u64 = 0x0043_4c41_5353;

impl Sampling {
    /// Indices of an epoch's pictures in their order, a pure function of `[seed, epoch]`.
    pub fn order(self, dataset: &Dataset, seed: u64, epoch: u64) -> Vec<usize> {
        let count = dataset.samples.len();
        let all = shuffled(count, seed, epoch);
        if self == Sampling::Shuffled {
            return all;
        }
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); dataset.classes.len()];
        all.iter().for_each(|&i| of_class[dataset.samples[i].label as usize].push(i));
        // One of each class in turn; the lists, which are shuffled, begin anew where they end.
        let classes: Vec<_> = of_class.iter().filter(|list| !list.is_empty()).collect();
        let turn = |position: usize| {
            let list = classes[position % classes.len()];
            list[position / classes.len() % list.len()]
        };
        shuffled(count, seed ^ CLASS, epoch).into_iter().map(turn).collect()
    }
}

impl ClassWeights {
    /// Factor of each class; empty where all are 1.
    pub fn factors(self, dataset: &Dataset) -> Vec<f32> {
        match self {
            ClassWeights::Equal => Vec::new(),
            ClassWeights::Balanced => {
                let counts = dataset.counts();
                let classes = counts.iter().filter(|&&count| count > 0).count();
                let factor = |&count: &usize| dataset.samples.len() as f32 / (classes * count.max(1)) as f32;
                counts.iter().map(factor).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::data::{Picture, Sample};

    fn dataset(counts: &[usize]) -> Dataset {
        let sample = |label: usize| Sample { picture: Picture::File(PathBuf::new()), label: label as u32 };
        Dataset {
            root: PathBuf::new(),
            classes: (0..counts.len()).map(|c| c.to_string()).collect(),
            samples: counts.iter().enumerate().flat_map(|(c, &n)| (0..n).map(move |_| sample(c))).collect(),
            ignored: Vec::new(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_balanced_epoch_has_as_many_of_each_class() {
        let data = dataset(&[90, 7, 3]);
        let order = Sampling::Balanced.order(&data, 1, 0);
        let mut seen = vec![0; 100];
        order.iter().for_each(|&i| seen[i] += 1);
        let of = |range: std::ops::Range<usize>| seen[range].iter().sum::<usize>();
        assert_eq!([of(0..90), of(90..97), of(97..100)], [34, 33, 33]);
        assert!(seen[..90].iter().all(|&n| n <= 1) && seen[97..].iter().all(|&n| n == 11), "{seen:?}");
        assert_eq!(order, Sampling::Balanced.order(&data, 1, 0));
        assert_ne!(order, Sampling::Balanced.order(&data, 1, 1));
        let mut shuffled = Sampling::Shuffled.order(&data, 1, 0);
        shuffled.sort();
        assert!(shuffled.into_iter().eq(0..100));
    }

    #[test]
    fn balanced_weights_make_classes_count_alike() {
        let data = dataset(&[90, 10]);
        let factors = ClassWeights::Balanced.factors(&data);
        assert_eq!(factors, [100.0 / 180.0, 5.0]);
        assert!((90.0 * factors[0] - 10.0 * factors[1]).abs() < 1e-4);
        assert!(ClassWeights::Equal.factors(&data).is_empty());
    }
}
