//! Leader election by a Lease: at most one operator writes.
//!
//! # Guarantee
//! - A Lease is taken only by an update of the version that was read (compare-and-swap), and only when its holder has let it
//!   stand still for the whole duration on *our* monotonic clock: clocks of two machines are never compared.
//! - A leader trusts itself for [`TRUST`] from the moment at which it *sent* its last successful renewal. [`TRUST`] is shorter
//!   than [`DURATION`], so it has stopped writing ([`Leadership::until`], asked before every write and the bound of each) before
//!   another may begin, also after it was suspended in between, and while the API server gives no answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// How long a Lease must stand still before another may take it.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long a leader trusts itself after a renewal.
pub const TRUST: Duration = Duration::from_secs(10);
/// How often a leader renews, and a follower looks.
pub const PERIOD: Duration = Duration::from_secs(3);
/// How long one look or renewal may take: a server that hangs is asked anew.
const TURN: Duration = Duration::from_secs(5);
/// How long the election may stand still before it counts as hung.
const HUNG: Duration = Duration::from_mins(1);

/// Whether this process leads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Sender<Option<Instant>>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self { until: watch::Sender::new(None) }
    }
}

impl Leadership {
    /// Until when writes may be sent; nothing when they may not now.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until.borrow().filter(|until| Instant::now() < *until)
    }

    /// Whether a write may be sent now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until().is_some()
    }

    /// Tells each change, for ever. Trust runs out by the clock alone: neither an answer nor the election itself is waited for.
    pub async fn follow(&self, mut told: impl FnMut(bool)) {
        let mut renewals = self.until.subscribe();
        let mut led = false;
        loop {
            let until = *renewals.borrow_and_update();
            let leads = self.holds();
            if leads != led {
                told(leads);
            }
            led = leads;
            let over = sleep_until(until.unwrap_or_else(Instant::now));
            tokio::select! {
                // The sender is in `self`: it cannot go.
                _ = renewals.changed() => {}
                () = over, if leads => {}
            }
        }
    }

    pub(crate) fn set(&self, until: Option<Instant>) {
        self.until.send_replace(until);
    }
}

/// When the election last made a turn, whatever came of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    /// Whether the election still turns. An API server that is away does not stop it.
    #[must_use]
    pub fn beats(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < HUNG
    }

    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A Lease as last seen, and since when it has stood still.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

/// Takes part in the election.
#[derive(Debug)]
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    seen: Option<Seen>,
}

/// What a look at the Lease calls for. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Wait,
    Take,
    Renew,
}

