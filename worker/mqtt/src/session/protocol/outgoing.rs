//! What goes out at the end of a turn: acknowledgements, requests, the barrier.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{Protocol, Receiver, SessionStatus, Subscription};
use crate::{
    QoS,
    barrier::Passed,
    codec::{self, Ask, Kind, Outbound},
    ledger::Debt,
    link::Lost,
    subscriptions::Request,
};

/// A broker that leaves a SUBSCRIBE unanswered for this long is given up.
const ANSWER: Duration = Duration::from_mins(1);

impl<R: Receiver> Protocol<R> {
    /// Acknowledges the done prefix, in receive order.
    pub(in crate::session) fn pay(&mut self, out: &mut BytesMut) {
        while let Some(Debt { id, qos }) = self.ledger.pay() {
            if qos == QoS::ExactlyOnce {
                self.exactly_once.acknowledge(id);
                codec::ack(Kind::PubRec, id, out);
            } else {
                codec::ack(Kind::PubAck, id, out);
            }
        }
    }

    /// The end of a turn: acknowledgements, requests, the barrier.
    pub(in crate::session) fn settle(
        &mut self,
        now: Instant,
        out: &mut BytesMut,
    ) -> Result<(), Lost> {
        self.pay(out);
        // A barrier among them is done at once.
        while self.hand_over_surplus() {
            self.pay(out);
        }
        self.mark_idle(now);
        self.send_requests(out);
        self.start_barrier(now, out);
        if let Some(passed) = self.barrier.tick(now, self.idle_since) {
            self.passed(passed);
        }
        self.show(now);
        self.check_answers(now)
    }

    fn show(&mut self, now: Instant) {
        let (first, end) = self.ledger.owed();
        self.ages.note(first, end, now);
        self.pulse.owe(self.ledger.outstanding(), self.ages.oldest());
    }

    fn mark_idle(&mut self, now: Instant) {
        let touched = std::mem::take(&mut self.touched);
        if self.ledger.outstanding() > 0 {
            self.idle_since = None;
        } else if touched || self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
    }

    fn wants_barrier(&self) -> bool {
        !self.waiting.is_empty() || self.subscriptions.wants_barrier() || self.forgets()
    }

    /// Whether the broker remembers something else than what is held.
    fn forgets(&self) -> bool {
        let number = self.subscriptions.number();
        number > 0 && !self.barrier.is_refused() && self.memory.wants(number)
    }

    fn send_requests(&mut self, out: &mut BytesMut) {
        if self.barrier.must_listen() && self.wants_barrier() {
            self.listen_to_barrier(out);
        }
        while self.subscriptions.may_ask() {
            let id = self.fresh_id();
            let Some(request) = self.subscriptions.next_request(id) else { return };
            let written = match &request {
                Request::Subscribe(wish) => {
                    let ask = Ask { identifier: self.identifiers, retained_again: false };
                    codec::subscribe(id, wish, ask, out)
                }
                Request::Unsubscribe(filter) => codec::unsubscribe(id, filter, out),
            };
            if written.is_err() {
                self.subscriptions.unwritable(id);
            }
        }
    }

    fn fresh_id(&mut self) -> u16 {
        let taken = |id| self.subscriptions.has_asked(id) || self.barrier.uses(id);
        self.last_id = free_id(self.last_id, taken);
        self.last_id
    }

    fn listen_to_barrier(&mut self, out: &mut BytesMut) {
        let id = self.fresh_id();
        let own = Subscription {
            filter: self.barrier.topic().into(),
            qos: QoS::AtLeastOnce,
            identifier: 0,
        };
        self.barrier.asked(id);
        if codec::subscribe(id, &own, Ask::OWN, out).is_err() {
            // Longer than a topic may be: as good as refused.
            self.barrier.suback(id, 0x8F);
        }
    }

    fn start_barrier(&mut self, now: Instant, out: &mut BytesMut) {
        let due = self.wants_barrier() && self.subscriptions.all_answered();
        if !due || !self.barrier.is_ready() {
            return;
        }
        let id = self.fresh_id();
        let publishes = self.barrier.start(id, now);
        self.subscriptions.cover(self.barrier.number());
        self.covered.append(&mut self.waiting);
        if publishes {
            let (number, held) = self.subscriptions.wanted();
            let (text, retain) = self.memory.write(self.barrier.payload(), number, &held);
            let payload = Bytes::from(text);
            let message = Outbound {
                topic: self.barrier.topic(),
                payload: &payload,
                qos: QoS::AtLeastOnce,
                retain,
                properties: None,
            };
            // The topic was short enough to subscribe to.
            let _ = codec::encode_publish(&message, id, out);
        }
    }

    /// The session ends for good: the broker need not remember what it held.
    pub(in crate::session) fn forget(&mut self, out: &mut BytesMut) {
        if !self.memory.is_kept() || self.barrier.is_refused() {
            return;
        }
        let message = Outbound {
            topic: self.barrier.topic(),
            payload: &Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
        };
        // The topic was short enough to subscribe to.
        let _ = codec::encode_publish(&message, 0, out);
    }

    pub(super) fn passed(&mut self, passed: Passed) {
        tracing::debug!(number = self.barrier.number(), ?passed, "barrier passed");
        let proven = passed == Passed::Proven;
        self.subscriptions.passed(self.barrier.number(), proven);
        for reply in self.covered.drain(..) {
            // A caller that no longer waits is no loss.
            let _ = reply.send(proven);
        }
    }

    fn check_answers(&mut self, now: Instant) -> Result<(), Lost> {
        // The answer may stand behind what is not read yet.
        if self.subscriptions.all_answered() || !self.has_room() {
            self.unanswered_since = None;
            return Ok(());
        }
        let since = *self.unanswered_since.get_or_insert(now);
        if now.duration_since(since) < ANSWER {
            return Ok(());
        }
        Err(Lost::Unanswered(ANSWER))
    }

    /// When to call [`Self::settle`] though nothing happens.
    pub(in crate::session) fn deadline(&self) -> Option<Instant> {
        let answer = self.unanswered_since.map(|since| since + ANSWER);
        let deadlines =
            [self.barrier.deadline(self.idle_since), answer, self.subscriptions.telling()];
        deadlines.into_iter().flatten().min()
    }

    /// Writes what changed into `status`; whether anything did.
    pub(in crate::session) fn report(&mut self, now: Instant, status: &mut SessionStatus) -> bool {
        let filters = self.subscriptions.take_changes(now);
        status.settlements = self.subscriptions.settlements();
        let (no_barrier, late_acks) = (self.barrier.is_refused(), self.ledger.late());
        let changed =
            filters.is_some() || status.no_barrier != no_barrier || status.late_acks != late_acks;
        if no_barrier && !status.no_barrier {
            tracing::warn!(
                topic = self.barrier.topic(),
                "the broker refuses the barrier topic: two quiet seconds stand in; let this client \
                 publish and subscribe to it"
            );
        }
        status.filters = filters.unwrap_or_else(|| std::mem::take(&mut status.filters));
        (status.no_barrier, status.late_acks) = (no_barrier, late_acks);
        changed
    }
}

/// The next packet identifier that is not in use: requests and the barrier use about a thousand at most.
fn free_id(last: u16, taken: impl Fn(u16) -> bool) -> u16 {
    let mut id = last;
    loop {
        id = id.checked_add(1).unwrap_or(1);
        if !taken(id) {
            return id;
        }
    }
}
