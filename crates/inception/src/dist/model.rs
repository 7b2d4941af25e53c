//! How long a step takes on ranks that there are not.
//!
//! ```text
//! a sum of S bytes over N ranks        latency                    on the link
//!   pieces (ours)                      2·l + 2·(N − 1)·o          2·(N − 1)/N·S/B       all to all, then all gather: every message at once
//!   ring                               2·(N − 1)·l                2·(N − 1)/N·S/B       reduce-scatter, all gather, neighbour by neighbour
//!   tree                               2·⌈log₂ N⌉·l               2·⌈log₂ N⌉·S/B        to the root and back
//!
//! begin(k) = max(ready(k) + moving, done(k − 1))    done(k) = begin(k) + on the link    there(k) = done(k) + latency
//! step     = max(gradient + moving, there(last)) + stragglers + update
//! ```
//! `ready(k)` is when the k-th bucket of gradients is complete: measured, of this network with this batch. Ranks that share a host
//! share its link; where there is one host, that is its memory, and all that ranks send goes through it. `moving`: while sums are on their way, they take a share of one core, which the network's threads then lack. `stragglers`: a rank's gradient takes a time
//! that is normally distributed, and all wait for the slowest of N: z(N) standard deviations, z(N) being the mean of the largest of N
//! standard normal values.
//!
//! After the model of latency and bandwidth of R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of Collective Communication
//! Operations in MPICH" (2005).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a sum is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Each rank adds up its piece: what `inception train` does.
    Pieces,
    /// Neighbour by neighbour.
    Ring,
    /// To the root of a binary tree and back.
    Tree,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Pieces, Algorithm::Ring, Algorithm::Tree];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Pieces => "pieces",
            Algorithm::Ring => "ring",
            Algorithm::Tree => "tree",
        })
    }
}

/// What connects two ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Seconds that an empty message takes.
    pub latency: f64,
    /// Bytes a second, each way, of a host.
    pub bandwidth: f64,
    /// Share of a core that is busy while a sum is on its way.
    pub busy: f64,
}

impl Link {
    /// What cannot be so.
    pub fn problem(&self) -> Option<&'static str> {
        let Link { latency, bandwidth, busy } = *self;
        match () {
            () if !(latency >= 0.0 && latency.is_finite()) => Some("`latency` is no time"),
            () if !(bandwidth > 0.0 && bandwidth.is_finite()) => Some("`bandwidth` is no rate"),
            () if !(0.0..=1.0).contains(&busy) => Some("`busy` is no share"),
            () => None,
        }
    }
}

/// Seconds that one more message takes at its sender: what is commonly found for MPI over TCP and over fast networks, 1 to 5 µs.
const OVERHEAD: f64 = 2e-6;

/// Ranks and where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// How many.
    pub count: usize,
    /// How many share a host's link.
    pub per_host: usize,
}

/// A sum's latency and its time on the link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumTime {
    /// Seconds in which others may have the link.
    pub latency: f64,
    /// Seconds of the link.
    pub transfer: f64,
}

impl SumTime {
    /// Of `bytes` at each rank.
    pub fn of(algorithm: Algorithm, bytes: f64, ranks: Ranks, link: Link) -> SumTime {
        let n = ranks.count as f64;
        if ranks.count < 2 {
            return SumTime { latency: 0.0, transfer: 0.0 };
        }
        // Of a host's ranks, how much each sends to other hosts; where there is one host, to each other.
        let per_host = ranks.per_host.clamp(1, ranks.count) as f64;
        let one_host = ranks.count <= ranks.per_host;
        let others = if one_host { n - 1.0 } else { n - per_host };
        let rounds = n.log2().ceil();
        // Of neighbours on several hosts one pair meets at each link.
        let through = if one_host { n } else { 1.0 };
        let edges = if one_host { n - 1.0 } else { rounds };
        let (latency, transfer) = match algorithm {
            Algorithm::Pieces => {
                (2.0 * link.latency + 2.0 * (n - 1.0) * OVERHEAD, 2.0 * per_host * others / n * bytes)
            }
            Algorithm::Ring => (2.0 * (n - 1.0) * link.latency, through * 2.0 * (n - 1.0) / n * bytes),
            Algorithm::Tree => (2.0 * rounds * link.latency, 2.0 * edges * bytes),
        };
        SumTime { latency, transfer: transfer / link.bandwidth }
    }
}

