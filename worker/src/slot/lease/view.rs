//! What a Lease says of its slot. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use routemq_crds::report::WorkerReport;
use tokio::time::Instant;

/// By which the operator asks that a slot be drained and ended.
const RETIRE: &str = "routemq.io/retire";
/// In which a worker reports.
const REPORT: &str = "routemq.io/report";
/// In which workers record the filters that the slot's session may hold, a JSON list; it outlives them.
const FILTERS: &str = "routemq.io/filters";
/// The longest record, in bytes: all annotations of an object together have 256 KiB.
const LONGEST_RECORD: usize = 128 * 1024;
/// Where a Lease says nothing (design, 6.4).
const DURATION: Duration = Duration::from_secs(30);

/// What a Lease calls for; those that may be claimed come first, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It names this worker as its holder.
    Mine,
    /// Nobody holds it.
    Free,
    /// Its holder has not renewed it for its whole duration.
    Expired,
    /// Another worker holds it.
    Held,
    /// It is to be drained, not to be worked on.
    Retiring,
}

impl Verdict {
    pub(super) fn may_be_claimed(self) -> bool {
        self <= Self::Expired
    }
}

/// Remembers since when each Lease has stood still, on this process' own clock: clocks of machines are never compared.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    /// Of the first answer like this one, and of the last.
    since: Instant,
    until: Instant,
}

impl Seen {
    fn begin(lease: &Lease, now: Instant) -> Self {
        Self { holder: holder(lease).to_owned(), renewed: renewed(lease), since: now, until: now }
    }

    /// Whether nothing has moved, as far as one can tell: while the API server was away, nobody could renew.
    fn goes_on(&self, lease: &Lease, asked: Instant) -> bool {
        let gap = asked.saturating_duration_since(self.until);
        self.holder == holder(lease) && self.renewed == renewed(lease) && gap <= duration(lease) / 2
    }
}

impl Watcher {
    /// Looks at a Lease that was asked for at `asked` and has just come: it is sure to have stood still from the first answer like
    /// it to this question, not longer.
    pub(super) fn look(&mut self, lease: &Lease, me: &str, asked: Instant) -> Verdict {
        let verdict = self.look_at_holder(lease, me, asked);
        if is_retiring(lease) { Verdict::Retiring } else { verdict }
    }

    /// The same, whether it retires or not.
    pub(super) fn look_at_holder(&mut self, lease: &Lease, me: &str, asked: Instant) -> Verdict {
        let still = self.stood_still(lease, asked);
        match holder(lease) {
            holder if holder == me => Verdict::Mine,
            "" => Verdict::Free,
            _ if still >= duration(lease) => Verdict::Expired,
            _ => Verdict::Held,
        }
    }

    fn stood_still(&mut self, lease: &Lease, asked: Instant) -> Duration {
        let now = Instant::now();
        match self.seen.get_mut(name(lease)) {
            Some(seen) if seen.goes_on(lease, asked) => {
                seen.until = now;
                asked.saturating_duration_since(seen.since)
            }
            _ => {
                self.seen.insert(name(lease).to_owned(), Seen::begin(lease, now));
                Duration::ZERO
            }
        }
    }
}

pub(super) fn name(lease: &Lease) -> &str {
    lease.metadata.name.as_deref().unwrap_or_default()
}

/// The empty text: nobody.
pub(super) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn renewed(lease: &Lease) -> Option<MicroTime> {
    lease.spec.as_ref()?.renew_time.clone()
}

pub(super) fn is_retiring(lease: &Lease) -> bool {
    lease.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(RETIRE))
}

/// Whether a worker reported that nothing is left of its session.
pub(super) fn is_drained(lease: &Lease) -> bool {
    let report = lease.metadata.annotations.as_ref().and_then(|all| all.get(REPORT));
    let report = report.and_then(|text| serde_json::from_str::<WorkerReport>(text).ok());
    report.is_some_and(|report| report.drained)
}

/// The whole filters that the slot's session may hold, as recorded.
pub(super) fn filters(lease: &Lease) -> Vec<String> {
    let recorded = lease.metadata.annotations.as_ref().and_then(|all| all.get(FILTERS));
    recorded.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Records them. A list that is too long for a Lease is left out: then a successor leaves the filters of its own table alone.
pub(super) fn record(lease: &mut Lease, filters: &BTreeSet<String>) {
    let text = serde_json::to_string(filters).unwrap_or_default();
    let annotations = lease.metadata.annotations.get_or_insert_default();
    if filters.is_empty() || text.len() > LONGEST_RECORD {
        annotations.remove(FILTERS);
    } else {
        annotations.insert(FILTERS.to_owned(), text);
    }
}

/// After which a Lease that is not renewed may be taken.
pub(super) fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|it| *it > 0);
    seconds.map_or(DURATION, Duration::from_secs)
}

/// `devices-slot-12` → 12.
pub(super) fn index(name: &str) -> Option<u32> {
    name.rsplit_once("-slot-")?.1.parse().ok()
}

/// The Lease as this worker holds it, renewed now, with its report.
pub(super) fn held(mut lease: Lease, me: &str, report: &WorkerReport) -> Lease {
    let mine = holder(&lease) == me;
    let now = MicroTime(Timestamp::now());
    let before = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        acquire_time: if mine { before.acquire_time } else { Some(now.clone()) },
        lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!mine)),
        renew_time: Some(now),
        ..before
    });
    let report = serde_json::to_string(report).unwrap_or_default();
    lease.metadata.annotations.get_or_insert_default().insert(REPORT.to_owned(), report);
    lease
}

