//! An MQTT 5 client that shares nothing with the worker's session but the packet codec: one socket, no
//! background task, acknowledgements counted one by one.

mod config;
mod feeder;
mod wire;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        Filter, Packet, PubAck, PubAckReason, PubComp, PubRec, PubRel, Publish, PublishProperties,
        Subscribe, SubscribeProperties, SubscribeReasonCode, Unsubscribe,
    },
};
use tokio::time::{Instant, timeout};

pub use config::ClientConfig;
pub use feeder::Feeder;
use wire::Wire;

/// A connected client. Dropping it closes the socket without DISCONNECT.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    next_id: u16,
    session_present: bool,
    auto_ack: bool,
    waiting: VecDeque<Received>,
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// As sent; a topic that is not UTF-8 is a failure.
    pub topic: String,
    /// As sent.
    pub payload: Bytes,
    /// As delivered.
    pub qos: QoS,
    /// Whether it is a retained one.
    pub retain: bool,
    /// Whether the broker sends it again.
    pub duplicate: bool,
    /// 0 for QoS 0.
    pub packet_id: u16,
    /// As sent.
    pub properties: PublishProperties,
}

impl Received {
    /// The payload as text; fails where it is none.
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.to_vec()).expect("the payload is text")
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// Connects and waits for CONNACK; fails where the broker refuses.
    pub async fn connect(address: SocketAddr, config: ClientConfig) -> Self {
        let (auto_ack, connect) = (config.auto_ack, config.packet());
        let mut wire = Wire::open(address).await;
        wire.send(&connect).await;
        match timeout(PATIENCE, wire.next()).await {
            Ok(Some(Packet::ConnAck(ack))) if ack.code == config::ACCEPTED => Self {
                wire,
                next_id: 0,
                session_present: ack.session_present,
                auto_ack,
                waiting: VecDeque::new(),
            },
            other => panic!("no CONNACK from {address} but {other:?}"),
        }
    }

    /// Whether the broker had the session.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// Subscribes; fails unless granted.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let code = self.try_subscribe(filter, qos, None).await;
        assert!(matches!(code, SubscribeReasonCode::Success(_)), "{filter:?} refused: {code:?}");
    }

    /// Subscribes, with a subscription identifier if given, and says what SUBACK said.
    pub async fn try_subscribe(
        &mut self,
        filter: &str,
        qos: QoS,
        identifier: Option<usize>,
    ) -> SubscribeReasonCode {
        let pkid = self.id();
        let properties =
            identifier.map(|id| SubscribeProperties { id: Some(id), user_properties: Vec::new() });
        let filters = vec![Filter::new(filter, qos)];
        self.wire.send(&Packet::Subscribe(Subscribe { pkid, filters, properties })).await;
        self.until(|packet| match packet {
            Packet::SubAck(ack) if ack.pkid == pkid => Some(ack.return_codes[0]),
            _ => None,
        })
        .await
    }

    /// Unsubscribes and waits for UNSUBACK.
    pub async fn unsubscribe(&mut self, filter: &str) {
        let pkid = self.id();
        let filters = vec![filter.to_owned()];
        self.wire.send(&Packet::Unsubscribe(Unsubscribe { pkid, filters, properties: None })).await;
        self.until(|packet| match packet {
            Packet::UnsubAck(ack) if ack.pkid == pkid => Some(()),
            _ => None,
        })
        .await;
    }

    /// Publishes, and for QoS 1 and 2 waits until the broker has it; fails where the broker refuses.
    pub async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>, qos: QoS) {
        self.send(Publish::new(topic, qos, payload, None)).await;
    }

    /// The same with everything that a PUBLISH can carry (the packet id is set here).
    pub async fn send(&mut self, mut publish: Publish) {
        let (qos, topic) = (publish.qos, publish.topic.clone());
        publish.pkid = if qos == QoS::AtMostOnce { 0 } else { self.id() };
        let pkid = publish.pkid;
        self.wire.send(&Packet::Publish(publish)).await;
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                let reason = self.until(|p| puback(p, pkid)).await;
                assert!(taken(reason), "PUBLISH to {topic:?} refused: {reason:?}");
            }
            QoS::ExactlyOnce => self.finish(pkid).await,
        }
    }

    async fn finish(&mut self, pkid: u16) {
        self.until(|p| matches!(p, Packet::PubRec(rec) if rec.pkid == pkid).then_some(())).await;
        self.wire.send(&Packet::PubRel(PubRel::new(pkid, None))).await;
        self.until(|p| matches!(p, Packet::PubComp(c) if c.pkid == pkid).then_some(())).await;
    }

    /// Publishes all at QoS 1, at most `window` of them unacknowledged at a time, and returns when the broker has
    /// acknowledged each.
    pub async fn publish_all<T: Into<String>, P: Into<Bytes>>(
        &mut self,
        messages: impl IntoIterator<Item = (T, P)>,
        window: u16,
    ) {
        let mut unacknowledged = std::collections::HashSet::new();
        for (topic, payload) in messages {
            while unacknowledged.len() >= usize::from(window) {
                let pkid = self.any_puback().await;
                unacknowledged.remove(&pkid);
            }
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
            publish.pkid = self.id();
            assert!(unacknowledged.insert(publish.pkid), "the window is smaller than the ids");
            self.wire.send(&Packet::Publish(publish)).await;
        }
        while !unacknowledged.is_empty() {
            let pkid = self.any_puback().await;
            unacknowledged.remove(&pkid);
        }
    }

    async fn any_puback(&mut self) -> u16 {
        self.until(|packet| match packet {
            Packet::PubAck(ack) if taken(ack.reason) => Some(ack.pkid),
            Packet::PubAck(ack) => panic!("a PUBLISH was refused: {:?}", ack.reason),
            _ => None,
        })
        .await
    }

    /// The next message; `None` when none came within `patience`. Acknowledged at once unless configured otherwise.
    pub async fn receive(&mut self, patience: Duration) -> Option<Received> {
        let deadline = Instant::now() + patience;
        while self.waiting.is_empty() {
            let packet = tokio::time::timeout_at(deadline, self.wire.next()).await.ok()?;
            let packet = packet.expect("the broker closed the connection");
            self.take(packet).await;
        }
        self.waiting.pop_front()
    }

    /// Everything that comes until nothing came for `quiet`.
    pub async fn receive_all(&mut self, quiet: Duration) -> Vec<Received> {
        let mut all = Vec::new();
        while let Some(received) = self.receive(quiet).await {
            all.push(received);
        }
        all
    }

    /// Acknowledges a message (where it is not done at once).
    pub async fn acknowledge(&mut self, received: &Received) {
        let packet = match received.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Packet::PubAck(PubAck::new(received.packet_id, None)),
            QoS::ExactlyOnce => Packet::PubRec(PubRec::new(received.packet_id, None)),
        };
        self.wire.send(&packet).await;
    }

    /// DISCONNECT; the session stays as long as its expiry says.
    pub async fn disconnect(mut self) {
        self.wire.disconnect().await;
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    /// Reads until `wanted` finds its packet; messages that come meanwhile wait for [`Self::receive`].
    async fn until<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let packet = tokio::time::timeout_at(deadline, self.wire.next()).await;
            let packet = packet.expect("the broker answers").expect("the broker stays connected");
            if let Some(found) = wanted(&packet) {
                return found;
            }
            self.take(packet).await;
        }
    }

    async fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => {
                let received = received(publish);
                if self.auto_ack {
                    self.acknowledge(&received).await;
                }
                self.waiting.push_back(received);
            }
            Packet::PubRel(rel) => {
                self.wire.send(&Packet::PubComp(PubComp::new(rel.pkid, None))).await;
            }
            Packet::Disconnect(reason) => panic!("the broker disconnects: {reason:?}"),
            _ => {}
        }
    }
}

fn received(publish: Publish) -> Received {
    Received {
        topic: String::from_utf8(publish.topic.to_vec()).expect("topics are UTF-8"),
        payload: publish.payload,
        qos: publish.qos,
        retain: publish.retain,
        duplicate: publish.dup,
        packet_id: publish.pkid,
        properties: publish.properties.unwrap_or_default(),
    }
}

fn puback(packet: &Packet, pkid: u16) -> Option<PubAckReason> {
    match packet {
        Packet::PubAck(ack) if ack.pkid == pkid => Some(ack.reason),
        _ => None,
    }
}

fn taken(reason: PubAckReason) -> bool {
    matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
