//! What all witnesses saw, side by side: the input of the verdict.

use std::collections::HashMap;

use crate::{
    checker::Checked,
    history::{BadExit, Incident},
    journal::Entry,
    leftovers::Leftovers,
    moment::Moment,
    witness::{Connection, Delivery, Seen},
};

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// By the publisher.
    pub(crate) entries: Vec<Entry>,
    /// How often it was told that nobody subscribes, and sent the message again.
    pub(crate) nobody: usize,
    /// By the proxies.
    pub(crate) seen: Seen,
    /// By the database: the id of each attempt, in the order of their commits.
    pub(crate) attempts: Vec<u64>,
    /// By the database: the value of each effect.
    pub(crate) effects: HashMap<u64, i64>,
    /// By whoever held acknowledgements against the database.
    pub(crate) checked: Checked,
    /// By whoever made the faults.
    pub(crate) incidents: Vec<Incident>,
    pub(crate) bad_exits: Vec<BadExit>,
    /// By the broker.
    pub(crate) leftovers: Leftovers,
    /// Whether the broker may lose what it deals to a member that dies in that moment, as rmqtt does.
    pub(crate) broker_loses: bool,
    pub(crate) receive_maximum: u16,
    /// Whether the broker sends no more than that. Mosquitto before 2.0.13 sends a resumed session all that it kept at once, and
    /// what a worker did of it on a line that was dead is done again.
    pub(crate) broker_keeps_window: bool,
    /// Workers at a time, at most.
    pub(crate) workers: u32,
}

impl Facts {
    /// Who was sent this message.
    pub(crate) fn deliveries(&self, id: u64) -> &[Delivery] {
        let place = crate::journal::index(id);
        self.seen.deliveries.get(place).map_or(&[], Vec::as_slice)
    }

    /// A connection by its place.
    pub(crate) fn connection(&self, place: usize) -> &Connection {
        &self.seen.connections[place]
    }

    /// Whether nothing could be committed at any time between these two.
    pub(crate) fn without_commits(&self, from: Moment, to: Moment) -> bool {
        let spans = self.incidents.iter().filter_map(|incident| incident.no_commits);
        spans.into_iter().any(|(since, until)| since < from && to < until)
    }

    /// Whether the answers to commits may have been lost at some time between these two.
    pub(crate) fn answers_lost(&self, from: Moment, to: Moment) -> bool {
        let of_the_database = self.incidents.iter().filter(|it| it.kind.loses_answers());
        of_the_database.into_iter().any(|it| it.overlaps(from, to))
    }

    /// How often each message was handled.
    pub(crate) fn times_handled(&self) -> HashMap<u64, usize> {
        let mut times = HashMap::with_capacity(self.attempts.len());
        for id in &self.attempts {
            *times.entry(*id).or_default() += 1;
        }
        times
    }
}
