//! One pool of threads: fork–join over numbered tasks.
//!
//! ```text
//! run(tasks, f):  open the gate                  worker: wait for a gate that opens (spin briefly, then park)
//!                 take tasks, own share first            enter, take tasks, leave
//!                 close it, wait for those inside
//! ```
//! A network of 150 convolutions forks several hundred times a pass; waking a parked thread costs some 50 µs, spinning
//! through the gap costs nothing measurable. Each thread begins with a share of neighbouring tasks, the same share of
//! every fork, and then helps the others: what a core wrote is likely to be read by itself, which matters where two cores
//! do not share a cache (a line that another one wrote takes six times as long as within one such group). The results of
//! tasks may not depend on who computes them. On cores shared with other programs a worker may be off its core for
//! milliseconds: one that has not entered is not waited for, and waiting for one that has ends in sleep, which frees a
//! core for it.
//!
//! Errands are work beside the forks, such as decoding the next pictures: a worker between two forks takes one, and the
//! forks go on without it until it is done. Threads of their own would share the cores with the pool's, and a fork would
//! wait for a worker that the system took off its core in the middle of a task.

use std::any::Any;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::view::part;

/// How long a thread spins before it sleeps: a worker for the next fork, the caller for the last worker.
const SPIN: Duration = Duration::from_micros(200);

type Job = *const (dyn Fn(usize, usize) + Sync);
type Errand = Box<dyn FnOnce() + Send>;

// The gate in one word: how many workers are inside, whether more may enter, whether the caller sleeps, and which fork
// it is.
const INSIDE: u64 = (1 << 16) - 1;
const OPEN: u64 = 1 << 16;
const ASLEEP: u64 = 1 << 17;
const FORK: u64 = 1 << 18;

/// The next of a thread's tasks, alone in its cache line (and in the one that is fetched with it).
#[repr(align(128))]
#[derive(Default)]
struct Share(AtomicUsize);

struct Shared {
    gate: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    tasks: AtomicUsize,
    /// The next task of each thread's share.
    shares: Vec<Share>,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    errands: Mutex<VecDeque<Errand>>,
    /// Errands that nobody has taken, so that a look costs no lock.
    untaken: AtomicUsize,
    /// Workers asleep.
    parked: Mutex<usize>,
    wake: Condvar,
    left: Condvar,
}

// SAFETY: `job` is written only by the thread that holds `Pool::owner`, while no worker is inside the gate, and read by
// workers inside it, who have seen the opening that published it.
unsafe impl Sync for Shared {}
// SAFETY: as above; the job pointer is never used outside its fork.
unsafe impl Send for Shared {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Drops what a task raised. That is the program's code, which could panic again, past the wait for those inside.
fn discard(mut panic: Box<dyn Any + Send>) {
    // What its drop raises may do the same, but not for ever.
    for _ in 0..4 {
        match catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            Ok(()) => return,
            Err(again) => panic = again,
        }
    }
    std::mem::forget(panic);
}

/// Spins until `done` or for [`SPIN`]; whether it is done.
fn spin_until(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > SPIN {
            return false;
        }
    }
}

impl Shared {
    fn gate(&self) -> u64 {
        self.gate.load(Ordering::Acquire)
    }

    /// The tasks that `thread` begins with.
    fn share(&self, thread: usize) -> Range<usize> {
        part(thread, self.shares.len(), self.tasks.load(Ordering::Relaxed))
    }

