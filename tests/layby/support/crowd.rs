//! Many at once.

use std::sync::Barrier;

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
