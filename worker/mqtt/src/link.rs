//! One connection's buffers: big reads into one buffer, one write a turn, the keep-alive clock.

use std::{
    io,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    codec::{self, Fault},
    reason,
    transport::{Wire, explain_tls},
};

/// What one read asks for: a hundred thousand messages a second are a thousand a read.
const READ: usize = 128 * 1024;
/// With less room than this the next read gets a fresh piece of memory.
const LITTLE_ROOM: usize = 16 * 1024;
/// With more unwritten than this nothing is read: what we cannot answer we do not take in.
const UNWRITTEN: usize = 256 * 1024;
/// A last DISCONNECT is worth this much waiting.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{}", explain_tls(.0).unwrap_or("the connection broke"))]
    Io(#[source] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker did not answer for {0:?}: the connection is dead")]
    Silent(Duration),
    #[error("the broker broke the protocol: {0}")]
    Fault(Fault),
    #[error(
        "the broker ended the connection: {} (0x{code:02x}){}",
        reason::words(*code),
        detail.as_ref().map(|detail| format!(", {detail:?}")).unwrap_or_default()
    )]
    Disconnected {
        code: u8,
        /// The broker's own words.
        detail: Option<String>,
    },
    #[error("the broker did not answer a SUBSCRIBE or UNSUBSCRIBE within {0:?}")]
    Unanswered(Duration),
    #[error("another connection took over the client id: every client needs its own")]
    TakenOver,
}

impl Lost {
    /// What a DISCONNECT means.
    pub(crate) fn by_disconnect(code: u8, detail: Option<String>) -> Self {
        match code {
            reason::SESSION_TAKEN_OVER => Self::TakenOver,
            _ => Self::Disconnected { code, detail },
        }
    }
}

/// A connection after (or during) its handshake.
pub(crate) struct Link {
    wire: Box<dyn Wire>,
    inbox: BytesMut,
    /// Written at the next turn.
    pub(crate) out: BytesMut,
    /// Something is written and may still lie in a layer below.
    flush_due: bool,
    /// Bytes written since the start.
    written: u64,
    maximum_packet_size: u32,
    /// Zero: none.
    keep_alive: Duration,
    received: Instant,
    sent: Instant,
    pinged: Option<Instant>,
    /// Whether somebody wants what the broker says; otherwise its silence says nothing.
    listening: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("unwritten", &self.out.len()).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(wire: Box<dyn Wire>, maximum_packet_size: u32, keep_alive: Duration) -> Self {
        let now = Instant::now();
        Self {
            wire,
            inbox: BytesMut::new(),
            out: BytesMut::new(),
            flush_due: false,
            written: 0,
            maximum_packet_size,
            keep_alive,
            received: now,
            sent: now,
            pinged: None,
            listening: true,
        }
    }

    /// The broker's own keep-alive replaces ours (MQTT 5, 3.2.2.3.14).
    pub(crate) fn set_keep_alive(&mut self, keep_alive: Duration) {
        self.keep_alive = keep_alive;
    }

    /// Bytes written to the wire so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes what waits, then reads once, where there is `room` for it. Ready when either got on, or the connection
    /// is lost.
    pub(crate) fn poll(&mut self, room: bool, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let wrote = self.poll_write(cx).map_err(Lost::Io)?;
        self.listen(room);
        let read = if room && self.out.len() < UNWRITTEN { self.poll_read(cx)? } else { false };
        if wrote || read { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// What the broker said while nobody listened is still unread: its silence counts from now on.
    fn listen(&mut self, room: bool) {
        if room && !self.listening {
            (self.received, self.pinged) = (Instant::now(), None);
        }
        self.listening = room;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.out.is_empty() {
            match pin!(self.wire.write(&self.out)).poll(cx)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(len) => {
                    self.out.advance(len);
                    self.written += len as u64;
                    self.sent = Instant::now();
                    (wrote, self.flush_due) = (true, true);
                }
                Poll::Pending => break,
            }
        }
        if self.flush_due && pin!(self.wire.flush()).poll(cx)?.is_ready() {
            self.flush_due = false;
        }
        Ok(wrote)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        if self.inbox.capacity() - self.inbox.len() < LITTLE_ROOM {
            self.inbox.reserve(READ);
        }
        match pin!(self.wire.read_buf(&mut self.inbox)).poll(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(Lost::Closed),
            Poll::Ready(Ok(_)) => {
                self.received = Instant::now();
                self.pinged = None;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(Lost::Io(error)),
        }
    }

    /// All whole packets that were read, and what is wrong behind them.
    pub(crate) fn take_frames(&mut self) -> (Bytes, Option<Fault>) {
        codec::split_frames(&mut self.inbox, self.maximum_packet_size)
    }

    /// The first whole packet alone; what is behind it stays.
    pub(crate) fn take_first(&mut self) -> Result<Option<Bytes>, Fault> {
        codec::split_first(&mut self.inbox, self.maximum_packet_size)
    }

    /// Asks the broker for a sign of life when there was none for three quarters of the keep-alive
    /// time, and gives up after as much again: a dead connection is known within twice that time.
    /// While nothing is read for want of room, it only shows that we live.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> Result<(), Lost> {
        if self.ping_deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if self.pinged.is_some() && self.listening {
            return Err(Lost::Silent(now.duration_since(self.received)));
        }
        codec::pingreq(&mut self.out);
        self.pinged = Some(now);
        Ok(())
    }

    /// When to call [`Self::keep_alive`] next.
    pub(crate) fn ping_deadline(&self) -> Option<Instant> {
        if self.keep_alive.is_zero() {
            return None;
        }
        let quiet = self.keep_alive.mul_f32(0.75);
        Some(self.pinged.unwrap_or(self.received.min(self.sent)) + quiet)
    }

    /// Writes all that waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.wire.write_all_buf(&mut self.out).await?;
        self.wire.flush().await
    }

    /// Says farewell, if the broker still listens, and closes.
    pub(crate) async fn close(mut self, code: u8) {
        codec::disconnect(code, false, &mut self.out);
        let _ = timeout(FAREWELL, self.finish()).await;
    }

    /// Writes what waits and closes the stream. What the broker still sends is read and dropped: closing
    /// a socket with unread bytes resets it, and the reset can overtake our last acknowledgements.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.wire.shutdown().await?;
        loop {
            self.inbox.clear();
            self.inbox.reserve(LITTLE_ROOM);
            if self.wire.read_buf(&mut self.inbox).await? == 0 {
                return Ok(());
            }
        }
    }
}
