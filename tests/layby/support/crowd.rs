//! Many at once.

use std::sync::{Barrier, Mutex};

/// Lets everybody go at the same moment. Gives what became of each, in their order.
pub(crate) fn at_once<T: Sync, R: Send>(people: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let start = Barrier::new(people.len());
    let go = |person| {
        start.wait();
        act(person)
    };
    let go = &go;
    std::thread::scope(|scope| {
        let threads: Vec<_> = people
            .iter()
            .map(|person| scope.spawn(move || go(person)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// Lets everybody go, so many at a time. Gives what became of each, in their order.
pub(crate) fn some_at_a_time<T: Send, R: Send>(
    threads: usize,
    people: Vec<T>,
    act: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let queue = Mutex::new(people.into_iter().enumerate());
    let ends = Mutex::new(Vec::new());
    let next = || queue.lock().expect("not poisoned").next();
    let work = || {
        while let Some((place, person)) = next() {
            let end = act(person);
            ends.lock().expect("not poisoned").push((place, end));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut ends = ends.into_inner().expect("not poisoned");
    ends.sort_by_key(|(place, _)| *place);
    ends.into_iter().map(|(_, end)| end).collect()
}