/// A rank's own work in a step. Times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Pictures of the rank.
    pub batch: usize,
    /// Threads of the rank.
    pub threads: usize,
    /// Values of each sum, and when they are there.
    pub sums: Vec<(usize, f64)>,
    /// From the first sum that could be waited for to the end: norm of the gradient, update, averages.
    pub update: f64,
    /// Standard deviation of the whole from step to step.
    pub deviation: f64,
}

impl Work {
    /// What cannot be so.
    pub fn problem(&self) -> Option<&'static str> {
        let Work { batch, threads, sums, update, deviation } = self;
        let ascend = sums.is_sorted_by(|a, b| a.1 <= b.1)
            && sums.iter().all(|(_, ready)| *ready >= 0.0 && ready.is_finite());
        let is_time = |seconds: f64| seconds >= 0.0 && seconds.is_finite();
        match () {
            () if *batch == 0 => Some("`batch` is 0"),
            () if *threads == 0 => Some("`threads` is 0"),
            () if sums.is_empty() || !ascend => Some("`sums` are not some of ascending times"),
            () if !is_time(*update) => Some("`update` is no time"),
            () if !is_time(*deviation) => Some("`deviation` is no time"),
            () => None,
        }
    }

    /// When the gradient is complete.
    pub fn gradient(&self) -> f64 {
        self.sums.last().map_or(0.0, |&(_, ready)| ready)
    }

    /// A step of one rank alone.
    pub fn step(&self) -> f64 {
        self.gradient() + self.update
    }
}

/// A step of all ranks. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// All sums one after the other.
    pub sums: f64,
    /// What the gradient takes longer because moving sums takes a core.
    pub moving: f64,
    /// What the slowest rank takes longer than the mean.
    pub stragglers: f64,
    /// Waiting for sums after the gradient is complete.
    pub exposed: f64,
    /// From the first picture to the last weight.
    pub total: f64,
}

impl Step {
    /// What `algorithm` makes of the `work` of each of the ranks; a value of a gradient has `bytes`.
    pub fn of(algorithm: Algorithm, work: &Work, bytes: f64, ranks: Ranks, link: Link) -> Step {
        let (mut moving, mut done, mut there, mut sums) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        let last = work.sums.len().saturating_sub(1);
        for (k, &(values, ready)) in work.sums.iter().enumerate() {
            // Statistics come last, and as they are.
            let bytes = values as f64 * if k == last { 4.0 } else { bytes };
            let time = SumTime::of(algorithm, bytes, ranks, link);
            let begin = done.max(ready + moving);
            done = begin + time.transfer;
            there = done + time.latency;
            sums += time.transfer + time.latency;
            // What is left of the gradient is computed meanwhile.
            let meanwhile = (done.min(work.gradient() + moving) - begin).max(0.0);
            moving += link.busy * meanwhile / work.threads as f64;
        }
        let stragglers = work.deviation * largest_of(ranks.count);
        let gradient = work.gradient() + moving;
        let exposed = (there - gradient).max(0.0);
        Step { sums, moving, stragglers, exposed, total: gradient + exposed + stragglers + work.update }
    }
}

