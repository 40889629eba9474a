//! Why something does not run.

use std::error::Error;

use routemq_crds::problem::Problem;

use crate::{database::DatabaseError, secrets::SecretError, slot::ClientIdError};

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spec asks for something that this process does not have.
    #[error("{name}: {}", listed(.problems))]
    Problems {
        /// `<namespace>.<name>`.
        name: String,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// `spec.broker.url` is none.
    #[error(
        "{name}: spec.broker.url: {url:?} is not a broker's URL; write mqtt://host:1883 or mqtts://host:8883"
    )]
    Broker {
        /// `<namespace>.<name>`.
        name: String,
        /// As written.
        url: String,
    },
    /// A Secret that the connection needs is not there.
    #[error("{name}: {field}")]
    Secret {
        /// `<namespace>.<name>`.
        name: String,
        /// Which reference.
        field: &'static str,
        /// What was looked for.
        #[source]
        source: SecretError,
    },
    /// The database cannot be used.
    #[error("{name}")]
    Database {
        /// `<namespace>.<name>`.
        name: String,
        /// Why.
        #[source]
        source: DatabaseError,
    },
    /// Two objects would take each other's messages.
    #[error(
        "the MqttRoutes {one} and {other} share the name {share:?} and the filter {filter:?}: each would get only some of its messages; \
         give one of them a spec.shareName of its own, or unset MQTT_GROUP_NAME"
    )]
    Share {
        /// `<namespace>/<name>`.
        one: String,
        /// `<namespace>/<name>`.
        other: String,
        /// The name of the share.
        share: String,
        /// What both subscribe to.
        filter: String,
    },
    /// `--slot` names a slot that no `MqttRoute` has.
    #[error(
        "slot {slot} does not exist: the MqttRoutes have at most {most} workers, numbered from 0; raise workerCount or choose a lower slot"
    )]
    Slot {
        /// As given.
        slot: u32,
        /// The highest `workerCount`.
        most: u32,
    },
    /// No client id can be made.
    #[error(transparent)]
    ClientId(#[from] ClientIdError),
}

impl RunError {
    /// Whether the input is wrong (exit code 1), not the outside world (3).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Database { source, .. } => matches!(source, DatabaseError::Url { .. }),
            _ => true,
        }
    }

    /// The error and its causes in one line.
    pub fn sentence(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        words
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
