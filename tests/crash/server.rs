//! An API server that refuses everything for a while: too busy, broken, or with a history that is gone.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::{
    client::{Body, ClientBuilder},
    core::Status,
};
use tokio::time::{Instant, sleep_until};
use tower::{BoxError, Layer, Service};

use crate::world::World;

/// How long it refuses.
const REFUSES: Duration = Duration::from_secs(20);
/// How soon all is well afterwards.
const CONVERGED: Duration = Duration::from_secs(30);

/// Answers everything with one status until a moment.
#[derive(Clone, Debug)]
struct Refusing {
    code: u16,
    until: Instant,
}

impl<S> Layer<S> for Refusing {
    type Service = Refused<S>;

    fn layer(&self, inner: S) -> Refused<S> {
        Refused { inner, refusing: self.clone() }
    }
}

#[derive(Clone, Debug)]
struct Refused<S> {
    inner: S,
    refusing: Refusing,
}

impl<S, B> Service<Request<Body>> for Refused<S>
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
        if Instant::now() < self.refusing.until {
            return Box::pin(std::future::ready(Err(refusal(self.refusing.code).into())));
        }
        let call = self.inner.call(request);
        Box::pin(async move { call.await.map_err(Into::into) })
    }
}

/// As kube reads it of an API server.
fn refusal(code: u16) -> kube::Error {
    let message = "refused by the test".to_owned();
    kube::Error::Api(Box::new(Status { code, message, ..Status::default() }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_refuses_everything_for_a_while_is_followed_within_half_a_minute() {
    for code in [429, 500, 410] {
        let world = World::new();
        world.apply(1, "devices/{id}/status");
        let until = Instant::now() + REFUSES;
        let end = async {
            sleep_until(until).await;
            world.settled(CONVERGED).await;
        };
        let client = ClientBuilder::try_from(world.config().await).unwrap();
        world.control(client.with_layer(&Refusing { code, until }).build(), end).await;
    }
}
