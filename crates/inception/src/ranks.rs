//! The processes that run one command together, ranks of MPI.
//!
//! ```text
//! main thread ─ what, values ─▶ thread that alone calls MPI ─▶ collectives, in the order asked for, several at a time
//!             ◀── sums ────────                              └▶ notes about who waits where: `stall`
//! ```
//! A process that was not started by `mpirun`, `srun` or the like is one rank alone, and asks nobody. All ranks ask for the same,
//! in the same order; each request has a number and a name, which reports of a stall tell.

#[cfg(feature = "mpi")]
mod mpi;
#[cfg(not(feature = "mpi"))]
#[path = "ranks/no_mpi.rs"]
mod mpi;
mod stall;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use inception_cpu::{Peers, PeersLost, Wire};

use crate::exit::{Exit, UsageError};
use crate::progress::say_error;
use stall::Doing;

/// Bytes that are handed on at a time.
const CHUNK: usize = 64 << 20;

/// All ranks, as this one sees them.
pub struct World {
    rank: usize,
    size: usize,
    /// Where each runs.
    hosts: Vec<String>,
    link: Option<Link>,
}

/// The way to the thread that calls MPI.
struct Link {
    asks: Sender<Named>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    doing: Arc<Doing>,
    /// Sums that have been begun.
    begun: Mutex<VecDeque<Receiver<Vec<f32>>>>,
    clock: Arc<Clock>,
}

/// What is asked for, and what it is called.
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "read by the thread that calls MPI"))]
struct Named {
    what: String,
    ask: Ask,
}

/// What is asked of all ranks; the answer comes through the channel.
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "read by the thread that calls MPI"))]
enum Ask {
    Sum(Vec<f32>, Wire, Sender<Vec<f32>>),
    WideSum(Vec<f64>, Sender<Vec<f64>>),
    /// Equally long parts of all ranks, in their order.
    Gather(Vec<u8>, Sender<Vec<u8>>),
    /// The values of rank 0.
    Broadcast(Vec<u8>, Sender<Vec<u8>>),
    /// Ends all ranks at once.
    Abort(Exit),
    /// Ends this rank's part in MPI.
    Leave,
}

/// Nanoseconds.
#[derive(Default)]
struct Clock {
    in_flight: AtomicU64,
    waited: AtomicU64,
}

/// What summing has cost this rank so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Time in which a sum was on its way.
    pub in_flight: Duration,
    /// Time of it in which this rank had nothing else to do.
    pub waited: Duration,
}

impl Exchange {
    /// What happened since `before`.
    pub fn since(self, before: Exchange) -> Exchange {
        Exchange { in_flight: self.in_flight - before.in_flight, waited: self.waited - before.waited }
    }

    /// Share of the time that was hidden behind other work; `None` where nothing was summed.
    pub fn hidden(self) -> Option<f64> {
        let total = self.in_flight.max(self.waited).as_secs_f64();
        (total > 0.0).then(|| 1.0 - self.waited.as_secs_f64() / total)
    }
}

static WORLD: OnceLock<World> = OnceLock::new();

/// A rank that asks nobody.
pub static ALONE: World = World::alone();

/// Seconds that a rank waits for the others before it is reported, where no flag says.
pub const STALL_TIMEOUT: NonZeroU64 = NonZeroU64::new(30).unwrap();

/// Joins the other ranks, once for the whole process; a wait of `stall` is reported.
pub fn join(stall: Duration) -> Result<&'static World> {
    if WORLD.get().is_none() {
        let world = match launched() {
            Some(size) if size > 1 => {
                let world = connect(stall)?;
                if world.size != size {
                    let text = format!(
                        "{size} ranks were started and this build's MPI sees {}: use the mpirun of the MPI that it was built with",
                        world.size
                    );
                    return Err(UsageError(text).into());
                }
                world
            }
            _ => World::alone(),
        };
        let _ = WORLD.set(world);
    }
    Ok(world())
}

/// All ranks; this one alone before [`join`].
pub fn world() -> &'static World {
    WORLD.get().unwrap_or(&ALONE)
}

