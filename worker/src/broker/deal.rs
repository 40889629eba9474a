//! A publish becomes copies: one for each subscription that is not shared, one for each share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{PubAckReason, Publish},
};

use super::{
    filter::{self, Wanted},
    session::{Copy, Message, Session, Subscription},
    state::State,
};

impl State {
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
    pub(super) fn deal(&mut self, mut copy: Copy) {
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

/// What one subscription gets.
pub(super) fn copy(message: &Arc<Message>, subscription: &Subscription, retain: bool) -> Copy {
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
