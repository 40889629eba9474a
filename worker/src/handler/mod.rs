//! What is done with a message: one file a handler.

pub(crate) mod custom;
mod http;
mod log;
mod publish;
mod reply;
mod sql;

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use routemq_crds::{expression::Expression, table};
use routemq_mqtt::Confirmation;

pub use custom::{BoxFuture, Handler};
pub(crate) use http::Http;
pub(crate) use log::Log;
pub(crate) use publish::Publish;
pub(crate) use reply::Reply;
pub(crate) use sql::Sql;

use crate::{
    database::Writing,
    engine::Here,
    message::Message,
    outcome::{Failure, FailureKind, Outcome, Reason, class},
};

/// One handler of one route, ready to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    when: Option<Expression>,
    index: usize,
    keeps_result: bool,
    action: Action,
}

/// What a handler does. Small: it stands where its route does, and a worker may have many routes.
#[derive(Debug)]
pub(crate) enum Action {
    Log(Box<Log>),
    Publish(Box<Publish>),
    Reply(Box<Reply>),
    Sql(Box<Sql>),
    Http(Arc<Http>),
    Custom(custom::Custom),
}

/// What an action leaves for later handlers, where it leaves anything.
pub(crate) type Answer = Option<cel::Value>;

impl Compiled {
    pub(crate) fn new(index: usize, handler: &table::Handler, action: Action) -> Self {
        Self {
            when: handler.when.clone(),
            index,
            keeps_result: handler.result_name.is_some(),
            action,
        }
    }

    /// Its place among the handlers of its route.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The handler's key in the spec.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.action {
            Action::Log(_) => "log",
            Action::Publish(_) => "publish",
            Action::Reply(_) => "reply",
            Action::Sql(_) => "sql",
            Action::Http(_) => "http",
            Action::Custom(_) => "custom",
        }
    }

    /// What an attempt is that took too long. What only waits for the broker or the database is held: the
    /// message is not to blame.
    pub(crate) fn on_timeout(&self) -> (FailureKind, Reason) {
        match &self.action {
            Action::Publish(_) | Action::Reply(_) => (FailureKind::Unavailable, class::BROKER),
            Action::Sql(_) => (FailureKind::Unavailable, class::DATABASE),
            Action::Log(_) | Action::Http(_) | Action::Custom(_) => {
                (FailureKind::Transient, class::TIMEOUT)
            }
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&self, message: &Message, here: Here<'_>) -> Attempt {
        match self.skipped(message, here) {
            Ok(false) => self.act(message, here).unwrap_or_else(Attempt::failed),
            Ok(true) => Attempt::ended(Outcome::Done),
            Err(failure) => Attempt::failed(failure),
        }
    }

    fn skipped(&self, message: &Message, here: Here<'_>) -> Result<bool, Failure> {
        let Some(when) = &self.when else { return Ok(false) };
        let skipped = !here.shared().evaluator.condition(when, message)?;
        if skipped {
            here.route().counters.skipped.up();
            message.progress.skip(self.index);
        }
        Ok(skipped)
    }

    fn act(&self, message: &Message, here: Here<'_>) -> Result<Attempt, Failure> {
        let shared = here.shared();
        Ok(match &self.action {
            Action::Log(log) => {
                log.run(message, shared)?;
                Attempt::ended(Outcome::Done)
            }
            Action::Publish(publish) => Attempt::Publishes(publish.begin(message, shared)?),
            Action::Reply(reply) => match reply.begin(message, here)? {
                Some(confirmation) => Attempt::Publishes(confirmation),
                None => Attempt::ended(Outcome::Done),
            },
            Action::Sql(sql) => self.store(sql, message, here)?,
            Action::Http(http) => {
                let (http, seat, asks) = (Arc::clone(http), here.seat(), message.clone());
                let work = async move { http.run(&asks, seat.here().shared()).await };
                self.answered(message, work)
            }
            Action::Custom(custom) => {
                Attempt::Waits(custom.begin(message, &shared.states, &shared.outbox))
            }
        })
    }

    /// A statement leaves its rows, as a list of maps.
    fn store(&self, sql: &Sql, message: &Message, here: Here<'_>) -> Result<Attempt, Failure> {
        let values = sql.values(message, here.shared())?;
        Ok(match &sql.work {
            sql::Work::Insert(inserter) => Attempt::Writes(inserter.hand_over(values)),
            sql::Work::Statement(runner) => {
                let runner = runner.clone();
                self.answered(message, async move {
                    let rows = runner.run(values).await?;
                    Ok(Some(cel::Value::List(Arc::new(rows))))
                })
            }
        })
    }

    /// With what it leaves for later handlers.
    fn answered(
        &self,
        message: &Message,
        work: impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    ) -> Attempt {
        let (received, index) = (Arc::clone(message.received()), self.index);
        let keeps = self.keeps_result;
        Attempt::Waits(Box::pin(async move {
            match work.await {
                Ok(Some(value)) if keeps => received.progress.results().push((index, value)),
                Ok(_) => {}
                Err(failure) => return Outcome::Failed(failure),
            }
            Outcome::Done
        }))
    }
}

/// One attempt of a handler. It borrows nothing, and is small whatever the handler is: what needs more is on the heap.
pub(crate) enum Attempt {
    Ended(Ready<Outcome>),
    /// Done when the broker has the message.
    Publishes(Confirmation),
    /// Done when the row is committed.
    Writes(Writing),
    /// Anything else.
    Waits(BoxFuture<Outcome>),
}

impl Attempt {
    fn ended(outcome: Outcome) -> Self {
        Self::Ended(ready(outcome))
    }

    /// How long it is waited for, where its handler may take `timeout`.
    pub(crate) fn limit(&self, timeout: Duration) -> Duration {
        match self {
            Self::Writes(writing) => writing.limit.min(timeout),
            _ => timeout,
        }
    }

    fn failed(failure: Failure) -> Self {
        Self::ended(Outcome::Failed(failure))
    }
}

impl Future for Attempt {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut *self {
            Self::Ended(outcome) => Pin::new(outcome).poll(cx),
            Self::Publishes(confirmation) => Pin::new(confirmation).poll(cx).map(|it| match it {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(publish::refused(error)),
            }),
            Self::Writes(writing) => Pin::new(writing).poll(cx).map(|it| match it {
                Ok(()) => Outcome::Done,
                Err(failure) => Outcome::Failed(failure),
            }),
            Self::Waits(work) => work.as_mut().poll(cx),
        }
    }
}
