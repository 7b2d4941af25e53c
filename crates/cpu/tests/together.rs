//! Steps that several take together are those of one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex};

use inception_cpu::{
    Device, Keep, Learning, Optimizer, Part, Peers, PeersLost, StepError, StepOptions, StepReport, Targets,
    Trainer, Wire, sum_of,
};
use inception_graph::{Graph, Spec, Weights, build};

const SIDE: usize = 75;

/// What a sum is called, and the values of each rank that has come.
type Sum = (String, Vec<Option<Vec<f64>>>);

/// Sums of threads, by their number.
#[derive(Default)]
struct Table {
    sums: Mutex<Vec<Sum>>,
    come: Condvar,
}

/// One of some threads.
struct Thread {
    table: Arc<Table>,
    rank: usize,
    ranks: usize,
    asked: Cell<usize>,
    begun: RefCell<VecDeque<(usize, Wire)>>,
}

impl Thread {
    fn put(&self, what: &str, values: Vec<f64>) -> usize {
        let number = self.asked.replace(self.asked.get() + 1);
        let mut sums = self.table.sums.lock().unwrap();
        if sums.len() == number {
            sums.push((what.into(), vec![None; self.ranks]));
        }
        assert_eq!(sums[number].0, what, "all ask for the same");
        sums[number].1[self.rank] = Some(values);
        self.table.come.notify_all();
        number
    }

    /// The values of all, in the order of the ranks.
    fn take(&self, number: usize) -> Vec<Vec<f64>> {
        let is_missing = |sums: &mut Vec<Sum>| sums[number].1.iter().any(Option::is_none);
        let sums = self.table.come.wait_while(self.table.sums.lock().unwrap(), is_missing).unwrap();
        sums[number].1.iter().flatten().cloned().collect()
    }
}

