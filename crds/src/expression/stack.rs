//! A stack that the CEL parser cannot overflow.
//!
//! The parser is generated code that recurses for each operator (2,000 of them fit into a payload's
//! expression), and a stack overflow cannot be caught: it would end a worker or an operator.

use std::{
    cell::Cell,
    io,
    panic::{self, AssertUnwindSafe},
    thread,
};

/// Enough for an expression that is nothing but operators; only what is used becomes memory.
const STACK: usize = 256 << 20;

thread_local! {
    static IS_ROOMY: Cell<bool> = const { Cell::new(false) };
}

/// Why there is no result.
pub(crate) enum Refused {
    /// The work panicked; the hook has printed where.
    Panicked,
    /// The system has no thread for us.
    NoThread(io::Error),
}

/// Runs `work` on a thread with a large stack: on this one where it is such a thread already, so
/// that a whole spec needs one (the parser's caches are per thread).
pub(crate) fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Refused> {
    if IS_ROOMY.get() {
        return panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Refused::Panicked);
    }
    thread::scope(|threads| {
        let parser = thread::Builder::new().name("compile".to_owned()).stack_size(STACK);
        let work = || {
            IS_ROOMY.set(true);
            work()
        };
        let thread = parser.spawn_scoped(threads, work).map_err(Refused::NoThread)?;
        thread.join().map_err(|_| Refused::Panicked)
    })
}
