//! What the proxies before the workers saw: who was sent which message, who acknowledged it, and how connections ended.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use routemq_tests::{Direction, Frame, Verdict};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    journal::{id_of, index},
    moment::{Clock, Moment},
};

/// A message on one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// The place of the connection in [`Seen::connections`].
    pub(crate) connection: usize,
    /// Its place among all deliveries.
    pub(crate) number: u64,
    /// When it went to the worker.
    pub(crate) at: Moment,
    /// When the worker's acknowledgement went to the broker.
    pub(crate) acknowledged: Option<Moment>,
}

/// A connection of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Whose proxy it went through.
    pub(crate) slot: u32,
    /// As CONNECT says.
    pub(crate) client_id: String,
    pub(crate) opened: Moment,
    /// When the broker granted its first subscription; never for connections that only publish.
    pub(crate) subscribed: Option<Moment>,
    /// When the worker said DISCONNECT: it ended in good order.
    pub(crate) closed: Option<Moment>,
}

/// What an acknowledgement is owed for: an id and the place of its delivery, or a message that is none of ours (a
/// barrier).
type Owed = Option<(u64, usize)>;

/// An acknowledgement that stands for no message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    pub(crate) connection: usize,
    pub(crate) packet: u16,
    pub(crate) at: Moment,
}

/// An acknowledgement, for whoever holds it against the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) id: u64,
    pub(crate) at: Moment,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By id, in order.
    pub(crate) deliveries: Vec<Vec<Delivery>>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) strays: Vec<Stray>,
    /// Messages that have been acknowledged at least once.
    pub(crate) acknowledged: usize,
    delivered: u64,
    /// By proxy and its own number.
    numbers: HashMap<(u32, u64), usize>,
    /// What a packet id of a connection stands for until it is acknowledged.
    open: HashMap<(usize, u16), VecDeque<Owed>>,
    /// Packet ids that the broker used again before they were acknowledged, as it must not: mosquitto 2.0.11 does when it
    /// sends more than 65,535 queued messages at once. The first to be sent is the first to be acknowledged.
    pub(crate) reused: usize,
    /// When each slot acknowledged last.
    last: HashMap<u32, Moment>,
}

/// Shared by all proxies.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    clock: Clock,
    seen: Arc<Mutex<Seen>>,
    acknowledged: UnboundedSender<Acknowledged>,
}

impl Witness {
    /// Tells each acknowledgement to `acknowledged`.
    pub(crate) fn new(clock: Clock, acknowledged: UnboundedSender<Acknowledged>) -> Self {
        Self { clock, seen: Arc::default(), acknowledged }
    }

    /// The tap of a slot's proxy: watches, and lets everything pass.
    pub(crate) fn tap(
        &self,
        slot: u32,
    ) -> impl Fn(u64, Direction, &Frame) -> Verdict + Send + Sync + 'static {
        let witness = self.clone();
        move |number, direction, frame| {
            witness.note((slot, number), direction, frame);
            Verdict::Pass
        }
    }

    /// Reads what was seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody fails while holding what was seen")
    }

    /// When a slot acknowledged last.
    pub(crate) fn last_acknowledgement(&self, slot: u32) -> Option<Moment> {
        self.seen().last.get(&slot).copied()
    }

    fn note(&self, number: (u32, u64), direction: Direction, frame: &Frame) {
        let now = self.clock.now();
        let mut seen = self.seen();
        match (direction, frame.kind()) {
            (Direction::ToBroker, Frame::CONNECT) => seen.connects(number, frame, now),
            (Direction::ToClient, Frame::SUBACK) => {
                seen.connection(number).1.subscribed.get_or_insert(now);
            }
            (Direction::ToBroker, Frame::DISCONNECT) => {
                seen.connection(number).1.closed = Some(now);
            }
            (Direction::ToClient, Frame::PUBLISH) => seen.sends(number, frame, now),
            (Direction::ToBroker, Frame::PUBACK) => {
                if let Some(acknowledged) = seen.acknowledges(number, frame, now) {
                    // Nobody listens any more when the run is at its end.
                    let _ = self.acknowledged.send(acknowledged);
                }
            }
            _ => {}
        }
    }
}

impl Seen {
    fn connects(&mut self, number: (u32, u64), frame: &Frame, opened: Moment) {
        let client_id = frame.client_id().unwrap_or_default().to_owned();
        let (subscribed, closed) = (None, None);
        self.numbers.insert(number, self.connections.len());
        self.connections.push(Connection { slot: number.0, client_id, opened, subscribed, closed });
    }

