//! The session without its socket: packets, outcomes and time in; packets and deliveries out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use super::{Receiver, SessionStatus, Subscription};
use crate::{
    AckToken, Delivery, Publish, QoS, SessionConfig,
    barrier::{Barrier, Passed},
    codec::{self, Fault, Frame, Incoming, Kind, Outbound, Received},
    connect::Accepted,
    exactly_once::ExactlyOnce,
    ledger::{Debt, Ledger},
    link::Lost,
    reason,
    subscriptions::{Request, Subscriptions},
    surplus::Surplus,
};

/// A broker that leaves a SUBSCRIBE unanswered for this long is given up.
const ANSWER: Duration = Duration::from_secs(60);

/// So many packets of the largest size may lie beyond the window.
const SURPLUS_PACKETS: usize = 64;

pub(super) struct Protocol<R> {
    receiver: R,
    ledger: Ledger,
    exactly_once: ExactlyOnce,
    pub(super) subscriptions: Subscriptions,
    barrier: Barrier,
    /// Callers of `barrier()` whose message is not sent yet, and those whose message is under way.
    waiting: Vec<oneshot::Sender<()>>,
    covered: Vec<oneshot::Sender<()>>,
    receive_maximum: usize,
    surplus: Surplus,
    identifiers: bool,
    taking: bool,
    last_id: u16,
    /// Something was delivered since the last turn.
    touched: bool,
    /// Since when nothing is unacknowledged and nothing came.
    idle_since: Option<Instant>,
    unanswered_since: Option<Instant>,
}

impl<R: Receiver> Protocol<R> {
    pub(super) fn new(config: &SessionConfig, receiver: R) -> Self {
        Self {
            receiver,
            ledger: Ledger::default(),
            exactly_once: ExactlyOnce::default(),
            subscriptions: Subscriptions::default(),
            barrier: Barrier::new(&config.barrier_prefix, &config.client_id, fastrand::u64(..)),
            waiting: Vec::new(),
            covered: Vec::new(),
            receive_maximum: usize::from(config.receive_maximum.max(1)),
            surplus: Surplus::new(SURPLUS_PACKETS * config.maximum_packet_size as usize),
            identifiers: false,
            taking: true,
            last_id: 0,
            touched: false,
            idle_since: None,
            unanswered_since: None,
        }
    }

    // === The connection ===

    pub(super) fn connected(&mut self, accepted: &Accepted, epoch: u32) {
        self.ledger.begin(epoch);
        self.surplus.clear();
        self.exactly_once.begin(accepted.session_present);
        self.barrier.begin();
        self.identifiers = accepted.offers.identifiers;
        self.subscriptions.connected(accepted.session_present, accepted.offers);
        (self.idle_since, self.unanswered_since) = (None, None);
        self.receiver.connected(epoch, accepted.session_present);
    }

    pub(super) fn disconnected(&mut self, epoch: u32) {
        self.subscriptions.disconnected();
        self.barrier.begin();
        // Their barrier is lost with the connection: the next one counts.
        self.waiting.append(&mut self.covered);
        self.receiver.disconnected(epoch);
    }

    // === What the broker says ===

    /// Everything that a read brought.
    pub(super) fn frames(&mut self, mut frames: Bytes, out: &mut BytesMut) -> Result<(), Lost> {
        if frames.is_empty() {
            return Ok(());
        }
        let result = self.each_frame(&mut frames, out);
        self.receiver.flush();
        result
    }

