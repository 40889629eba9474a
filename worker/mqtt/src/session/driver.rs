//! The task that owns the socket: connects for ever, and turns the protocol's wheel.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::{Acks, ConnectionState, Done, End, Receiver, SessionStatus, protocol::Protocol};
use crate::{
    Loss, Pulse, SessionConfig, Trouble,
    alarm::Alarm,
    backoff::Backoff,
    codec,
    connect::{Accepted, connect, sentence},
    link::{Link, Lost},
    outage::Outage,
    subscriptions::Difference,
};

/// A connection that lasted this long was a good one: the next pause is short.
const HELD: Duration = Duration::from_secs(10);
/// An idle session turns this often all the same, so that its pulse is felt.
const BEAT: Duration = Duration::from_secs(15);
/// How long nothing is read after more came than could be taken: some reads' worth is handled meanwhile. What is unread keeps the sender
/// waiting; acknowledgements go out all the same.
const REST: Duration = Duration::from_millis(4);
/// Outcomes, or lists of them, taken in at a time.
const OUTCOMES: usize = 256;

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Change(Difference, oneshot::Sender<()>),
    Leave(Vec<String>, oneshot::Sender<()>),
    Barrier(oneshot::Sender<bool>),
    StopTaking(oneshot::Sender<()>),
    Stop(Stop),
}

/// The end of the session.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) end: End,
    pub(super) patience: Duration,
    /// Whether the broker was told.
    pub(super) done: oneshot::Sender<bool>,
}

/// How a connection ended.
enum Ended {
    Lost(Lost),
    Stopped(Stop),
}

pub(super) struct Driver<R> {
    config: Arc<SessionConfig>,
    protocol: Protocol<R>,
    outcomes: Vec<Done>,
    done: mpsc::UnboundedReceiver<Done>,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<SessionStatus>,
    alarm: Alarm,
    pulse: Pulse,
    turned: Instant,
    rests_until: Option<Instant>,
    epoch: u32,
    outage: Outage,
    /// The last DISCONNECT was handed to the broker.
    said_goodbye: bool,
    /// Keep both channels open when every handle is gone: dropping one stops nothing.
    _open: (Acks, mpsc::Sender<Command>),
}

impl<R: Receiver> Driver<R> {
    pub(super) fn new(
        config: SessionConfig,
        receiver: R,
        (acks, done): (Acks, mpsc::UnboundedReceiver<Done>),
        (sender, commands): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
        (status, pulse): (watch::Sender<SessionStatus>, Pulse),
    ) -> Self {
        Self {
            protocol: Protocol::new(&config, receiver, pulse.clone()),
            outcomes: Vec::new(),
            done,
            commands,
            status,
            alarm: Alarm::new(),
            pulse,
            turned: Instant::now(),
            rests_until: None,
            epoch: 0,
            outage: Outage::new(&config),
            said_goodbye: false,
            config: Arc::new(config),
            _open: (acks, sender),
        }
    }

