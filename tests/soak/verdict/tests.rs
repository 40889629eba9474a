//! Books that were cooked: each promise is broken once, and found.

use super::*;
use crate::{
    checker::Unfounded,
    history::{BadExit, Incident},
    journal::Entry,
    leftovers::Leftovers,
    schedule::Kind,
    witness::{Connection, Delivery, Stray},
};

fn connection(slot: u32, opened: u64, closed: Option<u64>) -> Connection {
    let opened = Moment::seconds(opened);
    Connection {
        slot,
        client_id: format!("w-{slot}"),
        opened,
        subscribed: Some(opened),
        closed: closed.map(Moment::seconds),
    }
}

fn delivery(connection: usize, at: u64, acknowledged: Option<u64>) -> Delivery {
    let (at, number) = (Moment::seconds(at), at);
    Delivery { connection, number, at, acknowledged: acknowledged.map(Moment::seconds) }
}

fn incident(kind: Kind, began: u64, healed: u64, recovered: Option<u64>) -> Incident {
    Incident {
        kind,
        slot: Some(0),
        began: Moment::seconds(began),
        healed: Some(Moment::seconds(healed)),
        recovered: vec![(0, recovered.map(Moment::seconds))],
        no_commits: None,
    }
}

/// Three messages, sent at 1, 2 and 3 s, each delivered at once and acknowledged a second later.
fn sound() -> Facts {
    let entry = |sent| Entry {
        key: 0,
        sent: Moment::seconds(sent),
        state: State::Accepted(Moment::seconds(sent)),
    };
    let mut facts = Facts {
        entries: (1..=3).map(entry).collect(),
        attempts: vec![0, 1, 2],
        effects: (0..3).map(|id| (id, value(id))).collect(),
        leftovers: Leftovers { sessions: 1, slots: 1, queued: Vec::new() },
        receive_maximum: 10,
        broker_keeps_window: true,
        workers: 1,
        ..Facts::default()
    };
    facts.seen.connections = vec![connection(0, 0, Some(100))];
    facts.seen.deliveries = (1..=3).map(|at| vec![delivery(0, at, Some(at + 1))]).collect();
    facts
}

fn broken(facts: &Facts) -> Vec<(Promise, Option<u64>)> {
    judge(facts, 1.0).counterexamples.iter().map(|it| (it.promise, it.id)).collect()
}

#[test]
fn sound_books_hold() {
    let judgement = judge(&sound(), 1.0);
    assert!(judgement.counterexamples.is_empty(), "{:?}", judgement.counterexamples);
    assert_eq!((judgement.order_checked, judgement.repeats.count), (2, 0));
}

/// The first message's worker stood still until then, and lost its connection: three attempts of two deliveries.
fn frozen(facts: &mut Facts, until: u64) {
    facts.seen.connections.push(connection(0, 0, None));
    facts.seen.deliveries[0] = vec![delivery(1, 1, None), delivery(0, until + 1, Some(until + 2))];
    facts.incidents.push(incident(Kind::Freeze, 1, until, Some(until + 1)));
    facts.attempts.extend([0, 0]);
}

/// A name, a change to sound books, and what it breaks.
type Case = (&'static str, fn(&mut Facts), &'static [(Promise, Option<u64>)]);