/// How many ranks the launcher of this process has started, where there was one.
fn launched() -> Option<usize> {
    // Open MPI, MPICH and Intel MPI (Hydra), MVAPICH.
    const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    // Slurm tells every process of a job how many there are, and only those that `srun` starts which one they are through PMIx.
    let slurm = || std::env::var_os("PMIX_RANK").and_then(|_| number("SLURM_STEP_NUM_TASKS"));
    SIZES.iter().find_map(|name| number(name)).or_else(slurm)
}

fn connect(stall: Duration) -> Result<World> {
    let (asks, receiver) = channel();
    let (doing, clock) = (Arc::new(Doing::default()), Arc::new(Clock::default()));
    let (ready, begun) = channel();
    let thread = {
        let (doing, clock) = (doing.clone(), clock.clone());
        std::thread::Builder::new()
            .name("mpi".into())
            .spawn(move || mpi::serve(receiver, ready, &doing, &clock, stall))?
    };
    let [rank, size] = begun
        .recv()
        .map_err(|_| anyhow!("MPI did not start: does `mpirun -n 2 hostname` work here?"))?
        .map_err(UsageError)?;
    let link = Link { asks, thread: Mutex::new(Some(thread)), doing, begun: Mutex::default(), clock };
    let mut world = World { rank, size, hosts: Vec::new(), link: Some(link) };
    let hosts = world.gather("hosts", host_name().into_bytes())?;
    world.hosts = hosts.into_iter().map(|host| String::from_utf8_lossy(&host).into_owned()).collect();
    if let Some(link) = &world.link {
        link.doing.set_hosts(&world.hosts);
    }
    Ok(world)
}

/// Tells the user why this rank fails.
pub fn fail(message: &str) {
    let Some(name) = world().name() else { return say_error(message) };
    if !world().leads() {
        // What all ranks have to say is said once: rank 0 ends them all meanwhile.
        std::thread::sleep(Duration::from_secs(5));
    }
    say_error(&format!("{name}: {message}"));
}

/// What this machine is called.
fn host_name() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return "unnamed".into();
}

/// Refuses several ranks for `command`, which has no use for them.
pub fn alone(command: &str) -> Result<(), UsageError> {
    match launched() {
        Some(size) if size > 1 => {
            Err(UsageError(format!("{command} runs on one rank: start it without mpirun")))
        }
        _ => Ok(()),
    }
}

