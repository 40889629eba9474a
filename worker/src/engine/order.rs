//! Which messages are handled one after the other.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Shared;
use crate::message::Message;

/// The same for equal keys, in every process and every build of one compiler release.
pub(super) fn key(shared: &Shared, message: &Message) -> u64 {
    let text = shared.order_by.as_ref().and_then(|at| shared.evaluator.text(at, message).ok());
    let mut hasher = DefaultHasher::new();
    match &text {
        Some(text) => text.hash(&mut hasher),
        None => message.topic().hash(&mut hasher),
    }
    hasher.finish()
}
