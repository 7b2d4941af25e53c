//! What networks answer to pictures: views cut, batched, averaged.
//!
//! ```text
//! feed ─ views of a picture ─▶ each network's batch, across pictures ─▶ rows of logits ─▶ mean over the views of a picture
//! ```
//! A network always takes full batches, but for the last: a batch may begin and end in the middle of a picture. The answer to one
//! view is its logits as they are, that to several the logarithm of the mean of their softmaxes.

mod shared;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use inception_cpu::Device;
use inception_graph::{Graph, Weights};

use crate::data::feed::{Decoded, Feed};
use crate::data::{DataError, Views};
use crate::engine::Predictor;
use crate::metrics::MeanProbability;
use crate::npy;
pub use shared::{Blocks, Shared};

/// What went wrong where [`Collector::seen`] could not be written.
pub const SEEING: &str = "writing what the network sees";

/// From `[n, side, side, 3]` to a row a view.
type Answering<'a> = dyn FnMut(&[f32]) -> Vec<f32> + 'a;

/// A network at work.
pub struct Network<'a> {
    answer: Box<Answering<'a>>,
    /// The next batch.
    input: Vec<f32>,
    /// The picture of each of its views, and how many views of the protocol it is.
    views: Vec<(usize, usize)>,
}

impl<'a> Network<'a> {
    /// One that gives `answer` to `[n, side, side, 3]`: a row a view.
    pub fn new(answer: impl FnMut(&[f32]) -> Vec<f32> + 'a) -> Self {
        Network { answer: Box::new(answer), input: Vec::new(), views: Vec::new() }
    }

    /// The network of `graph` with `weights` on a device.
    pub fn of(graph: &Graph, weights: Weights, device: &Device) -> Self {
        let mut predictor = Predictor::new(graph, weights, device);
        Network::new(move |pixels| predictor.predict(pixels))
    }
}

/// A picture that was answered.
pub struct Answered {
    /// Its path or name.
    pub name: String,
    /// A row of each network, or why there is none.
    pub rows: Result<Vec<Vec<f32>>, DataError>,
    /// What decoding it took.
    pub took: Duration,
}

/// Answers of networks to the pictures of a feed, in its order.
pub struct Collector<'a> {
    feed: Feed,
    networks: Vec<Network<'a>>,
    /// Views a network takes at a time.
    batch: usize,
    /// Pictures not given out yet, and the number of the first of them.
    waiting: VecDeque<Waiting>,
    first: usize,
    /// Gets what the networks see, batch after batch.
    pub seen: Option<npy::Writer>,
}

struct Waiting {
    name: String,
    took: Duration,
    means: Result<Vec<Mean>, DataError>,
}

/// The mean over the views of a picture, on the way.
struct Mean {
    left: usize,
    answer: Answer,
}

enum Answer {
    Single(Vec<f32>),
    Many(MeanProbability),
}

impl<'a> Collector<'a> {
    /// `networks` answer to `feed`, which was made with their sights.
    pub fn new(feed: Feed, networks: Vec<Network<'a>>, batch: usize) -> Self {
        Collector { feed, networks, batch, waiting: VecDeque::new(), first: 0, seen: None }
    }

    /// The feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The next picture; the error is that of writing what was seen.
    pub fn next_answer(&mut self) -> io::Result<Option<Answered>> {
        loop {
            if self.waiting.front().is_some_and(Waiting::is_done) {
                self.first += 1;
                return Ok(self.waiting.pop_front().map(Waiting::answered));
            }
            match self.feed.next() {
                Some(decoded) => self.take(decoded)?,
                None if self.waiting.is_empty() => return Ok(None),
                None => (0..self.networks.len()).try_for_each(|network| self.run(network))?,
            }
        }
    }