/// Leaves the other ranks at the end of a command; a failure of this one ends all.
pub fn leave(exit: Exit) {
    let Some(link) = WORLD.get().and_then(|world| world.link.as_ref()) else { return };
    if !matches!(exit, Exit::Done | Exit::Stopped) {
        let _ = link.asks.send(Named { what: "end".into(), ask: Ask::Abort(exit) });
    }
    world().doing(|| "end".into());
    world().barrier("end");
    let _ = link.asks.send(Named { what: String::new(), ask: Ask::Leave });
    if let Some(thread) = lock(&link.thread).take() {
        let _ = thread.join();
    }
}

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl World {
    const fn alone() -> World {
        World { rank: 0, size: 1, hosts: Vec::new(), link: None }
    }

    /// Which one this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }
    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Whether it is the one that writes files and talks.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }
    /// `rank 1 (host b)`; nothing where this one is alone.
    pub fn name(&self) -> Option<String> {
        let host = self.hosts.get(self.rank)?;
        Some(format!("rank {} ({host})", self.rank))
    }
    /// Where each rank runs.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Which of `count` things are this rank's: one behind the other, and as many as others have, but for one.
    pub fn share(&self, count: usize) -> Range<usize> {
        let until = |rank: usize| rank * count / self.size;
        until(self.rank)..until(self.rank + 1)
    }

    /// What this rank is about to do, as reports of a stall say it.
    pub fn doing(&self, what: impl FnOnce() -> String) {
        if let Some(link) = &self.link {
            link.doing.set(what());
        }
    }

    /// The bytes of every rank, in their order, on all.
    pub fn gather(&self, what: &str, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let Some(link) = &self.link else { return Ok(vec![bytes]) };
        let mut lengths = vec![0.0; self.size];
        lengths[self.rank] = bytes.len() as f64;
        let lengths = link.ask(what, |to| Ask::WideSum(lengths, to))?;
        let longest = lengths.iter().fold(0.0f64, |a, &b| a.max(b)) as usize;
        let mut parts: Vec<Vec<u8>> = vec![Vec::new(); self.size];
        let chunk = (CHUNK / self.size).max(1);
        for start in (0..longest).step_by(chunk) {
            let len = chunk.min(longest - start);
            let mut own = bytes[start.min(bytes.len())..(start + len).min(bytes.len())].to_vec();
            own.resize(len, 0);
            let all = link.ask(what, |to| Ask::Gather(own, to))?;
            parts.iter_mut().zip(all.chunks_exact(len)).for_each(|(part, own)| part.extend_from_slice(own));
        }
        parts.iter_mut().zip(lengths).for_each(|(part, len)| part.truncate(len as usize));
        Ok(parts)
    }

    /// `bytes` become those of rank 0.
    pub fn broadcast(&self, what: &str, bytes: &mut Vec<u8>) -> Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        let own = if self.leads() { bytes.len() as f64 } else { 0.0 };
        let len = link.ask(what, |to| Ask::WideSum(vec![own], to))?[0] as usize;
        bytes.resize(len, 0);
        for chunk in bytes.chunks_mut(CHUNK) {
            let own = chunk.to_vec();
            chunk.copy_from_slice(&link.ask(what, |to| Ask::Broadcast(own, to))?);
        }
        Ok(())
    }

    /// Of each flag whether one rank at least has it.
    pub fn any<const N: usize>(&self, what: &str, flags: [bool; N]) -> Result<[bool; N]> {
        let mut counts = flags.map(f64::from);
        self.sum(what, &mut counts);
        self.check()?;
        Ok(counts.map(|count| count > 0.0))
    }

    /// Refuses ranks that have not the same as rank 0: another version of the program, other instructions or, as `differences` between
    /// what rank 0 has and what another has say, something else. `verb` is what they are about to do.
    pub fn agree<T: Serialize + DeserializeOwned>(
        &self,
        verb: &str,
        isa: &str,
        own: &T,
        differences: impl Fn(&T, &T) -> Vec<String>,
    ) -> Result<()> {
        if self.size == 1 {
            return Ok(());
        }
        let own = serde_json::to_vec(&(Program::new(isa), own))?;
        let all = self.gather("what all have", own)?;
        // Another version may say something else.
        let all: Vec<(Program, Value)> =
            all.iter().map(|part| serde_json::from_slice(part)).collect::<Result<_, _>>()?;
        let (program, here) = &all[0];
        let mut problems = Vec::new();
        for (rank, ((other, there), host)) in all.iter().zip(&self.hosts).enumerate().skip(1) {
            let mut found = program.differences(other);
            if found.is_empty() {
                found = differences(&T::deserialize(here)?, &T::deserialize(there)?);
            }
            problems.extend(found.iter().map(|problem| format!("rank {rank} ({host}) {problem}")));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => {
                Err(UsageError(format!("the ranks do not {verb} the same: {}", problems.join("; "))).into())
            }
        }
    }

    /// The same for what was asked for, an object of values.
    pub fn agree_on(&self, verb: &str, isa: &str, asked: &Value) -> Result<()> {
        self.agree(verb, isa, asked, |here, there| {
            let mut found = Vec::new();
            unlike("", here, there, &mut found);
            found
        })
    }

    /// Waits until all ranks have come.
    fn barrier(&self, what: &str) {
        // Of something, for a sum of nothing waits for nobody.
        self.sum(what, &mut [0.0]);
    }

    /// Whether the others are there.
    fn check(&self) -> Result<()> {
        match &self.link {
            Some(link) if link.doing.is_lost() => Err(anyhow!(LOST)),
            _ => Ok(()),
        }
    }

    /// What summing has cost this rank so far.
    pub fn exchange(&self) -> Exchange {
        let Some(link) = &self.link else { return Exchange::default() };
        let of = |time: &AtomicU64| Duration::from_nanos(time.load(Ordering::Relaxed));
        Exchange { in_flight: of(&link.clock.in_flight), waited: of(&link.clock.waited) }
    }

    /// Those who take a step together; none where this rank is alone.
    pub fn peers(&self) -> Option<&dyn Peers> {
        (self.size > 1).then_some(self)
    }
}

