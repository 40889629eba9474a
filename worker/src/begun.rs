//! Work that most often is at its end as soon as it was begun.
//!
//! A future is moved when it is first waited for, at each level that waits for it; a value that is there already is not. So what
//! handles a message is called, not awaited, and becomes a future where something really waits.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Work that was begun: at its end, or to be waited for.
#[derive(Debug)]
pub(crate) enum Begun<T, R> {
    /// With what it came to.
    Ended(T),
    /// With what is left of it: small, since it is handed up as it is, and becomes a future where it stays.
    Waits(R),
}

impl<T, R> Begun<T, R> {
    /// Its end; `wait` makes a future of what is left.
    pub(crate) async fn end<F: Future<Output = T>>(self, wait: impl FnOnce(R) -> F) -> T {
        match self {
            Self::Ended(ended) => ended,
            Self::Waits(rest) => wait(rest).await,
        }
    }
}

/// Begins `work`. One that waits has been polled without a waker: whoever takes it polls it again.
pub(crate) fn begin<F: Future + Unpin>(mut work: F) -> Begun<F::Output, F> {
    match Pin::new(&mut work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Begun::Ended(output),
        Poll::Pending => Begun::Waits(work),
    }
}