    fn each_frame(&mut self, frames: &mut Bytes, out: &mut BytesMut) -> Result<(), Lost> {
        while let Some(frame) = codec::next_frame(frames).map_err(Lost::Fault)? {
            self.frame(&frame, out)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Lost> {
        match codec::decode(frame).map_err(Lost::Fault)? {
            Incoming::Publish(received) => self.publish(received).map_err(Lost::Fault)?,
            Incoming::PubRel { id } => self.release(id, out),
            Incoming::SubAck { id, codes } => self.suback(id, &codes).map_err(Lost::Fault)?,
            Incoming::UnsubAck { id, codes } => self.unsuback(id, &codes).map_err(Lost::Fault)?,
            Incoming::PubAck { id, code } => {
                self.barrier.puback(id, code, Instant::now());
            }
            Incoming::PingResp => {}
            Incoming::Disconnect { code, detail } => {
                return Err(Lost::by_disconnect(code, detail));
            }
            Incoming::ConnAck(_) | Incoming::PubRec { .. } | Incoming::PubComp { .. } => {
                let detail = format!("{} that answers nothing", frame.kind.name());
                return Err(Lost::Fault(Fault::protocol(detail)));
            }
        }
        Ok(())
    }

    fn publish(&mut self, Received { publish, id }: Received) -> Result<(), Fault> {
        self.touched = true;
        if publish.qos == QoS::AtMostOnce {
            self.hand_over(publish, None);
            return Ok(());
        }
        let token = self.ledger.owe(Debt { id, qos: publish.qos });
        if publish.qos == QoS::ExactlyOnce && !self.exactly_once.admit(id) {
            self.ledger.done(token);
        } else if self.surplus.len() > 0 || self.ledger.outstanding() > self.receive_maximum {
            return self.surplus.hold(publish, token);
        } else {
            self.hand_over(publish, Some(token));
        }
        Ok(())
    }

    fn hand_over(&mut self, publish: Publish, token: Option<AckToken>) {
        if self.barrier.owns(&publish.topic) {
            token.into_iter().for_each(|token| self.ledger.done(token));
            let passed = self.barrier.heard(&publish.payload);
            passed.into_iter().for_each(|passed| self.passed(passed));
        } else if self.taking {
            self.receiver.deliver(Delivery { publish, token });
        }
    }

    /// Hands over what was beyond the window, as far as it has opened; whether anything was.
    fn hand_over_surplus(&mut self) -> bool {
        let mut any = false;
        while self.ledger.outstanding() - self.surplus.len() < self.receive_maximum
            && let Some((publish, token)) = self.surplus.next()
        {
            self.hand_over(publish, Some(token));
            any = true;
        }
        if any {
            self.receiver.flush();
        }
        any
    }

    fn release(&mut self, id: u16, out: &mut BytesMut) {
        if self.exactly_once.release(id) {
            codec::ack(Kind::PubComp, id, out);
        } else {
            codec::ack_with_reason(Kind::PubComp, id, reason::PACKET_ID_NOT_FOUND, out);
        }
    }

    fn suback(&mut self, id: u16, codes: &[u8]) -> Result<(), Fault> {
        let &[code] = codes else {
            return Err(Fault::protocol("a SUBACK of several codes for one filter"));
        };
        let barrier = self.barrier.suback(id, code);
        if barrier || self.subscriptions.suback(id, code) {
            return Ok(());
        }
        Err(Fault::protocol("a SUBACK that answers nothing"))
    }

    fn unsuback(&mut self, id: u16, codes: &[u8]) -> Result<(), Fault> {
        if !self.subscriptions.unsuback(id) {
            return Err(Fault::protocol("an UNSUBACK that answers nothing"));
        }
        if let Some(code) = codes.iter().find(|code| **code >= reason::FIRST_REFUSAL) {
            tracing::warn!(reason = reason::words(*code), "the broker refuses to unsubscribe");
        }
        Ok(())
    }

    // === What the handlers and the owner say ===

    pub(super) fn done(&mut self, token: AckToken) {
        self.ledger.done(token);
    }

    pub(super) fn stop_taking(&mut self) {
        self.taking = false;
    }

    pub(super) fn want(&mut self, wanted: Vec<Subscription>) {
        self.subscriptions.want(wanted);
    }

    pub(super) fn await_barrier(&mut self, reply: oneshot::Sender<()>) {
        self.waiting.push(reply);
    }

    // === What goes out ===

    /// Acknowledges the done prefix, in receive order.
    pub(super) fn pay(&mut self, out: &mut BytesMut) {
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
    pub(super) fn settle(&mut self, now: Instant, out: &mut BytesMut) -> Result<(), Lost> {
        self.pay(out);
        // A barrier among them is done at once.
        while self.hand_over_surplus() {
            self.pay(out);
        }
        self.mark_idle(now);
        self.send_requests(out);
        self.start_barrier(now, out);
        let passed = self.barrier.tick(now, self.idle_since);
        passed.into_iter().for_each(|passed| self.passed(passed));
        self.check_answers(now)
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
        !self.waiting.is_empty() || self.subscriptions.wants_barrier()
    }

    fn send_requests(&mut self, out: &mut BytesMut) {
        if self.barrier.must_listen() && self.wants_barrier() {
            self.listen_to_barrier(out);
        }
        loop {
            let (last, barrier) = (self.last_id, &self.barrier);
            // A request that was just taken out isn't among the asked: free ids are looked up first.
            let id = free_id(last, |id| self.subscriptions.has_asked(id) || barrier.uses(id));
            let Some((id, request)) = self.subscriptions.next_request(|| id) else { return };
            self.last_id = id;
            let written = match &request {
                Request::Subscribe(wish) => codec::subscribe(id, wish, self.identifiers, out),
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
            filter: self.barrier.topic().to_owned(),
            qos: QoS::AtLeastOnce,
            identifier: 0,
        };
        self.barrier.asked(id);
        if codec::subscribe(id, &own, false, out).is_err() {
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
            let payload = Bytes::from(self.barrier.payload());
            let message = Outbound {
                topic: self.barrier.topic(),
                payload: &payload,
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
            };
            // The topic was short enough to subscribe to.
            let _ = codec::encode_publish(&message, id, out);
        }
    }

    fn passed(&mut self, passed: Passed) {
        tracing::debug!(number = self.barrier.number(), ?passed, "barrier passed");
        self.subscriptions.passed(self.barrier.number(), passed == Passed::Proven);
        for reply in self.covered.drain(..) {
            // A caller that no longer waits is no loss.
            let _ = reply.send(());
        }
    }

    fn check_answers(&mut self, now: Instant) -> Result<(), Lost> {
        if self.subscriptions.all_answered() {
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
    pub(super) fn deadline(&self) -> Option<Instant> {
        let answer = self.unanswered_since.map(|since| since + ANSWER);
        [self.barrier.deadline(self.idle_since), answer].into_iter().flatten().min()
    }

    /// Writes what changed into `status`; whether anything did.
    pub(super) fn report(&mut self, status: &mut SessionStatus) -> bool {
        let filters = self.subscriptions.take_changes();
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

/// The next packet identifier that is not in use; at most a few hundred are.
fn free_id(last: u16, taken: impl Fn(u16) -> bool) -> u16 {
    let mut id = last;
    loop {
        id = id.checked_add(1).unwrap_or(1);
        if !taken(id) {
            return id;
        }
    }
}
