//! Which messages are handled one after the other.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;

use routemq_crds::{expression::Expression, topic::ParamKind};

use super::Shared;
use crate::message::{Message, Received};

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
    fn param<'m>(&self, message: &'m Received) -> Option<&'m str> {
        let name = self.param.as_deref()?;
        let params = &message.info().params;
        let index = params.iter().position(|param| param.name == name)?;
        let is_text = matches!(params[index].kind, ParamKind::Text | ParamKind::Uuid);
        is_text.then(|| message.param_at(index))
    }

    fn hash(&self, shared: &Shared, received: &Arc<Received>) -> Option<u64> {
        if let Some(param) = self.param(received) {
            return Some(hash(param));
        }
        let message = Message::again(Arc::clone(received));
        shared.evaluator.text(&self.expression, &message).ok().as_deref().map(hash)
    }
}

pub(super) fn key(shared: &Shared, received: &Arc<Received>) -> u64 {
    let ordered = shared.order_by.as_ref().and_then(|by| by.hash(shared, received));
    ordered.unwrap_or_else(|| hash(received.topic()))
}

fn hash(text: &str) -> u64 {
    HASHER.hash_one(text)
}
