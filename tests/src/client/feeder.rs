//! A publisher whose broker may go away: an error is an answer, not a failed test.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{Packet, PubAckReason, Publish},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::config::{self, ClientConfig};

const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes at QoS 1 and hears the answers, over one connection that ends with the first error. Nothing is ever sent
/// twice by itself: what becomes of messages without an answer is for the caller to say.
#[derive(Debug)]
pub struct Feeder {
    stream: TcpStream,
    read: BytesMut,
    write: BytesMut,
    next_id: u16,
}

impl Feeder {
    /// Connects and waits for CONNACK.
    ///
    /// # Errors
    /// The broker is away, refuses, or does not answer within five seconds.
    pub async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(PATIENCE, Self::greet(address, config)).await.map_err(late)?
    }

    async fn greet(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = (BytesMut::with_capacity(64 * 1024), BytesMut::new());
        let mut feeder = Self { stream, read, write, next_id: 0 };
        feeder.add(&config.packet());
        feeder.flush().await?;
        match feeder.packet().await? {
            Packet::ConnAck(ack) if ack.code == config::ACCEPTED => Ok(feeder),
            other => Err(io::Error::other(format!("no CONNACK but {other:?}"))),
        }
    }

    /// Puts a message into the buffer and gives its packet id; no more than 60,000 may be without an answer.
    pub fn publish(&mut self, topic: &str, payload: impl Into<Bytes>) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
        publish.pkid = self.next_id;
        self.add(&Packet::Publish(publish));
        self.next_id
    }

    fn add(&mut self, packet: &Packet) {
        packet.write(&mut self.write, None).expect("the packet is well-formed");
    }

    /// Writes what is in the buffer.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.write).await
    }

    /// The next PUBACK: its packet id, and the broker's reason. Safe to cancel.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn answer(&mut self) -> io::Result<(u16, PubAckReason)> {
        loop {
            if let Packet::PubAck(ack) = self.packet().await? {
                return Ok((ack.pkid, ack.reason));
            }
        }
    }

    async fn packet(&mut self) -> io::Result<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
}
