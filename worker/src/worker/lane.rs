//! A lane: runs jobs at once where it can, in order where it must.
//!
//! # Guarantees
//! - Jobs of one key run one after the other, in the order they were pushed. A job that waits (or is
//!   retried) holds back its own key and no other.
//! - At most `limit` jobs are under way.
//! - Each job ends in exactly one of: finished (its panic caught), taken back by [`Lane::discard`],
//!   or dropped with the lane.
//!
//! # Cost
//! A job that need not wait is done where it is pushed: no task, no future, no entry in the map of busy keys. The future of one
//! that waits takes a box that is used again, and a place that is used again, too (`futures-buffered`: no allocation for each job
//! that waits). Keys without a job take no memory.
//!
//! Owned by one task (see `shard`), so there is no lock.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures::StreamExt as _;
use futures_buffered::FuturesUnordered;

use crate::begun::Begun;

/// Where a job stands in the order in which acknowledgements are owed: connection, then delivery.
pub(crate) type Mark = (u32, u64);

/// What is owed for a job.
pub(crate) trait Ticket: Send + 'static {
    /// `None`: nothing is owed.
    fn mark(&self) -> Option<Mark>;
}

/// A job on its way into a lane.
#[derive(Debug)]
pub(crate) struct Entry<T, J> {
    /// Jobs with the same key keep their order.
    pub(crate) key: u64,
    /// Says what is owed for the job; stays outside its future.
    pub(crate) ticket: T,
    /// What is run.
    pub(crate) job: J,
}

/// A job's future panicked, with this message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked(pub(crate) String);

/// A job that has ended: its ticket, and what its future gave.
pub(crate) type Finished<T, R> = (T, Result<R, Panicked>);

/// Runs jobs: `begin` begins one, `wait` makes a future of one that waits.
pub(crate) struct Lane<T, J, F, B, W> {
    begin: B,
    wait: W,
    limit: usize,
    /// Keys with a job under way or runnable, and the jobs that wait behind it.
    busy: HashMap<u64, VecDeque<Entry<T, J>>, BuildHasherDefault<KeyHasher>>,
    /// First of their key; they wait for room, or for the end of a pause.
    runnable: VecDeque<Entry<T, J>>,
    running: FuturesUnordered<Parked<T, F>>,
    /// Whether something was parked since `running` was last polled to its end.
    unpolled: bool,
    paused: bool,
    /// The highest mark of all jobs that were started.
    furthest: Option<Mark>,
    /// Boxes to use again, at most `limit`.
    spare: Vec<Slot<F>>,
}

/// Holds one future, and then another, without a new allocation.
type Slot<F> = Pin<Box<Option<F>>>;

/// A job that waits.
struct Parked<T, F> {
    key: u64,
    /// Taken when the future ends.
    held: Option<(T, Slot<F>)>,
}

// === impl Lane ===

