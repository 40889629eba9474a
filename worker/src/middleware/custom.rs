//! Middleware written in Rust: an async function that receives the message and what comes after it.

use std::{future::Future, sync::Arc};

use serde_json::Value;

use crate::{engine::Next, handler::custom::BoxFuture, message::Message, outcome::Outcome};

/// A step around the steps after it. Most are made by [`from_fn`].
pub trait Middleware: Send + Sync + 'static {
    /// Runs the step; `next.run(message)` runs the rest. `config` is the spec's.
    fn call(&self, message: Message, next: Next, config: &Arc<Value>) -> BoxFuture<Outcome>;
}

pub(crate) use Middleware as DynMiddleware;

/// Makes a middleware of an async function. `Next` is owned, so the future borrows nothing.
///
/// ```
/// use routemq_worker::{Message, Next, Outcome, Registry, middleware::from_fn};
///
/// async fn only_retained(message: Message, next: Next) -> Outcome {
///     if message.retain() { next.run(message).await } else { Outcome::Dropped("NotRetained") }
/// }
///
/// let registry = Registry::new().middleware("only-retained", from_fn(only_retained));
/// assert_eq!(registry.middleware_names().collect::<Vec<_>>(), ["only-retained"]);
/// ```
pub fn from_fn<F, Fut>(function: F) -> impl Middleware
where
    F: Fn(Message, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    FromFn(function)
}

/// Makes a middleware of an async function that also takes the spec's `config`.
///
/// ```
/// use std::sync::Arc;
/// use routemq_worker::{Message, Next, Outcome, middleware::from_fn_with_config};
///
/// async fn minimum_qos(message: Message, next: Next, config: Arc<serde_json::Value>) -> Outcome {
///     if message.qos() as u64 >= config["qos"].as_u64().unwrap_or(0) {
///         next.run(message).await
///     } else {
///         Outcome::Rejected("LowQos")
///     }
/// }
///
/// let _middleware = from_fn_with_config(minimum_qos);
/// ```
pub fn from_fn_with_config<F, Fut>(function: F) -> impl Middleware
where
    F: Fn(Message, Next, Arc<Value>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    FromFnWithConfig(function)
}

struct FromFn<F>(F);
struct FromFnWithConfig<F>(F);

impl<F, Fut> Middleware for FromFn<F>
where
    F: Fn(Message, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn call(&self, message: Message, next: Next, _config: &Arc<Value>) -> BoxFuture<Outcome> {
        Box::pin((self.0)(message, next))
    }
}

impl<F, Fut> Middleware for FromFnWithConfig<F>
where
    F: Fn(Message, Next, Arc<Value>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn call(&self, message: Message, next: Next, config: &Arc<Value>) -> BoxFuture<Outcome> {
        Box::pin((self.0)(message, next, Arc::clone(config)))
    }
}
