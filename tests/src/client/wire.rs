//! Packets over one socket.

use std::net::SocketAddr;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error,
    v5::{Disconnect, DisconnectReasonCode, Packet},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    read: BytesMut,
    write: BytesMut,
}

impl Wire {
    pub(super) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        stream.set_nodelay(true).unwrap();
        Self { stream, read: BytesMut::with_capacity(64 * 1024), write: BytesMut::new() }
    }

    pub(super) async fn send(&mut self, packet: &Packet) {
        self.write.clear();
        packet.write(&mut self.write, None).expect("the packet is well-formed");
        self.stream.write_all(&self.write).await.expect("the broker stays connected");
    }

    /// The next packet; `None` when the broker closed. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the broker sent what is no packet: {error}"),
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn disconnect(&mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))
            .await;
        let _ = self.stream.shutdown().await;
    }
}
