//! `/metrics`: names as design section 9 gives them.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Cheap to clone; every clone counts into the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    writes: Family<Kind, Counter>,
    leader: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Metrics {
    /// Registers all series.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Histogram::new([
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ]),
            writes: Family::default(),
            leader: Gauge::default(),
        };
        registry.register(
            "routemq_operator_reconciles",
            "Reconciles by result",
            metrics.reconciles.clone(),
        );
        registry.register(
            "routemq_operator_reconcile_duration_seconds",
            "Time of a reconcile",
            metrics.duration.clone(),
        );
        registry.register(
            "routemq_operator_writes",
            "Writes to the API server by kind",
            metrics.writes.clone(),
        );
        registry.register(
            "routemq_operator_leader",
            "Whether this operator leads",
            metrics.leader.clone(),
        );
        metrics
    }

    /// A reconcile ended.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A write was sent.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&Kind { kind }).inc();
    }

    /// This operator leads, or no longer.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }
}
