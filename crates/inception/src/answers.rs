//! What a network answers to the pictures of a data set: kept, so that it can be judged in several ways.

use crate::metrics::Metrics;

/// Answers to pictures, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Classes of the network.
    pub classes: usize,
    /// Index of each picture in its data set.
    pub indices: Vec<usize>,
    /// The class of each picture.
    pub labels: Vec<u32>,
    /// Logits, `[pictures, classes]` row by row: values whose softmax is the network's probability of each class.
    pub logits: Vec<f32>,
}

impl Answers {
    /// No answers yet of a network with so many classes.
    pub fn new(classes: usize) -> Self {
        Answers { classes, ..Answers::default() }
    }

    /// Adds the answer to the picture `index` of class `label`.
    ///
    /// # Panics
    /// Where the row has another number of classes.
    pub fn add(&mut self, index: usize, label: u32, row: &[f32]) {
        assert_eq!(row.len(), self.classes, "a value for each class");
        self.indices.push(index);
        self.labels.push(label);
        self.logits.extend_from_slice(row);
    }

    /// Leaves the answers to those pictures for whose index `keep`.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        if self.indices.iter().all(|&index| keep(index)) {
            return;
        }
        let all = std::mem::replace(self, Answers::new(self.classes));
        for ((row, &index), &label) in all.rows().zip(&all.indices).zip(&all.labels) {
            if keep(index) {
                self.add(index, label, row);
            }
        }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The row of each picture.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.logits.chunks_exact(self.classes.max(1))
    }

    /// Loss and errors by the pictures' own classes, the digits that training logs.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new(self.classes);
        metrics.add(&self.logits, &self.labels);
        metrics
    }
}
