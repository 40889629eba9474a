//! Bounds every request in time, and lets no write through once this operator no longer leads.
//!
//! # Guarantee
//! - A request is answered within [`LONGEST`], or fails: a server that hangs holds nothing up.
//! - A write is given up when the trust in the own leadership ends ([`Leadership::until`]), while another operator must still wait.
//! - [`Writes::are_over`] knows of each write that was sent and not answered: until none can still be on its way, the Lease must not be given up.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use kube::client::Body;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

use crate::leader::{DURATION, Leadership};

/// How long any request may take until its answer begins.
pub const LONGEST: Duration = Duration::from_secs(15);

/// Wraps a client so that requests are bounded, and everything but reads asks [`Leadership::until`] first.
#[derive(Clone, Debug)]
pub struct Fence {
    leadership: Leadership,
    writes: Writes,
}

impl Fence {
    /// Writes are counted in `writes`.
    #[must_use]
    pub fn new(leadership: Leadership, writes: Writes) -> Self {
        Self { leadership, writes }
    }
}

/// The client behind the fence.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    leadership: Leadership,
    writes: Writes,
}

/// Why a request got no answer from the API server.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Refused by ourselves: another operator may be leading.
    #[error("not the leader any more: the write was not sent")]
    NotLeading,
    /// Given up.
    #[error("no answer in time")]
    TimedOut,
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, leadership: self.leadership.clone(), writes: self.writes.clone() }
    }
}

impl<S> Fenced<S> {
    /// Until when the request may take, and its entry among the writes if it is one.
    fn admit(&self, method: &Method) -> Result<(Instant, Option<Ticket>), FenceError> {
        let latest = Instant::now() + LONGEST;
        if method == Method::GET {
            return Ok((latest, None));
        }
        let until = self.leadership.until().ok_or(FenceError::NotLeading)?;
        Ok((latest.min(until), Some(self.writes.begin())))
    }
}

impl<S, B> Service<Request<Body>> for Fenced<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let admitted = self.admit(request.method());
        let admitted = admitted.map(|admitted| (admitted, self.inner.call(request)));
        Box::pin(async move {
            let ((deadline, ticket), call) = admitted?;
            let answer = timeout_at(deadline, call).await.map_err(|_| FenceError::TimedOut)?;
            let answer = answer.map_err(Into::<BoxError>::into)?;
            if let Some(ticket) = ticket {
                ticket.answered();
            }
            Ok(answer)
        })
    }
}

/// The writes that may still be on their way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Writes(Arc<Mutex<Fates>>);

#[derive(Debug, Default)]
struct Fates {
    open: usize,
    abandoned: Option<Instant>,
}

impl Writes {
    /// Whether every write was answered, or given up so long ago that its fate is settled.
    #[must_use]
    pub fn are_over(&self) -> bool {
        let fates = self.lock();
        fates.open == 0 && fates.abandoned.is_none_or(|at| at.elapsed() >= DURATION)
    }

    fn begin(&self) -> Ticket {
        self.lock().open += 1;
        Ticket { writes: self.clone(), answered: false }
    }

    fn lock(&self) -> MutexGuard<'_, Fates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One write; dropped without an answer, its fate is unknown.
#[derive(Debug)]
struct Ticket {
    writes: Writes,
    answered: bool,
}

impl Ticket {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut fates = self.writes.lock();
        fates.open -= 1;
        if !self.answered {
            fates.abandoned = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use tower::ServiceExt as _;

    use super::*;
    use crate::leader::TRUST;

    fn request(method: Method) -> Request<Body> {
        Request::builder().method(method).uri("/").body(Body::empty()).unwrap()
    }

    /// How a server that answers, or never does, looks from behind the fence.
    async fn outcome(answers: bool, leads: bool, method: Method) -> (String, Duration, Writes) {
        let (leadership, writes) = (Leadership::default(), Writes::default());
        leadership.set(leads.then(|| Instant::now() + TRUST));
        let server = tower::service_fn(move |_: Request<Body>| async move {
            if answers { Ok::<_, Infallible>(Response::new(())) } else { pending().await }
        });
        let fenced = Fence::new(leadership, writes.clone()).layer(server);
        let began = Instant::now();
        let answer = fenced.oneshot(request(method)).await;
        (answer.map_or_else(|error| error.to_string(), |_| String::new()), began.elapsed(), writes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_holds_no_request_and_no_write_beyond_the_trust() {
        let (late, now) = ("no answer in time", Duration::ZERO);
        let rows = [
            ("a read", true, true, Method::GET, "", now),
            ("a read that hangs", false, true, Method::GET, late, LONGEST),
            ("a read without leading", true, false, Method::GET, "", now),
            ("a write", true, true, Method::PATCH, "", now),
            ("a write that hangs", false, true, Method::PATCH, late, TRUST),
            (
                "a write without leading",
                true,
                false,
                Method::POST,
                "not the leader any more: the write was not sent",
                now,
            ),
        ];
        for (name, answers, leads, method, error, took) in rows {
            let (seen, elapsed, _) = outcome(answers, leads, method).await;
            assert_eq!((seen.as_str(), elapsed.as_secs()), (error, took.as_secs()), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_over_when_each_was_answered_or_given_up_for_as_long_as_a_lease_lasts() {
        assert!(outcome(true, true, Method::PATCH).await.2.are_over());
        let (.., hung) = outcome(false, true, Method::PATCH).await;
        assert!(!hung.are_over(), "it may still arrive");
        tokio::time::advance(DURATION).await;
        assert!(hung.are_over());
    }
}
