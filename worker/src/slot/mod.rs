//! Slots: the stable identities of a route's sessions.
//!
//! A slot is a number, 0 … `workerCount` − 1, and gives the MQTT client id. A durable session belongs to its client
//! id: whoever connects with it takes up what the broker kept. Within one process slots are handed out here; between
//! processes the broker is the arbiter, for it lets one connection of a client id live (MQTT-3.1.4-3).

#[cfg(feature = "kubernetes")]
pub mod lease;
#[cfg_attr(
    not(feature = "kubernetes"),
    allow(dead_code, reason = "nobody leases slots without it")
)]
mod leased;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use futures::future::BoxFuture;

pub use self::leased::{Adoption, Leased, Losses};

/// The longest client id that MQTT can carry, in bytes (MQTT 5, 1.5.4).
const LONGEST: usize = 65_535;

/// Hands out slots. An implementation may ask somebody else, and wait.
pub trait Slots: Send + Sync {
    /// Takes a slot that nobody holds; `None` where there is none left.
    fn claim(&self) -> BoxFuture<'_, Option<u32>>;
    /// Gives it back.
    fn release(&self, slot: u32) -> BoxFuture<'_, ()>;
}

/// Slots of this process: the lowest first.
#[derive(Debug, Default)]
pub struct LocalSlots {
    free: Mutex<BTreeSet<u32>>,
}

/// Why there is no client id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Longer than MQTT can carry.
    #[error(
        "the client id of {name} is {length} bytes long, more than MQTT's 65535: shorten MQTT_CLIENT_ID"
    )]
    TooLong {
        /// `<namespace>.<name>`.
        name: String,
        /// Bytes.
        length: usize,
    },
    /// A character that brokers refuse, or that ends the level of the barrier's topic.
    #[error("MQTT_CLIENT_ID={prefix:?}: a client id holds no '/', '+', '#' or control character")]
    Character {
        /// As given.
        prefix: String,
    },
}

/// The client id of a slot: `<prefix>-<namespace>.<name>-<slot>`.
///
/// # Errors
/// See [`ClientIdError`].
pub fn client_id(prefix: &str, name: &str, slot: &str) -> Result<String, ClientIdError> {
    if prefix.contains(['/', '+', '#']) || prefix.chars().any(char::is_control) {
        return Err(ClientIdError::Character { prefix: prefix.to_owned() });
    }
    let id = format!("{prefix}-{name}-{slot}");
    if id.len() > LONGEST {
        return Err(ClientIdError::TooLong { name: name.to_owned(), length: id.len() });
    }
    Ok(id)
}

impl LocalSlots {
    /// These slots, all free.
    pub fn new(slots: impl IntoIterator<Item = u32>) -> Self {
        Self { free: Mutex::new(slots.into_iter().collect()) }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots for LocalSlots {
    fn claim(&self) -> BoxFuture<'_, Option<u32>> {
        Box::pin(async { self.free().pop_first() })
    }

    fn release(&self, slot: u32) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.free().insert(slot);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientIdError, LocalSlots, Slots, client_id};

    #[test]
    fn a_client_id_names_prefix_route_and_slot() {
        let id = client_id("routemq", "fleet.devices", "2");
        assert_eq!(id.as_deref(), Ok("routemq-fleet.devices-2"));
    }

    #[test]
    fn a_client_id_that_mqtt_cannot_carry_is_refused() {
        for prefix in ["a/b", "a+", "#", "a\0b"] {
            let refused = ClientIdError::Character { prefix: prefix.to_owned() };
            assert_eq!(client_id(prefix, "n.m", "0"), Err(refused));
        }
        let long = client_id(&"x".repeat(65_530), "n.m", "0");
        assert!(matches!(long, Err(ClientIdError::TooLong { length: 65_536, .. })), "{long:?}");
    }

    #[tokio::test]
    async fn local_slots_are_held_once_and_the_lowest_is_taken_first() {
        let slots = LocalSlots::new(0..2);
        assert_eq!((slots.claim().await, slots.claim().await), (Some(0), Some(1)));
        assert_eq!(slots.claim().await, None);
        slots.release(0).await;
        assert_eq!(slots.claim().await, Some(0));
    }
}
