//! What a network answers to the pictures of a data set: kept, so that it can be judged in several ways.

use crate::data::Batch;
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

    /// Adds the answers to a batch, a row of `logits` a picture.
    ///
    /// # Panics
    /// Where the rows do not match the pictures.
    pub fn add(&mut self, batch: &Batch, logits: &[f32]) {
        assert_eq!(logits.len(), batch.len() * self.classes, "a row of {} for each picture", self.classes);
        self.indices.extend_from_slice(&batch.indices);
        self.labels.extend_from_slice(&batch.labels);
        self.logits.extend_from_slice(logits);
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
