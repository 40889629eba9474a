//! A message on its way through the chain.

mod progress;
mod read;
mod received;
mod route;

use std::sync::Arc;

use routemq_mqtt::Properties;

use crate::payload::Payload;

pub(crate) use self::{
    read::{Origin, Slice},
    received::Parts,
    route::ParamInfo,
};
pub use self::{received::Received, route::RouteInfo};

/// A message that belongs to a route. Two words; topic and payload share the read buffer.
///
/// Middleware may replace the payload; everything else stays as received.
#[derive(Clone, Debug)]
pub struct Message {
    received: Arc<Received>,
    /// What steps have changed; most change nothing.
    changed: Option<Arc<Changed>>,
}

#[derive(Clone, Debug)]
struct Changed {
    payload: Payload,
    /// The properties without those that middleware took away; `None`: as received.
    properties: Option<Properties>,
}

impl Message {
    /// The message as it came, before any middleware.
    pub(crate) fn again(received: Arc<Received>) -> Self {
        Self { received, changed: None }
    }

    /// The MQTT 5 properties as the steps before this one left them.
    pub fn properties(&self) -> Option<&Properties> {
        let changed = self.changed.as_ref().and_then(|changed| changed.properties.as_ref());
        changed.or(self.received.properties())
    }

    /// Takes the user properties of this name away for the steps after this one.
    pub(crate) fn hide_user_property(&mut self, name: &str) {
        if let Some(properties) = self.properties() {
            let mut properties = properties.clone();
            properties.user.retain(|(it, _)| it != name);
            self.changed().properties = Some(properties);
        }
    }

    /// The message as it came, to be kept while the message itself moves on.
    pub fn received(&self) -> &Arc<Received> {
        &self.received
    }

    /// The payload as the steps before this one left it.
    pub fn payload(&self) -> &Payload {
        self.changed.as_ref().map_or(&self.received.payload, |changed| &changed.payload)
    }

    /// Replaces or edits the payload for the steps after this one.
    pub fn payload_mut(&mut self) -> &mut Payload {
        &mut self.changed().payload
    }

    fn changed(&mut self) -> &mut Changed {
        let as_received =
            || Arc::new(Changed { payload: self.received.payload.clone(), properties: None });
        Arc::make_mut(self.changed.get_or_insert_with(as_received))
    }
}

impl std::ops::Deref for Message {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.received
    }
}
