//! From a configuration to an accepted connection: stream, CONNECT, CONNACK.

use std::{error::Error, fmt::Write as _, future::poll_fn, io, path::PathBuf, time::Duration};

use rumqttc::v5::mqttbytes::v5::ConnAckProperties;
use tokio::time::timeout;

use crate::{
    Credentials, Login, SessionConfig,
    codec::{self, Fault, Frames, Greeting, Incoming},
    link::{Link, Lost},
    reason,
    subscriptions::Offers,
    transport::{self, TransportError, without_login},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("cannot read the login from {}", path.display())]
    Login { path: PathBuf, source: io::Error },
    #[error("{} holds neither username nor password", path.display())]
    NoLogin { path: PathBuf },
    #[error("the client id, user name or password is longer than MQTT allows (65,535 bytes)")]
    TooLong,
    #[error("{url} did not accept a connection within {limit:?}: is it an MQTT 5 broker?")]
    Timeout { url: String, limit: Duration },
    #[error(
        "the broker refuses the connection: {} (0x{code:02x}){}{}",
        reason::words(*code),
        detail.as_ref().map(|detail| format!(", {detail:?}")).unwrap_or_default(),
        hint(*code)
    )]
    Refused {
        code: u8,
        /// The broker's own words.
        detail: Option<String>,
    },
    #[error("no MQTT handshake")]
    Lost(#[source] Lost),
}

impl From<Lost> for ConnectError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Disconnected { code, detail } => Self::Refused { code, detail },
            lost => Self::Lost(lost),
        }
    }
}

/// How to mend a refusal.
fn hint(code: u8) -> &'static str {
    match code {
        0x84 | 0x01 => ": MQTT 5 is needed; switch it on in the broker, or use a newer one",
        0x85 | 0x02 => ": choose another client id",
        reason::BAD_LOGIN | 0x04 => {
            ": check user name and password (credentialsSecretRef, MQTT_USERNAME, MQTT_PASSWORD)"
        }
        reason::NOT_AUTHORIZED | 0x05 => {
            ": check the login (credentialsSecretRef, MQTT_USERNAME, MQTT_PASSWORD) and the \
             broker's access rules for this client"
        }
        0x8A => ": the broker's administrator has banned this client",
        0x8C => ": the broker wants another kind of login than user name and password",
        reason::PACKET_TOO_LARGE => ": the login is larger than the broker takes",
        0x97 => ": the broker's limit of connections or sessions is reached",
        0x9C | 0x9D => ": put the other server's address into the broker url",
        0x9F => ": the broker limits how fast clients may connect",
        _ => "",
    }
}

/// What CONNACK said.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) session_present: bool,
    pub(crate) offers: Offers,
    /// QoS 1 and 2 messages that the broker takes unacknowledged.
    pub(crate) receive_maximum: u16,
    /// Bytes of a packet that the broker takes.
    pub(crate) maximum_packet_size: u32,
    pub(crate) maximum_qos: u8,
    pub(crate) retain: bool,
}

impl Accepted {
    fn of(session_present: bool, properties: Option<&ConnAckProperties>) -> Self {
        let flag = |field: fn(&ConnAckProperties) -> Option<u8>| {
            properties.and_then(field).is_none_or(|value| value != 0)
        };
        Self {
            session_present,
            offers: Offers {
                shared: flag(|own| own.shared_subscription_available),
                wildcards: flag(|own| own.wildcard_subscription_available),
                identifiers: flag(|own| own.subscription_identifiers_available),
            },
            receive_maximum: properties.and_then(|own| own.receive_max).unwrap_or(u16::MAX),
            maximum_packet_size: properties.and_then(|own| own.max_packet_size).unwrap_or(u32::MAX),
            maximum_qos: properties.and_then(|own| own.max_qos).unwrap_or(2),
            retain: flag(|own| own.retain_available),
        }
    }
}

/// Connects within the configured time.
pub(crate) async fn connect(config: &SessionConfig) -> Result<(Link, Accepted), ConnectError> {
    let limit = config.connect_timeout;
    timeout(limit, attempt(config))
        .await
        .unwrap_or_else(|_| Err(ConnectError::Timeout { url: without_login(&config.url), limit }))
}

