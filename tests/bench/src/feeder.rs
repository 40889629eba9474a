//! Publishes through a real broker as fast as the subscriber behind it takes: what is under way is bounded by what the
//! subscriber has handled, so that nothing piles up in the broker.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{BenchError, Context as _},
    frames::{Packet, Ring, Traffic, connect, packet},
    subjects::Progress,
};

/// Messages between the publisher and the subscriber's handler.
const UNDER_WAY: u64 = 4000;
/// Messages of one write.
const BATCH: u64 = 256;
/// A subscriber that stands still for so long has lost what is missing.
const STANDSTILL: Duration = Duration::from_secs(5);

/// A publisher at a broker.
#[derive(Debug)]
pub(crate) struct Feeder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicBool,
    gone: AtomicBool,
    sent: AtomicU64,
    confirmed: AtomicU64,
    fault: Mutex<Option<String>>,
}

struct Line<'a> {
    stream: TcpStream,
    ring: Ring,
    qos: u8,
    shared: &'a Shared,
    progress: File,
    inbox: Vec<u8>,
    sent: u64,
    confirmed: u64,
}

impl Feeder {
    pub(crate) fn start(port: u16, traffic: Traffic, progress: &Path) -> Result<Self, BenchError> {
        let shared = Arc::new(Shared::default());
        let mut stream = TcpStream::connect(("127.0.0.1", port)).context("no broker")?;
        stream.set_nodelay(true).context("no broker")?;
        stream.set_read_timeout(Some(Duration::from_millis(1))).context("no broker")?;
        stream.write_all(&connect("bench-feeder", u16::MAX)).context("no broker")?;
        let progress = File::open(progress).context("the subject shows no progress")?;
        let (own, ring) = (Arc::clone(&shared), Ring::new(traffic, &HashMap::new()));
        thread::spawn(move || {
            let (inbox, sent, confirmed) = (Vec::new(), 0, 0);
            let qos = traffic.qos;
            let line = Line { stream, ring, qos, shared: &own, progress, inbox, sent, confirmed };
            if let Err(error) = line.run() {
                let fault = &mut *own.fault.lock().unwrap_or_else(PoisonError::into_inner);
                fault.get_or_insert(format!("the publisher stopped: {error}"));
            }
        });
        Ok(Self { shared })
    }

    /// Publishes from now on.
    pub(crate) fn open(&self) {
        self.shared.running.store(true, Relaxed);
    }

    /// Publishes nothing more, and waits until `handled` says that all of it came through.
    pub(crate) fn close(&self, handled: impl Fn() -> u64) -> Result<(), BenchError> {
        self.shared.running.store(false, Relaxed);
        let (mut deadline, mut seen) = (Instant::now() + STANDSTILL, 0);
        loop {
            if let Some(fault) = &*self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner)
            {
                return Err(BenchError::Wrong(fault.clone()));
            }
            let (sent, handled) = (self.shared.sent.load(Relaxed), handled());
            if handled == sent && self.shared.confirmed.load(Relaxed) == sent {
                return Ok(());
            }
            if handled != seen {
                (deadline, seen) = (Instant::now() + STANDSTILL, handled);
            }
            if Instant::now() > deadline || handled > sent {
                return Err(BenchError::Wrong(format!("{handled} handled of {sent} published")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.shared.gone.store(true, Relaxed);
    }
}

impl Line<'_> {
    fn run(mut self) -> io::Result<()> {
        while !self.shared.gone.load(Relaxed) {
            let handled = Progress::read(&self.progress).handled;
            let free = UNDER_WAY.saturating_sub(self.sent.saturating_sub(handled));
            if self.shared.running.load(Relaxed) && free >= BATCH {
                self.write(free.min(BATCH))?;
            } else if self.confirmed == self.sent {
                thread::sleep(Duration::from_micros(300));
            }
            if self.confirmed < self.sent {
                self.listen()?;
            }
        }
        Ok(())
    }

    fn write(&mut self, count: u64) -> io::Result<()> {
        let (bytes, taken) = self.ring.take(self.sent, count, usize::MAX >> 1);
        self.sent += taken;
        self.shared.sent.store(self.sent, Relaxed);
        self.stream.write_all(bytes)?;
        if self.qos == 0 {
            self.confirm(taken);
        }
        Ok(())
    }

    fn confirm(&mut self, messages: u64) {
        self.confirmed += messages;
        self.shared.confirmed.store(self.confirmed, Relaxed);
    }

    /// Reads once, for a millisecond at most.
    fn listen(&mut self) -> io::Result<()> {
        let mut chunk = [0; 8192];
        let read = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.inbox.extend_from_slice(&chunk[..read]);
        let inbox = std::mem::take(&mut self.inbox);
        let (mut at, mut out) = (0, Vec::new());
        while let Some(packet) = packet(&inbox, at) {
            at = packet.end;
            self.hear(&packet, &mut out);
        }
        self.inbox = inbox;
        self.inbox.drain(..at);
        self.stream.write_all(&out)
    }

    fn hear(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        match packet.kind() {
            4 | 7 => self.confirm(1),
            5 => {
                let [high, low] = packet.number(0).to_be_bytes();
                out.extend([0x62, 2, high, low]);
            }
            _ => {}
        }
    }
}
