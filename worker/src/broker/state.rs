//! What the broker knows: sessions, shares, retained messages. No IO.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        Connect, Filter, LastWill, PubAckReason, Publish, PublishProperties, RetainForwardRule,
        Subscribe, SubscribeReasonCode, UnsubAckReason,
    },
};
use tokio::sync::Notify;

use super::{
    filter::{self, Wanted},
    session::{Copy, Message, Session, Subscription},
};

/// Who has a subscription of a share, and whose turn it is.
#[derive(Debug, Default)]
struct Share {
    members: Vec<String>,
    turn: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    sessions: HashMap<String, Session>,
    shares: HashMap<Wanted, Share>,
    retained: BTreeMap<String, Arc<Message>>,
    connections: u64,
    pub(super) tap: Option<Tap>,
}

/// Hears of every publish.
pub(super) struct Tap(pub(super) Box<Hear>);

type Hear = dyn Fn(&str, &str, usize) + Send + Sync;

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

/// What a client got with its CONNACK.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) connection: u64,
    pub(super) session_present: bool,
    pub(super) wake: Arc<Notify>,
}

/// Whether the connection still has its session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    More,
    TakenOver,
}

impl State {
    // === sessions ===

    pub(super) fn connect(
        &mut self,
        client: &str,
        connect: &Connect,
        will: Option<LastWill>,
    ) -> Joined {
        self.expire(Instant::now());
        if connect.clean_start {
            self.remove(client);
        }
        self.connections += 1;
        let session_present = self.sessions.contains_key(client);
        let session = self.sessions.entry(client.to_owned()).or_insert_with(Session::new);
        // Whoever had the session learns of it when woken (MQTT-3.1.4-3).
        session.wake.notify_one();
        session.wake = Arc::default();
        session.connection = Some(self.connections);
        session.ends = None;
        session.will = will;
        let properties = connect.properties.as_ref();
        let maximum = properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX);
        session.receive_maximum = usize::from(maximum);
        session.max_packet = properties.and_then(|p| p.max_packet_size);
        let expiry = properties.and_then(|p| p.session_expiry_interval).unwrap_or(0);
        session.expiry = Duration::from_secs(u64::from(expiry));
        Joined { connection: self.connections, session_present, wake: session.wake.clone() }
    }

    /// The connection ended; `expiry` is the DISCONNECT's, where it names one.
    pub(super) fn disconnect(&mut self, client: &str, connection: u64, end: End) {
        let Some(session) = self.owned(client, connection) else { return };
        session.connection = None;
        if let End::Orderly { expiry: Some(seconds) } = end {
            session.expiry = Duration::from_secs(u64::from(seconds));
        }
        // 0xFFFFFFFF: the session does not expire (MQTT 5, 3.1.2.11.2).
        let for_ever = session.expiry.as_secs() == u64::from(u32::MAX);
        session.ends = (!for_ever).then(|| Instant::now() + session.expiry);
        let will = session.will.take().filter(|_| end == End::Lost);
        self.expire(Instant::now());
        if let Some(will) = will {
            self.publish(client, &will_message(will));
        }
    }

    /// Ends the sessions whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let over = |session: &Session| session.ends.is_some_and(|ends| ends <= now);
        let ended = self.sessions.iter().filter(|(_, session)| over(session));
        let names: Vec<String> = ended.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.remove(&name);
        }
    }

    /// Ends a session: what it had of a share goes to the others.
    fn remove(&mut self, client: &str) {
        let Some(session) = self.sessions.remove(client) else { return };
        session.wake.notify_one();
        self.shares.retain(|_, share| {
            share.members.retain(|member| member != client);
            !share.members.is_empty()
        });
        let unfinished = session.into_unfinished();
        for copy in unfinished.filter(|copy| copy.share.is_some()) {
            self.deal(copy);
        }
    }

    pub(super) fn owned(&mut self, client: &str, connection: u64) -> Option<&mut Session> {
        let session = self.sessions.get_mut(client)?;
        (session.connection == Some(connection)).then_some(session)
    }

    /// Writes what waits for the client.
    pub(super) fn send(&mut self, client: &str, connection: u64, out: &mut BytesMut) -> Sent {
        match self.owned(client, connection).map(|session| session.send(out)) {
            None => Sent::TakenOver,
            Some(true) => Sent::More,
            Some(false) => Sent::All,
        }
    }

    // === subscriptions ===

    pub(super) fn subscribe(
        &mut self,
        client: &str,
        subscribe: &Subscribe,
    ) -> Vec<SubscribeReasonCode> {
        let identifier = subscribe.properties.as_ref().and_then(|properties| properties.id);
        subscribe
            .filters
            .iter()
            .map(|filter| self.subscribe_one(client, filter, identifier))
            .collect()
    }

    fn subscribe_one(
        &mut self,
        client: &str,
        filter: &Filter,
        identifier: Option<usize>,
    ) -> SubscribeReasonCode {
        let Some(wanted) = filter::parse(&filter.path) else {
            return SubscribeReasonCode::TopicFilterInvalid;
        };
        let Some(session) = self.sessions.get_mut(client) else {
            return SubscribeReasonCode::Unspecified;
        };
        let subscription = Subscription {
            wanted: wanted.clone(),
            qos: filter.qos,
            identifier,
            no_local: filter.nolocal,
            keep_retain: filter.preserve_retain,
        };
        let before = session.subscriptions.insert(filter.path.clone(), subscription.clone());
        let retained = match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => before.is_none(),
            RetainForwardRule::Never => false,
        };
        if wanted.share.is_some() {
            self.join(client, wanted);
        } else if retained {
            self.send_retained(client, &subscription);
        }
        SubscribeReasonCode::Success(filter.qos)
    }

    fn join(&mut self, client: &str, wanted: Wanted) {
        let share = self.shares.entry(wanted).or_default();
        if !share.members.iter().any(|member| member == client) {
            share.members.push(client.to_owned());
        }
    }

    fn send_retained(&mut self, client: &str, subscription: &Subscription) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        for message in self.retained.values() {
            if filter::matches(&subscription.wanted.filter, &message.topic) {
                session.push(copy(message, subscription, true));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, client: &str, filters: &[String]) -> Vec<UnsubAckReason> {
        filters.iter().map(|filter| self.unsubscribe_one(client, filter)).collect()
    }

    fn unsubscribe_one(&mut self, client: &str, filter: &str) -> UnsubAckReason {
        let session = self.sessions.get_mut(client);
        let Some(gone) = session.and_then(|session| session.subscriptions.remove(filter)) else {
            return UnsubAckReason::NoSubscriptionExisted;
        };
        if let Some(share) = self.shares.get_mut(&gone.wanted) {
            share.members.retain(|member| member != client);
        }
        self.shares.retain(|_, share| !share.members.is_empty());
        UnsubAckReason::Success
    }

    // === messages ===

    /// Puts a copy into every queue that wants it; where one is full, into none.
    pub(super) fn publish(&mut self, from: &str, publish: &Publish) -> PubAckReason {
        let Ok(topic) = std::str::from_utf8(&publish.topic) else {
            return PubAckReason::TopicNameInvalid;
        };
        if let Some(tap) = &self.tap {
            (tap.0)(from, topic, publish.payload.len());
        }
        let message = Arc::new(message(topic, publish));
        self.retain(&message);
        let (full, direct) = self.direct(from, &message);
        let shares = self.shares.keys().filter(|wanted| filter::matches(&wanted.filter, topic));
        let shares: Vec<Wanted> = shares.cloned().collect();
        if full || shares.iter().any(|wanted| self.is_full(wanted)) {
            tracing::warn!("a queue of the development broker is full: a publish is refused");
            return PubAckReason::QuotaExceeded;
        }
        let nobody = direct.is_empty() && shares.is_empty();
        for (client, copy) in direct {
            self.push(&client, copy);
        }
        for wanted in shares {
            self.deal_new(&message, wanted);
        }
        if nobody { PubAckReason::NoMatchingSubscribers } else { PubAckReason::Success }
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain {
            self.retained.insert(message.topic.clone(), message.clone());
        }
    }

    /// A copy for each matching subscription that is not shared, and whether one of their queues is full.
    fn direct(&self, from: &str, message: &Arc<Message>) -> (bool, Vec<(String, Copy)>) {
        let mut copies = Vec::new();
        let mut full = false;
        for (client, session) in &self.sessions {
            for subscription in session.subscriptions.values() {
                let ours = subscription.wanted.share.is_none()
                    && !(subscription.no_local && client == from)
                    && filter::matches(&subscription.wanted.filter, &message.topic);
                if ours {
                    full |= session.is_full();
                    let retain = subscription.keep_retain && message.retain;
                    copies.push((client.clone(), copy(message, subscription, retain)));
                }
            }
        }
        (full, copies)
    }

    fn is_full(&self, wanted: &Wanted) -> bool {
        let members = self.shares.get(wanted).map(|share| share.members.as_slice());
        let full = |name: &String| self.sessions.get(name).is_none_or(Session::is_full);
        members.is_some_and(|members| members.iter().all(full))
    }

    fn deal_new(&mut self, message: &Arc<Message>, wanted: Wanted) {
        self.deal(Copy {
            message: message.clone(),
            qos: message.qos,
            retain: false,
            identifier: None,
            share: Some(wanted),
        });
    }

    /// Gives a copy to the share's next member: a connected one before one that is away.
    fn deal(&mut self, mut copy: Copy) {
        let Some(wanted) = &copy.share else { return };
        let Some(client) = self.next_member(wanted) else { return };
        let Some(session) = self.sessions.get(&client) else { return };
        let subscription = session.subscriptions.values().find(|s| s.wanted == *wanted);
        if let Some(subscription) = subscription {
            copy.qos = lower(copy.message.qos, subscription.qos);
            copy.identifier = subscription.identifier;
            self.push(&client, copy);
        }
    }

    fn next_member(&mut self, wanted: &Wanted) -> Option<String> {
        let share = self.shares.get_mut(wanted)?;
        let count = share.members.len();
        let turns = (0..count).map(|step| (share.turn + step) % count);
        let takes = |at: &usize| {
            let session = self.sessions.get(&share.members[*at]);
            session.is_some_and(|session| session.connection.is_some() && !session.is_full())
        };
        let at = turns.clone().find(takes).or_else(|| turns.clone().next())?;
        share.turn = (at + 1) % count;
        Some(share.members[at].clone())
    }

    fn push(&mut self, client: &str, copy: Copy) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.push(copy);
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By DISCONNECT: no will.
    Orderly { expiry: Option<u32> },
    /// Anything else.
    Lost,
}

fn message(topic: &str, publish: &Publish) -> Message {
    let mut properties = publish.properties.clone().unwrap_or_default();
    properties.topic_alias = None;
    let expiry = properties.message_expiry_interval.map(u64::from).map(Duration::from_secs);
    Message {
        topic: topic.to_owned(),
        payload: publish.payload.clone(),
        qos: publish.qos,
        retain: publish.retain,
        properties,
        expires: expiry.map(|expiry| Instant::now() + expiry),
    }
}

fn copy(message: &Arc<Message>, subscription: &Subscription, retain: bool) -> Copy {
    Copy {
        message: message.clone(),
        qos: lower(message.qos, subscription.qos),
        retain,
        identifier: subscription.identifier,
        share: None,
    }
}

fn lower(a: QoS, b: QoS) -> QoS {
    if a < b { a } else { b }
}

fn will_message(will: LastWill) -> Publish {
    let properties = will.properties.map(|properties| PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_interval,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        ..PublishProperties::default()
    });
    Publish {
        dup: false,
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        pkid: 0,
        payload: will.message,
        properties,
    }
}