impl Elector {
    /// For the Lease `name` in `namespace`; `identity` is unique to this process (pod name and a random part).
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        leadership: Leadership,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            leadership,
            seen: None,
        }
    }

    /// Takes part until dropped. Requests that fail or hang are tried again at the next period.
    pub async fn run(mut self, pulse: Pulse) {
        loop {
            match timeout(TURN, self.turn()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "leader election request failed"),
                Err(_) => tracing::debug!("leader election request not answered in time"),
            }
            pulse.beat();
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Gives the Lease up, so that the next need not wait. Whoever calls it has ended its writes.
    ///
    /// # Errors
    /// Where the API server refuses; nothing is lost but the time that the Lease still runs.
    pub async fn release(leases: &Api<Lease>, name: &str, identity: &str) -> kube::Result<()> {
        let Some(mut lease) = leases.get_opt(name).await? else { return Ok(()) };
        if holder(&lease) != Some(identity) {
            return Ok(());
        }
        lease.spec.get_or_insert_default().holder_identity = None;
        leases.replace(name, &PostParams::default(), &lease).await.map(drop)
    }

    async fn turn(&mut self) -> kube::Result<()> {
        let sent = Instant::now();
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            self.leases.create(&PostParams::default(), &self.claimed(None)).await?;
            self.leadership.set(Some(sent + TRUST));
            return Ok(());
        };
        match self.decide(&lease, sent) {
            Turn::Wait => self.leadership.set(None),
            Turn::Take | Turn::Renew => self.claim(lease, sent).await?,
        }
        Ok(())
    }

    /// `replace` carries the version that was read: 409 where somebody was faster.
    async fn claim(&mut self, lease: Lease, sent: Instant) -> kube::Result<()> {
        let claimed = self.claimed(Some(lease));
        self.leases.replace(&self.name, &PostParams::default(), &claimed).await?;
        self.leadership.set(Some(sent + TRUST));
        Ok(())
    }

    fn decide(&mut self, lease: &Lease, now: Instant) -> Turn {
        let version = lease.metadata.resource_version.clone();
        let seen = match self.seen.take() {
            Some(seen) if seen.version == version => seen,
            _ => Seen { version, since: now },
        };
        let still = now.duration_since(seen.since);
        self.seen = Some(seen);
        match holder(lease) {
            Some(holder) if holder == self.identity => Turn::Renew,
            Some(_) if still < DURATION => Turn::Wait,
            _ => Turn::Take,
        }
    }

    fn claimed(&self, lease: Option<Lease>) -> Lease {
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default() + i32::from(!ours),
            ),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        lease
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                ..LeaseSpec::default()
            }),
        }
    }

    fn elector() -> Elector {
        elector_of(tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
        }))
    }

    fn elector_of<S>(service: S) -> Elector
    where
        S: tower::Service<
                http::Request<kube::client::Body>,
                Response = http::Response<kube::client::Body>,
                Error = std::io::Error,
                Future: Send + 'static,
            > + Send
            + 'static,
    {
        let client = Client::new(service, "default");
        Elector::new(client, "default", "operator", "me".to_owned(), Leadership::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_only_after_it_stood_still_for_its_whole_duration() {
        let mut elector = elector();
        let start = Instant::now();
        let rows = [
            ("first look at another's lease", Some("other"), "1", 0, Turn::Wait),
            ("it stands still, not yet long enough", Some("other"), "1", 14, Turn::Wait),
            ("it was renewed", Some("other"), "2", 15, Turn::Wait),
            ("it stood still since", Some("other"), "2", 31, Turn::Take),
            ("nobody holds it", None, "3", 32, Turn::Take),
            ("it is ours", Some("me"), "4", 33, Turn::Renew),
        ];
        for (name, holder, version, seconds, turn) in rows {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(elector.decide(&lease(holder, version), now), turn, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_was_suspended_does_not_trust_itself() {
        let leadership = Leadership::default();
        leadership.set(Some(Instant::now() + TRUST));
        assert!(leadership.holds());
        tokio::time::advance(TRUST).await;
        assert!(!leadership.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_server_hangs_steps_down_by_the_clock() {
        let leadership = Leadership::default();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let server = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
                .await
        });
        let elector = Elector { leadership: leadership.clone(), ..elector_of(server) };
        let pulse = Pulse::default();
        leadership.set(Some(Instant::now() + TRUST));
        let began = Instant::now();
        let steps = async { (told.recv().await, told.recv().await, began.elapsed().as_secs()) };
        let follow = leadership.follow(move |leads| tell.send(leads).unwrap());
        let steps = tokio::select! {
            steps = steps => steps,
            () = follow => unreachable!("for ever"),
            () = elector.run(pulse.clone()) => unreachable!("for ever"),
        };
        assert_eq!(steps, (Some(true), Some(false), TRUST.as_secs()));
        assert!(pulse.beats(), "an API server that hangs is no reason to restart");
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_that_stands_still_is_told_by_its_pulse() {
        let pulse = Pulse::default();
        tokio::time::advance(HUNG).await;
        assert!(!pulse.beats());
        pulse.beat();
        assert!(pulse.beats());
    }

    #[test]
    fn a_leader_stops_before_another_may_begin() {
        assert!(TRUST < DURATION && TURN + PERIOD < TRUST);
    }
}
