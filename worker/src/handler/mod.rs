//! What is done with a message: one file a handler.

pub(crate) mod custom;
mod http;
mod log;
mod publish;
mod reply;
mod sql;

use routemq_crds::{expression::Expression, table};

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

    /// One attempt.
    pub(crate) async fn run(&self, message: &Message, route: &engine::Compiled) -> Outcome {
        match self.skipped(message, route) {
            Ok(false) => {}
            Ok(true) => return Outcome::Done,
            Err(failure) => return Outcome::Failed(failure),
        }
        if let Action::Custom(custom) = &self.action {
            return custom.run(message, &route.shared.states, &route.shared.outbox).await;
        }
        match self.act(message, route).await {
            Ok(answer) => {
                self.keep(answer, message);
                Outcome::Done
            }
            Err(failure) => Outcome::Failed(failure),
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

    async fn act(&self, message: &Message, route: &engine::Compiled) -> Result<Answer, Failure> {
        match &self.action {
            Action::Log(log) => log.run(message, &route.shared).map(|()| None),
            Action::Publish(publish) => publish.run(message, &route.shared).await.map(|()| None),
            Action::Reply(reply) => reply.run(message, route).await.map(|()| None),
            Action::Sql(sql) => sql.run(message, &route.shared).await,
            Action::Http(http) => http.run(message, &route.shared).await,
            Action::Custom(_) => Ok(None),
        }
    }

    fn keep(&self, answer: Answer, message: &Message) {
        if let (true, Some(value)) = (self.keeps_result, answer) {
            message.progress.results().push((self.index, value));
        }
    }
}
