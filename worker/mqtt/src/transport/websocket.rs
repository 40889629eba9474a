//! MQTT over WebSocket (MQTT 5, 6.0): subprotocol `mqtt`, binary frames, whose borders mean nothing.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    },
};
use url::Url;

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebSocketError {
    #[error("the url is not one of a WebSocket")]
    Url(#[source] Box<Error>),
    #[error(
        "the handshake failed: the path of the url must be the one that the broker listens at, \
         often /mqtt"
    )]
    Handshake(#[source] Box<Error>),
    #[error("the server does not speak the subprotocol mqtt")]
    Subprotocol,
}

/// Upgrades `stream`.
pub(super) async fn connect<S>(stream: S, url: &Url) -> Result<MessageStream<S>, WebSocketError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|source| WebSocketError::Url(Box::new(source)))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    let (socket, _) = client_async(request, stream).await.map_err(|source| match source {
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_),
        ) => WebSocketError::Subprotocol,
        source => WebSocketError::Handshake(Box::new(source)),
    })?;
    Ok(MessageStream { socket, unread: Bytes::new() })
}

/// A WebSocket as a stream of bytes.
#[derive(Debug)]
pub(super) struct MessageStream<S> {
    socket: WebSocketStream<S>,
    unread: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(text_frame())),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..len]);
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

fn text_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a text frame where MQTT sends binary ones")
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        socket.start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io::Error::other)
    }
}
