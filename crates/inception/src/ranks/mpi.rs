//! The thread that calls MPI.
//!
//! ```text
//! ask ─▶ window: collectives are started as they are asked for and answered in that order, until none is on its way ─▶ next
//! ```
//! It alone calls MPI, which therefore need not know of threads. While something is on its way it looks again and again, for many an MPI
//! makes progress only then, and sleeps a little between two looks, for the network's threads want the core.

use std::collections::{BTreeMap, VecDeque};
use std::slice::IterMut;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::request::{LocalScope, Request};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, MatchedReceiveVec, Root, Source};

use super::stall::{DEAD, Doing, PATIENCE, Place, report};
use super::{Ask, Clock, Named};
use crate::progress::say_error;

/// Collectives of a kind that one window can hold; more wait for the next.
const SLOTS: usize = 1024;

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
    let side = world.duplicate();
    let watch = Watch { side, doing, stall, noted: None, asked: None, places: BTreeMap::new() };
    let mut thread = Thread { universe, world, asks, clock, number: 0, watch };
    thread.run();
}

struct Thread<'t> {
    world: SimpleCommunicator,
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

type Going<'a, 's, T> = (Request<'a, Vec<T>, &'s LocalScope<'a>>, Sender<Vec<T>>);

enum Work<'a, 's> {
    Sum(Going<'a, 's, f32>),
    WideSum(Going<'a, 's, f64>),
    Bytes(Going<'a, 's, u8>),
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
            (vec![Vec::new(); 2 * SLOTS], vec![Vec::new(); 2 * SLOTS], vec![Vec::new(); 2 * SLOTS]);
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
                let Some(Open { what, since, work }) = open.pop_front() else { break };
                match work.look() {
                    None => looks = 0,
                    Some(work) => {
                        self.watch.tend(self.number, Some((&what, since)), &self.world);
                        open.push_front(Open { what, since, work });
                        looks += 1;
                        match looks {
                            ..SPINS => std::thread::yield_now(),
                            _ => std::thread::sleep(LOOK),
                        }
                    }
                }
                if !open.iter().any(|open| matches!(open.work, Work::Sum(_)))
                    && let Some(start) = summing.take()
                {
                    let time = start.elapsed().as_nanos() as u64;
                    self.clock.in_flight.fetch_add(time, Ordering::Relaxed);
                }
                if room > 0 {
                    next = self.asks.try_recv().ok();
                }
            }
        });
    }

    fn start<'a, 's>(
        &mut self,
        scope: &'s LocalScope<'a>,
        slots: &mut Slots<'a>,
        Named { what, ask }: Named,
    ) -> Open<'a, 's> {
        self.number += 1;
        let (world, size) = (&self.world, self.world.size() as usize);
        let sum = SystemOperation::sum;
        let work = match ask {
            Ask::Sum(values, to) => {
                let [from, sums] = pair(&mut slots.floats, values, 1);
                Work::Sum((world.immediate_all_reduce_into(scope, &*from, sums, sum()), to))
            }
            Ask::WideSum(values, to) => {
                let [from, sums] = pair(&mut slots.doubles, values, 1);
                Work::WideSum((world.immediate_all_reduce_into(scope, &*from, sums, sum()), to))
            }
            Ask::Gather(values, to) => {
                let [from, all] = pair(&mut slots.bytes, values, size);
                Work::Bytes((world.immediate_all_gather_into(scope, &*from, all), to))
            }
            Ask::Broadcast(values, to) => {
                let [own, _] = pair(&mut slots.bytes, values, 0);
                Work::Bytes((world.process_at_rank(0).immediate_broadcast_into(scope, own), to))
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

impl Work<'_, '_> {
    /// Answers if it is done, else it comes back.
    fn look(self) -> Option<Self> {
        match self {
            Work::Sum(going) => look(going).map(Work::Sum),
            Work::WideSum(going) => look(going).map(Work::WideSum),
            Work::Bytes(going) => look(going).map(Work::Bytes),
        }
    }
}

fn look<'a, 's, T: Clone>((request, to): Going<'a, 's, T>) -> Option<Going<'a, 's, T>> {
    match request.test_with_data() {
        Ok((_, values)) => {
            // Who has asked may be gone.
            let _ = to.send(values.clone());
            None
        }
        Err(request) => Some((request, to)),
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
                    say_error("no progress, and rank 0 does not answer: ending all ranks");
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

    /// Rank 0 asks all where they are, unless it has done so a moment ago.
    fn ask_all(&mut self, number: u64, waits: Option<(&str, Instant)>) {
        if self.asked.is_some_and(|(when, _)| when.elapsed() < self.stall.max(DEAD)) {
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
            say_error(&report(&places, &self.doing.hosts()));
            self.asked = Some((when, true));
        }
        if !all && when.elapsed() >= DEAD {
            let missing = (0..size).filter(|rank| !self.places.contains_key(rank));
            let missing: Vec<String> = missing.map(|rank| rank.to_string()).collect();
            say_error(&format!(
                "no answer from rank {} for {} s: ending all ranks; --resume auto goes on from the last state",
                missing.join(", "),
                DEAD.as_secs()
            ));
            world.abort(1);
        }
    }
}
