//! What is done with a message, in order.

use std::{collections::BTreeMap, time::Duration};

use super::{
    field::{Problems, identifier_fault, property_fault},
    http,
    routes::Context,
    sql,
};
use crate::{
    expression::{Expression, Scope},
    table::{Action, Handler, Publish},
    template::TopicTemplate,
    v1alpha1::{self, LogHandler, PublishHandler, ReplyHandler},
};

const MAX_ENTRIES: usize = 8;

pub(super) fn compile(
    context: &Context<'_>,
    entries: &[v1alpha1::Handler],
    problems: &mut Problems,
) -> Vec<Handler> {
    let path = format!("{}.handlers", context.path);
    if entries.is_empty() {
        problems.add(&path, "is empty; add a handler, such as log: {}");
    } else if entries.len() > MAX_ENTRIES {
        let count = entries.len();
        problems.add(&path, format!("has {count} handlers; at most {MAX_ENTRIES} are allowed"));
    }
    // Names of earlier handlers.
    let mut names: Vec<&str> = Vec::new();
    let mut compiled = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let scope = Scope { results: &names, ..context.scope() };
        let mut step = Step { context, scope, path: path.clone(), problems };
        compiled.extend(step.compile(entry));
        if let Some(name) = entry.result_name.as_deref() {
            check_result_name(&format!("{path}.as"), name, &names, problems);
            names.push(name);
        }
    }
    compiled
}

fn check_result_name(field: &str, name: &str, names: &[&str], problems: &mut Problems) {
    if let Some(fault) = identifier_fault(name) {
        problems.add(field, fault);
    } else if names.contains(&name) {
        problems
            .add(field, format!("\"{name}\" is the name of an earlier handler too; rename one"));
    }
}

/// One handler being compiled.
pub(super) struct Step<'a, 'p> {
    pub(super) context: &'a Context<'a>,
    pub(super) scope: Scope<'a>,
    /// `spec.routes[2].handlers[0]`.
    pub(super) path: String,
    pub(super) problems: &'p mut Problems,
}

impl Step<'_, '_> {
    fn compile(&mut self, entry: &v1alpha1::Handler) -> Option<Handler> {
        let field = self.field("when");
        let when = entry.when.as_ref();
        let when = when.and_then(|source| self.problems.expression(&field, source, &self.scope));
        if !self.has_one_key(entry) {
            return None;
        }
        // Exactly one of these is there.
        let action = None
            .or_else(|| entry.log.as_ref().and_then(|given| self.log(given)))
            .or_else(|| entry.publish.as_ref().and_then(|given| self.publish(given)))
            .or_else(|| entry.reply.as_ref().and_then(|given| self.reply(given)))
            .or_else(|| entry.sql.as_ref().and_then(|given| sql::compile(self, given)))
            .or_else(|| entry.http.as_ref().map(|given| http::compile(self, given)))
            .or_else(|| entry.custom.as_ref().map(|given| self.custom(given)))?;
        Some(Handler { when, result_name: entry.result_name.clone(), action })
    }

    pub(super) fn field(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn has_one_key(&mut self, entry: &v1alpha1::Handler) -> bool {
        let keys = [
            entry.log.is_some(),
            entry.publish.is_some(),
            entry.reply.is_some(),
            entry.sql.is_some(),
            entry.http.is_some(),
            entry.custom.is_some(),
        ];
        let count = keys.iter().filter(|given| **given).count();
        if count != 1 {
            self.problems.add(
                &self.path,
                format!("has {count} of log, publish, reply, sql, http and custom; write exactly one, and a list entry for each handler"),
            );
        }
        count == 1
    }

    fn log(&mut self, given: &LogHandler) -> Option<Action> {
        let field = self.field("log.message");
        let message = match &given.message {
            Some(source) => Some(self.problems.expression(&field, source, &self.scope)?),
            None => None,
        };
        Some(Action::Log { level: given.level.unwrap_or_default(), message })
    }

    fn publish(&mut self, given: &PublishHandler) -> Option<Action> {
        let topic = self.topic("publish.topic", &given.topic);
        let field = self.field("publish.payload");
        let payload = self.problems.payload(&field, &given.payload, &self.scope);
        let qos = self.problems.qos(self.field("publish.qos"), given.qos);
        let expiry = given.expiry_seconds.map(|seconds| {
            let field = self.field("publish.expirySeconds");
            self.problems.seconds(&field, Some(seconds), 1, 1..=4_294_967_295)
        });
        let user_properties = self.properties("publish.userProperties", &given.user_properties);
        Some(Action::Publish(Box::new(Publish {
            topic: topic?,
            payload: payload?,
            qos,
            retain: given.retain.unwrap_or(false),
            expiry,
            user_properties,
        })))
    }

    fn reply(&mut self, given: &ReplyHandler) -> Option<Action> {
        let field = self.field("reply.payload");
        let payload = self.problems.payload(&field, &given.payload, &self.scope);
        let fallback_topic = given
            .fallback_topic
            .as_ref()
            .and_then(|source| self.topic("reply.fallbackTopic", source));
        let user_properties = self.properties("reply.userProperties", &given.user_properties);
        Some(Action::Reply { payload: payload?, fallback_topic, user_properties })
    }

    fn topic(&mut self, field: &str, source: &str) -> Option<TopicTemplate> {
        let field = self.field(field);
        let length = source.chars().count();
        if length > 512 {
            self.problems.add(
                field,
                format!("has {length} characters; at most 512 are allowed; shorten it"),
            );
            return None;
        }
        let parsed = TopicTemplate::parse(source, self.context.name, self.context.params);
        self.problems.take(&field, parsed)
    }

    fn properties(
        &mut self,
        field: &str,
        given: &BTreeMap<String, String>,
    ) -> Vec<(String, Expression)> {
        let field = self.field(field);
        self.problems.expressions(&field, given, &self.scope, property_fault)
    }

    /// The timeout of one attempt, where it is not the delivery's.
    pub(super) fn timeout(&mut self, field: &str, given: Option<i32>) -> Duration {
        let field = self.field(field);
        let default = self.context.delivery.timeout.as_secs();
        self.problems.seconds(&field, given, default, 1..=3600)
    }

    fn custom(&mut self, given: &v1alpha1::CustomHandler) -> Action {
        let field = self.field("custom.name");
        self.problems.registered(&field, &given.name);
        Action::Custom {
            name: given.name.clone(),
            config: given.config.clone().unwrap_or_default(),
        }
    }
}