    fn take_tasks(&self, worker: usize, job: Job) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let threads = self.shares.len();
            // Its own share, then what is left of the others'.
            for owner in (worker..threads).chain(0..worker) {
                let end = self.share(owner).end;
                loop {
                    let task = self.shares[owner].0.fetch_add(1, Ordering::Relaxed);
                    if task >= end {
                        break;
                    }
                    // SAFETY: `run` keeps the closure alive until every worker has left.
                    unsafe { (*job)(worker, task) };
                }
            }
        }));
        if let Err(panic) = result {
            for (owner, next) in self.shares.iter().enumerate() {
                next.0.store(self.share(owner).end, Ordering::Relaxed);
            }
            let mut first = lock(&self.panic);
            if first.is_none() {
                *first = Some(panic);
            } else {
                discard(panic);
            }
        }
    }

    /// Does an errand; whether there was one. Its panic is its own.
    fn run_errand(&self) -> bool {
        if self.untaken.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut errands = lock(&self.errands);
        let Some(errand) = errands.pop_front() else { return false };
        self.untaken.store(errands.len(), Ordering::Release);
        drop(errands);
        catch_unwind(AssertUnwindSafe(errand)).unwrap_or_else(discard);
        true
    }

    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            if self.run_errand() {
                continue;
            }
            let new = || self.gate() / FORK != seen || self.untaken.load(Ordering::Acquire) > 0;
            if !spin_until(new) {
                let mut parked = lock(&self.parked);
                *parked += 1;
                while !new() {
                    parked = self.wake.wait(parked).unwrap_or_else(|e| e.into_inner());
                }
                *parked -= 1;
            }
            let gate = self.gate();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if gate & OPEN == 0 {
                seen = gate / FORK;
            } else if self.gate.compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                seen = gate / FORK;
                // SAFETY: published before the gate was opened and unchanged while this worker is inside.
                if let Some(job) = unsafe { *self.job.get() } {
                    self.take_tasks(worker, job);
                }
                let before = self.gate.fetch_sub(1, Ordering::AcqRel);
                if before & ASLEEP != 0 && before & INSIDE == 1 {
                    // Taken, so that the caller is either before its last look or asleep.
                    drop(lock(&self.parked));
                    self.left.notify_one();
                }
            }
        }
    }

    /// Opens the gate of the next fork; nobody is inside.
    fn open(&self) {
        self.gate.store(((self.gate() / FORK + 1) * FORK) | OPEN, Ordering::Release);
        // The lock orders this with a worker that is about to park.
        if *lock(&self.parked) > 0 {
            self.wake.notify_all();
        }
    }

    /// Lets nobody else in and returns when all have left.
    fn close(&self) {
        self.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let empty = || self.gate() & INSIDE == 0;
        if !spin_until(empty) {
            let mut guard = lock(&self.parked);
            self.gate.fetch_or(ASLEEP, Ordering::AcqRel);
            while !empty() {
                guard = self.left.wait(guard).unwrap_or_else(|e| e.into_inner());
            }
        }
    }
}