/// The mean of the largest of `n` standard normal values: ∫ x·n·φ(x)·Φ(x)ⁿ⁻¹ dx.
fn largest_of(n: usize) -> f64 {
    if n < 2 {
        return 0.0;
    }
    const STEPS: i32 = 16_000;
    let width = 16.0 / f64::from(STEPS);
    let (mut below, mut mean) = (0.0, 0.0);
    for i in 0..STEPS {
        let x = -8.0 + (f64::from(i) + 0.5) * width;
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let middle: f64 = below + density * width / 2.0;
        mean += x * n as f64 * density * middle.powf(n as f64 - 1.0) * width;
        below += density * width;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { latency: 1e-3, bandwidth: 1e6, busy: 0.0 };
    const FOUR: Ranks = Ranks { count: 4, per_host: 1 };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs().max(1e-3)
    }

    #[test]
    fn sums_take_what_the_formulas_say() {
        let time = |algorithm, ranks| SumTime::of(algorithm, 1e6, ranks, LINK);
        let SumTime { latency, transfer } = time(Algorithm::Ring, FOUR);
        assert!(close(latency, 6e-3) && close(transfer, 1.5), "{latency} {transfer}");
        let SumTime { latency, transfer } = time(Algorithm::Tree, FOUR);
        assert!(close(latency, 4e-3) && close(transfer, 4.0), "{latency} {transfer}");
        let SumTime { latency, transfer } = time(Algorithm::Pieces, FOUR);
        assert!(close(latency, 2e-3 + 6.0 * OVERHEAD) && close(transfer, 1.5), "{latency} {transfer}");
        // Two ranks of each host send two pieces of four to the other.
        let transfer = time(Algorithm::Pieces, Ranks { per_host: 2, ..FOUR }).transfer;
        assert!(close(transfer, 2.0), "{transfer}");
        assert!(close(time(Algorithm::Ring, Ranks { per_host: 2, ..FOUR }).transfer, 1.5));
        // In one memory all send as much by pieces as by ring.
        let one = Ranks { per_host: 4, ..FOUR };
        assert!(
            close(time(Algorithm::Pieces, one).transfer, 6.0)
                && close(time(Algorithm::Ring, one).transfer, 6.0)
        );
        assert!(close(time(Algorithm::Tree, one).transfer, 6.0));
        assert_eq!(time(Algorithm::Tree, Ranks { count: 1, per_host: 1 }).transfer, 0.0);
    }

    /// Two buckets of 1 MB, there after 1 and 3 s, and statistics, there after 4 s.
    fn work() -> Work {
        let sums = vec![(250_000, 1.0), (250_000, 3.0), (2, 4.0)];
        Work { batch: 8, threads: 2, sums, update: 0.5, deviation: 0.0 }
    }

    #[test]
    fn sums_hide_behind_what_is_computed_after_them() {
        // 1.5 s each: the first from 1 to 2.5, the second from 3 to 4.5, behind it 12 µs of statistics and a latency.
        let step = Step::of(Algorithm::Ring, &work(), 4.0, FOUR, LINK);
        assert!(close(step.exposed, 0.5 + 12e-6 + 6e-3), "{step:?}");
        assert!(close(step.total, 4.5 + 12e-6 + 6e-3 + 0.5), "{step:?}");
        // Half as many bytes: nothing but the statistics is waited for.
        let step = Step::of(Algorithm::Ring, &work(), 2.0, FOUR, LINK);
        assert!(close(step.exposed, 12e-6 + 6e-3), "{step:?}");
        // Slower than the gradient: one behind the other from the first on.
        let step = Step::of(Algorithm::Ring, &work(), 4.0, FOUR, Link { bandwidth: 5e5, ..LINK });
        assert!(close(step.total, 1.0 + 3.0 + 3.0 + 24e-6 + 6e-3 + 0.5), "{step:?}");
        // One rank waits for nobody.
        let alone = Step::of(Algorithm::Pieces, &work(), 4.0, Ranks { count: 1, per_host: 1 }, LINK);
        assert!(close(alone.total, work().step()) && alone.exposed == 0.0, "{alone:?}");
    }

    #[test]
    fn moving_sums_takes_a_core_from_the_gradient() {
        let busy = Step::of(Algorithm::Ring, &work(), 4.0, FOUR, Link { busy: 0.4, ..LINK });
        // 0.4 of a core of two for 1.5 s; then, from 3.3 s on, for what is left of the gradient, 1 s.
        assert!(close(busy.moving, 0.3 + 0.2), "{busy:?}");
        assert!(busy.total > 4.5 + 0.3, "{busy:?}");
    }

    #[test]
    fn all_wait_for_the_slowest() {
        // Of two values 1/√π, of three 3/(2√π); tables of order statistics have 1.1630 for five and 2.5076 for a hundred.
        let pi = std::f64::consts::PI;
        for (n, expected) in [(2, 1.0 / pi.sqrt()), (3, 1.5 / pi.sqrt()), (5, 1.16296), (100, 2.50759)] {
            assert!((largest_of(n) - expected).abs() < 1e-4, "{n}: {}", largest_of(n));
        }
        let late = Step::of(Algorithm::Ring, &Work { deviation: 0.1, ..work() }, 4.0, FOUR, LINK);
        let none = Step::of(Algorithm::Ring, &work(), 4.0, FOUR, LINK);
        assert!(close(late.total - none.total, 0.1 * largest_of(4)), "{late:?}");
    }
}
