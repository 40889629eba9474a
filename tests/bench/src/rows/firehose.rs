//! A worker against bare subscribers, fed by a stand-in broker that is never the limit.

use std::time::Duration;

use super::contestant::{Contestant, Sample, Setting};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    rounds::{self, Rounds},
    subjects::Kind,
};

const SPAN: Duration = Duration::from_millis(700);

pub(super) fn qos_1(table: &Table) -> Result<Vec<Row>, BenchError> {
    let kinds = [Kind::Worker, Kind::Raw, Kind::Rumqttc, Kind::RumqttcManual];
    let (rounds, noise) = measure(table, &kinds, 1)?;
    let ratio = |other| rounds.ratio(0, other, |it| it.rate);
    let mut raw = Row::new("qos1", "QoS 1: worker ÷ raw socket, firehose", ratio(1))
        .bar(Bar::at_least(0.25, 0.12));
    for (index, kind) in kinds.into_iter().enumerate() {
        raw = raw.note(figures(kind, index, &rounds));
    }
    raw.notes.extend(noise);
    let automatic = Row::new("qos1", "QoS 1: worker ÷ rumqttc, automatic acks", ratio(2))
        .bar(Bar::at_least(1.5, 0.8));
    let manual = Row::new("qos1", "QoS 1: worker ÷ rumqttc, manual acks", ratio(3));
    Ok(vec![raw, automatic, manual])
}

pub(super) fn qos_0(table: &Table) -> Result<Vec<Row>, BenchError> {
    let kinds = [Kind::Worker, Kind::Raw];
    let (rounds, noise) = measure(table, &kinds, 0)?;
    let ratio = rounds.ratio(0, 1, |it| it.rate);
    let mut row = Row::new("qos0", "QoS 0: worker ÷ raw socket, firehose", ratio)
        .bar(Bar::at_least(0.08, 0.04));
    for (index, kind) in kinds.into_iter().enumerate() {
        row = row.note(figures(kind, index, &rounds));
    }
    row.notes.extend(noise);
    Ok(vec![row])
}

/// Rounds of all of `kinds`, the first against the second deciding whether they were steady.
fn measure(
    table: &Table,
    kinds: &[Kind],
    qos: u8,
) -> Result<(Rounds<Sample>, Option<String>), BenchError> {
    let setting = Setting::of(qos, table.window);
    let start = |kind: &Kind| Contestant::start(*kind, setting);
    let mut contestants = kinds.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let span = if table.quick { SPAN } else { 2 * SPAN };
    let once = || rounds::run(table.rounds(), &mut contestants, |it| it.measure(span));
    rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| it.rate))
}

pub(super) fn figures(kind: Kind, index: usize, rounds: &Rounds<Sample>) -> String {
    let rate = rounds.spread(|samples| samples[index].rate).median;
    let nanos = rounds.spread(|samples| samples[index].nanos).median;
    format!("{:<24} {rate:>10.0} messages/s, {nanos:>6.0} ns of processor time each", kind.label())
}