/// A fixed number of threads for kernels; the calling thread is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    owner: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the caller's included.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            tasks: AtomicUsize::new(0),
            shares: (0..threads.clamp(1, INSIDE as usize)).map(|_| Share::default()).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            errands: Mutex::new(VecDeque::new()),
            untaken: AtomicUsize::new(0),
            parked: Mutex::new(0),
            wake: Condvar::new(),
            left: Condvar::new(),
        });
        // A system that refuses a thread leaves a smaller pool, which computes the same.
        let workers = (1..threads.min(INSIDE as usize))
            .map_while(|i| {
                let shared = shared.clone();
                std::thread::Builder::new().name(format!("kernel-{i}")).spawn(move || shared.work(i)).ok()
            })
            .collect();
        Pool { shared, workers, owner: Mutex::new(()) }
    }

    /// Threads that take tasks.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(0)` … `f(tasks - 1)`, each once, on all threads; returns when all are done. While another thread (or
    /// an outer `run`) uses the pool, the calling thread does its tasks alone. A panic in a task is raised here.
    pub fn run(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        self.run_on(tasks, |_, task| f(task));
    }

    /// [`Self::run`] of `f(worker, task)`: no two tasks of the same worker, of [`Self::threads`], run at the same time, so
    /// that each worker may have memory of its own. Which tasks a worker takes is left to chance.
    pub fn run_on(&self, tasks: usize, f: impl Fn(usize, usize) + Sync) {
        let alone = tasks <= 1 || self.workers.is_empty();
        let Some(_owner) = (if alone { None } else { self.owner.try_lock().ok() }) else {
            return (0..tasks).for_each(|task| f(0, task));
        };
        let job: *const (dyn Fn(usize, usize) + Sync) = &f as &(dyn Fn(usize, usize) + Sync);
        // SAFETY: only the lifetime is erased; `close` outwaits every use of the pointer.
        let job: Job = unsafe { std::mem::transmute(job) };
        let shared = &*self.shared;
        // SAFETY: this thread owns the pool and no worker is inside the gate.
        unsafe { *shared.job.get() = Some(job) };
        shared.tasks.store(tasks, Ordering::Relaxed);
        for (thread, next) in shared.shares.iter().enumerate() {
            next.0.store(shared.share(thread).start, Ordering::Relaxed);
        }
        shared.open();
        shared.take_tasks(0, job);
        shared.close();
        if let Some(panic) = lock(&shared.panic).take() {
            drop(_owner);
            resume_unwind(panic);
        }
    }

    /// Leaves `errand` to the first worker that is between two forks, or to a thread in [`Self::help`]. It may use the pool
    /// itself; dropping the pool forgets it where it has not begun.
    pub fn spawn(&self, errand: impl FnOnce() + Send + 'static) {
        let shared = &*self.shared;
        let mut errands = lock(&shared.errands);
        errands.push_back(Box::new(errand));
        shared.untaken.store(errands.len(), Ordering::Release);
        drop(errands);
        // The lock orders this with a worker that is about to park.
        if *lock(&shared.parked) > 0 {
            shared.wake.notify_one();
        }
    }

    /// Does an errand that nobody has begun on the calling thread; whether there was one.
    pub fn help(&self) -> bool {
        self.shared.run_errand()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut errands = lock(&self.shared.errands);
        let forgotten = std::mem::take(&mut *errands);
        self.shared.untaken.store(0, Ordering::Release);
        drop(errands);
        drop(forgotten);
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.open();
        for worker in self.workers.drain(..) {
            // A worker cannot panic: its tasks are caught.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..20 {
                    pool.run(tasks, |i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(
                    counts.iter().all(|c| c.load(Ordering::Relaxed) == 20),
                    "{threads} threads, {tasks} tasks"
                );
            }
        }
    }

    #[test]
    fn parked_workers_wake() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            std::thread::sleep(SPIN * 5);
            let sum = AtomicUsize::new(0);
            pool.run(100, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn nested_and_concurrent_runs_finish() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    pool.run(10, |_| {
                        pool.run(10, |_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        })
                    })
                });
            }
        });
        assert_eq!(sum.into_inner(), 400);
    }

    /// Raised here instead, the drop's panic would leave `run` before the other tasks have ended.
    #[test]
    fn a_panic_whose_payload_panics_when_dropped_does_not_leave_early() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let pool = Pool::new(3);
        let meet = std::sync::Barrier::new(3);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(3, |_| {
                meet.wait();
                std::panic::panic_any(Bomb);
            });
        }));
        std::mem::forget(result.expect_err("a task's panic"));
        let ran = AtomicUsize::new(0);
        pool.run(10, |_| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 10);
    }

    #[test]
    fn errands_run_once_beside_forks_and_survive_a_panic() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            let done = Arc::new(AtomicUsize::new(0));
            for i in 0..60 {
                let done = done.clone();
                pool.spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    assert!(i % 7 != 3, "errand {i}");
                });
                let sum = AtomicUsize::new(0);
                pool.run(20, |task| {
                    sum.fetch_add(task, Ordering::Relaxed);
                });
                assert_eq!(sum.into_inner(), 190);
                if i % 20 == 0 {
                    // Workers park, and wake for an errand alone.
                    std::thread::sleep(SPIN * 5);
                }
            }
            while pool.help() {}
            let start = Instant::now();
            while done.load(Ordering::Relaxed) < 60 && start.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            assert_eq!(done.load(Ordering::Relaxed), 60, "{threads} threads");
        }
    }

    #[test]
    fn a_pool_that_is_dropped_forgets_errands() {
        let pool = Pool::new(1);
        let held = Arc::new(());
        let errand = held.clone();
        pool.spawn(move || drop(errand));
        drop(pool);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(50, |i| assert!(i != 17, "task 17"))));
        assert!(result.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
