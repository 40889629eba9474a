//! Who connects, and how.

use rumqttc::v5::mqttbytes::v5::{Connect, ConnectProperties, ConnectReturnCode, Login, Packet};

pub(super) const ACCEPTED: ConnectReturnCode = ConnectReturnCode::Success;

/// How a [`crate::Client`] connects.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The client identifier.
    pub client_id: String,
    /// Whether an earlier session is discarded. Default true.
    pub clean_start: bool,
    /// Seconds that the broker keeps the session. Default 0.
    pub session_expiry: u32,
    /// Unacknowledged messages that the broker may send. Default 65,535.
    pub receive_maximum: u16,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Whether messages are acknowledged as they come. Default true.
    pub auto_ack: bool,
}

impl ClientConfig {
    /// The defaults.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            clean_start: true,
            session_expiry: 0,
            receive_maximum: 65_535,
            login: None,
            auto_ack: true,
        }
    }

    /// A durable session: resumed where there is one, kept for an hour.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.clean_start = false;
        self.session_expiry = 3600;
        self
    }

    /// Messages wait for [`crate::Client::acknowledge`].
    #[must_use]
    pub fn manual_ack(mut self) -> Self {
        self.auto_ack = false;
        self
    }

    pub(super) fn packet(self) -> Packet {
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(self.session_expiry);
        properties.receive_maximum = Some(self.receive_maximum);
        let connect = Connect {
            keep_alive: 0,
            client_id: self.client_id,
            clean_start: self.clean_start,
            properties: Some(properties),
        };
        let login = self.login.map(|(username, password)| Login { username, password });
        Packet::Connect(connect, None, login)
    }
}
