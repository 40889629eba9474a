//! Which messages are handled one after the other.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;

use routemq_crds::{expression::Expression, topic::ParamKind};

use super::Shared;
use crate::{
    message::{Message, ParamInfo, Received},
    router::Captures,
};

/// The same for equal keys. Whoever chooses topics so that all have one key gets one lane, which one topic gets anyway.
const HASHER: FixedState = FixedState::with_seed(0x6f72_6465_725f_6279);

/// `orderBy`.
#[derive(Debug)]
pub(crate) struct OrderBy {
    expression: Expression,
    /// Where it is `params.NAME` and nothing else: the name.
    param: Option<String>,
}

impl OrderBy {
    pub(super) fn new(expression: Expression) -> Self {
        let name = expression.source().trim().strip_prefix("params.");
        let plain = |name: &&str| name.bytes().all(|it| it == b'_' || it.is_ascii_alphanumeric());
        let param = name.filter(plain).map(str::to_owned);
        Self { expression, param }
    }

    /// The param as it stands in the topic, where that is all that is asked for. A number is not: `7` and `007` are one.
    fn param<'m>(&self, looks: Looks<'m>) -> Option<&'m str> {
        let name = self.param.as_deref()?;
        let index = looks.params.iter().position(|param| param.name == name)?;
        let is_text = matches!(looks.params[index].kind, ParamKind::Text | ParamKind::Uuid);
        is_text.then(|| looks.captures.get(looks.topic, index))
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
        shared.evaluator.text(&self.expression, &message).ok().as_deref().map(hash)
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
