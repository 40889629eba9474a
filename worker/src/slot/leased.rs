//! The one slot that somebody else keeps for this process.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// How long a reconnect waits for a look at the Lease: without an answer it goes on.
const LOOK: Duration = Duration::from_secs(2);
/// How long a stop waits for the slot to be given back.
const FAREWELL: Duration = Duration::from_secs(3);

/// The slot of this process, as its keeper has it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leased {
    slot: watch::Receiver<Option<u32>>,
    commands: mpsc::Sender<Command>,
}

/// What a keeper is asked. The keeper answers when it is done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Look whether the slot is still ours.
    Check(oneshot::Sender<()>),
    /// Give it back, and end.
    Release(oneshot::Sender<()>),
}

impl Leased {
    pub(crate) fn new(slot: watch::Receiver<Option<u32>>, commands: mpsc::Sender<Command>) -> Self {
        Self { slot, commands }
    }

    /// The slot that is held, now and at every change.
    pub fn watch(&self) -> watch::Receiver<Option<u32>> {
        self.slot.clone()
    }

    /// Whether `slot` is still this process', after a look at the Lease; after two seconds without an answer, as far as is
    /// known.
    pub async fn is_ours(&self, slot: u32) -> bool {
        self.ask(Command::Check, LOOK).await;
        *self.slot.borrow() == Some(slot)
    }

    /// Gives the slot back; what is not given back within three seconds expires.
    pub async fn release(&self) {
        self.ask(Command::Release, FAREWELL).await;
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command, patience: Duration) {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            if self.commands.send(command(answer)).await.is_ok() {
                let _ = answered.await;
            }
        };
        let _ = timeout(patience, asked).await;
    }
}
