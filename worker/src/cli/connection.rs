//! A short-lived connection of a command to a broker.

use std::time::Duration;

use clap::Args;
use routemq_mqtt::{
    Acks, ConnectionState, Credentials, Delivery, End, FilterState, Login, Publisher, Receiver,
    Session, SessionConfig, SessionHandle, SessionStatus,
};
use routemq_worker::config::broker_url;

use super::{failure::Failure, settings};

/// Which broker, and as whom.
#[derive(Args, Debug)]
pub(crate) struct BrokerArguments {
    /// The broker: host, host:port or URL [default: MQTT_BROKER and MQTT_PORT, else localhost]
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
}

impl BrokerArguments {
    /// A session of its own that ends with the connection.
    pub(crate) fn session(&self, what: &str) -> Result<SessionConfig, Failure> {
        let settings = settings()?;
        let mut url = match &self.broker {
            Some(written) => broker_url(written)
                .map_err(|fix| Failure::input(format!("--broker {written:?}: {fix}")))?,
            None => settings.broker,
        };
        let credentials = take_login(&mut url).unwrap_or(settings.credentials);
        let client = format!("routemq-{what}-{:08x}", fastrand::u32(..));
        let mut config = SessionConfig::new(url, client);
        config.credentials = credentials;
        config.clean_start = true;
        config.session_expiry = Duration::ZERO;
        config.receive_maximum = u16::MAX;
        Ok(config)
    }

    /// A publisher whose broker is known to answer.
    pub(crate) async fn publisher(&self, what: &str) -> Result<Publisher, Failure> {
        let config = self.session(what)?;
        // A session asks once and tells why it fails; the publisher would try for ever.
        let probe = connect(config.clone(), |_| Nobody).await?;
        probe.stop(End::Discard, Duration::from_secs(1)).await;
        Ok(Publisher::spawn(config))
    }
}

/// Subscribes to nothing, so nothing comes.
struct Nobody;

impl Receiver for Nobody {
    fn deliver(&mut self, _delivery: Delivery) {}
}

/// `mqtt://user:password@host`: the login goes with CONNECT, not into messages about the URL.
fn take_login(url: &mut url::Url) -> Option<Credentials> {
    let decoded = |text: &str| percent_decoded(text).filter(|text| !text.is_empty());
    let username = decoded(url.username());
    let password = url.password().and_then(decoded);
    let login = Login { username, password };
    let _ = (url.set_username(""), url.set_password(None));
    (login != Login::default()).then_some(Credentials::Static(login))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// Connects, or says in one line why not: a command does not try for ever.
pub(crate) async fn connect<R: Receiver>(
    config: SessionConfig,
    receiver: impl FnOnce(Acks) -> R,
) -> Result<SessionHandle, Failure> {
    let url = config.url.to_string();
    let session = Session::spawn(config, receiver);
    let mut status = session.status();
    let decided = |status: &SessionStatus| status.connection != ConnectionState::Connecting;
    let connection = status.wait_for(decided).await.map(|status| status.connection.clone());
    match connection {
        Ok(ConnectionState::Connected { .. }) => Ok(session),
        Ok(ConnectionState::Waiting { reason, .. }) => {
            Err(Failure::world(format!("cannot connect to {url}: {reason}")))
        }
        _ => Err(Failure::world(format!("cannot connect to {url}"))),
    }
}

/// Waits for every SUBACK; a refused filter is the user's to mend.
pub(crate) async fn granted(session: &SessionHandle, filters: &[String]) -> Result<(), Failure> {
    let mut status = session.status();
    let answered = status.wait_for(|status| {
        let answer = |filter| status.filters.get(filter);
        filters
            .iter()
            .all(|filter| answer(filter).is_some_and(|state| *state != FilterState::Pending))
    });
    let wait = tokio::time::timeout(Duration::from_secs(10), answered).await;
    let Ok(Ok(status)) = wait else {
        return Err(Failure::world("the broker did not answer the subscription within 10 s"));
    };
    for (filter, state) in &status.filters {
        if let FilterState::Refused { code, reason } = state {
            return Err(Failure::input(format!(
                "the broker refused the filter {filter:?}: {reason} (0x{code:02x})"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_the_url_goes_with_connect() {
        let mut url = url::Url::parse("mqtt://me:p%40ss@broker:1884").unwrap();
        let Some(Credentials::Static(login)) = take_login(&mut url) else { panic!("no login") };
        assert_eq!(login.username.as_deref(), Some("me"));
        assert_eq!(login.password.as_deref(), Some("p@ss"));
        assert_eq!(url.as_str(), "mqtt://broker:1884");
    }
}
