//! The task that owns the publisher's socket.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::flight::{Flight, Job};
use crate::{
    ConnectionState, SessionConfig, Trouble,
    alarm::Alarm,
    backoff::Backoff,
    codec::{self, Fault, Frames, Incoming},
    connect::{Accepted, connect, sentence},
    link::{Link, Lost},
    outage::Outage,
};

/// A connection that lasted this long was a good one: the next pause is short.
const HELD: Duration = Duration::from_secs(10);
/// How long what is under way may take when nobody holds a publisher any more.
const ABANDONED: Duration = Duration::from_secs(10);
/// A last DISCONNECT is worth this much waiting.
const FAREWELL: Duration = Duration::from_millis(500);

/// The end of the publisher.
#[derive(Debug)]
pub(super) struct Stop {
    deadline: Instant,
    done: Option<oneshot::Sender<()>>,
}

impl Stop {
    pub(super) fn new(patience: Duration, done: Option<oneshot::Sender<()>>) -> Self {
        Self { deadline: Instant::now() + patience, done }
    }
}

/// How a connection ended.
enum Ended {
    Lost(Lost),
    Stopped,
}

#[derive(Debug)]
pub(super) struct Driver {
    config: Arc<SessionConfig>,
    flight: Flight,
    jobs: mpsc::Receiver<Job>,
    stops: mpsc::Receiver<Stop>,
    stop: Option<Stop>,
    connection: watch::Sender<ConnectionState>,
    alarm: Alarm,
    outage: Outage,
}

impl Driver {
    pub(super) fn new(
        config: SessionConfig,
        jobs: mpsc::Receiver<Job>,
        stops: mpsc::Receiver<Stop>,
        connection: watch::Sender<ConnectionState>,
    ) -> Self {
        Self {
            flight: Flight::default(),
            jobs,
            stops,
            stop: None,
            connection,
            alarm: Alarm::new(),
            outage: Outage::new(&config),
            config: Arc::new(config),
        }
    }

    /// Connects, publishes, waits, and again, until told to stop.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.max_backoff);
        loop {
            let config = Arc::clone(&self.config);
            let (reason, trouble) = match self.unless_stopped(Box::pin(connect(&config))).await {
                None => break,
                Some(Err(error)) => (sentence(&error), Trouble::from(&error)),
                Some(Ok((link, accepted))) => {
                    let since = Instant::now();
                    match self.serve(link, &accepted).await {
                        Ended::Stopped => break,
                        Ended::Lost(lost) => {
                            if since.elapsed() >= HELD {
                                backoff.reset();
                            }
                            (sentence(&lost), Trouble::from(&lost))
                        }
                    }
                }
            };
            let pause = backoff.next(fastrand::f64());
            self.outage.failed(&reason, pause);
            let taken_over = trouble == Trouble::TakenOver;
            self.connection.send_replace(ConnectionState::Waiting { reason, trouble, taken_over });
            if self.unless_stopped(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.end();
    }

    fn end(self) {
        self.connection.send_replace(ConnectionState::Stopped);
        if let Some(done) = self.stop.and_then(|stop| stop.done) {
            // The caller may have lost its patience.
            let _ = done.send(());
        }
    }

    // === The end ===

    fn begin_stop(&mut self, stop: Option<Stop>) {
        // `None`: every publisher is gone.
        let stop = stop.unwrap_or_else(|| Stop::new(ABANDONED, None));
        self.jobs.close();
        self.stop = Some(stop);
    }

    /// Whether it was told to stop, and nothing is left to do, or no time to do it.
    fn is_over(&self) -> bool {
        let idle = self.flight.is_empty() && self.jobs.is_empty();
        self.stop.as_ref().is_some_and(|stop| idle || stop.deadline <= Instant::now())
    }

    /// Does `work`, unless the publisher ends first.
    async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        while !self.is_over() {
            let deadline = self.stop.as_ref().map(|stop| stop.deadline);
            tokio::select! {
                biased;
                stop = self.stops.recv(), if deadline.is_none() => self.begin_stop(stop),
                () = until(deadline), if deadline.is_some() => {}
                result = &mut work => return Some(result),
            }
        }
        None
    }

    // === With a connection ===

    async fn serve(&mut self, mut link: Link, accepted: &Accepted) -> Ended {
        self.flight.connected(accepted, self.config.receive_maximum);
        self.outage.ended(accepted.session_present);
        self.connection.send_replace(ConnectionState::Connected {
            session_present: accepted.session_present,
            identifiers: accepted.offers.identifiers,
        });
        match self.turns(&mut link).await {
            Ok(()) => {
                codec::disconnect(0, false, &mut link.out);
                // Everything is confirmed, or there is no more time: the farewell is a courtesy.
                let _ = timeout(FAREWELL, link.finish()).await;
                Ended::Stopped
            }
            Err(lost) => {
                self.flight.disconnected(&lost);
                if let Lost::Fault(fault) = &lost {
                    link.close(fault.code).await;
                }
                Ended::Lost(lost)
            }
        }
    }

    /// Returns when the publisher is to stop.
    async fn turns(&mut self, link: &mut Link) -> Result<(), Lost> {
        loop {
            self.think(link)?;
            if self.is_over() {
                return Ok(());
            }
            poll_fn(|cx| self.poll_turn(link, cx)).await?;
        }
    }

    /// What was read, written and has become due, without waiting for anything.
    fn think(&mut self, link: &mut Link) -> Result<(), Lost> {
        self.flight.written(link.written());
        let (read, fault) = link.take_frames();
        let mut frames = Frames::of(&read);
        while let Some(frame) = frames.next().map_err(Lost::Fault)? {
            let incoming = codec::decode(frame).map_err(Lost::Fault)?;
            self.hear(incoming, link)?;
        }
        if let Some(fault) = fault {
            return Err(Lost::Fault(fault));
        }
        self.flight.send(link.written(), &mut link.out);
        link.keep_alive(Instant::now())
    }

    fn hear(&mut self, incoming: Incoming<'_>, link: &mut Link) -> Result<(), Lost> {
        let heard = match incoming {
            Incoming::PubAck { id, code } => self.flight.puback(id, code),
            Incoming::PubRec { id, code } => self.flight.pubrec(id, code, &mut link.out),
            Incoming::PubComp { id } => self.flight.pubcomp(id),
            Incoming::PingResp => Ok(()),
            Incoming::Disconnect { code, detail } => {
                return Err(Lost::by_disconnect(code, detail));
            }
            _ => Err(Fault::protocol("a packet for a subscriber, to a publisher")),
        };
        heard.map_err(Lost::Fault)
    }

    /// Waits until something happens, and takes in all of it: messages, time, bytes, a stop.
    fn poll_turn(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut ready = self.poll_jobs(cx);
        if ready {
            self.flight.send(link.written(), &mut link.out);
        }
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        let deadline = [link.ping_deadline(), stop].into_iter().flatten().min();
        ready |= self.alarm.poll(deadline, cx).is_ready();
        ready |= link.poll(true, cx)?.is_ready();
        if self.stop.is_none()
            && let Poll::Ready(stop) = self.stops.poll_recv(cx)
        {
            self.begin_stop(stop);
            ready = true;
        }
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Takes all waiting messages, so that they go out in one write.
    fn poll_jobs(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while self.flight.has_room() {
            match self.jobs.poll_recv(cx) {
                Poll::Ready(Some(job)) => {
                    self.flight.push(job);
                    any = true;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        any
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}
