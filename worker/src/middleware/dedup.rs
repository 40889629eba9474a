//! Drops messages whose key was seen a short while ago.

use std::{
    collections::{HashMap, VecDeque},
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use routemq_crds::expression::Expression;
use tokio::{sync::watch, time::Instant};

use crate::{
    engine::{Next, Shared},
    handler::BoxFuture,
    message::Message,
    outcome::{Outcome, class},
};

/// Keys that are remembered at most; beyond it the oldest are forgotten before their window ends.
const MAX_KEYS: usize = 100_000;

/// The `dedup` middleware with its store in memory.
///
/// A key is remembered when its message is done: one that failed may come again. A message whose key
/// is being handled right now waits for the end of that: dropped where it was done, handled where not.
#[derive(Debug)]
pub(crate) struct Dedup {
    key: Expression,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    window: Duration,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    by_key: HashMap<Arc<str>, Slot>,
    /// Done keys, oldest first.
    done: VecDeque<(Instant, Arc<str>)>,
}

#[derive(Debug)]
enum Slot {
    /// Being handled; the sender is dropped at the end.
    Busy(watch::Receiver<()>),
    Done(Instant),
}

/// What a key says about its message.
enum Claimed {
    Mine(Claim),
    Seen,
    Busy(watch::Receiver<()>),
}

/// The right to handle the message of a key. Dropped without `done`, the key is free again.
struct Claim {
    seen: Arc<Seen>,
    key: Arc<str>,
    done: bool,
    _busy: watch::Sender<()>,
}

impl Dedup {
    pub(crate) fn new(key: Expression, window: Duration) -> Self {
        Self { key, seen: Arc::new(Seen { window, keys: Mutex::default() }) }
    }

    /// The same step, no key remembered.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(self.key.clone(), self.seen.window)
    }

    pub(crate) fn run(&self, message: Message, next: Next, shared: &Shared) -> BoxFuture<Outcome> {
        match shared.evaluator.text(&self.key, &message) {
            Ok(key) => Box::pin(once(Arc::clone(&self.seen), key.into(), message, next)),
            Err(failure) => Box::pin(ready(Outcome::Failed(failure))),
        }
    }
}

async fn once(seen: Arc<Seen>, key: Arc<str>, message: Message, next: Next) -> Outcome {
    let mut claim = loop {
        match Seen::claim(&seen, &key) {
            Claimed::Mine(claim) => break claim,
            Claimed::Seen => return Outcome::Dropped(class::DUPLICATE),
            Claimed::Busy(mut busy) => while busy.changed().await.is_ok() {},
        }
    };
    let outcome = next.run(message).await;
    claim.done = matches!(outcome, Outcome::Done);
    outcome
}

impl Seen {
    fn claim(this: &Arc<Self>, key: &Arc<str>) -> Claimed {
        let now = Instant::now();
        let mut keys = this.lock();
        keys.forget(now, this.window);
        match keys.by_key.get(key) {
            Some(Slot::Done(_)) => Claimed::Seen,
            Some(Slot::Busy(busy)) => Claimed::Busy(busy.clone()),
            None => {
                let (sender, receiver) = watch::channel(());
                keys.by_key.insert(Arc::clone(key), Slot::Busy(receiver));
                Claimed::Mine(Claim {
                    seen: Arc::clone(this),
                    key: Arc::clone(key),
                    done: false,
                    _busy: sender,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn forget(&mut self, now: Instant, window: Duration) {
        while let Some((since, key)) = self.done.front() {
            if now.duration_since(*since) < window && self.done.len() <= MAX_KEYS {
                return;
            }
            // The slot may be of a later message with the same key.
            if matches!(self.by_key.get(key), Some(Slot::Done(at)) if at == since) {
                self.by_key.remove(key);
            }
            self.done.pop_front();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut keys = self.seen.lock();
        if self.done {
            let now = Instant::now();
            keys.by_key.insert(Arc::clone(&self.key), Slot::Done(now));
            keys.done.push_back((now, Arc::clone(&self.key)));
        } else {
            keys.by_key.remove(&self.key);
        }
    }
}
