//! An HTTP GET, for metrics and probes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What a kubelet waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Everything before the body, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks, on a connection of its own.
///
/// # Errors
/// Why there is no answer within three seconds.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    let answer = timeout(PATIENCE, exchange(address, path)).await;
    let text = answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let text = text.map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no head")?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or("no status")?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