    fn connection(&mut self, number: (u32, u64)) -> (usize, &mut Connection) {
        let place = *self.numbers.get(&number).expect("a connection begins with CONNECT");
        (place, &mut self.connections[place])
    }

    fn sends(&mut self, number: (u32, u64), frame: &Frame, at: Moment) {
        let connection = self.connection(number).0;
        let ours = frame.topic().and_then(id_of).map(|id| (id, self.delivered(id, connection, at)));
        if let Some(packet) = frame.packet_id() {
            let open = self.open.entry((connection, packet)).or_default();
            self.reused += usize::from(!open.is_empty());
            open.push_back(ours);
        }
    }

    /// The place of this delivery among those of its message.
    fn delivered(&mut self, id: u64, connection: usize, at: Moment) -> usize {
        if self.deliveries.len() <= index(id) {
            self.deliveries.resize(index(id) + 1, Vec::new());
        }
        let deliveries = &mut self.deliveries[index(id)];
        deliveries.push(Delivery { connection, number: self.delivered, at, acknowledged: None });
        self.delivered += 1;
        deliveries.len() - 1
    }

    fn acknowledges(
        &mut self,
        number: (u32, u64),
        frame: &Frame,
        at: Moment,
    ) -> Option<Acknowledged> {
        let connection = self.connection(number).0;
        let packet = frame.packet_id().expect("a PUBACK has a packet id");
        let open = self.open.get_mut(&(connection, packet));
        let Some(ours) = open.and_then(VecDeque::pop_front) else {
            self.strays.push(Stray { connection, packet, at });
            return None;
        };
        let (id, delivery) = ours?;
        self.last.insert(number.0, at);
        let deliveries = &mut self.deliveries[index(id)];
        self.acknowledged += usize::from(deliveries.iter().all(|it| it.acknowledged.is_none()));
        deliveries[delivery].acknowledged = Some(at);
        Some(Acknowledged { id, at })
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::{
        QoS,
        v5::{
            Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Packet, PubAck, Publish,
        },
    };
    use tokio::sync::mpsc;

    use super::*;
    use Direction::{ToBroker, ToClient};

    fn connect(client_id: &str) -> Packet {
        let connect = Connect {
            keep_alive: 15,
            client_id: client_id.to_owned(),
            clean_start: false,
            properties: Some(ConnectProperties::new()),
        };
        Packet::Connect(connect, None, None)
    }

    fn publish(topic: &str, packet: u16) -> Packet {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, "x", None);
        publish.pkid = packet;
        Packet::Publish(publish)
    }

    fn puback(packet: u16) -> Packet {
        Packet::PubAck(PubAck::new(packet, None))
    }

    #[test]
    fn each_acknowledgement_is_for_one_delivery_a_barrier_or_a_stray() {
        let (sender, mut acknowledged) = mpsc::unbounded_channel();
        let witness = Witness::new(Clock::start(), sender);
        let goodbye = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        for (number, direction, packet) in [
            (1, ToBroker, connect("w-0")),
            (1, ToClient, publish("soak/k-1/0", 1)),
            (1, ToClient, publish("soak/k-1/1", 2)),
            (1, ToClient, publish("routemq/barrier/w-0", 3)),
            (1, ToBroker, puback(1)),
            (1, ToBroker, puback(3)),
            (1, ToBroker, puback(1)),
            (1, ToBroker, Packet::Disconnect(goodbye)),
            (2, ToBroker, connect("w-0")),
            (2, ToClient, publish("soak/k-1/1", 1)),
            (2, ToBroker, puback(1)),
        ] {
            let frame = Frame::of(&packet);
            witness.note((0, number), direction, &frame);
        }
        let seen = witness.seen();
        let by = |id: usize| -> Vec<(usize, bool)> {
            seen.deliveries[id]
                .iter()
                .map(|it| (it.connection, it.acknowledged.is_some()))
                .collect()
        };
        assert_eq!(by(0), [(0, true)]);
        assert_eq!(by(1), [(0, false), (1, true)]);
        assert_eq!(seen.acknowledged, 2);
        let strays: Vec<_> = seen.strays.iter().map(|it| (it.connection, it.packet)).collect();
        assert_eq!(strays, [(0, 1)]);
        let closed: Vec<_> = seen.connections.iter().map(|it| it.closed.is_some()).collect();
        assert_eq!(closed, [true, false]);
        let told: Vec<u64> =
            std::iter::from_fn(|| acknowledged.try_recv().ok()).map(|it| it.id).collect();
        assert_eq!(told, [0, 1]);
    }
}
