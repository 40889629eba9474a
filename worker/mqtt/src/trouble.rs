//! What kind of trouble keeps a session from its broker: few and stable, for conditions that people act upon.

use std::io;

use crate::{connect::ConnectError, link::Lost, reason, transport::TransportError};

/// Why there is no connection, by what would mend it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Nobody answers, or the connection broke: the broker or the network is away.
    #[default]
    Away,
    /// A certificate has expired: the broker's, or (the broker says) ours.
    TlsExpired,
    /// One side does not trust the other's certificate for another reason, or there is no TLS.
    TlsRefused,
    /// The broker does not accept user name and password (0x86).
    BadCredentials,
    /// The broker's access rules keep this client out (0x87). Some brokers answer a wrong password so.
    NotAuthorized,
    /// The broker refuses the connection for another reason.
    Refused,
    /// What is configured here cannot be used: the url, a login or certificate file.
    Misconfigured,
    /// Another connection has the client id.
    TakenOver,
    /// The broker breaks the protocol.
    BrokenProtocol,
}

impl From<&ConnectError> for Trouble {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Transport(error) => error.into(),
            ConnectError::Login { .. } | ConnectError::NoLogin { .. } | ConnectError::TooLong => {
                Self::Misconfigured
            }
            ConnectError::Timeout { .. } => Self::Away,
            ConnectError::Refused { code, .. } => of_code(*code),
            ConnectError::Lost(lost) => lost.into(),
        }
    }
}

impl From<&TransportError> for Trouble {
    fn from(error: &TransportError) -> Self {
        match error {
            TransportError::Url { .. } => Self::Misconfigured,
            TransportError::Tcp { .. } | TransportError::WebSocket { .. } => Self::Away,
            TransportError::Tls { source, .. } => source.trouble(),
        }
    }
}

impl From<&Lost> for Trouble {
    fn from(lost: &Lost) -> Self {
        match lost {
            Lost::Io(error) => of_io(error),
            Lost::Closed | Lost::Silent(_) | Lost::Unanswered(_) => Self::Away,
            Lost::Fault(_) => Self::BrokenProtocol,
            Lost::Disconnected { code, .. } => of_code(*code),
            Lost::TakenOver => Self::TakenOver,
        }
    }
}

/// A broken stream: a broker that refuses our certificate says so only after the handshake.
pub(crate) fn of_io(error: &io::Error) -> Trouble {
    crate::transport::tls_trouble(error).unwrap_or_default()
}

/// CONNACK's code (MQTT 5, 3.2.2.2; MQTT 3.1.1, 3.2.2.3), or DISCONNECT's.
fn of_code(code: u8) -> Trouble {
    match code {
        reason::BAD_LOGIN | 0x04 | 0x8C => Trouble::BadCredentials,
        reason::NOT_AUTHORIZED | 0x05 | 0x8A => Trouble::NotAuthorized,
        // Unavailable, busy, shutting down, keep alive timeout: another attempt helps.
        0x03 | 0x88 | 0x89 | 0x8B | 0x8D => Trouble::Away,
        reason::SESSION_TAKEN_OVER => Trouble::TakenOver,
        _ => Trouble::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_apart_by_what_mends_it() {
        for (code, trouble) in [
            (0x86, Trouble::BadCredentials),
            (0x04, Trouble::BadCredentials),
            (0x87, Trouble::NotAuthorized),
            (0x05, Trouble::NotAuthorized),
            (0x89, Trouble::Away),
            (0x97, Trouble::Refused),
            (0x8E, Trouble::TakenOver),
        ] {
            let refused = ConnectError::Refused { code, detail: None };
            assert_eq!(Trouble::from(&refused), trouble, "0x{code:02x}");
        }
    }

    #[test]
    fn what_is_wrong_here_is_no_fault_of_the_broker() {
        let login = ConnectError::NoLogin { path: "/secrets/login".into() };
        assert_eq!(Trouble::from(&login), Trouble::Misconfigured);
        let url = TransportError::Url { url: "http://x".to_owned(), problem: "names no host" };
        assert_eq!(Trouble::from(&ConnectError::from(url)), Trouble::Misconfigured);
        assert_eq!(Trouble::from(&Lost::Closed), Trouble::Away);
    }
}