async fn attempt(config: &SessionConfig) -> Result<(Link, Accepted), ConnectError> {
    let login = read_login(&config.credentials)?;
    let wire = transport::open(&config.url, &config.tls).await?;
    let mut link = Link::new(wire, config.maximum_packet_size, config.keep_alive);
    codec::connect(config, login, &mut link.out).map_err(|_| ConnectError::TooLong)?;
    match shake_hands(&mut link, config).await {
        Ok(accepted) => Ok((link, accepted)),
        Err(ConnectError::Lost(Lost::Fault(fault))) => {
            let code = fault.code;
            link.close(code).await;
            Err(ConnectError::Lost(Lost::Fault(fault)))
        }
        Err(error) => Err(error),
    }
}

async fn shake_hands(link: &mut Link, config: &SessionConfig) -> Result<Accepted, ConnectError> {
    let greeting = greeting(link).await?;
    let connack = greeting.connack;
    let properties = connack.as_ref().and_then(|connack| connack.properties.as_ref());
    if greeting.code != 0 {
        let detail = properties.and_then(|own| own.reason_string.clone());
        return Err(ConnectError::Refused { code: greeting.code, detail });
    }
    if let Some(fault) = contradiction(greeting.session_present, config, properties) {
        return Err(Lost::Fault(fault).into());
    }
    if let Some(seconds) = properties.and_then(|own| own.server_keep_alive).filter(|own| *own > 0) {
        link.set_keep_alive(Duration::from_secs(seconds.into()));
    }
    Ok(Accepted::of(greeting.session_present, properties))
}

/// What a CONNACK must not say.
fn contradiction(
    session_present: bool,
    config: &SessionConfig,
    properties: Option<&ConnAckProperties>,
) -> Option<Fault> {
    if session_present && config.clean_start {
        return Some(Fault::protocol("a session after a clean start"));
    }
    let properties = properties?;
    let zero = if properties.receive_max == Some(0) {
        "receive maximum 0"
    } else if properties.max_packet_size == Some(0) {
        "maximum packet size 0"
    } else if properties.max_qos.is_some_and(|qos| qos > 1) {
        "a maximum QoS above 1"
    } else {
        return None;
    };
    Some(Fault::protocol(format!("CONNACK with {zero}")))
}

/// Waits for the first packet, which must be CONNACK; more may lie behind it.
async fn greeting(link: &mut Link) -> Result<Greeting, ConnectError> {
    loop {
        poll_fn(|cx| link.poll(true, cx)).await?;
        let Some(read) = link.take_first().map_err(Lost::Fault)? else { continue };
        let Some(frame) = Frames::of(&read).next().map_err(Lost::Fault)? else { continue };
        return match codec::decode(frame).map_err(Lost::Fault)? {
            Incoming::ConnAck(greeting) => Ok(*greeting),
            Incoming::Disconnect { code, detail } => Err(ConnectError::Refused { code, detail }),
            _ => Err(Lost::Fault(Fault::protocol("a packet before CONNACK")).into()),
        };
    }
}

/// The login as it stands now: files may have been renewed since the last connection.
fn read_login(credentials: &Credentials) -> Result<Option<Login>, ConnectError> {
    let folder = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Static(login) => return Ok(Some(login.clone())),
        Credentials::Shared(login) => return Ok(Some(login.get())),
        Credentials::Folder(folder) => folder,
    };
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            // Editors end a file with a line break; no broker's password does.
            Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConnectError::Login { path, source }),
        }
    };
    let login = Login { username: read("username")?, password: read("password")? };
    if login == Login::default() {
        return Err(ConnectError::NoLogin { path: folder.clone() });
    }
    Ok(Some(login))
}

/// An error and its causes in one line.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // An I/O error repeats what it wraps.
        if !words.contains(&text) {
            // Writing to a string cannot fail.
            let _ = write!(words, ": {text}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests;
