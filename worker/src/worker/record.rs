//! What is told of each message whose outcome is final.

use std::{fmt, sync::Arc, time::Duration};

use crate::{message::Received, outcome::Final};

/// Sees each message as its outcome becomes final: `dev` prints a line, tests count.
///
/// Called on a lane's task, before the acknowledgement: it must not block.
pub trait Observer: Send + Sync {
    /// The outcome is final.
    fn finished(&self, record: &Record<'_>);
}

/// Which worker of which `MqttRoute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `<namespace>.<name>` of the `MqttRoute`.
    pub mqtt_route: Arc<str>,
    /// The worker's slot, from 0.
    pub slot: u32,
}

/// One message and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Who handled it.
    pub worker: &'a Identity,
    /// The message as received: its topic, route and params.
    pub message: &'a Received,
    /// How it ended.
    pub ended: Final,
    /// From the socket to the outcome.
    pub duration: Duration,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.mqtt_route, self.slot)
    }
}