/// The Lease with nobody as its holder.
pub(super) fn released(mut lease: Lease) -> Lease {
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.remove(REPORT);
    }
    unheld(lease)
}

/// The same with the report that nothing is left of the session, which the operator waits for.
pub(super) fn drained(mut lease: Lease) -> Lease {
    let report = WorkerReport { drained: true, ..WorkerReport::default() };
    let report = serde_json::to_string(&report).unwrap_or_default();
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(REPORT.to_owned(), report);
    annotations.remove(FILTERS);
    unheld(lease)
}

fn unheld(mut lease: Lease) -> Lease {
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
    }
    lease
}

#[cfg(test)]
pub(super) mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    pub(in super::super) fn lease(name: &str, holder: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
                lease_duration_seconds: Some(30),
                ..LeaseSpec::default()
            }),
        }
    }

    pub(in super::super) fn retiring(mut lease: Lease) -> Lease {
        lease
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(RETIRE.to_owned(), "true".to_owned());
        lease
    }

    #[tokio::test(start_paused = true)]
    async fn another_holder_s_lease_is_free_only_after_it_stood_still_for_its_duration() {
        let mut watcher = Watcher::default();
        let start = Instant::now();
        let renewed = held(lease("a-slot-0", "other"), "other", &WorkerReport::default());
        let mut edited = renewed.clone();
        edited.metadata.annotations = None;
        let rows = [
            ("the first look", lease("a-slot-0", "other"), 0, Verdict::Held),
            ("not yet", lease("a-slot-0", "other"), 15, Verdict::Held),
            ("still not yet", lease("a-slot-0", "other"), 29, Verdict::Held),
            ("its time is over", lease("a-slot-0", "other"), 30, Verdict::Expired),
            ("it was renewed", renewed, 31, Verdict::Held),
            ("an annotation is no sign of life", edited.clone(), 46, Verdict::Held),
            ("its time is over again", edited, 61, Verdict::Expired),
            ("given up", lease("a-slot-0", ""), 62, Verdict::Free),
            ("ours", lease("a-slot-0", "me"), 63, Verdict::Mine),
            ("to be drained", retiring(lease("a-slot-0", "")), 64, Verdict::Retiring),
        ];
        for (case, lease, seconds, wanted) in rows {
            tokio::time::sleep_until(start + Duration::from_secs(seconds)).await;
            assert_eq!(watcher.look(&lease, "me", Instant::now()), wanted, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_slow_answer_nor_an_outage_counts_as_standing_still() {
        let mut watcher = Watcher::default();
        let other = lease("a-slot-0", "other");
        let start = Instant::now();
        let rows = [
            ("the first look", 0, 0, Verdict::Held),
            ("on and on", 14, 14, Verdict::Held),
            ("asked in time, answered late", 28, 31, Verdict::Held),
            ("asked when its time was over", 32, 32, Verdict::Expired),
            ("nothing was heard for half of its time", 48, 48, Verdict::Held),
            ("on and on again", 63, 63, Verdict::Held),
            ("its time is over", 78, 78, Verdict::Expired),
        ];
        for (case, asked, answered, wanted) in rows {
            let at = |seconds| start + Duration::from_secs(seconds);
            tokio::time::sleep_until(at(answered)).await;
            assert_eq!(watcher.look(&other, "me", at(asked)), wanted, "{case}");
        }
    }

    #[test]
    fn what_a_session_holds_outlives_its_worker_and_goes_with_the_session() {
        let wanted = ["$share/s/a".to_owned(), "$share/s/b/+".to_owned()];
        let mut own = held(lease("a-slot-0", ""), "me", &WorkerReport::default());
        record(&mut own, &wanted.clone().into());
        let next = held(released(own), "next", &WorkerReport::default());
        assert_eq!(filters(&next), wanted);
        assert!(filters(&drained(next.clone())).is_empty());
        let mut long = next;
        record(&mut long, &["x".repeat(LONGEST_RECORD)].into());
        assert!(filters(&long).is_empty(), "the API server would refuse it");
    }

    #[test]
    fn a_slot_s_number_is_in_its_name() {
        let rows = [
            ("devices-slot-12", Some(12)),
            ("a-slot-1-slot-2", Some(2)),
            ("devices", None),
            ("a-slot-", None),
        ];
        for (name, number) in rows {
            assert_eq!(index(name), number, "{name}");
        }
    }

    #[test]
    fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let taken = held(lease("a-slot-0", "other"), "me", &WorkerReport::default());
        let renewed = held(taken.clone(), "me", &WorkerReport::default());
        let of = |lease: &Lease| lease.spec.clone().unwrap();
        assert_eq!(
            (of(&taken).lease_transitions, of(&renewed).lease_transitions),
            (Some(1), Some(1))
        );
        assert_eq!(of(&taken).acquire_time, of(&renewed).acquire_time);
        assert_eq!(holder(&released(renewed.clone())), "");
        assert!(!is_drained(&renewed) && !is_drained(&released(renewed.clone())));
        let drained = drained(renewed);
        assert!(is_drained(&drained) && holder(&drained).is_empty());
    }
}
