//! The thread that calls MPI.
//!
//! ```text
//! ask ─▶ window: collectives are started as they are asked for and answered in that order, until none is on its way ─▶ next
//! sum     all to all: each rank has its piece of every rank's vector ─▶ it sums them ─▶ all gather: the pieces of the sum
//! ```
//! Who sums gradients and in which order is thus known, whatever MPI there is: the same ranks give the same bits, and as
//! [`inception_cpu::sum_of`] has the order of a batch's groups, so do 1, 2, 4, … ranks. Wide sums, of statistics, are MPI's own.
//!
//! It alone calls MPI, which therefore need not know of threads. While something is on its way it looks again and again, for many an MPI
//! makes progress only then, and sleeps a little between two looks, for the network's threads want the core.

use std::collections::{BTreeMap, VecDeque};
use std::slice::IterMut;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use inception_cpu::{Wire, sum_of};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::request::{LocalScope, Request};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, MatchedReceiveVec, Root, Source};

use super::stall::{DEAD, Doing, PATIENCE, Place, report};
use super::{Ask, Clock, Named};
use crate::progress::terminal::leave_screen;
use crate::progress::{say, say_error};

/// Collectives of a kind that one window can hold; more wait for the next.
const SLOTS: usize = 256;

/// Time between two looks at what is on its way, and at what others ask while nothing is.
const LOOK: Duration = Duration::from_micros(50);
const IDLE: Duration = Duration::from_millis(20);

/// Looks before the first sleep.
const SPINS: usize = 20;

/// Kinds of messages about stalls.
const NOTE: i32 = 1;
const QUESTION: i32 = 2;
const PLACE: i32 = 3;

/// Serves `asks` until [`Ask::Leave`].
pub(super) fn serve(
    asks: Receiver<Named>,
    ready: Sender<Result<[usize; 2], String>>,
    doing: &Doing,
    clock: &Clock,
    stall: Duration,
) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        let _ = ready.send(Err("MPI is in use already".into()));
        return;
    };
    let world = universe.world();
    let _ = ready.send(Ok([world.rank(), world.size()].map(|n| n as usize)));
    let (second, side) = (world.duplicate(), world.duplicate());
    let watch = Watch { side, doing, stall, noted: None, asked: None, places: BTreeMap::new() };
    let mut thread = Thread { universe, world, second, asks, clock, number: 0, watch };
    thread.run();
}

struct Thread<'t> {
    world: SimpleCommunicator,
    /// For the second halves of sums, which begin when the first ones are done, in the same order on all ranks.
    second: SimpleCommunicator,
    asks: Receiver<Named>,
    clock: &'t Clock,
    /// Collectives so far.
    number: u64,
    watch: Watch<'t>,
    /// MPI ends with it, after all else.
    #[allow(dead_code, reason = "held until the end")]
    universe: Universe,
}

/// A collective on its way.
struct Open<'a, 's> {
    what: String,
    since: Instant,
    work: Work<'a, 's>,
}

type Flight<'a, 's, T> = Request<'a, Vec<T>, &'s LocalScope<'a>>;

/// What is asked for of a sum: how it travels, how many values it has, who wants it.
struct Asked(Wire, usize, Sender<Vec<f32>>);

enum Work<'a, 's> {
    /// Pieces of this rank on their way to it.
    Pieces(Flight<'a, 's, f32>, Asked),
    /// Pieces of the sum.
    Sum(Flight<'a, 's, f32>, Asked),
    WideSum(Flight<'a, 's, f64>, Sender<Vec<f64>>),
    Bytes(Flight<'a, 's, u8>, Sender<Vec<u8>>),
}

/// Memory of a window's collectives.
struct Slots<'a> {
    floats: IterMut<'a, Vec<f32>>,
    doubles: IterMut<'a, Vec<f64>>,
    bytes: IterMut<'a, Vec<u8>>,
}

