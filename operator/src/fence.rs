//! Lets no write through once this operator no longer leads.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::leader::Leadership;

/// Wraps a client so that everything but reads asks [`Leadership::holds`] first.
#[derive(Clone, Debug)]
pub struct Fence(pub Leadership);

/// The client behind the fence.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    leadership: Leadership,
}

/// Refused by ourselves: another operator may be leading.
#[derive(Debug, thiserror::Error)]
#[error("not the leader any more: the write was not sent")]
pub struct NotLeading;

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, leadership: self.0.clone() }
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
        let refused: Either<_, Ready<Result<Response<B>, BoxError>>> =
            if request.method() == Method::GET || self.leadership.holds() {
                Either::Left(self.inner.call(request))
            } else {
                Either::Right(ready(Err(NotLeading.into())))
            };
        Box::pin(async move {
            match refused {
                Either::Left(call) => call.await.map_err(Into::into),
                Either::Right(refusal) => refusal.await,
            }
        })
    }
}
