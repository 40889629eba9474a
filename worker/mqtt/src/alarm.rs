//! One timer for all deadlines of a connection.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Rings at or before the deadline: it is set anew only for an earlier one, or after it rang.
/// Deadlines move on with each packet, and setting a timer each time costs more than waking up once
/// too often.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(crate) fn new() -> Self {
        Self(Box::pin(sleep(Duration::ZERO)))
    }

    /// Whether it is time to look at the deadlines.
    pub(crate) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.0.is_elapsed() || deadline < self.0.deadline() {
            self.0.set(sleep_until(deadline));
        }
        self.0.as_mut().poll(cx)
    }
}