impl Thread<'_> {
    fn run(&mut self) {
        loop {
            match self.asks.recv_timeout(IDLE) {
                Ok(Named { ask: Ask::Leave, .. }) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(first) => self.window(first),
                Err(RecvTimeoutError::Timeout) => self.watch.tend(self.number, None, &self.world),
            }
        }
    }

    /// Serves `first` and all that comes while something is on its way.
    fn window(&mut self, first: Named) {
        let (mut floats, mut doubles, mut bytes) =
            (vec![Vec::new(); 4 * SLOTS], vec![Vec::new(); 2 * SLOTS], vec![Vec::new(); 2 * SLOTS]);
        let mut slots =
            Slots { floats: floats.iter_mut(), doubles: doubles.iter_mut(), bytes: bytes.iter_mut() };
        mpi::request::scope(|scope| {
            let mut open = VecDeque::new();
            let mut next = Some(first);
            let (mut looks, mut room) = (0, SLOTS);
            let mut summing = None;
            loop {
                while let Some(named) = next.take() {
                    if matches!(named.ask, Ask::Sum(..)) && summing.is_none() {
                        summing = Some(Instant::now());
                    }
                    open.push_back(self.start(scope, &mut slots, named));
                    room -= 1;
                    // Leaving comes when nothing is on its way.
                    next = if room > 0 { self.asks.try_recv().ok() } else { None };
                    looks = 0;
                }
                let before = open.len();
                open = self.look(scope, &mut slots, open);
                if !open.iter().any(|open| matches!(open.work, Work::Pieces(..) | Work::Sum(..)))
                    && let Some(start) = summing.take()
                {
                    let time = start.elapsed().as_nanos() as u64;
                    self.clock.in_flight.fetch_add(time, Ordering::Relaxed);
                }
                let Some(Open { what, since, .. }) = open.front() else { break };
                if open.len() < before {
                    looks = 0;
                } else {
                    self.watch.tend(self.number, Some((what, *since)), &self.world);
                    looks += 1;
                    match looks {
                        ..SPINS => std::thread::yield_now(),
                        _ => std::thread::sleep(LOOK),
                    }
                }
                if room > 0 {
                    next = self.asks.try_recv().ok();
                }
            }
        });
    }

    /// Answers what is done, in order, and begins the second halves of sums whose first halves are.
    fn look<'a, 's>(
        &self,
        scope: &'s LocalScope<'a>,
        slots: &mut Slots<'a>,
        open: VecDeque<Open<'a, 's>>,
    ) -> VecDeque<Open<'a, 's>> {
        let mut left = VecDeque::new();
        // Whether all sums before are in their second halves.
        let mut in_order = true;
        for Open { what, since, work } in open {
            let is_front = left.is_empty();
            let work = match work {
                Work::Pieces(flight, asked) if in_order => match flight.test_with_data() {
                    Ok((_, pieces)) => {
                        Some(Work::Sum(self.second_half(scope, slots, pieces, asked.0), asked))
                    }
                    Err(flight) => Some(Work::Pieces(flight, asked)),
                },
                Work::Sum(flight, Asked(wire, len, to)) if is_front => {
                    let values = |words: &[f32]| {
                        let mut values = wire.unpack(words);
                        values.truncate(len);
                        values
                    };
                    answer(flight, to, values).map(|(flight, to)| Work::Sum(flight, Asked(wire, len, to)))
                }
                Work::WideSum(flight, to) if is_front => {
                    answer(flight, to, <[f64]>::to_vec).map(|(flight, to)| Work::WideSum(flight, to))
                }
                Work::Bytes(flight, to) if is_front => {
                    answer(flight, to, <[u8]>::to_vec).map(|(flight, to)| Work::Bytes(flight, to))
                }
                work => Some(work),
            };
            in_order &= !matches!(work, Some(Work::Pieces(..)));
            left.extend(work.map(|work| Open { what, since, work }));
        }
        left
    }

    /// Sums the pieces of all ranks and hands the sum to them.
    fn second_half<'a, 's>(
        &self,
        scope: &'s LocalScope<'a>,
        slots: &mut Slots<'a>,
        pieces: &[f32],
        wire: Wire,
    ) -> Flight<'a, 's, f32> {
        let size = self.world.size() as usize;
        let mut pieces = wire.unpack(pieces);
        let len = pieces.len() / size;
        if len > 0 {
            sum_of(&mut pieces.chunks_exact_mut(len).collect::<Vec<_>>());
        }
        pieces.truncate(len);
        let [own, all] = pair(&mut slots.floats, wire.pack(pieces), size);
        self.second.immediate_all_gather_into(scope, &*own, all)
    }

    fn start<'a, 's>(
        &mut self,
        scope: &'s LocalScope<'a>,
        slots: &mut Slots<'a>,
        Named { what, ask }: Named,
    ) -> Open<'a, 's> {
        self.number += 1;
        let (world, size) = (&self.world, self.world.size() as usize);
        let work = match ask {
            Ask::Sum(mut values, wire, to) => {
                let len = values.len();
                values.resize(len.next_multiple_of(size * wire.per_word()), 0.0);
                let [from, pieces] = pair(&mut slots.floats, wire.pack(values), 1);
                let flight = world.immediate_all_to_all_into(scope, &*from, pieces);
                Work::Pieces(flight, Asked(wire, len, to))
            }
            Ask::WideSum(values, to) => {
                let [from, sums] = pair(&mut slots.doubles, values, 1);
                let sum = SystemOperation::sum();
                Work::WideSum(world.immediate_all_reduce_into(scope, &*from, sums, sum), to)
            }
            Ask::Gather(values, to) => {
                let [from, all] = pair(&mut slots.bytes, values, size);
                Work::Bytes(world.immediate_all_gather_into(scope, &*from, all), to)
            }
            Ask::Broadcast(values, to) => {
                let [own, _] = pair(&mut slots.bytes, values, 0);
                Work::Bytes(world.process_at_rank(0).immediate_broadcast_into(scope, own), to)
            }
            Ask::Abort(exit) => world.abort(exit as i32),
            Ask::Leave => unreachable!("nothing is asked for together with the end"),
        };
        Open { what, since: Instant::now(), work }
    }
}

