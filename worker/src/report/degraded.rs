//! What works at less than promised, as a reason and a sentence.

use std::collections::BTreeMap;

use routemq_crds::report::Degraded;

use crate::{
    health::Cause,
    outcome::{FailureKind, Reason, class},
};

/// The reasons that RouteMQ itself reports: CamelCase, stable, seen in the conditions `Degraded`, `Subscribed` and `Ready`.
pub mod reason {
    /// The database does not answer.
    pub const DATABASE_AWAY: &str = "DatabaseAway";
    /// The database has no such table or column, or denies access.
    pub const DATABASE_REFUSED: &str = "DatabaseRefused";
    /// The connection that handlers publish over is away.
    pub const BROKER_AWAY: &str = "BrokerAway";
    /// The broker refuses what handlers publish.
    pub const PUBLISH_REFUSED: &str = "PublishRefused";
    /// The broker refuses dead letters.
    pub const DEAD_LETTER_REFUSED: &str = "DeadLetterRefused";
    /// An HTTP service that handlers call cannot be reached.
    pub const HTTP_AWAY: &str = "HttpAway";
    /// Messages are held for a class of failure that custom code reports.
    pub const MESSAGES_HELD: &str = "MessagesHeld";
    /// Nobody subscribes to the dead letter topic.
    pub const DEAD_LETTER_UNROUTABLE: &str = "DeadLetterUnroutable";
    /// The broker refuses the barrier topic.
    pub const NO_BARRIER: &str = "NoBarrier";
    /// Not connected: nobody answers.
    pub const BROKER_UNREACHABLE: &str = "BrokerUnreachable";
    /// Not connected: a certificate has expired.
    pub const TLS_EXPIRED: &str = "TLSExpired";
    /// Not connected: no trust, or no TLS.
    pub const TLS_REFUSED: &str = "TLSRefused";
    /// Not connected: user name or password.
    pub const BAD_CREDENTIALS: &str = "BadCredentials";
    /// Not connected: the broker's access rules.
    pub const NOT_AUTHORIZED: &str = "NotAuthorized";
    /// Not connected: another refusal of the broker.
    pub const CONNECTION_REFUSED: &str = "ConnectionRefused";
    /// Not connected: the url, login or certificates here cannot be used.
    pub const CONNECTION_MISCONFIGURED: &str = "ConnectionMisconfigured";
    /// Not connected: another client has the client id.
    pub const CLIENT_ID_TAKEN: &str = "ClientIdTaken";
    /// Not connected: the broker breaks the protocol or the announced limits.
    pub const PROTOCOL_BROKEN: &str = "ProtocolBroken";
}

/// The gravest: what a human must mend, then what is away, then what was noted, then what merely takes longer.
pub(super) fn first<'a>(
    mut causes: impl Iterator<Item = (&'a Reason, &'a Cause)> + Clone,
    notes: &BTreeMap<&'static str, String>,
    no_barrier: bool,
) -> Option<Degraded> {
    let systemic = causes.clone().find(|(_, cause)| cause.kind == FailureKind::Systemic);
    let held = systemic.or_else(|| causes.next());
    if let Some((class, _)) = held {
        return Some(of_class(class));
    }
    let note = notes.iter().next();
    note.map(|(reason, message)| degraded(reason, message))
        .or_else(|| no_barrier.then(barrier_refused))
}

fn degraded(reason: &str, message: &str) -> Degraded {
    Degraded { reason: reason.to_owned(), message: message.to_owned() }
}

fn barrier_refused() -> Degraded {
    degraded(
        reason::NO_BARRIER,
        "the broker refuses the topic routemq/barrier/<client id>; let workers publish and subscribe to it",
    )
}

pub(super) fn unheard() -> (&'static str, &'static str) {
    let message = "nobody subscribes to the dead letter topic, so the broker keeps no dead letter; routemq dlq ls begins to";
    (reason::DEAD_LETTER_UNROUTABLE, message)
}

pub(super) fn database_away() -> (&'static str, &'static str) {
    let message = "the database does not answer; messages stay with the broker until it does";
    (reason::DATABASE_AWAY, message)
}

/// In words of our own: a failure's text names rows, addresses and times.
fn of_class(held: Reason) -> Degraded {
    let (reason, message) = match held {
        class::DATABASE => database_away(),
        class::DATABASE_REFUSED => (
            reason::DATABASE_REFUSED,
            "the database has no such table or column, or denies access to it; messages wait until that is mended, and the worker's log names it",
        ),
        class::BROKER => (
            reason::BROKER_AWAY,
            "the broker does not confirm what handlers publish; messages wait until it does",
        ),
        class::PUBLISH_REFUSED => (
            reason::PUBLISH_REFUSED,
            "the broker refuses what handlers publish; messages wait until its access rules allow it, and the worker's log names the topic",
        ),
        class::DEAD_LETTER_REFUSED => (
            reason::DEAD_LETTER_REFUSED,
            "the broker refuses dead letters; messages wait until its access rules allow them",
        ),
        class::HTTP_AWAY => (
            reason::HTTP_AWAY,
            "an HTTP service that handlers call cannot be reached; messages wait until it can, and the worker's log says why",
        ),
        class => {
            let message = format!(
                "messages are held for failures of the class {class}; the worker's log says why"
            );
            return degraded(reason::MESSAGES_HELD, &message);
        }
    };
    degraded(reason, message)
}
