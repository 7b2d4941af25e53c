//! One pool of threads: fork–join over numbered tasks.
//!
//! ```text
//! run(tasks, f):  publish f, epoch += 1          worker: wait for a new epoch (spin briefly, then park)
//!                 take tasks by counter                  take tasks by counter
//!                 wait until all workers are out         leave
//! ```
//! A network of 150 convolutions forks several hundred times a pass; waking a parked thread costs some 50 µs, spinning
//! through the gap costs nothing measurable. Tasks are taken dynamically, which tolerates a preempted core; their
//! results may not depend on who computes them.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a worker spins for the next fork before it parks.
const SPIN: Duration = Duration::from_micros(200);

type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    epoch: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    working: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    parked: Mutex<usize>,
    wake: Condvar,
}

// SAFETY: `job` is written only by the thread that holds `Pool::owner`, while no worker is inside an epoch, and read by
// workers after they have seen the epoch that published it.
unsafe impl Sync for Shared {}
// SAFETY: as above; the job pointer is never used outside its epoch.
unsafe impl Send for Shared {}

impl Shared {
    fn take_tasks(&self, job: Job) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let tasks = self.tasks.load(Ordering::Relaxed);
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    break;
                }
                // SAFETY: `run` keeps the closure alive until every worker has left the epoch.
                unsafe { (*job)(task) };
            }
        }));
        if let Err(panic) = result {
            self.next.store(self.tasks.load(Ordering::Relaxed), Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(panic);
        }
    }

    fn work(&self) {
        let mut seen = 0;
        loop {
            let start = Instant::now();
            let mut spins = 0u32;
            while self.epoch.load(Ordering::Acquire) == seen {
                spins += 1;
                if !spins.is_multiple_of(64) {
                    std::hint::spin_loop();
                } else if start.elapsed() > SPIN {
                    let mut parked = self.parked.lock().unwrap_or_else(|e| e.into_inner());
                    *parked += 1;
                    while self.epoch.load(Ordering::Acquire) == seen {
                        parked = self.wake.wait(parked).unwrap_or_else(|e| e.into_inner());
                    }
                    *parked -= 1;
                }
            }
            seen = self.epoch.load(Ordering::Acquire);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: published before the epoch and unchanged until this worker has left it.
            if let Some(job) = unsafe { *self.job.get() } {
                self.take_tasks(job);
            }
            self.working.fetch_sub(1, Ordering::Release);
        }
    }

    fn publish(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
        // The lock orders this with a worker that is about to park.
        if *self.parked.lock().unwrap_or_else(|e| e.into_inner()) > 0 {
            self.wake.notify_all();
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
            epoch: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            parked: Mutex::new(0),
            wake: Condvar::new(),
        });
        // A system that refuses a thread leaves a smaller pool, which computes the same.
        let workers = (1..threads)
            .map_while(|i| {
                let shared = shared.clone();
                std::thread::Builder::new().name(format!("kernel-{i}")).spawn(move || shared.work()).ok()
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
        let alone = tasks <= 1 || self.workers.is_empty();
        let Some(_owner) = (if alone { None } else { self.owner.try_lock().ok() }) else {
            return (0..tasks).for_each(f);
        };
        let job: *const (dyn Fn(usize) + Sync) = &f as &(dyn Fn(usize) + Sync);
        // SAFETY: only the lifetime is erased; the loop below outwaits every use of the pointer.
        let job: Job = unsafe { std::mem::transmute(job) };
        let shared = &*self.shared;
        // SAFETY: this thread owns the pool and no worker is inside an epoch (`working` is zero).
        unsafe { *shared.job.get() = Some(job) };
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.working.store(self.workers.len(), Ordering::Relaxed);
        shared.publish();
        shared.take_tasks(job);
        let mut spins = 0u32;
        while shared.working.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins.is_multiple_of(4096) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        if let Some(panic) = shared.panic.lock().unwrap_or_else(|e| e.into_inner()).take() {
            drop(_owner);
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.publish();
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
