//! What the broker knows: sessions, shares, retained messages. No IO.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    Connect, Filter, LastWill, Publish, PublishProperties, RetainForwardRule, Subscribe,
    SubscribeReasonCode, UnsubAckReason,
};
use tokio::sync::Notify;

use super::{
    deal,
    filter::{self, Wanted},
    session::{Message, Session, Subscription},
};

/// Who has a subscription of a share, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) members: Vec<String>,
    pub(super) turn: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sessions: HashMap<String, Session>,
    pub(super) shares: HashMap<Wanted, Share>,
    pub(super) retained: BTreeMap<String, Arc<Message>>,
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
                session.push(deal::copy(message, subscription, true));
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
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By DISCONNECT: no will.
    Orderly { expiry: Option<u32> },
    /// Anything else.
    Lost,
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