    /// Connects, serves, waits, and again, until told to stop.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.max_backoff);
        let stop = loop {
            let config = Arc::clone(&self.config);
            let (reason, trouble, loss) = match self.meanwhile(Box::pin(connect(&config))).await {
                Err(stop) => break stop,
                Ok(Err(error)) => (sentence(&error), Trouble::from(&error), Loss::NotConnected),
                Ok(Ok((link, accepted))) => {
                    let since = Instant::now();
                    match self.serve(link, &accepted).await {
                        Ended::Stopped(stop) => break stop,
                        Ended::Lost(lost) => {
                            let lasted = since.elapsed();
                            if lasted >= HELD {
                                backoff.reset();
                            }
                            (sentence(&lost), Trouble::from(&lost), loss_of(&lost, lasted))
                        }
                    }
                }
            };
            let pause = backoff.next(fastrand::f64());
            self.outage.failed(&reason, pause);
            // With a gate it is the gate that knows.
            let taken_over = loss == Loss::TakenOver && self.config.before_reconnect.is_none();
            self.set_connection(ConnectionState::Waiting { reason, trouble, taken_over });
            if let Err(stop) = self.meanwhile(sleep(pause)).await {
                break stop;
            }
            if let Err(stop) = self.pass_gate(loss).await {
                break stop;
            }
        };
        self.set_connection(ConnectionState::Stopped);
        // The caller may have lost its patience.
        let _ = stop.done.send(self.said_goodbye);
    }

    /// Waits at the gate; one that stays closed leaves only the stop.
    async fn pass_gate(&mut self, loss: Loss) -> Result<(), Stop> {
        let Some(gate) = self.config.before_reconnect.clone().filter(|_| self.epoch > 0) else {
            return Ok(());
        };
        if self.meanwhile(gate.ask(loss)).await? {
            return Ok(());
        }
        let reason = "the client id is another's now".to_owned();
        let trouble = Trouble::TakenOver;
        self.set_connection(ConnectionState::Waiting { reason, trouble, taken_over: true });
        self.meanwhile(std::future::pending()).await
    }

    fn set_connection(&self, connection: ConnectionState) {
        self.status.send_modify(|status| status.connection = connection);
    }

    fn report(&mut self) {
        let now = Instant::now();
        self.status.send_if_modified(|status| self.protocol.report(now, status));
    }

    // === Without a connection ===

    /// Does `work`, and what is asked for meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = pin!(work);
        loop {
            self.pulse.turn(Instant::now());
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => {
                    if let Some(stop) = self.obey(command) {
                        return Err(stop);
                    }
                }
                _ = self.done.recv_many(&mut self.outcomes, OUTCOMES) => self.take_outcomes(),
                result = &mut work => return Ok(result),
            }
            self.report();
        }
    }

    fn obey(&mut self, command: Command) -> Option<Stop> {
        let reply = match command {
            Command::Change(difference, reply) => {
                self.protocol.change(difference);
                self.report();
                reply
            }
            Command::Leave(filters, reply) => {
                self.protocol.leave_behind(filters);
                self.report();
                reply
            }
            Command::StopTaking(reply) => {
                self.protocol.stop_taking();
                reply
            }
            Command::Barrier(reply) => {
                self.protocol.await_barrier(reply);
                return None;
            }
            Command::Stop(stop) => return Some(stop),
        };
        // The caller may no longer wait.
        let _ = reply.send(());
        None
    }

    fn take_outcomes(&mut self) {
        for token in self.outcomes.drain(..).flatten() {
            self.protocol.done(token);
        }
    }

    // === With a connection ===

    async fn serve(&mut self, mut link: Link, accepted: &Accepted) -> Ended {
        self.epoch += 1;
        self.protocol.connected(accepted, self.epoch);
        self.announce(accepted);
        let ended = self.turns(&mut link).await;
        match ended {
            Ended::Lost(Lost::Fault(fault)) => {
                let code = fault.code;
                self.protocol.disconnected(self.epoch);
                link.close(code).await;
                Ended::Lost(Lost::Fault(fault))
            }
            Ended::Lost(lost) => {
                self.protocol.disconnected(self.epoch);
                Ended::Lost(lost)
            }
            Ended::Stopped(stop) => {
                self.say_goodbye(link, &stop).await;
                self.protocol.disconnected(self.epoch);
                Ended::Stopped(stop)
            }
        }
    }

    fn announce(&mut self, accepted: &Accepted) {
        let resumes = self.epoch > 1 && !self.config.clean_start;
        if resumes && !accepted.session_present && !self.config.session_expiry.is_zero() {
            tracing::warn!(
                client_id = self.config.client_id,
                "the broker lost the session, and what was queued in it: look for a restart \
                 without persistence, or a session expiry that is too short"
            );
        }
        self.outage.ended(accepted.session_present);
        let epoch = self.epoch;
        self.status.send_modify(|status| {
            status.epoch = epoch;
            status.connection = ConnectionState::Connected {
                session_present: accepted.session_present,
                identifiers: accepted.offers.identifiers,
            };
            self.protocol.report(Instant::now(), status);
        });
    }

    async fn turns(&mut self, link: &mut Link) -> Ended {
        loop {
            if let Err(lost) = self.think(link) {
                return Ended::Lost(lost);
            }
            match poll_fn(|cx| self.poll_turn(link, cx)).await {
                Err(lost) => return Ended::Lost(lost),
                Ok(None) => {}
                Ok(Some(command)) => {
                    if let Some(stop) = self.obey(command) {
                        return Ended::Stopped(stop);
                    }
                }
            }
        }
    }

    /// What was read and what has become due, without waiting for anything.
    fn think(&mut self, link: &mut Link) -> Result<(), Lost> {
        let (frames, fault) = link.take_frames();
        self.protocol.frames(&frames, &mut link.out)?;
        if let Some(fault) = fault {
            return Err(Lost::Fault(fault));
        }
        let now = Instant::now();
        self.turned = now;
        if self.protocol.is_flooded() {
            self.rests_until = Some(now + REST);
        }
        self.pulse.turn(now);
        let settled = self.protocol.settle(now, &mut link.out);
        self.report();
        settled?;
        link.keep_alive(now)
    }

    /// Waits until something happens, and takes in all of it: outcomes, time, bytes, one command.
    fn poll_turn(
        &mut self,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Command>, Lost>> {
        let mut ready = false;
        if self.done.poll_recv_many(cx, &mut self.outcomes, OUTCOMES).is_ready() {
            self.take_outcomes();
            self.protocol.pay(&mut link.out);
            ready = true;
        }
        let beat = self.turned + BEAT;
        let rests = self.rests_until.filter(|until| Instant::now() < *until);
        self.rests_until = rests;
        let deadlines = [link.ping_deadline(), self.protocol.deadline(), rests, Some(beat)];
        ready |= self.alarm.poll(deadlines.into_iter().flatten().min(), cx).is_ready();
        ready |= link.poll(self.protocol.has_room() && rests.is_none(), cx)?.is_ready();
        // Last, so that a lost connection loses no command.
        if let Poll::Ready(command) = self.commands.poll_recv(cx) {
            return Poll::Ready(Ok(command));
        }
        if ready { Poll::Ready(Ok(None)) } else { Poll::Pending }
    }

    /// Acknowledges what is done, and leaves as the owner wants it.
    async fn say_goodbye(&mut self, mut link: Link, stop: &Stop) {
        while let Ok(done) = self.done.try_recv() {
            self.outcomes.push(done);
        }
        self.take_outcomes();
        self.protocol.pay(&mut link.out);
        if stop.end == End::Discard {
            self.protocol.forget(&mut link.out);
        }
        codec::disconnect(0, stop.end == End::Discard, &mut link.out);
        self.said_goodbye = timeout(stop.patience, link.finish()).await.is_ok();
        if !self.said_goodbye {
            tracing::warn!("the broker did not take the last acknowledgements in time");
        }
    }
}

fn loss_of(lost: &Lost, lasted: Duration) -> Loss {
    match lost {
        Lost::TakenOver => Loss::TakenOver,
        _ => Loss::Closed { lasted },
    }
}
