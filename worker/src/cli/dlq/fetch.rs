//! From the broker into the store: a durable session of the store's own keeps dead letters while nobody looks.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use routemq_mqtt::{
    AckToken, Acks, ConnectionState, Delivery, End, Publish, QoS, Receiver, SessionConfig,
    SessionHandle, Subscription,
};
use tokio::sync::mpsc;

use super::{
    STORE,
    letter::Letter,
    store::{Store, StoreError},
};
use crate::cli::{
    connection::{self, BrokerArguments},
    failure::Failure,
    style,
};

/// How long the broker keeps dead letters for a store that nobody opens.
const EXPIRY: Duration = Duration::from_hours(30 * 24);
/// A dead letter is larger than its message by the story; a worker's own limit is 1 MiB.
const LARGEST: u32 = 16 * 1024 * 1024;
/// Where dead letters are looked for when nothing is said.
const FILTER: &str = "dead/#";

/// Where dead letters come from, and where they are kept.
#[derive(Args, Debug)]
pub(super) struct Source {
    /// Where dead letters are published, from now on also; may be given more than once [default: dead/#]
    #[arg(long = "from", value_name = "FILTER")]
    filters: Vec<String>,
    /// The file that keeps them [default: .routemq/dead-letters.db]
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Looks only into the store
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    pub(super) broker: BrokerArguments,
}

impl Source {
    /// The store, with everything in it that the broker had for it.
    pub(super) async fn fetched(&self) -> Result<Store, Failure> {
        let file = STORE.path(self.store.clone())?;
        let mut store = Store::open(&file.path).await.map_err(failed)?;
        if !self.offline {
            let kept = self.fetch(&mut store).await?;
            if kept > 0 {
                eprintln!("note: fetched {}", style::count(kept, "dead letter"));
            }
        }
        Ok(store)
    }

    /// How many were new.
    async fn fetch(&self, store: &mut Store) -> Result<usize, Failure> {
        let (client_id, new) = store.client_id().await.map_err(failed)?;
        let filters = self.wanted(store).await?;
        let (letters, mut incoming) = mpsc::unbounded_channel();
        let mut given = None;
        let session = connection::connect(self.session(client_id)?, |acks| {
            given = Some(acks);
            Inbox { letters }
        })
        .await?;
        say_what_is_missed(&session, new, &filters);
        session.subscribe_to(subscriptions(&filters)).await;
        connection::granted(&session, &filters).await?;
        let kept = keep(store, &mut incoming, given.as_ref(), session.barrier()).await;
        session.stop(End::Keep, Duration::from_secs(2)).await;
        kept
    }

    async fn wanted(&self, store: &mut Store) -> Result<Vec<String>, Failure> {
        let known = store.filters(&self.filters).await.map_err(failed)?;
        if !known.is_empty() {
            return Ok(known);
        }
        store.filters(&[FILTER.to_owned()]).await.map_err(failed)
    }

    fn session(&self, client_id: String) -> Result<SessionConfig, Failure> {
        let config = self.broker.session("dlq")?;
        Ok(SessionConfig {
            client_id,
            clean_start: false,
            session_expiry: EXPIRY,
            maximum_packet_size: LARGEST,
            ..config
        })
    }
}

/// A letter as it came, and what is owed for it.
type Sent = (Publish, Option<AckToken>);

/// Hands letters over; bounded by the receive maximum, since each is acknowledged after it is kept.
struct Inbox {
    letters: mpsc::UnboundedSender<Sent>,
}

impl Receiver for Inbox {
    fn deliver(&mut self, Delivery { arrival, token }: Delivery<'_>) {
        let _ = self.letters.send((arrival.into_publish(), token));
    }
}

fn subscriptions(filters: &[String]) -> Vec<Subscription> {
    let subscription = |(filter, identifier): (&String, u32)| Subscription {
        filter: filter.as_str().into(),
        qos: QoS::AtLeastOnce,
        identifier,
    };
    filters.iter().zip(1..).map(subscription).collect()
}

fn say_what_is_missed(session: &SessionHandle, new: bool, filters: &[String]) {
    let present = matches!(
        session.status().borrow().connection,
        ConnectionState::Connected { session_present: true, .. }
    );
    if new {
        eprintln!(
            "note: from now on the broker keeps what is published to {} for this store, 30 days long; what came before \
             had no subscriber here",
            filters.join(", ")
        );
    } else if !present {
        eprintln!(
            "warning: the broker no longer knew this store (30 days without a look, or a restart without persistence): \
             dead letters of that time are not here"
        );
    }
}

/// Keeps what comes until everything that was queued at the start has come.
async fn keep(
    store: &mut Store,
    incoming: &mut mpsc::UnboundedReceiver<Sent>,
    acks: Option<&Acks>,
    barrier: impl Future<Output = bool>,
) -> Result<usize, Failure> {
    let mut kept = 0;
    tokio::pin!(barrier);
    loop {
        let delivery = tokio::select! {
            biased;
            Some(delivery) = incoming.recv() => delivery,
            _ = &mut barrier => break,
        };
        kept += usize::from(keep_one(store, &delivery, acks).await?);
    }
    while let Ok(delivery) = incoming.try_recv() {
        kept += usize::from(keep_one(store, &delivery, acks).await?);
    }
    Ok(kept)
}

/// Acknowledges after the commit, so that a kill in between only brings it once more.
async fn keep_one(
    store: &mut Store,
    (letter, token): &Sent,
    acks: Option<&Acks>,
) -> Result<bool, Failure> {
    let duplicate = letter.duplicate;
    let kept = store.keep(&Letter::new(letter), duplicate).await.map_err(failed)?;
    if let (Some(acks), Some(token)) = (acks, *token) {
        acks.done(token);
    }
    Ok(kept)
}

/// A store that fails is the outside world.
#[allow(clippy::needless_pass_by_value, reason = "what map_err hands over")]
pub(super) fn failed(error: StoreError) -> Failure {
    Failure::world_from(&error)
}