impl Peers for Thread {
    fn begin(&self, what: &str, values: Vec<f32>, wire: Wire) {
        let number = self.put(what, travelled(values, wire).into_iter().map(f64::from).collect());
        self.begun.borrow_mut().push_back((number, wire));
    }
    fn finish(&self) -> Result<Vec<f32>, PeersLost> {
        let (number, wire) = self.begun.borrow_mut().pop_front().expect("one was begun");
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<_>>();
        let mut all: Vec<Vec<f32>> = self.take(number).into_iter().map(narrow).collect();
        let mut slices: Vec<&mut [f32]> = all.iter_mut().map(Vec::as_mut_slice).collect();
        sum_of(&mut slices);
        Ok(travelled(all.swap_remove(0), wire))
    }
    fn sum(&self, what: &str, values: &mut [f64]) {
        let number = self.put(what, values.to_vec());
        values.fill(0.0);
        for part in self.take(number) {
            values.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// What comes of values on their way.
fn travelled(mut values: Vec<f32>, wire: Wire) -> Vec<f32> {
    let len = values.len();
    values.resize(len.next_multiple_of(wire.per_word()), 0.0);
    let mut values = wire.unpack(&wire.pack(values));
    values.truncate(len);
    values
}

fn graph(width: f64) -> Graph {
    build(&Spec::new("inception_resnet_v1").img_size(SIDE).width(width).classes(5)).expect("valid")
}

fn options(job: &Job, step: u64) -> StepOptions {
    StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
        lr: 2e-3,
        weight_decay: 1e-3,
        clip_grad: Some(2.0),
        label_smoothing: 0.1,
        aux_weight: 0.0,
        bn_decay: 0.5,
        ema_decay: Some(0.5),
        random: [3, step],
        micro_batch: NonZeroUsize::new(job.micro_batch),
        sync_norm: job.sync_norm,
        wire: job.wire,
    }
}

/// Waves that differ between pictures and steps.
fn pixels(n: usize, step: u64) -> Vec<f32> {
    let value = |i: usize| {
        let (picture, y, x, channel) = (i / 3 / SIDE / SIDE, i / 3 / SIDE % SIDE, i / 3 % SIDE, i % 3);
        let phase = (picture * 5 + channel * 2 + step as usize) as f32;
        ((x as f32 * (0.1 + 0.02 * phase)).sin() + (y as f32 * 0.13 + phase).cos()) / 2.0
    };
    (0..n * SIDE * SIDE * 3).map(value).collect()
}

/// What ranks do: `batch` pictures a step, of which each takes as many as the others.
#[derive(Clone)]
struct Job {
    /// Of the network; the gradient of a wide one is summed in several parts.
    width: f64,
    ranks: usize,
    batch: usize,
    micro_batch: usize,
    sync_norm: bool,
    wire: Wire,
    steps: u64,
    keep: Keep,
    frozen: bool,
    /// Pictures of the batch that cannot be read: all from this one on.
    readable: usize,
    /// A picture without a finite value, in the last step.
    broken: Option<usize>,
}

const JOB: Job = Job {
    width: 0.1,
    ranks: 1,
    batch: 16,
    micro_batch: 4,
    sync_norm: false,
    wire: Wire::F32,
    steps: 3,
    keep: Keep::Outputs,
    frozen: false,
    readable: usize::MAX,
    broken: None,
};

/// Weights and average of a rank after all steps, and how the last one ended.
type Ended = (Vec<f32>, Vec<f32>, Result<StepReport, StepError>);

fn train(job: &Job) -> Vec<Ended> {
    let table = Arc::new(Table::default());
    let rank = |rank: usize| {
        let (job, table) = (job.clone(), table.clone());
        let own = job.batch / job.ranks;
        move || {
            let graph = graph(job.width);
            let device = Device::new(Some(1)).expect("a device");
            let mut trainer = Trainer::with(&graph, Weights::init(&graph, 1), &device, job.keep);
            if job.frozen {
                let mut learning = Learning::all(&graph);
                let weights = Weights::zeros(&graph);
                for (param, rate) in weights.params().iter().zip(&mut learning.rates) {
                    *rate = if param.name.starts_with("stem") { 0.0 } else { 1.0 };
                }
                for (node, fixed) in graph.nodes().iter().zip(&mut learning.fixed_norms) {
                    *fixed = node.name.starts_with("stem");
                }
                trainer.set_learning(learning);
            }
            let peers =
                Thread { table, rank, ranks: job.ranks, asked: Cell::default(), begun: RefCell::default() };
            let mut last = Err(StepError::Empty);
            for step in 0..job.steps {
                let mut all = pixels(job.batch, step);
                let picture = SIDE * SIDE * 3;
                if let Some(broken) = job.broken.filter(|_| step + 1 == job.steps) {
                    all[broken * picture] = f32::NAN;
                }
                let labels: Vec<u32> = (0..job.batch as u32).map(|i| (i * 7 + step as u32) % 5).collect();
                let range = (rank * own).min(job.readable)..((rank + 1) * own).min(job.readable);
                let input = &all[range.start * picture..range.end * picture];
                let targets = Targets::new(&labels[range]);
                let options = options(&job, step);
                last = match job.ranks {
                    1 => trainer.step_towards(input, &targets, &options),
                    _ => {
                        let part = Part { first: rank * own, batch: job.batch };
                        trainer.step_with(input, &targets, &options, part, &peers)
                    }
                };
                assert!(last.is_ok() || step + 1 == job.steps || job.readable == 0, "{last:?}");
            }
            let average = trainer.average().map_or(Vec::new(), |average| average.data.clone());
            (trainer.weights().data.clone(), average, last)
        }
    };
    let threads: Vec<_> = (0..job.ranks).map(|i| std::thread::spawn(rank(i))).collect();
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

/// The largest difference, as a share of the largest value.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// What norms that are joined from parts, and gradients of batches of which pictures are missing, may differ by after the steps of [`JOB`].
const NORMS: f32 = 2e-5;

/// The same job by several ranks ends with the same weights on all of them, those of one rank within `tolerance`, and twice with
/// the same bits.
fn assert_alike(one: &Job, several: &Job, tolerance: f32) {
    let [whole] = &train(one)[..] else { panic!("one rank") };
    let whole_report = whole.2.as_ref().expect("finite");
    let found = train(several);
    assert_eq!(found, train(several), "bits");
    for (weights, average, report) in &found {
        assert!(weights == &found[0].0 && average == &found[0].1, "all have the same");
        let report = report.as_ref().expect("finite");
        assert_eq!((report.count, report.correct), (whole_report.count, whole_report.correct));
        assert!((report.loss / whole_report.loss - 1.0).abs() < 1e-5, "{report:?} {whole_report:?}");
        let far = [distance(weights, &whole.0), distance(average, &whole.1)];
        assert!(far[0] <= tolerance && far[1] <= tolerance, "{far:?}");
    }
}

#[test]
fn groups_of_a_size_are_the_same_on_one_two_and_four_ranks() {
    for ranks in [2, 4] {
        assert_alike(&JOB, &Job { ranks, ..JOB }, 0.0);
    }
    let other = Job { keep: Keep::Checkpoints, frozen: true, ..JOB };
    assert_alike(&other, &Job { ranks: 2, ..other.clone() }, 0.0);
}

/// A gradient that was rounded twice to 8 bits moves the weights as far, but for as much.
#[test]
fn gradients_may_travel_in_half_the_bytes() {
    let moved = |job: &Job| {
        let found = train(job);
        assert!(found.iter().all(|(weights, ..)| weights == &found[0].0), "all have the same");
        let start = Weights::init(&graph(job.width), 1);
        // Running statistics move, too, and further.
        let learnt = (0..start.params().len()).filter(|&i| start.params()[i].role.trainable());
        let moved = learnt.flat_map(|i| start.range(i)).map(|at| found[0].0[at] - start.data[at]);
        moved.collect::<Vec<f32>>()
    };
    let exact = Job { ranks: 2, steps: 1, ..JOB };
    let half = moved(&Job { wire: Wire::Bf16, ..exact.clone() });
    let far = distance(&half, &moved(&exact));
    assert!(far > 1e-5 && far < 1.0 / 128.0, "{far}");
}

#[test]
fn synchronised_norms_are_those_of_the_whole_batch() {
    let whole = Job { micro_batch: 0, batch: 8, ..JOB };
    for keep in [Keep::Outputs, Keep::Checkpoints] {
        assert_alike(&whole, &Job { ranks: 2, sync_norm: true, keep, ..whole.clone() }, NORMS);
    }
    let frozen = Job { frozen: true, ..whole };
    assert_alike(&frozen, &Job { ranks: 2, sync_norm: true, ..frozen.clone() }, NORMS);
}

/// A rank without a picture takes part in everything.
#[test]
fn pictures_that_are_missing_are_missing_for_all() {
    for (readable, ranks) in [(12, 2), (8, 2), (4, 4)] {
        let one = Job { readable, ..JOB };
        assert_alike(&one, &Job { ranks, ..one.clone() }, NORMS);
    }
    let whole = Job { micro_batch: 0, batch: 8, readable: 4, ..JOB };
    assert_alike(&whole, &Job { ranks: 2, sync_norm: true, ..whole.clone() }, NORMS);
    let wide = Job { width: 0.3, batch: 16, readable: 8, ..whole };
    assert_alike(&wide, &Job { ranks: 2, sync_norm: true, ..wide.clone() }, NORMS);
    for sync_norm in [false, true] {
        let none = train(&Job { ranks: 2, readable: 0, batch: 8, sync_norm, ..JOB });
        assert!(none.iter().all(|(.., last)| *last == Err(StepError::Empty)));
    }
}

#[test]
fn an_error_of_one_ends_the_step_of_all_and_nothing_changes() {
    for sync_norm in [false, true] {
        let job = Job { ranks: 2, batch: 8, sync_norm, ..JOB };
        // The weights after all steps but the last.
        let found = train(&Job { broken: Some(6), ..job.clone() });
        let errors: Vec<_> = found.iter().map(|(.., last)| last.clone().expect_err("not finite")).collect();
        let StepError::NotFinite { node, what } = &errors[1] else { panic!("{errors:?}") };
        assert_eq!((node.as_str(), *what), (graph(JOB.width).nodes()[1].name.as_str(), "activation"));
        // Who sees the same norms has no finite value, either.
        assert!(sync_norm || errors[0] == StepError::Elsewhere, "{errors:?}");
        assert!(found[0].0 == found[1].0 && found[0].0.iter().all(|value| value.is_finite()));
    }
}
