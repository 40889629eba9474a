//! One subscriber served: requests answered, messages sent while the firehose is open, acknowledgements held against
//! what was sent. One thread, because a second would take the processor from the subscriber.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        PoisonError,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Pressure, Shared, handshake};
use crate::frames::{self, Packet, Ring, packet};

/// Bytes of one write.
const WRITE: usize = 128 * 1024;
/// Nothing is written for less than this share of the window: a subscriber that acknowledges a message at a time would
/// otherwise be sent a message at a time.
const LEAST_SHARE: u64 = 16;
/// How often a thread that waits looks up.
const GLANCE: Duration = Duration::from_millis(2);

struct Connection<'a> {
    stream: TcpStream,
    pressure: Pressure,
    shared: &'a Shared,
    ring: Option<Ring>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    chunk: Vec<u8>,
    window: u64,
    sent: u64,
    acknowledged: u64,
    due: Option<Instant>,
    /// Whether it has subscribed: the others only publish.
    subscribes: bool,
}

/// Until the peer is gone, or breaks a rule; a subscriber's fault is told.
pub(super) fn serve(stream: TcpStream, pressure: Pressure, shared: &Shared) {
    let mut subscribes = false;
    if let Err(error) = turns(stream, pressure, shared, &mut subscribes)
        && subscribes
        && !shared.is_gone()
    {
        shared.lock_fault().get_or_insert(error.to_string());
    }
}

fn turns(
    stream: TcpStream,
    pressure: Pressure,
    shared: &Shared,
    subscribes: &mut bool,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    let mut connection = Connection {
        stream,
        pressure,
        shared,
        ring: None,
        inbox: Vec::new(),
        outbox: Vec::new(),
        chunk: vec![0; 256 * 1024],
        window: pressure.window,
        sent: 0,
        acknowledged: 0,
        due: None,
        subscribes: false,
    };
    while !shared.is_gone() {
        *subscribes = connection.subscribes;
        if connection.subscribes && shared.running.load(SeqCst) {
            connection.send()?;
            continue;
        }
        if connection.subscribes {
            shared.resting.store(true, SeqCst);
        }
        connection.due = None;
        connection.listen()?;
    }
    Ok(())
}

impl Connection<'_> {
    fn send(&mut self) -> io::Result<()> {
        if let Some(pace) = self.pressure.pace {
            return self.send_paced(pace);
        }
        let free = self.window - (self.sent - self.acknowledged);
        let left = self.shared.until.load(Relaxed).saturating_sub(self.sent);
        if left > 0 && left <= free {
            return self.write(left);
        }
        if left == 0 || free < (self.window / LEAST_SHARE).max(1) {
            return self.listen();
        }
        self.write(free)
    }

    /// One message when it is due, timed from then until its acknowledgement: one that comes late counts for those
    /// that it holds up.
    fn send_paced(&mut self, pace: Duration) -> io::Result<()> {
        let now = Instant::now();
        let due = *self.due.get_or_insert(now);
        if due > now {
            thread::sleep(due - now);
        }
        // A thread that is woken late is not the subscriber's fault; a subscriber that is late is.
        let started = if due > now { Instant::now() } else { due };
        self.due = Some(due + pace);
        self.write(1)?;
        while self.acknowledged < self.sent {
            self.listen()?;
            if started.elapsed() > Duration::from_secs(5) {
                return Err(io::Error::other("a message was not acknowledged within 5 s"));
            }
        }
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        Ok(())
    }

    fn write(&mut self, count: u64) -> io::Result<()> {
        let traffic = self.pressure.traffic;
        let ring = self.ring.get_or_insert_with(|| {
            let known = self.shared.identifiers.lock().unwrap_or_else(PoisonError::into_inner);
            Ring::new(traffic, &known)
        });
        let (bytes, taken) = ring.take(self.sent, count, WRITE);
        self.sent += taken;
        self.shared.sent.store(self.sent, Relaxed);
        self.stream.write_all(bytes)?;
        if traffic.qos == 0 {
            self.acknowledged = self.sent;
            self.shared.acknowledged.store(self.sent, Relaxed);
        }
        Ok(())
    }

    /// Reads once, and answers.
    fn listen(&mut self) -> io::Result<()> {
        let read = match self.stream.read(&mut self.chunk) {
            Ok(0) => return Err(io::Error::other("the subscriber closed the connection")),
            Ok(read) => read,
            Err(error) if is_glance(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.inbox.extend_from_slice(&self.chunk[..read]);
        let inbox = std::mem::take(&mut self.inbox);
        let (mut at, mut out) = (0, std::mem::take(&mut self.outbox));
        while let Some(packet) = packet(&inbox, at) {
            at = packet.end;
            self.hear(&packet, &mut out)?;
        }
        self.inbox = inbox;
        self.inbox.drain(..at);
        if self.subscribes {
            self.shared.acknowledged.store(self.acknowledged, Relaxed);
        }
        self.stream.write_all(&out)?;
        out.clear();
        self.outbox = out;
        Ok(())
    }

    fn hear(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        match packet.kind() {
            4 => return self.acknowledge(packet),
            1 => {
                self.window = self.window.min(handshake::receive_maximum(packet).into());
                handshake::connack(out);
            }
            8 => self.subscribe(packet, out),
            10 => handshake::answer(0xB0, packet, 0, out),
            3 => handshake::confirm(packet, self.subscribes, out),
            12 => out.extend([0xD0, 0]),
            _ => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let (wanted, got) = (frames::id(self.acknowledged), packet.number(0));
        if self.acknowledged == self.sent || wanted != got {
            let words = format!("PUBACK {got} where {wanted} was the next of {}", self.sent);
            return Err(io::Error::other(words));
        }
        self.acknowledged += 1;
        Ok(())
    }

    fn subscribe(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        let Some((filter, identifier, qos)) = handshake::subscription(packet) else { return };
        handshake::answer(0x90, packet, qos, out);
        self.subscribes = true;
        let known = &self.shared.identifiers;
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(filter, identifier);
        // Built again, with what is subscribed then.
        self.ring = None;
    }
}

fn is_glance(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
