//! The slots that somebody else keeps for this process: the one that it serves, and the one that it drains.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use routemq_crds::stop::RELEASE_SLOT;
use routemq_mqtt::Loss;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

/// How long a reconnect waits for a look at the Lease: without an answer it goes on.
const LOOK: Duration = Duration::from_secs(2);
/// A connection that is closed earlier may have been thrown out by another with its client id.
const QUICK: Duration = Duration::from_secs(10);
/// So many in a row, without an answer of the API server, are taken as that.
const THROWN_OUT: u32 = 3;
/// How long whoever seems to be thrown out leaves the client id alone while the API server does not answer.
const YIELD: Duration = Duration::from_mins(1);

/// The slots of this process, as their keepers have them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leased {
    slot: watch::Receiver<Option<u32>>,
    keeper: mpsc::Sender<Command>,
    adoption: watch::Receiver<Option<Adoption>>,
    adopter: mpsc::Sender<Command>,
    willing: Arc<watch::Sender<bool>>,
    record: Arc<watch::Sender<Record>>,
    abandoned: watch::Receiver<Option<u32>>,
}

/// The whole filters that the session of a slot may hold. Kept on its Lease, so that whoever has the slot next can leave those that it
/// does not want: a broker does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) slot: Option<u32>,
    pub(crate) filters: BTreeSet<String>,
}

/// Quick losses of one session in a row, for [`Leased::may_return`].
#[derive(Debug, Default)]
pub struct Losses(AtomicU32);

/// A retired slot that this process is to drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Its number.
    pub slot: u32,
    /// What its session may hold, as its last workers recorded it: whole filters.
    pub filters: Vec<String>,
}

/// What a keeper is asked. The keeper answers when it is done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Look whether the slot is still ours, and write down what is new; the answer: whether the API server answered.
    Check(oneshot::Sender<bool>),
    /// Nothing is left of the session of this retired slot.
    Drained(u32, oneshot::Sender<bool>),
    /// Give it back, and end.
    Release(oneshot::Sender<bool>),
}

/// The ends of [`Leased`] that its keepers hold.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) slot: watch::Sender<Option<u32>>,
    pub(crate) keeper: mpsc::Receiver<Command>,
    pub(crate) adoption: watch::Sender<Option<Adoption>>,
    pub(crate) adopter: mpsc::Receiver<Command>,
    /// Whether this process has what a drain needs.
    pub(crate) willing: watch::Receiver<bool>,
    /// Set by the keeper when it gets a slot, and by those who work on it.
    pub(crate) record: Arc<watch::Sender<Record>>,
    /// The last slot that was lost because there is no such slot any more.
    pub(crate) abandoned: watch::Sender<Option<u32>>,
}

/// Both sides, before any slot is held.
pub(crate) fn leased() -> (Leased, Ends) {
    let (slot, held) = watch::channel(None);
    let (adoption, retired) = watch::channel(None);
    let (to_keeper, keeper) = mpsc::channel(4);
    let (to_adopter, adopter) = mpsc::channel(4);
    let (ready, willing) = watch::channel(false);
    let record = Arc::new(watch::Sender::new(Record::default()));
    let (leave, abandoned) = watch::channel(None);
    let leased = Leased {
        slot: held,
        keeper: to_keeper,
        adoption: retired,
        adopter: to_adopter,
        willing: Arc::new(ready),
        record: Arc::clone(&record),
        abandoned,
    };
    (leased, Ends { slot, keeper, adoption, adopter, willing, record, abandoned: leave })
}

impl Leased {
    /// The slot that is held, now and at every change.
    pub fn watch(&self) -> watch::Receiver<Option<u32>> {
        self.slot.clone()
    }

    /// The retired slot that is to be drained, now and at every change.
    pub fn watch_adoption(&self) -> watch::Receiver<Option<Adoption>> {
        self.adoption.clone()
    }

    /// Whether retired slots are to be looked for: false until somebody can drain them.
    pub fn adopt_from_now_on(&self, willing: bool) {
        self.willing.send_replace(willing);
    }

    /// Whether the session of `slot` may connect again after such a loss, by a look at the Lease.
    ///
    /// Without an answer of the API server it may, for messages do not stop for that; but not where the broker says that another has
    /// the client id, and not at once where it closes one connection after the other: whoever has it may have got it by the Lease.
    pub async fn may_return(&self, slot: u32, loss: Loss, losses: &Losses) -> bool {
        let patience = losses.patience(loss);
        let began = Instant::now();
        while !self.look_at(slot).await && patience.is_none_or(|most| began.elapsed() < most) {
            sleep(LOOK / 2).await;
        }
        self.has(slot)
    }

