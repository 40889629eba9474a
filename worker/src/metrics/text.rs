//! Totals and gauges as OpenMetrics text.
//!
//! Labels are routes, handlers and bounded classes; never a topic, a param or a client id.

use std::{fmt, thread, time::Duration};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    histogram::{Distribution, NUMBERS, SECONDS, Scale},
    totals::{RouteTotals, Totals},
};

/// Everything that a scrape tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Of all workers, those that have ended too.
    pub(crate) totals: Totals,
    /// QoS 1 and 2 messages received and not acknowledged.
    pub(crate) inflight: u64,
    /// How many of them there can be.
    pub(crate) window: u64,
    /// How long the oldest of them has been waiting.
    pub(crate) oldest: Duration,
    /// Acknowledgements that came after their connection was lost.
    pub(crate) late_acks: u64,
    /// Connections beyond each session's first.
    pub(crate) reconnects: u64,
    /// Sessions that are connected now.
    pub(crate) connected: u64,
    /// Rows of each batch.
    pub(crate) batch_rows: Distribution,
}

/// No route was found, or none was looked for.
const NO_ROUTE: &str = "";

type Told = Result<(), fmt::Error>;
type Outcome = (&'static str, fn(&RouteTotals) -> u64);

/// The outcomes of a route's messages.
const OUTCOMES: [Outcome; 5] = [
    ("done", |it| it.done),
    ("dropped", |it| it.dropped),
    ("rejected", |it| it.rejected),
    ("dead_lettered", |it| it.dead_lettered),
    ("discarded", |it| it.discarded),
];

/// Writes all metrics, in the order of the documentation.
pub(crate) fn encode(reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> Told {
    messages(&reading.totals, encoder)?;
    durations(&reading.totals, encoder)?;
    flight(reading, encoder)?;
    failures(&reading.totals, encoder)?;
    connections(reading, encoder)?;
    let help = "Rows of each batch that was written to the database";
    let mut family =
        encoder.encode_descriptor("routemq_db_batch_rows", help, None, MetricType::Histogram)?;
    distribution(&mut family, &reading.batch_rows, &NUMBERS)
}

fn messages(totals: &Totals, encoder: &mut DescriptorEncoder<'_>) -> Told {
    let help = "Messages received; one that the broker sends again counts again";
    let mut family = counter(encoder, "routemq_messages_received", help)?;
    for (route, it) in &totals.routes {
        count(&mut family, &[("route", &**route)], it.received)?;
    }
    let without = without_route(totals);
    let received = without.iter().map(|(_, number)| number).sum();
    count(&mut family, &[("route", NO_ROUTE)], received)?;

    let mut family = counter(encoder, "routemq_messages", "Messages by what became of them")?;
    for (route, it) in &totals.routes {
        for (outcome, number) in OUTCOMES {
            count(&mut family, &[("route", &**route), ("outcome", outcome)], number(it))?;
        }
    }
    for (outcome, number) in without {
        count(&mut family, &[("route", NO_ROUTE), ("outcome", outcome)], number)?;
    }
    Ok(())
}

/// What became of messages that no route was given.
fn without_route(totals: &Totals) -> [(&'static str, u64); 3] {
    [("unmatched", totals.unmatched), ("overlap", totals.overlap), ("overflow", totals.overflow)]
}

fn durations(totals: &Totals, encoder: &mut DescriptorEncoder<'_>) -> Told {
    let help = "How long each attempt of a handler took";
    let mut family = seconds(encoder, "routemq_handler_duration", help, MetricType::Histogram)?;
    for (index, (route, it)) in totals.routes.iter().enumerate() {
        make_way(index);
        for (handler, took) in &it.handlers {
            let labels = [("route", &**route), ("handler", &**handler)];
            distribution(&mut family.encode_family(&labels)?, took, &SECONDS)?;
        }
    }
    let help = "How long messages took, from the socket to their acknowledgement";
    let mut family = seconds(encoder, "routemq_delivery_duration", help, MetricType::Histogram)?;
    for (index, (route, it)) in totals.routes.iter().enumerate() {
        make_way(index);
        let labels = [("route", &**route)];
        distribution(&mut family.encode_family(&labels)?, &it.delivery, &SECONDS)?;
    }
    Ok(())
}

/// Thousands of histograms take milliseconds to write, and a scheduler gives them to this thread in one piece: a lane that is
/// woken meanwhile would wait for as long. A hundredth of all messages would, at one scrape a second.
fn make_way(index: usize) {
    if index.is_multiple_of(8) {
        thread::yield_now();
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 65,535 a worker")]
fn flight(reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> Told {
    let help = "QoS 1 and 2 messages received and not yet acknowledged";
    gauge(encoder, "routemq_inflight", help)?.encode_gauge(&signed(reading.inflight))?;
    let help = "The same as a share of receiveMaximum; at 1 the broker waits";
    let share = reading.inflight as f64 / reading.window.max(1) as f64;
    gauge(encoder, "routemq_inflight_utilization", help)?.encode_gauge(&share)?;
    let help = "How long the oldest unacknowledged message has been waiting";
    let mut oldest = seconds(encoder, "routemq_oldest_unacked", help, MetricType::Gauge)?;
    oldest.encode_gauge(&reading.oldest.as_secs_f64())
}

fn failures(totals: &Totals, encoder: &mut DescriptorEncoder<'_>) -> Told {
    let mut family = counter(encoder, "routemq_retries", "Attempts beyond a handler's first")?;
    for (route, it) in &totals.routes {
        count(&mut family, &[("route", &**route)], it.retries)?;
    }
    let help = "Messages confirmed in the dead letter topic, by the class of their failure";
    let mut family = counter(encoder, "routemq_dead_letters", help)?;
    for (route, it) in &totals.routes {
        for (class, number) in &it.dead_letters {
            count(&mut family, &[("route", &**route), ("class", *class)], *number)?;
        }
    }
    Ok(())
}

fn connections(reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> Told {
    let help = "Acknowledgements discarded because their connection was lost";
    let mut late = counter(encoder, "routemq_late_acks_discarded", help)?;
    late.encode_counter::<NoLabelSet, _, f64>(&reading.late_acks, None)?;
    let mut family =
        counter(encoder, "routemq_reconnects", "Connections beyond each session's first")?;
    family.encode_counter::<NoLabelSet, _, f64>(&reading.reconnects, None)?;
    let help = "Sessions that are connected to the broker";
    gauge(encoder, "routemq_connected", help)?.encode_gauge(&signed(reading.connected))
}

// === One metric ===

fn counter<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

/// Its name ends in `_seconds`.
fn seconds<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)
}

fn count(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, number: u64) -> Told {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&number, None)
}

fn distribution(family: &mut MetricEncoder<'_>, values: &Distribution, scale: &Scale) -> Told {
    let told = values.told(scale);
    family.encode_histogram::<NoLabelSet>(told.sum, told.count, &told.buckets, None)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

    use super::*;
    use crate::{
        metrics::RouteCells,
        outcome::{FinalOutcome, class},
    };

    #[derive(Debug)]
    struct Scrape(Reading);

    impl Collector for Scrape {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Told {
            super::encode(&self.0, &mut encoder)
        }
    }

    fn told(reading: Reading) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(reading)));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    fn handled() -> Totals {
        let cells = RouteCells::new(&["sql".into()]);
        cells.received();
        cells.retried();
        cells.handled(0, Duration::from_millis(2));
        cells.finished(FinalOutcome::DeadLettered(class::ROW), Duration::from_millis(3));
        let routes = [("control".into(), cells.totals())].into();
        Totals { routes, overlap: 2, unmatched: 1, ..Totals::default() }
    }

    #[test]
    fn every_number_has_its_name_its_labels_and_its_unit() {
        let text = told(Reading {
            totals: handled(),
            inflight: 250,
            window: 1000,
            oldest: Duration::from_millis(1500),
            late_acks: 3,
            reconnects: 4,
            connected: 1,
            batch_rows: Distribution::default(),
        });
        let lines = [
            "# TYPE routemq_messages_received counter",
            "routemq_messages_received_total{route=\"control\"} 1",
            "routemq_messages_received_total{route=\"\"} 3",
            "routemq_messages_total{route=\"control\",outcome=\"dead_lettered\"} 1",
            "routemq_messages_total{route=\"control\",outcome=\"done\"} 0",
            "routemq_messages_total{route=\"\",outcome=\"overlap\"} 2",
            "routemq_messages_total{route=\"\",outcome=\"unmatched\"} 1",
            "# UNIT routemq_handler_duration_seconds seconds",
            "routemq_handler_duration_seconds_sum{route=\"control\",handler=\"sql\"} 0.002",
            "routemq_handler_duration_seconds_bucket{le=\"0.001\",route=\"control\",handler=\"sql\"} 0",
            "routemq_handler_duration_seconds_bucket{le=\"0.0025\",route=\"control\",handler=\"sql\"} 1",
            "routemq_handler_duration_seconds_bucket{le=\"+Inf\",route=\"control\",handler=\"sql\"} 1",
            "routemq_delivery_duration_seconds_count{route=\"control\"} 1",
            "routemq_inflight 250",
            "routemq_inflight_utilization 0.25",
            "routemq_oldest_unacked_seconds 1.5",
            "routemq_retries_total{route=\"control\"} 1",
            "routemq_dead_letters_total{route=\"control\",class=\"Row\"} 1",
            "routemq_late_acks_discarded_total 3",
            "routemq_reconnects_total 4",
            "routemq_connected 1",
            "routemq_db_batch_rows_count 0",
            "# EOF",
        ];
        for line in lines {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_worker_that_has_done_nothing_yet_tells_all_that_has_no_label_and_divides_by_nothing() {
        let text = told(Reading::default());
        for line in ["routemq_inflight_utilization 0.0", "routemq_oldest_unacked_seconds 0.0"] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }
}
