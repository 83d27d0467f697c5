//! The same function over many items, on several threads, results in order.

use std::num::NonZero;

/// Fewer items than this for each thread are not worth starting one.
const LEAST: usize = 8;

/// Applies `work` to every item. `threads` 0 = as many as the machine has.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let available = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if threads == 0 { available() } else { threads };
    let threads = threads.min(items.len() / LEAST);
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    let mut parts: Vec<Vec<T>> = Vec::with_capacity(threads);
    let mut rest = items.into_iter();
    loop {
        let part: Vec<T> = rest.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        parts.push(part);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let mut results = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn order_does_not_depend_on_threads() {
        for count in [0, 1, 15, 16, 100, 101] {
            let wanted: Vec<usize> = (0..count).map(|n| n * 2).collect();
            for threads in [0, 1, 2, 7] {
                assert_eq!(super::map((0..count).collect(), threads, |n| n * 2), wanted);
            }
        }
    }
}
