//! A layer between the controller and the API server that fails as it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

/// Where the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the request with this number is sent.
    Before(usize),
    /// After it was answered, with the answer unread.
    After(usize),
    /// Nowhere.
    Never,
}

/// Counts the requests of reconciles, and cuts the process off at one.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    cut: Cut,
    count: Arc<AtomicUsize>,
    dead: watch::Sender<bool>,
}

impl Fault {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, count: Arc::default(), dead: watch::Sender::new(false) }
    }

    /// Requests of reconciles so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the process was cut off.
    pub(crate) async fn death(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }

    /// The request's number, if it is a reconcile's: watches, and the lists that they begin with, come in no fixed order.
    fn number(&self, request: &Request<Body>) -> Option<usize> {
        let query = request.uri().query().unwrap_or_default();
        let watches = query.contains("watch=") || query.contains("limit=");
        (!watches).then(|| self.count.fetch_add(1, Ordering::SeqCst))
    }
}

impl<S> Layer<S> for Fault {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, fault: self.clone() }
    }
}

/// The client behind it.
#[derive(Clone, Debug)]
pub(crate) struct Faulty<S> {
    inner: S,
    fault: Fault,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let number = self.fault.number(&request);
        let fault = self.fault.clone();
        let is = |cut: fn(usize) -> Cut| number.is_some_and(|number| fault.cut == cut(number));
        let (before, after) = (is(Cut::Before), is(Cut::After));
        if before || *fault.dead.borrow() {
            fault.dead.send_replace(true);
            return Box::pin(async { Err("killed".into()) });
        }
        let call = self.inner.call(request);
        Box::pin(async move {
            let answer = call.await.map_err(Into::<BoxError>::into)?;
            if after {
                fault.dead.send_replace(true);
                return Err("killed".into());
            }
            Ok(answer)
        })
    }
}
