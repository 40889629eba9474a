//! A short-lived connection of a command to a broker.

use std::time::Duration;

use clap::Args;
use routemq_mqtt::{
    Acks, ConnectionState, Credentials, Delivery, End, FilterState, Publisher, Receiver, Session,
    SessionConfig, SessionHandle, SessionStatus,
};
use routemq_worker::config::{broker_url, take_login};

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
        let named = take_login(&mut url).map(Credentials::Static);
        let credentials = named.unwrap_or(settings.credentials);
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
    fn deliver(&mut self, _delivery: Delivery<'_>) {}
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
        let answer = |filter: &String| status.filters.get(filter.as_str());
        filters
            .iter()
            .all(|filter| answer(filter).is_some_and(|state| *state != FilterState::Pending))
    });
    let wait = tokio::time::timeout(Duration::from_secs(10), answered).await;
    let Ok(Ok(status)) = wait else {
        return Err(Failure::world("the broker did not answer the subscription within 10 s"));
    };
    for (filter, state) in &*status.filters {
        if let FilterState::Refused { code, reason } = state {
            return Err(Failure::input(format!(
                "the broker refused the filter {filter:?}: {reason} (0x{code:02x})"
            )));
        }
    }
    Ok(())
}
