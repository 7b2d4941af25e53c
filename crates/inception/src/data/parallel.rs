//! One piece of work for each index, on plain threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use crate::data::DataError;

/// The results of `work` for all indices below `count`, in order; `done` is called after each, on this thread. The result
/// does not depend on the number of threads.
pub(super) fn map<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    mut done: impl FnMut(),
) -> Result<Vec<T>, DataError> {
    let next = AtomicUsize::new(0);
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    std::thread::scope(|scope| {
        let (send, receive) = channel();
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (send, next, work) = (send.clone(), &next, &work);
            let thread = move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    // A defect is an error with a name, not the end of the program.
                    let result = catch_unwind(AssertUnwindSafe(|| work(i))).ok();
                    if send.send((i, result)).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new()
                .name("data".into())
                .spawn_scoped(scope, thread)
                .map_err(|e| DataError::Worker(e.to_string()))?;
        }
        drop(send);
        for (i, result) in receive {
            results[i] = result;
            done();
        }
        Ok(())
    })?;
    let whole: Option<Vec<T>> = results.into_iter().collect();
    whole.ok_or_else(|| DataError::Worker("a file made it panic: report it".into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_order_on_any_number_of_threads() {
        for (count, threads) in [(0, 3), (1, 4), (100, 1), (100, 7)] {
            let mut done = 0;
            let squares = super::map(count, threads, |i| i * i, || done += 1).unwrap();
            assert_eq!((squares, done), ((0..count).map(|i| i * i).collect(), count));
        }
        let error = super::map(3, 2, |i| assert!(i < 2), || {}).unwrap_err();
        assert!(error.to_string().contains("report it"), "{error}");
    }
}
