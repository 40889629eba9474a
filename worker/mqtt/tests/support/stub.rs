//! A scripted broker: the test plays it, packet by packet, on rumqttc's codec or raw bytes.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{
        ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Login, Packet, PubAck, Publish,
        PublishProperties, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::SOON;

pub struct Stub {
    listener: TcpListener,
    pub port: u16,
}

/// One accepted connection.
pub struct Peer {
    stream: TcpStream,
    inbox: BytesMut,
}

pub fn connack() -> ConnAck {
    ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: None }
}

pub fn limits() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

pub fn publish(topic: &str, qos: u8, id: u16, payload: &str) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)],
        retain: false,
        topic: topic.to_owned().into(),
        pkid: id,
        payload: payload.to_owned().into(),
        properties: None::<PublishProperties>,
    })
}

impl Stub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The next connection, before its CONNECT.
    pub async fn accept(&self) -> Peer {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.expect("a client").unwrap();
        Peer { stream, inbox: BytesMut::new() }
    }

    /// The next connection, greeted with success.
    pub async fn welcome(&self) -> Peer {
        self.greet(connack()).await.0
    }

    pub async fn greet(&self, connack: ConnAck) -> (Peer, Connect, Option<Login>) {
        let mut peer = self.accept().await;
        let Packet::Connect(connect, will, login) = peer.packet().await else {
            panic!("no CONNECT");
        };
        assert_eq!(will, None);
        peer.send(Packet::ConnAck(connack)).await;
        (peer, connect, login)
    }
}

impl Peer {
    /// The next packet; `None`: the client closed the connection.
    pub async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.inbox, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                // rumqttc knows no DISCONNECT that ends after its reason.
                Err(error) => panic!("the client sent rubbish: {error}"),
            }
            let read = timeout(SOON, self.stream.read_buf(&mut self.inbox));
            match read.await.expect("a packet from the client") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn packet(&mut self) -> Packet {
        self.next().await.expect("a packet before the end")
    }

    /// Everything until the client closes.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut rest = self.inbox.split().to_vec();
        // A reset is an end, too.
        let _ = timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("the client closes");
        rest
    }

    /// Nothing comes for a while.
    pub async fn silence(&mut self, span: Duration) {
        let read = timeout(span, self.stream.read_buf(&mut self.inbox)).await;
        assert!(read.is_err() && self.inbox.is_empty(), "unexpected: {:?}", self.inbox);
    }

    pub async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        packet.write(&mut out, None).unwrap();
        self.raw(&out).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        // The client may have had enough already.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The identifiers of the next `count` acknowledgements of this kind.
    pub async fn acks(&mut self, count: usize) -> Vec<(&'static str, u16)> {
        let mut acks = Vec::new();
        while acks.len() < count {
            acks.push(match self.packet().await {
                Packet::PubAck(ack) => ("PUBACK", ack.pkid),
                Packet::PubRec(ack) => ("PUBREC", ack.pkid),
                Packet::PubComp(ack) => ("PUBCOMP", ack.pkid),
                other => panic!("not an acknowledgement: {other:?}"),
            });
        }
        acks
    }

    /// Plays a friendly broker for subscriptions and the barrier until `count` filters are granted and
    /// the barrier came back. Gives the filters in order.
    pub async fn settle(&mut self, count: usize) -> Vec<(String, Option<usize>)> {
        let mut filters = Vec::new();
        let mut barrier = None;
        while barrier.is_none() || filters.len() < count {
            match self.packet().await {
                Packet::Subscribe(subscribe) => {
                    let filter = subscribe.filters[0].clone();
                    self.suback(subscribe.pkid, SubscribeReasonCode::Success(filter.qos)).await;
                    if !filter.path.starts_with("routemq/barrier/") {
                        let identifier = subscribe.properties.and_then(|own| own.id);
                        filters.push((filter.path, identifier));
                    }
                }
                Packet::Publish(publish) => {
                    self.send(Packet::PubAck(PubAck::new(publish.pkid, None))).await;
                    barrier = Some(publish);
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        self.echo(barrier.unwrap()).await;
        filters
    }

    pub async fn echo(&mut self, mut barrier: Publish) {
        barrier.pkid = 60_000;
        // Only a new subscription gets a message as a retained one (MQTT-3.3.1-12).
        barrier.retain = false;
        self.send(Packet::Publish(barrier)).await;
        assert_eq!(self.acks(1).await, [("PUBACK", 60_000)]);
    }

    pub async fn suback(&mut self, pkid: u16, code: SubscribeReasonCode) {
        let suback = SubAck { pkid, return_codes: vec![code], properties: None };
        self.send(Packet::SubAck(suback)).await;
    }

    pub async fn unsuback(&mut self, pkid: u16) {
        let reasons = vec![UnsubAckReason::Success];
        self.send(Packet::UnsubAck(UnsubAck { pkid, reasons, properties: None })).await;
    }
}