/// Memory that holds `values`, and some for `times` as many.
fn pair<'a, T: Clone + Default>(
    slots: &mut IterMut<'a, Vec<T>>,
    values: Vec<T>,
    times: usize,
) -> [&'a mut Vec<T>; 2] {
    let mut slot = || slots.next().expect("a window has room for all that it takes");
    let (from, to) = (slot(), slot());
    to.resize(times * values.len(), T::default());
    *from = values;
    [from, to]
}

/// Answers with what is made of the values if they are there; else it comes back.
fn answer<'a, 's, T>(
    flight: Flight<'a, 's, T>,
    to: Sender<Vec<T>>,
    made: impl FnOnce(&[T]) -> Vec<T>,
) -> Option<(Flight<'a, 's, T>, Sender<Vec<T>>)> {
    match flight.test_with_data() {
        Ok((_, values)) => {
            // Who has asked may be gone.
            let _ = to.send(made(values));
            None
        }
        Err(flight) => Some((flight, to)),
    }
}

/// What this rank knows of a stall.
struct Watch<'t> {
    side: SimpleCommunicator,
    doing: &'t Doing,
    stall: Duration,
    /// The number whose stall this rank has told rank 0 of, when, and whether that has asked since.
    noted: Option<(u64, Instant, bool)>,
    /// When rank 0 asked all for their places, and whether it has told the user.
    asked: Option<(Instant, bool)>,
    places: BTreeMap<usize, Option<Place>>,
}