    /// Adds a picture's views to the batches, and runs those that are full.
    fn take(&mut self, Decoded { name, views, took }: Decoded) -> io::Result<()> {
        let picture = self.first + self.waiting.len();
        let (means, views) = match views {
            Ok(views) => (Ok(views.iter().map(Mean::of).collect()), views),
            Err(error) => (Err(error), Vec::new()),
        };
        self.waiting.push_back(Waiting { name, took, means });
        for (i, views) in views.iter().enumerate() {
            for view in 0..views.len() {
                let network = &mut self.networks[i];
                views.append(view, &mut network.input);
                network.views.push((picture, views.count(view)));
                if network.views.len() == self.batch {
                    self.run(i)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a network on its batch.
    fn run(&mut self, index: usize) -> io::Result<()> {
        let Network { answer, input, views } = &mut self.networks[index];
        if views.is_empty() {
            return Ok(());
        }
        if let Some(seen) = &mut self.seen {
            seen.append(input)?;
        }
        let rows = answer(input);
        let classes = rows.len() / views.len();
        for ((picture, count), row) in views.drain(..).zip(rows.chunks_exact(classes)) {
            if let Ok(means) = &mut self.waiting[picture - self.first].means {
                means[index].add(row, count);
            }
        }
        input.clear();
        Ok(())
    }
}

impl Waiting {
    fn is_done(&self) -> bool {
        self.means.as_ref().map_or(true, |means| means.iter().all(|mean| mean.left == 0))
    }

    fn answered(self) -> Answered {
        let row = |mean: Mean| match mean.answer {
            Answer::Single(row) => row,
            Answer::Many(mean) => mean.logits(),
        };
        let rows = self.means.map(|means| means.into_iter().map(row).collect());
        Answered { name: self.name, rows, took: self.took }
    }
}

impl Mean {
    fn of(views: &Views) -> Self {
        let answer = match views.len() {
            1 => Answer::Single(Vec::new()),
            _ => Answer::Many(MeanProbability::default()),
        };
        Mean { left: views.len(), answer }
    }

    fn add(&mut self, row: &[f32], count: usize) {
        self.left -= 1;
        match &mut self.answer {
            Answer::Single(answer) => answer.extend_from_slice(row),
            Answer::Many(mean) => mean.add(row, count as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use inception_kernels::Pool;

    use super::*;
    use crate::data::{Crops, Eval, Picture, Preprocessing, Rgb, Sight};

    fn picture(width: usize, height: usize, seed: usize) -> Picture {
        let pixels = (0..width * height * 3).map(|i| (i * 37 + i / 50 * seed) as u8).collect();
        Picture::Memory { name: seed.to_string(), rgb: Arc::new(Rgb { width, height, pixels }) }
    }

    fn sight(side: usize, crops: Crops) -> Sight {
        let eval: Eval = serde_json::from_value(serde_json::json!({"crop_pct": 0.875})).unwrap();
        Sight { how: Preprocessing::from(eval), side, crops }
    }

    /// Two classes: a sum of the view, weighted by place, against nothing.
    fn answer(side: usize, pixels: &[f32]) -> Vec<f32> {
        let logit = |view: &[f32]| {
            let sum: f64 = view.iter().enumerate().map(|(i, &v)| f64::from(v) * (i % 11) as f64).sum();
            [(sum / view.len() as f64) as f32, 0.0]
        };
        pixels.chunks_exact(side * side * 3).flat_map(logit).collect()
    }

    fn collect(
        pictures: &[Picture],
        sights: &[Sight],
        batch: usize,
        threads: usize,
    ) -> (Vec<Answered>, Vec<usize>) {
        let sizes = RefCell::new(Vec::new());
        let networks = sights.iter().map(|&Sight { side, .. }| {
            let sizes = &sizes;
            Network::new(move |pixels| {
                sizes.borrow_mut().push(pixels.len() / (side * side * 3));
                answer(side, pixels)
            })
        });
        let networks = networks.collect();
        let listed: Vec<_> = pictures.iter().cloned().map(Ok).collect();
        let feed = Feed::new(listed.into_iter(), sights, batch, Arc::new(Pool::new(threads))).unwrap();
        let mut collector = Collector::new(feed, networks, batch);
        let mut found = Vec::new();
        while let Some(answered) = collector.next_answer().unwrap() {
            found.push(answered);
        }
        drop(collector);
        (found, sizes.into_inner())
    }

    #[test]
    fn batches_are_full_and_their_size_changes_no_digit() {
        let mut pictures: Vec<Picture> = (0..5).map(|i| picture(20 + i, 17, i)).collect();
        pictures.insert(2, Picture::File("missing.png".into()));
        let sights = [sight(8, Crops::Twelve), sight(9, Crops::Single), sight(8, Crops::OneFortyFour)];
        let rows = |(found, _): &(Vec<Answered>, Vec<usize>)| {
            let row = |a: &Answered| a.rows.as_ref().ok().map(|rows| rows.concat());
            found.iter().map(row).collect::<Vec<_>>()
        };
        let whole = collect(&pictures, &sights, 1000, 1);
        let has_rows: Vec<_> = rows(&whole).iter().map(Option::is_some).collect();
        assert_eq!(has_rows, [true, true, false, true, true, true]);
        for (batch, threads) in [(1, 1), (7, 1), (7, 3), (32, 2)] {
            let found = collect(&pictures, &sights, batch, threads);
            assert_eq!(rows(&found), rows(&whole), "{batch} {threads}");
            assert!(found.1.iter().filter(|&&size| size < batch).count() <= 3, "{:?}", found.1);
        }
        // One view is its logits, not their softmax.
        let alone = collect(&pictures[..1], &sights[1..2], 4, 1).0.remove(0).rows.unwrap().remove(0);
        assert_eq!(alone[1], 0.0);
    }

    /// All 144 views of a square picture, computed without a thought, and the 48 that differ.
    #[test]
    fn views_that_coincide_weigh_as_many() {
        use crate::data::crops::crops;
        let (side, picture) = (8, picture(30, 30, 3));
        let Picture::Memory { rgb, .. } = &picture else { unreachable!() };
        let found = collect(std::slice::from_ref(&picture), &[sight(side, Crops::OneFortyFour)], 5, 1);
        assert_eq!(found.1.iter().sum::<usize>(), 48);
        let (mut sum, mut n) = (0.0, 0);
        for scale in [256, 288, 320, 352] {
            let s = (side * scale + 112) / 224;
            let resize = |rgb: &Rgb, to| {
                inception_pictures::Resize::new(to, to, inception_pictures::Filter::Bilinear)
                    .apply(rgb)
                    .unwrap()
            };
            let square = resize(rgb, s);
            for (i, window) in crops(s, side).into_iter().enumerate() {
                let view = if i == 5 { resize(&square, side) } else { square.cut(window).unwrap() };
                for mirrored in [false, true] {
                    let pixel = |at: usize| {
                        let (x, y, c) = (at / 3 % side, at / 3 / side, at % 3);
                        let x = if mirrored { side - 1 - x } else { x };
                        (f32::from(view.pixels[(y * side + x) * 3 + c]) - 127.5) / 127.5
                    };
                    let view: Vec<f32> = (0..side * side * 3).map(pixel).collect();
                    // Three squares.
                    let logit = f64::from(answer(side, &view)[0]);
                    (sum, n) = (sum + 3.0 / (1.0 + (-logit).exp()), n + 3);
                }
            }
        }
        assert_eq!(n, 144);
        let row = &found.0[0].rows.as_ref().unwrap()[0];
        assert!((f64::from(row[0]).exp() - sum / 144.0).abs() < 1e-6, "{row:?} {}", sum / 144.0);
    }
}