    /// Whether the API server answered.
    async fn look_at(&self, slot: u32) -> bool {
        let keeper = if self.has_adopted(slot) { &self.adopter } else { &self.keeper };
        // Without the slot nothing is to be asked.
        ask(keeper, Command::Check, LOOK).await || !self.has(slot)
    }

    fn has(&self, slot: u32) -> bool {
        self.has_adopted(slot) || *self.slot.borrow() == Some(slot)
    }

    /// Whether `slot` was lost because there is no such slot any more: nobody will resume its session.
    pub fn is_abandoned(&self, slot: u32) -> bool {
        *self.abandoned.borrow() == Some(slot) && !self.has(slot)
    }

    fn has_adopted(&self, slot: u32) -> bool {
        self.adoption.borrow().as_ref().is_some_and(|it| it.slot == slot)
    }

    /// What the session of `slot` may hold, as far as it is recorded.
    pub fn held_filters(&self, slot: u32) -> Vec<String> {
        let record = self.record.borrow();
        let known = record.slot == Some(slot);
        if known { record.filters.iter().cloned().collect() } else { Vec::new() }
    }

    /// Records that the session of `slot` may hold these filters too, before it asks for them. After two seconds without an answer of
    /// the API server they are recorded later.
    pub async fn will_hold(&self, slot: u32, filters: impl IntoIterator<Item = String>) {
        let news = self.record.send_if_modified(|record| {
            let before = record.filters.len();
            if record.slot == Some(slot) {
                record.filters.extend(filters);
            }
            record.filters.len() > before
        });
        if news {
            ask(&self.keeper, Command::Check, LOOK).await;
        }
    }

    /// Records, soon, what the session of `slot` holds, and nothing more.
    pub(crate) fn holds(&self, slot: u32, filters: BTreeSet<String>) {
        self.record.send_if_modified(|record| {
            let news = record.slot == Some(slot) && record.filters != filters;
            if news {
                record.filters = filters;
            }
            news
        });
    }

    /// Tells that nothing is left of the session of an adopted slot. Its keeper writes that down, as soon as it can.
    pub async fn drained(&self, slot: u32) {
        ask(&self.adopter, |answer| Command::Drained(slot, answer), LOOK).await;
    }

    /// Gives the slots back; what is not given back within three seconds expires.
    pub async fn release(&self) {
        let serving = ask(&self.keeper, Command::Release, RELEASE_SLOT);
        tokio::join!(serving, ask(&self.adopter, Command::Release, RELEASE_SLOT));
    }
}

/// The keeper's answer; false where there is none.
async fn ask(
    keeper: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<bool>) -> Command,
    patience: Duration,
) -> bool {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        keeper.send(command(answer)).await.ok()?;
        answered.await.ok()
    };
    matches!(timeout(patience, asked).await, Ok(Some(true)))
}

impl Losses {
    /// How long to leave the client id alone for want of an answer; `None`: until there is one.
    fn patience(&self, loss: Loss) -> Option<Duration> {
        match loss {
            Loss::TakenOver => None,
            Loss::Closed { lasted } if lasted < QUICK => {
                let quick = self.0.fetch_add(1, Relaxed) + 1;
                Some(if quick >= THROWN_OUT { YIELD } else { Duration::ZERO })
            }
            Loss::Closed { .. } => {
                self.0.store(0, Relaxed);
                Some(Duration::ZERO)
            }
            Loss::NotConnected => Some(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quick_closes_in_a_row_look_like_being_thrown_out() {
        let losses = Losses::default();
        let quick = || losses.patience(Loss::Closed { lasted: Duration::from_secs(1) });
        let at_once = Some(Duration::ZERO);
        assert_eq!(
            [quick(), quick(), quick(), quick()],
            [at_once, at_once, Some(YIELD), Some(YIELD)]
        );
        assert_eq!(losses.patience(Loss::NotConnected), at_once);
        assert_eq!(losses.patience(Loss::Closed { lasted: QUICK }), at_once);
        assert_eq!(quick(), at_once, "a long connection is an end of it");
        assert_eq!(losses.patience(Loss::TakenOver), None);
    }
}
