//! The timeline of a counterexample, and files for whoever looks into it.

use std::{fmt::Write as _, fs, io, path::Path, time::Duration};

use crate::{
    facts::Facts,
    journal::{State, index, topic},
    moment::Moment,
    verdict::{Counterexample, last_seen},
};

/// What happened so long before and after belongs to the story.
const AROUND: Duration = Duration::from_secs(3);

/// Everything that was seen of a message or around a time, a line each, in order.
pub(crate) fn timeline(facts: &Facts, example: &Counterexample) -> Vec<String> {
    let mut lines: Vec<(Moment, String)> = Vec::new();
    let (from, to) = span(facts, example);
    if let Some(id) = example.id {
        published(facts, id, &mut lines);
        delivered(facts, id, &mut lines);
    }
    faults(facts, from, to, &mut lines);
    connections(facts, example, from, to, &mut lines);
    lines.sort_by_key(|(at, _)| *at);
    let mut text: Vec<String> =
        lines.into_iter().map(|(at, line)| format!("{at}  {line}")).collect();
    text.extend(example.id.map(|id| in_the_database(facts, id)));
    text
}

fn span(facts: &Facts, example: &Counterexample) -> (Moment, Moment) {
    let first = example.id.and_then(|id| facts.entries.get(index(id))).map(|entry| entry.sent);
    let last = example.id.and_then(|id| last_seen(facts, id));
    let from = first.or(example.at).unwrap_or_default();
    let to = last.or(example.at).unwrap_or(from);
    (from.minus(AROUND), to.plus(AROUND))
}

fn published(facts: &Facts, id: u64, lines: &mut Vec<(Moment, String)>) {
    let Some(entry) = facts.entries.get(index(id)) else { return };
    lines.push((entry.sent, format!("published to {}", topic(entry.key, id))));
    match entry.state {
        State::Accepted(at) => lines.push((at, "accepted by the broker".to_owned())),
        State::Nobody => lines.push((entry.sent, "the broker says: nobody subscribes".to_owned())),
        State::Unknown => lines.push((entry.sent, "the broker never answered".to_owned())),
        State::Sent => {}
    }
}

fn delivered(facts: &Facts, id: u64, lines: &mut Vec<(Moment, String)>) {
    for delivery in facts.deliveries(id) {
        let slot = facts.connection(delivery.connection).slot;
        let on = format!("worker {slot}, connection {}", delivery.connection);
        lines.push((delivery.at, format!("sent to {on}")));
        if let Some(at) = delivery.acknowledged {
            lines.push((at, format!("acknowledged by {on}")));
        }
    }
}

fn faults(facts: &Facts, from: Moment, to: Moment, lines: &mut Vec<(Moment, String)>) {
    for incident in facts.incidents.iter().filter(|incident| incident.overlaps(from, to)) {
        lines.push((incident.began, format!("FAULT {incident}")));
    }
}

/// Of the workers that had the message; all of them where it is about none.
fn connections(
    facts: &Facts,
    example: &Counterexample,
    from: Moment,
    to: Moment,
    lines: &mut Vec<(Moment, String)>,
) {
    let sent = example.id.map(|id| facts.deliveries(id)).unwrap_or_default();
    let slots: Vec<u32> = sent.iter().map(|it| facts.connection(it.connection).slot).collect();
    for (place, it) in facts.seen.connections.iter().enumerate() {
        if it.subscribed.is_none() || !(slots.is_empty() || slots.contains(&it.slot)) {
            continue;
        }
        let name = format!("worker {}, connection {place}, {}", it.slot, it.client_id);
        let events = [
            (Some(it.opened), "connects"),
            (it.subscribed, "subscribed"),
            (it.closed, "DISCONNECT"),
        ];
        let happened = events.into_iter().filter_map(|(at, what)| Some((at?, what)));
        let near = happened.filter(|(at, _)| (from..=to).contains(at));
        lines.extend(near.map(|(at, what)| (at, format!("{name}: {what}"))));
    }
}

fn in_the_database(facts: &Facts, id: u64) -> String {
    let attempts = facts.attempts.iter().filter(|it| **it == id).count();
    let effect =
        facts.effects.get(&id).map_or("no row".to_owned(), |value| format!("a row with {value}"));
    format!("      at the end  {effect}, {attempts} attempts")
}

/// Writes the journal, the connections and the logs of every process.
pub(crate) fn write(
    folder: &Path,
    facts: &Facts,
    logs: &[(String, String)],
    stories: &str,
) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("counterexamples.txt"), stories)?;
    let mut journal = String::new();
    for (id, entry) in facts.entries.iter().enumerate() {
        let _ = writeln!(journal, "{id} key {} sent {} {:?}", entry.key, entry.sent, entry.state);
    }
    fs::write(folder.join("journal.txt"), journal)?;
    let faults: Vec<String> = facts.incidents.iter().map(ToString::to_string).collect();
    fs::write(folder.join("faults.txt"), faults.join("\n"))?;
    for (name, log) in logs {
        fs::write(folder.join(format!("{name}.log")), log)?;
    }
    Ok(())
}
