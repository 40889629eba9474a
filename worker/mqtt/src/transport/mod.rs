//! Opens the byte stream below MQTT: TCP, TLS, WebSocket.

mod coalesce;
mod pace;
mod tls;
mod websocket;

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use url::{Host, Url};

pub(crate) use self::tls::{explain as explain_tls, trouble as tls_trouble};
use self::{coalesce::Coalescing, tls::TlsError, websocket::WebSocketError};
use crate::TlsConfig;

/// A stream of bytes in both directions.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("the broker url {url} {problem}")]
    Url { url: String, problem: &'static str },
    #[error("cannot reach {address}: is the broker there?")]
    Tcp { address: String, source: io::Error },
    #[error("no secure connection to {address}")]
    Tls { address: String, source: TlsError },
    #[error("no WebSocket at {address}")]
    WebSocket { address: String, source: WebSocketError },
}

/// What a broker url says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    secure: bool,
    websocket: bool,
}

impl Address {
    fn of(url: &Url) -> Result<Self, TransportError> {
        let wrong = |problem| TransportError::Url { url: without_login(url), problem };
        let (secure, websocket, default) = match url.scheme() {
            "mqtt" => (false, false, 1883),
            "mqtts" => (true, false, 8883),
            "ws" => (false, true, 80),
            "wss" => (true, true, 443),
            _ => return Err(wrong("must start with mqtt://, mqtts://, ws:// or wss://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("holds a login: give user name and password as credentials"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return Err(wrong("names no host")),
        };
        Ok(Self { host, port: url.port().unwrap_or(default), secure, websocket })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The url as it may be logged.
pub(crate) fn without_login(url: &Url) -> String {
    let mut clean = url.clone();
    // Both fail only where a url cannot hold a login.
    let _ = clean.set_password(None);
    let _ = clean.set_username("");
    clean.to_string()
}

/// Connects to `url`. A secure scheme never falls back to an insecure stream.
pub(crate) async fn open(url: &Url, tls: &TlsConfig) -> Result<Box<dyn Wire>, TransportError> {
    let address = Address::of(url)?;
    let tcp = connect_tcp(&address).await?;
    match (address.secure, address.websocket) {
        (false, false) => Ok(Box::new(tcp)),
        (true, false) => Ok(Box::new(secure(tcp, &address, tls).await?)),
        (false, true) => upgrade(tcp, &address, url).await,
        (true, true) => upgrade(secure(tcp, &address, tls).await?, &address, url).await,
    }
}

async fn connect_tcp(address: &Address) -> Result<Coalescing, TransportError> {
    let failed = |source| TransportError::Tcp { address: address.to_string(), source };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    // Acknowledgements are small and must not wait for more.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Coalescing::new(stream))
}

async fn secure(
    tcp: Coalescing,
    address: &Address,
    config: &TlsConfig,
) -> Result<tokio_rustls::client::TlsStream<Coalescing>, TransportError> {
    tls::connect(tcp, &address.host, config)
        .await
        .map_err(|source| TransportError::Tls { address: address.to_string(), source })
}

async fn upgrade(
    stream: impl Wire + 'static,
    address: &Address,
    url: &Url,
) -> Result<Box<dyn Wire>, TransportError> {
    let stream = websocket::connect(stream, url)
        .await
        .map_err(|source| TransportError::WebSocket { address: address.to_string(), source })?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_its_url() {
        for (url, host, port, secure, websocket) in [
            ("mqtt://broker", "broker", 1883, false, false),
            ("mqtts://broker", "broker", 8883, true, false),
            ("mqtt://10.0.0.1:2883", "10.0.0.1", 2883, false, false),
            ("mqtt://[::1]:2883", "::1", 2883, false, false),
            ("ws://broker/mqtt", "broker", 80, false, true),
            ("wss://broker:8084/mqtt", "broker", 8084, true, true),
        ] {
            let address = Address::of(&Url::parse(url).unwrap()).unwrap();
            let expected = Address { host: host.to_owned(), port, secure, websocket };
            assert_eq!(address, expected, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_in_words_and_without_its_password() {
        for (url, words) in [
            ("http://broker", "must start with mqtt://"),
            ("mqtt://", "names no host"),
            ("mqtt://anna:secret@broker", "holds a login"),
        ] {
            let error = Address::of(&Url::parse(url).unwrap()).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