/// What computes at a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    version: String,
    /// Its instructions.
    pub isa: String,
}

impl Program {
    /// This one.
    pub fn new(isa: &str) -> Self {
        Program { version: env!("CARGO_PKG_VERSION").into(), isa: isa.into() }
    }

    /// Why `other` would not compute the same as this, which is rank 0's.
    pub fn differences(&self, other: &Program) -> Vec<String> {
        let Program { version, isa } = other;
        let version =
            (*version != self.version).then(|| format!("is version {version}, rank 0 is {}", self.version));
        let isa = (*isa != self.isa).then(|| {
            format!(
                "computes with {isa}, rank 0 with {}, which round otherwise: set INCEPTION_ISA to one that all have",
                self.isa
            )
        });
        version.into_iter().chain(isa).collect()
    }
}

/// Characters of a value in a message.
const SHOWN: usize = 60;

/// Where an object is `there` another than `here`, at rank 0.
fn unlike(name: &str, here: &Value, there: &Value, found: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(here), Value::Object(there)) => {
            let dot = if name.is_empty() { "" } else { "." };
            for (key, value) in here {
                unlike(&format!("{name}{dot}{key}"), value, there.get(key).unwrap_or(&Value::Null), found);
            }
        }
        _ if here != there => {
            let [here, there] = [here, there].map(Value::to_string);
            found.push(match here.len().max(there.len()) <= SHOWN {
                true => format!("has `{name}` {there}, rank 0 has {here}"),
                false => format!("has another `{name}` than rank 0"),
            });
        }
        _ => {}
    }
}

const LOST: &str = "MPI is not there any more: start the command again with --resume";

impl Link {
    fn send<T>(&self, what: &str, ask: impl FnOnce(Sender<T>) -> Ask) -> Receiver<T> {
        let (to, from) = channel();
        let _ = self.asks.send(Named { what: what.into(), ask: ask(to) });
        from
    }

    fn ask<T>(&self, what: &str, ask: impl FnOnce(Sender<T>) -> Ask) -> Result<T> {
        self.send(what, ask).recv().map_err(|_| {
            self.doing.lose();
            anyhow!(LOST)
        })
    }
}

impl Peers for World {
    fn begin(&self, what: &str, values: Vec<f32>, wire: Wire) {
        if let Some(link) = &self.link {
            let from = link.send(what, |to| Ask::Sum(values, wire, to));
            lock(&link.begun).push_back(from);
        }
    }

    fn finish(&self) -> Result<Vec<f32>, PeersLost> {
        let lost = || PeersLost(LOST.into());
        let link = self.link.as_ref().ok_or_else(lost)?;
        let from = lock(&link.begun).pop_front().ok_or_else(lost)?;
        let start = Instant::now();
        let sums = from.recv().map_err(|_| {
            link.doing.lose();
            lost()
        });
        link.clock.waited.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        sums
    }

    fn sum(&self, what: &str, values: &mut [f64]) {
        let Some(link) = &self.link else { return };
        if let Ok(sums) = link.ask(what, |to| Ask::WideSum(values.to_vec(), to)) {
            values.copy_from_slice(&sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_unlike_is_named() {
        let here = json!({"crops": 12, "network": {"side": 299, "weights": "a".repeat(64)}, "same": [1]});
        let there = json!({"crops": 144, "network": {"side": 299, "weights": "b".repeat(64)}, "same": [1]});
        let mut found = Vec::new();
        unlike("", &here, &there, &mut found);
        assert_eq!(found, ["has `crops` 144, rank 0 has 12", "has another `network.weights` than rank 0"]);
        let (own, other) = (Program::new("avx2"), Program { version: "0.0.1".into(), isa: "avx512".into() });
        assert!(own.differences(&own).is_empty());
        let found = own.differences(&other).join("; ");
        assert!(
            found.contains("is version 0.0.1") && found.contains("computes with avx512, rank 0 with avx2")
        );
    }
}
