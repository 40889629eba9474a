//! A stand-in for a broker that sends as fast as a subscriber takes: one thread a connection. Whoever subscribes is sent
//! to; whoever only publishes is confirmed.
//!
//! # Guarantees
//! - Never more unacknowledged messages than the smaller of its window and the subscriber's Receive Maximum.
//! - Acknowledgements must come in the order of the messages: a lost, doubled or disordered one is a fault, found at once.

mod connection;
mod handshake;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    cpu,
    error::{BenchError, Context as _},
    frames::Traffic,
};

/// What is unacknowledged must be acknowledged within this after the last message.
const DRAIN: Duration = Duration::from_secs(10);

/// How a firehose sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    pub(crate) traffic: Traffic,
    /// Unacknowledged messages at most.
    pub(crate) window: u64,
    /// One message each so often instead of as many as fit.
    pub(crate) pace: Option<Duration>,
    /// The processor that it stays on.
    pub(crate) processor: Option<usize>,
}

/// A listening firehose; it serves one subscriber, and any number of publishers.
#[derive(Debug)]
pub(crate) struct Firehose {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What its thread shows.
#[derive(Debug)]
struct Shared {
    running: AtomicBool,
    /// It was seen that nothing is to be sent: until then one more may be on its way.
    resting: AtomicBool,
    /// Nothing is sent beyond so many.
    until: AtomicU64,
    gone: AtomicBool,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// By filter, without its share.
    identifiers: Mutex<HashMap<String, u32>>,
    fault: Mutex<Option<String>>,
    /// Nanoseconds from a message's turn to its acknowledgement, where there is a pace.
    latencies: Mutex<Vec<u64>>,
}

impl Firehose {
    pub(crate) fn start(pressure: Pressure) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the firehose")?;
        let address = listener.local_addr().context("the firehose has no address")?;
        let shared = Arc::new(Shared::new());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            if let Some(processor) = pressure.processor {
                // A machine that does not let us is measured unbound.
                let _ = cpu::bind_to(processor);
            }
            for stream in listener.incoming().flatten().take_while(|_| !own.is_gone()) {
                let own = Arc::clone(&own);
                thread::spawn(move || connection::serve(stream, pressure, &own));
            }
        });
        Ok(Self { address, shared })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends from now on.
    pub(crate) fn open(&self) {
        self.shared.running.store(true, SeqCst);
    }

    /// Sends so many, as fast as they are taken, and then nothing more.
    pub(crate) fn send(&self, messages: u64) {
        self.shared.until.store(self.sent() + messages, Relaxed);
        self.open();
    }

    /// Sends nothing more, and waits until everything is acknowledged.
    pub(crate) fn close(&self) -> Result<(), BenchError> {
        self.shared.running.store(false, SeqCst);
        self.shared.resting.store(false, SeqCst);
        let deadline = Instant::now() + DRAIN;
        while !self.shared.resting.load(SeqCst) || self.acknowledged() < self.sent() {
            self.check()?;
            if Instant::now() > deadline {
                let (sent, acknowledged) = (self.sent(), self.acknowledged());
                return Err(BenchError::Wrong(format!(
                    "lost: {acknowledged} of {sent} acknowledged"
                )));
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.check()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }

    /// At QoS 0: written.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Relaxed)
    }

    /// What a paced firehose has measured since the last call, sorted.
    pub(crate) fn take_latencies(&self) -> Vec<u64> {
        let mut latencies = std::mem::take(
            &mut *self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner),
        );
        latencies.sort_unstable();
        latencies
    }

    /// The first rule that the subscriber broke.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        self.shared.lock_fault().clone().map_or(Ok(()), |fault| Err(BenchError::Wrong(fault)))
    }
}

impl Drop for Firehose {
    fn drop(&mut self) {
        self.shared.gone.store(true, Relaxed);
        self.shared.running.store(false, Relaxed);
        // Wakes the thread that accepts; it may be gone.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            running: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            until: AtomicU64::new(u64::MAX),
            gone: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            identifiers: Mutex::default(),
            fault: Mutex::default(),
            latencies: Mutex::default(),
        }
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    fn lock_fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
