//! What is done with a message: one file a handler.

pub(crate) mod custom;
mod http;
mod log;
mod publish;
mod reply;
mod sql;

use std::{
    pin::Pin,
    task::{Context, Poll},
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
    engine,
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

/// What a handler does.
#[derive(Debug)]
pub(crate) enum Action {
    Log(Log),
    Publish(Box<Publish>),
    Reply(Reply),
    Sql(Box<Sql>),
    Http(Box<Http>),
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
    pub(crate) fn begin<'a>(
        &'a self,
        message: &'a Message,
        route: &'a engine::Compiled,
    ) -> Attempt<'a> {
        match self.skipped(message, route) {
            Ok(false) => self.act(message, route).unwrap_or_else(Attempt::failed),
            Ok(true) => Attempt::Ended(Some(Outcome::Done)),
            Err(failure) => Attempt::failed(failure),
        }
    }

    fn skipped(&self, message: &Message, route: &engine::Compiled) -> Result<bool, Failure> {
        let Some(when) = &self.when else { return Ok(false) };
        let skipped = !route.shared.evaluator.condition(when, message)?;
        if skipped {
            route.counters.skipped.up();
            message.progress.skip(self.index);
        }
        Ok(skipped)
    }

    fn act<'a>(
        &'a self,
        message: &'a Message,
        route: &'a engine::Compiled,
    ) -> Result<Attempt<'a>, Failure> {
        let shared = &route.shared;
        Ok(match &self.action {
            Action::Log(log) => {
                log.run(message, shared)?;
                Attempt::Ended(Some(Outcome::Done))
            }
            Action::Publish(publish) => Attempt::Publishes(publish.begin(message, shared)?),
            Action::Reply(reply) => match reply.begin(message, route)? {
                Some(confirmation) => Attempt::Publishes(confirmation),
                None => Attempt::Ended(Some(Outcome::Done)),
            },
            Action::Sql(sql) => self.answered(message, sql.run(message, shared)),
            Action::Http(http) => self.answered(message, http.run(message, shared)),
            Action::Custom(custom) => {
                Attempt::Waits(custom.begin(message, &shared.states, &shared.outbox))
            }
        })
    }

    fn answered<'a>(
        &'a self,
        message: &'a Message,
        work: impl Future<Output = Result<Answer, Failure>> + Send + 'a,
    ) -> Attempt<'a> {
        Attempt::Waits(Box::pin(async move {
            match work.await {
                Ok(answer) => {
                    self.keep(answer, message);
                    Outcome::Done
                }
                Err(failure) => Outcome::Failed(failure),
            }
        }))
    }

    fn keep(&self, answer: Answer, message: &Message) {
        if let (true, Some(value)) = (self.keeps_result, answer) {
            message.progress.results().push((self.index, value));
        }
    }
}

/// One attempt of a handler. Small whatever the handler is, because what is waited for is moved: what needs more is on the heap.
pub(crate) enum Attempt<'a> {
    /// Taken when it is told.
    Ended(Option<Outcome>),
    /// Done when the broker has the message.
    Publishes(Confirmation),
    /// Anything else.
    Waits(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>),
}

impl Attempt<'_> {
    fn failed(failure: Failure) -> Self {
        Self::Ended(Some(Outcome::Failed(failure)))
    }
}

impl Future for Attempt<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut *self {
            Self::Ended(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
            Self::Publishes(confirmation) => Pin::new(confirmation).poll(cx).map(|it| match it {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(publish::refused(error)),
            }),
            Self::Waits(work) => work.as_mut().poll(cx),
        }
    }
}
