//! When the gradients of a step are there to be summed, and how long their sums are waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use inception_cpu::{Peers, PeersLost, Wire};

/// Passes what is to be summed on to others, or, alone, back as it came, and notes the times.
pub struct Watched<'a> {
    others: Option<&'a dyn Peers>,
    begun: Cell<Instant>,
    kept: RefCell<VecDeque<Vec<f32>>>,
    notes: RefCell<Notes>,
}

/// Of one step.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Values of each sum, and when in the step they were there.
    pub sums: Vec<(usize, Duration)>,
    /// Time without anything to do but wait.
    pub waited: Duration,
}

impl<'a> Watched<'a> {
    /// In front of `others`, if there are any.
    pub fn new(others: Option<&'a dyn Peers>) -> Self {
        Watched {
            others,
            begun: Cell::new(Instant::now()),
            kept: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// A step begins now.
    pub fn begin_step(&self) {
        self.begun.set(Instant::now());
        self.notes.take();
    }

    /// What was noted of this step.
    pub fn notes(&self) -> Notes {
        self.notes.borrow().clone()
    }
}

impl Peers for Watched<'_> {
    fn begin(&self, what: &str, values: Vec<f32>, wire: Wire) {
        self.notes.borrow_mut().sums.push((values.len(), self.begun.get().elapsed()));
        match self.others {
            Some(others) => others.begin(what, values, wire),
            None => self.kept.borrow_mut().push_back(values),
        }
    }

    fn finish(&self) -> Result<Vec<f32>, PeersLost> {
        let start = Instant::now();
        let sum = match self.others {
            Some(others) => others.finish(),
            None => self.kept.borrow_mut().pop_front().ok_or_else(|| PeersLost("nothing was begun".into())),
        };
        self.notes.borrow_mut().waited += start.elapsed();
        sum
    }

    fn sum(&self, what: &str, values: &mut [f64]) {
        if let Some(others) = self.others {
            others.sum(what, values);
        }
    }
}
