//! Against the Python framework, each through a mosquitto of its own.

use super::{
    broker::Chain,
    contestant::{Setting, runtime},
};
use crate::{
    bars::Bar, error::BenchError, options::Table, report::Row, rounds, statistics::Spread,
    subjects::Kind,
};

const SPAN: std::time::Duration = std::time::Duration::from_millis(1500);

pub(super) fn framework(table: &Table) -> Result<Vec<Row>, BenchError> {
    if !table.with_python {
        return Err(BenchError::Absent("--with-python".to_owned()));
    }
    let runtime = runtime()?;
    let chain = |kind| Chain::start(kind, Setting::of(1, table.window), &runtime);
    let mut chains = [chain(Kind::Worker)?, chain(Kind::Python)?];
    let once = || rounds::run(table.rounds(), &mut chains, |chain| chain.measure(SPAN));
    let (rounds, noise) = rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| it.rate))?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
    let memory = |at: usize| chains[at].subject.memory() as f64;
    let mut rate = Row::new(
        "python",
        "QoS 1: messages/s, RouteMQ ÷ Python framework, mosquitto",
        rounds.ratio(0, 1, |it| it.rate),
    )
    .bar(Bar::at_least(15.0, 10.0));
    for (index, kind) in [Kind::Worker, Kind::Python].into_iter().enumerate() {
        rate = rate.note(super::firehose::figures(kind, index, &rounds));
    }
    rate.notes.extend(noise);
    let nanos = rounds.ratio(1, 0, |it| it.nanos);
    Ok(vec![
        rate,
        Row::new("python", "processor time a message, Python framework ÷ RouteMQ", nanos)
            .bar(Bar::at_least(40.0, 20.0)),
        Row::new(
            "python",
            "memory, Python framework ÷ RouteMQ",
            Spread::of(&[memory(1) / memory(0)]),
        )
        .bar(Bar::at_least(5.0, 2.0)),
    ])
}
