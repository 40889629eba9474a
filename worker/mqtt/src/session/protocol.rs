//! The session without its socket: packets, outcomes and time in; packets and deliveries out.

mod outgoing;

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use super::{Receiver, SessionStatus, Subscription};
use crate::{
    AckToken, Arrival, Delivery, Pulse, QoS, SessionConfig,
    ages::Ages,
    barrier::Barrier,
    codec::{self, Fault, Frame, Frames, Incoming, Kind, Received},
    connect::Accepted,
    exactly_once::ExactlyOnce,
    ledger::{Debt, Ledger},
    link::Lost,
    memory::{Memory, own_text},
    reason,
    subscriptions::{Difference, Subscriptions},
    surplus::Surplus,
};

pub(super) struct Protocol<R> {
    receiver: R,
    ledger: Ledger,
    ages: Ages,
    pulse: Pulse,
    exactly_once: ExactlyOnce,
    pub(super) subscriptions: Subscriptions,
    barrier: Barrier,
    memory: Memory,
    /// Callers of `barrier()` whose message is not sent yet, and those whose message is under way.
    waiting: Vec<oneshot::Sender<bool>>,
    covered: Vec<oneshot::Sender<bool>>,
    receive_maximum: usize,
    window_bytes: usize,
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
    pub(super) fn new(config: &SessionConfig, receiver: R, pulse: Pulse) -> Self {
        Self {
            receiver,
            ledger: Ledger::default(),
            ages: Ages::default(),
            pulse,
            exactly_once: ExactlyOnce::default(),
            subscriptions: Subscriptions::default(),
            barrier: Barrier::new(&config.barrier_prefix, &config.client_id, fastrand::u64(..)),
            memory: Memory::new(!config.clean_start && !config.session_expiry.is_zero()),
            waiting: Vec::new(),
            covered: Vec::new(),
            receive_maximum: usize::from(config.receive_maximum.max(1)),
            window_bytes: config.window_bytes,
            surplus: Surplus::default(),
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
        self.ages.clear();
        self.surplus.clear();
        self.exactly_once.begin(accepted.session_present);
        self.barrier.begin();
        self.memory.connected(accepted.session_present, accepted.retain);
        self.identifiers = accepted.offers.identifiers;
        self.subscriptions.connected(accepted.session_present, accepted.offers);
        (self.idle_since, self.unanswered_since) = (None, None);
        self.receiver.connected(epoch, accepted.session_present);
    }

    pub(super) fn disconnected(&mut self, epoch: u32) {
        self.subscriptions.disconnected();
        self.barrier.begin();
        // The broker sends them again: on this connection nothing is owed any more.
        self.pulse.owe(0, None);
        // Their barrier is lost with the connection: the next one counts.
        self.waiting.append(&mut self.covered);
        self.receiver.disconnected(epoch);
    }

    // === What the broker says ===

    /// Everything that a read brought.
    pub(super) fn frames(&mut self, read: &Bytes, out: &mut BytesMut) -> Result<(), Lost> {
        if read.is_empty() {
            return Ok(());
        }
        let result = self.each_frame(Frames::of(read), out);
        self.receiver.flush();
        result
    }

    fn each_frame(&mut self, mut frames: Frames<'_>, out: &mut BytesMut) -> Result<(), Lost> {
        while let Some(frame) = frames.next().map_err(Lost::Fault)? {
            self.frame(frame, out)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>, out: &mut BytesMut) -> Result<(), Lost> {
        let kind = frame.kind;
        match codec::decode(frame).map_err(Lost::Fault)? {
            Incoming::Publish(received) => self.publish(received),
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
                let detail = format!("{} that answers nothing", kind.name());
                return Err(Lost::Fault(Fault::protocol(detail)));
            }
        }
        Ok(())
    }

    fn publish(&mut self, Received { arrival, id }: Received<'_>) {
        self.touched = true;
        let qos = arrival.qos;
        if qos == QoS::AtMostOnce {
            return self.hand_over(arrival, None);
        }
        let token = self.ledger.owe(Debt { id, qos }, arrival.size());
        if qos == QoS::ExactlyOnce && !self.exactly_once.admit(id) {
            self.ledger.done(token);
        } else if self.surplus.len() > 0 || self.ledger.outstanding() > self.receive_maximum {
            self.surplus.hold(arrival, token);
        } else {
            self.hand_over(arrival, Some(token));
        }
    }

    fn hand_over(&mut self, arrival: Arrival<'_>, token: Option<AckToken>) {
        if self.barrier.owns(arrival.topic) {
            if let Some(token) = token {
                self.ledger.done(token);
            }
            if arrival.topic == self.barrier.topic() {
                self.heard(&arrival);
            }
        } else if self.taking {
            self.receiver.deliver(Delivery { arrival, token });
        }
    }

    /// A message of the session's own topic.
    fn heard(&mut self, arrival: &Arrival<'_>) {
        if arrival.retain {
            self.memory.heard(arrival.payload);
        } else if let Some(passed) = self.barrier.heard(own_text(arrival.payload)) {
            let (number, held) = self.subscriptions.wanted();
            let strangers = self.memory.passed(number, &held);
            self.subscriptions.leave_behind(strangers);
            self.passed(passed);
        }
    }

    /// Whether what the broker still has to say may be read now.
    pub(super) fn has_room(&self) -> bool {
        !self.surplus.is_full() && self.ledger.unfinished() < self.window_bytes
    }

    /// Whether more came than the receiver could take.
    pub(super) fn is_flooded(&mut self) -> bool {
        self.receiver.is_flooded()
    }

    /// Hands over what was beyond the window, as far as it has opened; whether anything was.
    fn hand_over_surplus(&mut self) -> bool {
        let mut any = false;
        while self.ledger.outstanding() - self.surplus.len() < self.receive_maximum
            && let Some(held) = self.surplus.next()
        {
            self.hand_over(held.arrival(), Some(held.token));
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

    pub(super) fn change(&mut self, difference: Difference) {
        self.subscriptions.change(difference);
    }

    pub(super) fn leave_behind(&mut self, filters: Vec<String>) {
        self.subscriptions.leave_behind(filters);
    }

    pub(super) fn await_barrier(&mut self, reply: oneshot::Sender<bool>) {
        self.waiting.push(reply);
    }
}
