//! Why a worker is not connected, as a reason and a sentence.

use routemq_crds::report::Degraded;
use routemq_mqtt::{ConnectionState, Trouble};

use super::reason;

/// `None` while it is connected, and before the first attempt has failed.
pub(super) fn why(connection: &ConnectionState) -> Option<Degraded> {
    let ConnectionState::Waiting { trouble, .. } = connection else { return None };
    let (reason, message) = in_words(*trouble);
    Some(Degraded { reason: reason.to_owned(), message: message.to_owned() })
}

/// In words of our own: a failure's text names addresses and times.
fn in_words(trouble: Trouble) -> (&'static str, &'static str) {
    match trouble {
        Trouble::Away => (
            reason::BROKER_UNREACHABLE,
            "the broker does not answer; workers try on, and its address is in spec.broker.url or the operator's default",
        ),
        Trouble::TlsExpired => (
            reason::TLS_EXPIRED,
            "a certificate has expired, the broker's or that of clientCertSecretRef; renew it, nothing needs a restart",
        ),
        Trouble::TlsRefused => (
            reason::TLS_REFUSED,
            "worker and broker find no secure connection; check caSecretRef, clientCertSecretRef and the host name in the broker's url",
        ),
        Trouble::BadCredentials => (
            reason::BAD_CREDENTIALS,
            "the broker does not accept the user name and password of credentialsSecretRef; correct them, nothing needs a restart",
        ),
        Trouble::NotAuthorized => (
            reason::NOT_AUTHORIZED,
            "the broker does not let the workers in; check credentialsSecretRef and the broker's access rules, nothing needs a restart",
        ),
        Trouble::Refused => (
            reason::CONNECTION_REFUSED,
            "the broker refuses the connection; the worker's log names its reason code",
        ),
        Trouble::Misconfigured => (
            reason::CONNECTION_MISCONFIGURED,
            "the broker's url, login or certificates cannot be used; the worker's log names which",
        ),
        Trouble::TakenOver => (
            reason::CLIENT_ID_TAKEN,
            "another client uses a worker's client id; every client needs one of its own",
        ),
        Trouble::BrokenProtocol => (
            reason::PROTOCOL_BROKEN,
            "the broker sends what MQTT 5 or the announced limits forbid; the worker's log names it",
        ),
    }
}