impl<T, J, F, R, B, W> Lane<T, J, F, B, W>
where
    T: Ticket,
    F: Future,
    B: FnMut(&T, J) -> Begun<F::Output, R>,
    W: FnMut(R) -> F,
{
    /// A lane with at most `limit` jobs under way (0 counts as 1).
    pub(crate) fn new(limit: usize, begin: B, wait: W) -> Self {
        Self {
            begin,
            wait,
            limit: limit.max(1),
            busy: HashMap::default(),
            runnable: VecDeque::new(),
            running: FuturesUnordered::new(),
            unpolled: false,
            paused: false,
            furthest: None,
            spare: Vec::new(),
        }
    }

    /// Takes a job, and runs it at once if its key is free and there is room.
    pub(crate) fn push(&mut self, entry: Entry<T, J>) -> Option<Finished<T, F::Output>> {
        if !self.busy.is_empty()
            && let Some(queue) = self.busy.get_mut(&entry.key)
        {
            queue.push_back(entry);
            return None;
        }
        if self.has_room() {
            return self.run(entry);
        }
        self.busy.insert(entry.key, VecDeque::new());
        self.runnable.push_back(entry);
        None
    }

    /// The next job that ended, after starting what there is room for. `Pending` when nothing more
    /// can be done now; the context is woken when something can.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Finished<T, F::Output>> {
        if let Some(finished) = self.run_next() {
            return Poll::Ready(finished);
        }
        self.unpolled = false;
        match self.running.poll_next_unpin(cx) {
            Poll::Ready(Some(ended)) => Poll::Ready(self.unpark(ended)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether a waiting job was parked since [`Self::poll_next`] was last `Pending`: it must be
    /// polled again, or nobody is woken for the job.
    pub(crate) fn needs_poll(&self) -> bool {
        self.unpolled || (!self.runnable.is_empty() && self.has_room())
    }

    /// Starts nothing until [`Self::resume`]; what is under way goes on.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Ends a pause.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Takes back the jobs that are not under way and for whose ticket `gone` is true.
    pub(crate) fn discard(&mut self, gone: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in self.busy.values_mut() {
            let (out, kept) = std::mem::take(queue).into_iter().partition(|e| gone(&e.ticket));
            *queue = kept;
            let out: VecDeque<Entry<T, J>> = out;
            taken.extend(out.into_iter().map(|entry| entry.ticket));
        }
        for entry in std::mem::take(&mut self.runnable) {
            if gone(&entry.ticket) {
                self.release(entry.key);
                taken.push(entry.ticket);
            } else {
                self.runnable.push_back(entry);
            }
        }
        taken
    }

    /// Whether there is no job, neither under way nor waiting for its turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.busy.is_empty()
    }

    /// The highest mark of all jobs that were ever started.
    pub(crate) fn furthest(&self) -> Option<Mark> {
        self.furthest
    }

    fn has_room(&self) -> bool {
        !self.paused && self.running.len() < self.limit
    }

    /// Runs runnable jobs until one ends at once.
    fn run_next(&mut self) -> Option<Finished<T, F::Output>> {
        while self.has_room() {
            let entry = self.runnable.pop_front()?;
            let key = entry.key;
            if let Some(finished) = self.run(entry) {
                self.release(key);
                return Some(finished);
            }
        }
        None
    }

    /// Starts a job. One that waits is parked, and polled there.
    fn run(&mut self, entry: Entry<T, J>) -> Option<Finished<T, F::Output>> {
        let Entry { key, ticket, job } = entry;
        self.furthest = self.furthest.max(ticket.mark());
        let result = match catch_unwind(AssertUnwindSafe(|| (self.begin)(&ticket, job))) {
            Ok(Begun::Waits(rest)) => {
                self.park(key, ticket, rest);
                return None;
            }
            Ok(Begun::Ended(output)) => Ok(output),
            Err(cause) => Err(Panicked::from(cause)),
        };
        Some((ticket, result))
    }

    fn park(&mut self, key: u64, ticket: T, rest: R) {
        let mut slot = self.spare.pop().unwrap_or_else(|| Box::pin(None));
        slot.as_mut().set(Some((self.wait)(rest)));
        self.busy.entry(key).or_default();
        self.running.push(Parked { key, held: Some((ticket, slot)) });
        self.unpolled = true;
    }

    fn unpark(&mut self, ended: Ended<T, F>) -> Finished<T, F::Output> {
        let Ended { key, ticket, slot, result } = ended;
        self.keep(slot);
        self.release(key);
        (ticket, result)
    }

    /// The key's job has ended: the next of the key may run.
    fn release(&mut self, key: u64) {
        match self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(next) => self.runnable.push_back(next),
            None => drop(self.busy.remove(&key)),
        }
    }

    fn keep(&mut self, mut slot: Slot<F>) {
        slot.as_mut().set(None);
        if self.spare.len() < self.limit {
            self.spare.push(slot);
        }
    }
}

impl<T, J, F, B, W> std::fmt::Debug for Lane<T, J, F, B, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("limit", &self.limit)
            .field("running", &self.running.len())
            .field("busy_keys", &self.busy.len())
            .finish_non_exhaustive()
    }
}

// === A job that waits ===

/// What a parked job leaves behind.
struct Ended<T, F: Future> {
    key: u64,
    ticket: T,
    slot: Slot<F>,
    result: Result<F::Output, Panicked>,
}

impl<T, F> Unpin for Parked<T, F> {}

impl<T, F: Future> Future for Parked<T, F> {
    type Output = Ended<T, F>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((ticket, mut slot)) = self.held.take() else { return Poll::Pending };
        match poll_slot(&mut slot, cx) {
            Poll::Ready(result) => Poll::Ready(Ended { key: self.key, ticket, slot, result }),
            Poll::Pending => {
                self.held = Some((ticket, slot));
                Poll::Pending
            }
        }
    }
}

/// Polls the future of a slot; a panic is its end.
fn poll_slot<F: Future>(
    slot: &mut Slot<F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Panicked>> {
    let Some(future) = slot.as_mut().as_pin_mut() else { return Poll::Pending };
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(cause) => Poll::Ready(Err(Panicked::from(cause))),
    }
}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(cause: Box<dyn Any + Send>) -> Self {
        let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "no message".to_owned()))
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    /// Shards are chosen by the high bits: mix, so that those of a shard's keys differ.
    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