impl Watch<'_> {
    /// Hears what others say, and says what is to be said. `waits` is what this rank waits for since when, its request of this `number`.
    fn tend(&mut self, number: u64, waits: Option<(&str, Instant)>, world: &SimpleCommunicator) {
        let rank = self.side.rank();
        while let Some(message) = self.side.any_process().immediate_matched_probe() {
            let (text, status) = message.matched_receive_vec::<u8>();
            match status.tag() {
                NOTE if self.is_asking() => {
                    // A sign of life; what it says now is what it said a moment ago, or would say.
                    self.side.process_at_rank(status.source_rank()).send_with_tag(&[0u8][..], QUESTION);
                }
                NOTE => self.ask_all(number, waits),
                QUESTION => {
                    self.noted = self.noted.map(|(noted, when, _)| (noted, when, true));
                    let place = serde_json::to_vec(&self.doing.place(number, waits)).unwrap_or_default();
                    self.side.process_at_rank(0).send_with_tag(&place[..], PLACE);
                }
                _ => {
                    let place = serde_json::from_slice(&text).ok();
                    self.places.insert(status.source_rank() as usize, place);
                }
            }
        }
        if waits.is_some_and(|(_, since)| since.elapsed() >= self.stall) {
            let noted = self.noted.filter(|(noted, when, asked)| {
                *noted == number && !(*asked && when.elapsed() >= self.stall.max(DEAD))
            });
            match noted {
                Some((_, when, false)) if rank != 0 && when.elapsed() >= DEAD => {
                    let host = self.doing.hosts().get(rank as usize).cloned().unwrap_or_default();
                    leave_screen();
                    say_error(&format!(
                        "rank {rank} ({host}): rank 0 has not answered for {} s: ending all ranks; start the command again with --resume",
                        DEAD.as_secs()
                    ));
                    world.abort(1);
                }
                Some(_) => {}
                None => {
                    self.noted = Some((number, Instant::now(), rank == 0));
                    match rank {
                        0 => self.ask_all(number, waits),
                        _ => self.side.process_at_rank(0).send_with_tag(&[0u8][..], NOTE),
                    }
                }
            }
        }
        self.tell(number, waits, world);
    }

    /// Whether rank 0 has asked all a moment ago, or waits for an answer.
    fn is_asking(&self) -> bool {
        let all = self.places.len() == self.side.size() as usize;
        self.asked.is_some_and(|(when, _)| !all || when.elapsed() < self.stall.max(DEAD))
    }

    /// Rank 0 asks all where they are, unless it has done so a moment ago.
    fn ask_all(&mut self, number: u64, waits: Option<(&str, Instant)>) {
        if self.is_asking() {
            return;
        }
        self.places = BTreeMap::from([(0, Some(self.doing.place(number, waits)))]);
        for other in 1..self.side.size() {
            self.side.process_at_rank(other).send_with_tag(&[0u8][..], QUESTION);
        }
        self.asked = Some((Instant::now(), false));
    }

    /// Rank 0 tells where all are, once it knows; and ends the job where one does not say.
    fn tell(&mut self, number: u64, waits: Option<(&str, Instant)>, world: &SimpleCommunicator) {
        let Some((when, told)) = self.asked else { return };
        let size = self.side.size() as usize;
        let all = self.places.len() == size;
        if !told && (all || when.elapsed() >= PATIENCE) {
            let mut places = self.places.clone();
            (0..size).for_each(|rank| _ = places.entry(rank).or_insert(None));
            places.insert(0, Some(self.doing.place(number, waits)));
            say(&report(&places, &self.doing.hosts()));
            self.asked = Some((when, true));
        }
        if !all && when.elapsed() >= DEAD {
            let missing = (0..size).filter(|rank| !self.places.contains_key(rank));
            let missing: Vec<String> = missing.map(|rank| rank.to_string()).collect();
            leave_screen();
            say_error(&format!(
                "no answer from rank {} for {} s: ending all ranks; start the command again with --resume to go on from the last state",
                missing.join(", "),
                DEAD.as_secs()
            ));
            world.abort(1);
        }
    }
}
