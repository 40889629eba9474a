//! A connection of its own for what handlers publish: each message confirmed by PUBACK.

mod confirmation;
mod driver;
mod flight;

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

pub use self::confirmation::Confirmation;
use self::{
    driver::{Driver, Stop},
    flight::Job,
};
use crate::{ConnectionState, Properties, QoS, SessionConfig};

/// Messages that wait for the socket task beyond those that it holds: then publishing waits.
const QUEUE: usize = 1024;

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Without wildcards.
    pub topic: ByteString,
    /// As it goes.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: QoS,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// What goes with it.
    pub properties: Option<Box<Properties>>,
}

/// The broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The broker said that nobody subscribes to the topic (reason 0x10).
    pub no_subscribers: bool,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker refused it (PUBACK or PUBREC ≥ 0x80): permanent.
    #[error("the broker refused the publish to {topic:?}: {reason} (0x{code:02x})")]
    Refused {
        /// Where to.
        topic: ByteString,
        /// MQTT 5, 3.4.2.1.
        code: u8,
        /// The code's name in words.
        reason: &'static str,
    },
    /// Larger than the broker takes: permanent.
    #[error("a publish of {size} bytes is larger than the broker's maximum packet size of {limit}")]
    TooLarge {
        /// Bytes of the packet.
        size: usize,
        /// Bytes that the broker takes.
        limit: u32,
    },
    /// The publisher was stopped.
    #[error("the publisher is stopped")]
    Stopped,
}

/// Publishes. Cheap to clone; when the last clone is gone, what is under way is finished.
#[derive(Clone, Debug)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    stops: mpsc::Sender<Stop>,
    connection: watch::Receiver<ConnectionState>,
}

impl Publisher {
    /// Starts the connection on the current tokio runtime (client id as configured; clean start, no session
    /// expiry; `receive_maximum` bounds what is in flight).
    #[must_use]
    pub fn spawn(config: SessionConfig) -> Self {
        let config = SessionConfig { clean_start: true, session_expiry: Duration::ZERO, ..config };
        let (jobs, incoming) = mpsc::channel(QUEUE);
        let (stops, stopping) = mpsc::channel(1);
        let (reports, connection) = watch::channel(ConnectionState::default());
        tokio::spawn(Driver::new(config, incoming, stopping, reports).run());
        Self { jobs, stops, connection }
    }

    /// Publishes; what is returned waits until the broker has it: PUBACK, PUBCOMP, or the write for QoS 0. While the connection
    /// is away it waits (the caller bounds it by a timeout); after a reconnect the message is sent again, so it may
    /// arrive twice. Dropping it gives up a message that is not yet sent.
    pub fn publish(&self, message: Outgoing) -> Confirmation {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job::new(message, reply)) {
            Ok(()) => Confirmation::awaited(answer),
            Err(TrySendError::Full(job)) => Confirmation::queued(self.jobs.clone(), job, answer),
            Err(TrySendError::Closed(_)) => Confirmation::known(Err(PublishError::Stopped)),
        }
    }

    /// Resolves when the connection is there; also when the publisher is stopped.
    pub async fn connected(&self) {
        let there = |state: &ConnectionState| {
            matches!(state, ConnectionState::Connected { .. } | ConnectionState::Stopped)
        };
        // The task ends only by a stop.
        let _ = self.connection.clone().wait_for(there).await;
    }

    /// Whether there is a connection, and why not.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConnectionState> {
        self.connection.clone()
    }

    /// Writes what is under way, waits for its confirmations, and disconnects; returns when that is done or
    /// `patience` is over. What is unconfirmed then ends in [`PublishError::Stopped`].
    pub async fn stop(&self, patience: Duration) {
        let (done, stopped) = oneshot::channel();
        let stop = async {
            if self.stops.send(Stop::new(patience, Some(done))).await.is_ok() {
                let _ = stopped.await;
            }
        };
        // The task keeps to `patience` itself; a little more for its farewell.
        let _ = timeout(patience + Duration::from_secs(1), stop).await;
    }
}
