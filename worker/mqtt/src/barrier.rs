//! The barrier: a QoS 1 message to the session's own topic. Brokers keep the order of what they queue
//! for one session, so when it comes back, everything queued before it has been delivered.
//!
//! Pure: the clock is an argument. Where the broker refuses the topic, two quiet seconds stand in.

use std::time::Duration;

use tokio::time::Instant;

use crate::reason;

/// No delivery for this long stands in for the message.
const QUIET: Duration = Duration::from_secs(2);
/// A barrier message that doesn't come back while the session is idle for this long never will.
const SILENCE: Duration = Duration::from_secs(10);
/// Without a barrier, under constant traffic, nobody waits longer than this.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a barrier passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The message came back, or the session was quiet: what was queued is delivered.
    Proven,
    /// Patience ran out: nothing is proven.
    GaveUp,
}

/// One session's barrier.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// `<prefix>/`: what other sessions of ours publish to; never handed to a receiver.
    prefix: String,
    topic: String,
    /// Tells this session's messages from those of its predecessor under the same client id.
    run: u64,
    number: u64,
    listening: Listening,
    phase: Phase,
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    Asked(u16),
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The message is under way.
    Echo {
        id: u16,
        since: Instant,
    },
    /// Waiting for quiet.
    Quiet {
        since: Instant,
    },
}

impl Barrier {
    /// `run` is a number that no earlier run of this session had.
    pub(crate) fn new(prefix: &str, client_id: &str, run: u64) -> Self {
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        // A client id may hold what a topic may not.
        let own = client_id.replace(['+', '#', '\0'], "_");
        Self {
            topic: format!("{prefix}{own}"),
            prefix,
            run,
            number: 0,
            listening: Listening::No,
            phase: Phase::Idle,
            refused: false,
        }
    }

    /// A new connection: nothing is under way, and the broker may have changed its mind.
    pub(crate) fn begin(&mut self) {
        self.listening = Listening::No;
        self.phase = Phase::Idle;
        self.refused = false;
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Whether a message is a barrier: ours, or another session's that a wide filter let in.
    pub(crate) fn owns(&self, topic: &str) -> bool {
        topic.starts_with(&self.prefix)
    }

    /// The number of the barrier that was started last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What the message says.
    pub(crate) fn payload(&self) -> String {
        format!("{:016x}-{}", self.run, self.number)
    }

    /// Whether the broker refuses the barrier.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether the own topic should be subscribed now.
    pub(crate) fn must_listen(&self) -> bool {
        self.listening == Listening::No && !self.refused
    }

    /// SUBSCRIBE is sent.
    pub(crate) fn asked(&mut self, id: u16) {
        self.listening = Listening::Asked(id);
    }

    /// Whether a packet identifier belongs to the barrier.
    pub(crate) fn uses(&self, id: u16) -> bool {
        self.listening == Listening::Asked(id)
            || matches!(self.phase, Phase::Echo { id: own, .. } if own == id)
    }

    /// SUBACK; `false` where it isn't the barrier's.
    pub(crate) fn suback(&mut self, id: u16, code: u8) -> bool {
        if self.listening != Listening::Asked(id) {
            return false;
        }
        self.listening = Listening::Yes;
        // QoS 0 would put the message on a faster track than the queue.
        self.refused |= code != 1;
        true
    }

    /// Whether one can be started.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Idle && (self.refused || self.listening == Listening::Yes)
    }

    /// Starts the next one under packet identifier `id`. `true`: [`Self::payload`] is to be published.
    pub(crate) fn start(&mut self, id: u16, now: Instant) -> bool {
        self.number += 1;
        self.phase =
            if self.refused { Phase::Quiet { since: now } } else { Phase::Echo { id, since: now } };
        !self.refused
    }

    /// PUBACK; a refusal, or that nobody listens, ends the hope for an echo.
    pub(crate) fn puback(&mut self, id: u16, code: u8, now: Instant) -> bool {
        let Phase::Echo { id: own, .. } = self.phase else { return false };
        if own != id {
            return false;
        }
        if code >= reason::FIRST_REFUSAL || code == reason::NO_SUBSCRIBERS {
            self.fall_back(now);
        }
        true
    }

    fn fall_back(&mut self, now: Instant) {
        self.refused = true;
        self.phase = Phase::Quiet { since: now };
    }

    /// A barrier message came.
    pub(crate) fn heard(&mut self, payload: &[u8]) -> Option<Passed> {
        let own = matches!(self.phase, Phase::Echo { .. }) && payload == self.payload().as_bytes();
        own.then(|| self.pass(Passed::Proven))
    }

    fn pass(&mut self, how: Passed) -> Passed {
        self.phase = Phase::Idle;
        how
    }

    /// Time goes by. `idle_since`: since when nothing is unacknowledged and nothing came; `None` while
    /// something is at work, for then the broker's window may be full.
    pub(crate) fn tick(&mut self, now: Instant, idle_since: Option<Instant>) -> Option<Passed> {
        let idle = |since: Instant| idle_since.map(|idle| now.duration_since(idle.max(since)));
        match self.phase {
            Phase::Echo { since, .. } => {
                if idle(since) >= Some(SILENCE) {
                    self.fall_back(since.max(idle_since.unwrap_or(since)));
                    return self.tick(now, idle_since);
                }
                None
            }
            Phase::Quiet { since } if idle(since) >= Some(QUIET) => Some(self.pass(Passed::Proven)),
            Phase::Quiet { since } if now.duration_since(since) >= PATIENCE => {
                Some(self.pass(Passed::GaveUp))
            }
            Phase::Idle | Phase::Quiet { .. } => None,
        }
    }

    /// When to call [`Self::tick`] next.
    pub(crate) fn deadline(&self, idle_since: Option<Instant>) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Echo { since, .. } => Some(idle_since?.max(since) + SILENCE),
            Phase::Quiet { since } => {
                let quiet = idle_since.map(|idle| idle.max(since) + QUIET);
                Some(quiet.map_or(since + PATIENCE, |quiet| quiet.min(since + PATIENCE)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
