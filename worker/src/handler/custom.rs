//! Handlers written in Rust: plain async functions whose arguments say what they need.

use std::{collections::BTreeMap, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use serde_json::Value;

use crate::{
    extract::{Context, FromMessage, IntoOutcome},
    message::Message,
    outcome::Outcome,
    registry::States,
};

/// A boxed future: what custom code costs, and built-ins do not.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A handler: any async function of up to eight arguments that are [`FromMessage`], returning
/// something that is [`IntoOutcome`]. `A` only tells the numbers of arguments apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is an async fn of at most 8 arguments that are `FromMessage` (Params<T>, Json<T>, State<T>, …), whose future is Send and whose result is `IntoOutcome`"
)]
pub trait Handler<A>: Send + Sync + 'static {
    /// Takes the arguments from the message and runs the function.
    fn call(&self, context: &Context<'_>) -> BoxFuture<Outcome>;

    /// The types of state that the arguments ask for and `states` has not.
    fn missing(states: &States) -> Vec<&'static str>;
}

/// A handler whose arguments are forgotten.
pub(crate) trait DynHandler: Send + Sync {
    fn call(&self, context: &Context<'_>) -> BoxFuture<Outcome>;
    fn missing(&self, states: &States) -> Vec<&'static str>;
}

pub(crate) struct Erased<H, A> {
    handler: H,
    arguments: PhantomData<fn(A)>,
}

impl<H, A> Erased<H, A> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler, arguments: PhantomData }
    }
}

impl<A: 'static, H: Handler<A>> DynHandler for Erased<H, A> {
    fn call(&self, context: &Context<'_>) -> BoxFuture<Outcome> {
        self.handler.call(context)
    }

    fn missing(&self, states: &States) -> Vec<&'static str> {
        H::missing(states)
    }
}

macro_rules! handlers {
    ($($argument:ident),*) => {
        impl<F, Fut, R, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoOutcome,
            $($argument: FromMessage + 'static,)*
        {
            #[expect(non_snake_case, reason = "the macro names values by their types")]
            fn call(&self, context: &Context<'_>) -> BoxFuture<Outcome> {
                $(let $argument = match $argument::from_message(context) {
                    Ok(value) => value,
                    Err(rejection) => {
                        let failure = rejection.into();
                        return Box::pin(std::future::ready(Outcome::Failed(failure)));
                    }
                };)*
                let future = self($($argument),*);
                Box::pin(async move { future.await.into_outcome() })
            }

            fn missing(states: &States) -> Vec<&'static str> {
                [$($argument::missing_state(states)),*].into_iter().flatten().collect()
            }
        }
    };
}

impl<F, Fut, R> Handler<()> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoOutcome,
{
    fn call(&self, _context: &Context<'_>) -> BoxFuture<Outcome> {
        let future = self();
        Box::pin(async move { future.await.into_outcome() })
    }

    fn missing(_states: &States) -> Vec<&'static str> {
        Vec::new()
    }
}

handlers!(A1);
handlers!(A1, A2);
handlers!(A1, A2, A3);
handlers!(A1, A2, A3, A4);
handlers!(A1, A2, A3, A4, A5);
handlers!(A1, A2, A3, A4, A5, A6);
handlers!(A1, A2, A3, A4, A5, A6, A7);
handlers!(A1, A2, A3, A4, A5, A6, A7, A8);

/// A custom handler of one route, with the spec's `config`.
#[derive(Clone)]
pub(crate) struct Custom {
    handler: Arc<dyn DynHandler>,
    config: Arc<Value>,
}

impl Custom {
    pub(crate) fn new(handler: Arc<dyn DynHandler>, config: &BTreeMap<String, Value>) -> Self {
        let config = config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { handler, config: Arc::new(Value::Object(config)) }
    }

    pub(crate) fn begin(
        &self,
        message: &Message,
        states: &States,
        outbox: &crate::outbox::Outbox,
    ) -> BoxFuture<Outcome> {
        self.handler.call(&Context { message, states, outbox, config: &self.config })
    }
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom").finish_non_exhaustive()
    }
}
