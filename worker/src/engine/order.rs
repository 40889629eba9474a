//! Which messages are handled one after the other.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;
use routemq_crds::{expression::Expression, topic::ParamKind};

use super::Shared;
use crate::{
    message::{Message, ParamInfo, Received},
    payload::Fields,
    router::Captures,
};

/// The same for equal keys. Whoever chooses topics so that all have one key gets one lane, which one topic gets anyway.
const HASHER: FixedState = FixedState::with_seed(0x6f72_6465_725f_6279);

/// `orderBy`.
#[derive(Debug)]
pub(crate) struct OrderBy {
    expression: Expression,
    named: Named,
}

/// What the expression names, where it does nothing else.
#[derive(Debug)]
enum Named {
    /// `params.NAME`.
    Param(String),
    /// A field of the payload.
    Field(Fields),
    Nothing,
}

impl OrderBy {
    pub(super) fn new(expression: Expression) -> Self {
        let named = match expression.path().unwrap_or_default().as_slice() {
            ["params", name] => Named::Param((*name).to_owned()),
            ["payload", path @ ..] => {
                let mut fields = Fields::default();
                if fields.want(path, 0) { Named::Field(fields) } else { Named::Nothing }
            }
            _ => Named::Nothing,
        };
        Self { expression, named }
    }

    /// The param as it stands in the topic, where that is all that is asked for. A number is not: `7` and `007` are one.
    fn param<'m>(&self, looks: Looks<'m>) -> Option<&'m str> {
        let Named::Param(name) = &self.named else { return None };
        let index = looks.params.iter().position(|param| param.name == *name)?;
        let is_text = matches!(looks.params[index].kind, ParamKind::Text | ParamKind::Uuid);
        is_text.then(|| looks.captures.get(looks.topic, index))
    }

    /// Text or a whole number of a payload, without decoding it on the socket's task.
    fn field(&self, message: &Message) -> Option<u64> {
        let Named::Field(field) = &self.named else { return None };
        match message.payload().fields(field, 1)?.pop()?? {
            cel::Value::String(text) => Some(hash(&text)),
            cel::Value::Int(number) => Some(hash(&number.to_string())),
            _ => None,
        }
    }

    fn hash(
        &self,
        shared: &Shared,
        looks: Looks<'_>,
        whole: impl FnOnce() -> Arc<Received>,
    ) -> Option<u64> {
        if let Some(param) = self.param(looks) {
            return Some(hash(param));
        }
        let message = Message::again(whole());
        let evaluated = || shared.evaluator.text(&self.expression, &message).ok();
        self.field(&message).or_else(|| evaluated().as_deref().map(hash))
    }
}

/// What a key is most often made of.
#[derive(Clone, Copy)]
pub(super) struct Looks<'m> {
    pub(super) topic: &'m str,
    pub(super) params: &'m [ParamInfo],
    pub(super) captures: &'m Captures,
}

impl<'m> Looks<'m> {
    pub(super) fn of(received: &'m Received) -> Self {
        let params = &received.info().params;
        Self { topic: received.topic(), params, captures: received.captures() }
    }
}

/// `whole` is asked for where an expression needs more than the topic.
pub(super) fn key(shared: &Shared, looks: Looks<'_>, whole: impl FnOnce() -> Arc<Received>) -> u64 {
    let ordered = shared.order_by.as_ref().and_then(|by| by.hash(shared, looks, whole));
    ordered.unwrap_or_else(|| hash(looks.topic))
}

/// The key of a topic where there is no `orderBy`: lanes are chosen by its highest bits.
pub(crate) fn topic_hash(topic: &[u8]) -> u64 {
    HASHER.hash_one(topic)
}

fn hash(text: &str) -> u64 {
    topic_hash(text.as_bytes())
}