const CASES: &[Case] = &[
    (
        "an accepted message without its row",
        |it| {
            it.effects.remove(&1);
        },
        &[(Promise::Lost, Some(1))],
    ),
    (
        "one that was never delivered",
        |it| {
            it.effects.remove(&2);
            it.attempts.pop();
            it.seen.deliveries.pop();
        },
        &[(Promise::Lost, Some(2))],
    ),
    (
        "an unknown message without its row",
        |it| {
            it.effects.remove(&1);
            it.entries[1].state = State::Unknown;
        },
        &[],
    ),
    (
        "a row that nobody sent",
        |it| {
            it.effects.insert(9, value(9));
        },
        &[(Promise::Stowaway, Some(9))],
    ),
    ("an attempt that nobody sent", |it| it.attempts.push(9), &[(Promise::Stowaway, Some(9))]),
    (
        "a row with another message's value",
        |it| {
            it.effects.insert(1, value(2));
        },
        &[(Promise::Altered, Some(1))],
    ),
    (
        "an acknowledgement before the row",
        |it| {
            let acknowledged = Moment::seconds(3);
            it.checked.unfounded.push(Unfounded { id: 1, acknowledged, asked: acknowledged });
        },
        &[(Promise::WrongAcknowledgement, Some(1))],
    ),
    (
        "an acknowledgement of nothing",
        |it| {
            it.seen.strays.push(Stray { connection: 0, packet: 7, at: Moment::seconds(2) });
        },
        &[(Promise::WrongAcknowledgement, None)],
    ),
    (
        "an acknowledgement while the table is locked",
        |it| {
            let mut locked = incident(Kind::LockTable, 1, 5, Some(5));
            locked.no_commits = Some((Moment::seconds(1), Moment::seconds(4)));
            it.incidents.push(locked);
        },
        &[(Promise::WrongAcknowledgement, Some(1))],
    ),
    (
        "a second attempt for one delivery",
        |it| it.attempts.push(1),
        &[(Promise::Repeated, Some(1)), (Promise::Repeated, None)],
    ),
    (
        "a second attempt after a broken connection",
        |it| {
            it.seen.connections.push(connection(0, 50, None));
            it.seen.deliveries[1].insert(0, delivery(1, 1, None));
            it.attempts.push(1);
        },
        &[],
    ),
    (
        "two attempts of one delivery by a worker that stood still for a handler's timeout, and one more",
        |it| frozen(it, 31),
        &[],
    ),
    (
        "the same by a worker that stood still for a moment",
        |it| frozen(it, 5),
        &[(Promise::Repeated, Some(0))],
    ),
    (
        "a second attempt after an orderly stop",
        |it| {
            it.seen.connections.push(connection(0, 0, Some(2)));
            it.seen.connections.push(connection(0, 0, None));
            it.seen.deliveries[1].insert(0, delivery(1, 1, None));
            it.attempts.push(1);
        },
        &[(Promise::Repeated, Some(1))],
    ),
    (
        "a second attempt after a stop while the database was away",
        |it| {
            it.seen.connections.push(connection(0, 0, Some(2)));
            it.seen.deliveries[1].insert(0, delivery(1, 1, None));
            it.incidents.push(incident(Kind::StopDatabase, 1, 2, Some(3)));
            it.attempts.push(1);
        },
        &[],
    ),
    (
        "a second attempt while the answers to commits were lost",
        |it| {
            it.incidents.push(incident(Kind::FreezeDatabase, 2, 3, Some(3)));
            it.attempts.push(1);
        },
        &[],
    ),
    (
        "messages of a key the wrong way round",
        |it| it.attempts = vec![0, 2, 1],
        &[(Promise::Order, Some(1))],
    ),
    (
        "messages of two keys the other way round",
        |it| {
            it.attempts = vec![0, 2, 1];
            it.entries[1].key = 1;
        },
        &[],
    ),
    (
        "messages of a key on two connections",
        |it| {
            it.attempts = vec![0, 2, 1];
            it.seen.connections.push(connection(1, 0, Some(100)));
            it.seen.deliveries[1][0].connection = 1;
        },
        &[],
    ),
    ("a session too many", |it| it.leftovers.sessions = 2, &[(Promise::Leftover, None)]),
    ("a session too few", |it| it.leftovers.sessions = 0, &[(Promise::Leftover, None)]),
    (
        "messages in a session",
        |it| it.leftovers.queued.push(("w-0".to_owned(), 1)),
        &[(Promise::Leftover, None)],
    ),
    (
        "a process that failed",
        |it| {
            it.bad_exits.push(BadExit {
                slot: 0,
                at: Moment::seconds(5),
                what: "ended with 3".to_owned(),
            });
        },
        &[(Promise::Exit, None)],
    ),
    (
        "a late recovery",
        |it| it.incidents.push(incident(Kind::Kill, 10, 11, Some(17))),
        &[(Promise::Recovery, None)],
    ),
    (
        "no recovery",
        |it| it.incidents.push(incident(Kind::Kill, 10, 11, None)),
        &[(Promise::Recovery, None)],
    ),
    ("a recovery in time", |it| it.incidents.push(incident(Kind::Kill, 10, 11, Some(15))), &[]),
    (
        "a late recovery that another fault disturbed",
        |it| {
            it.incidents.push(incident(Kind::Kill, 10, 11, Some(17)));
            it.incidents.push(incident(Kind::StopDatabase, 12, 14, Some(15)));
        },
        &[],
    ),
];

#[test]
fn each_broken_promise_is_found_and_nothing_else() {
    for (name, cook, expected) in CASES {
        let mut facts = sound();
        cook(&mut facts);
        assert_eq!(broken(&facts), *expected, "{name}");
    }
}

#[test]
fn slack_stretches_the_time_for_recovery_and_nothing_else() {
    let mut facts = sound();
    facts.incidents.push(incident(Kind::Kill, 10, 11, Some(17)));
    assert_eq!(judge(&facts, 2.0).broken(Promise::Recovery), 0);
    facts.effects.remove(&1);
    assert_eq!(judge(&facts, 2.0).broken(Promise::Lost), 1);
}

#[test]
fn more_repeats_than_windows_were_broken_are_too_many() {
    let mut facts = sound();
    facts.receive_maximum = 1;
    facts.seen.connections.push(connection(0, 0, None));
    for id in 0..2 {
        facts.seen.deliveries[id].insert(0, delivery(1, 0, None));
        facts.attempts.push(id as u64);
    }
    assert_eq!(broken(&facts), [(Promise::Repeated, None)]);
    facts.receive_maximum = 2;
    assert_eq!(broken(&facts), []);
    assert_eq!(judge(&facts, 1.0).repeats, Repeats { count: 2, breaks: 1, allowed: 2 });
}

#[test]
fn a_timeline_tells_the_story_of_a_message() {
    let mut facts = sound();
    facts.effects.remove(&1);
    facts.incidents.push(incident(Kind::Kill, 2, 3, Some(4)));
    let judgement = judge(&facts, 1.0);
    let lines = crate::evidence::timeline(&facts, &judgement.counterexamples[0]);
    let told = |what: &str| lines.iter().any(|line| line.contains(what));
    for what in [
        "published to soak/k-0/1",
        "accepted by the broker",
        "sent to worker 0, connection 0",
        "acknowledged by worker 0",
        "FAULT",
        "kill of worker 0",
        "no row, 1 attempts",
    ] {
        assert!(told(what), "{what} is missing in {lines:#?}");
    }
}
