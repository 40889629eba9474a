//! How long a worker takes to stop: it keeps to these bounds, and the operator computes the grace period from them.

use std::time::Duration;

/// Until the socket task has taken in that nothing more is taken; part of the drain where that is longer.
pub const STOP_TAKING: Duration = Duration::from_secs(5);
/// For the last acknowledgements and DISCONNECT.
pub const FLUSH: Duration = Duration::from_secs(5);
/// For what handlers publish that is under way when everything else has stopped.
pub const LAST_PUBLISHES: Duration = Duration::from_secs(2);
/// For goodbyes to the database.
pub const CLOSE_DATABASE: Duration = Duration::from_secs(2);
/// For giving the slot back.
pub const RELEASE_SLOT: Duration = Duration::from_secs(3);
/// A task keeps to its bound itself; whoever waits for it waits so much longer. Twice: session and publisher.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// From the signal to the beginning, and from the end to the exit, on a busy node.
const AROUND: Duration = Duration::from_secs(3);

/// From SIGTERM to the exit, at most, of a worker that lets what runs finish within `drain`.
#[must_use]
pub fn longest(drain: Duration) -> Duration {
    let after = [FLUSH, FAREWELL, LAST_PUBLISHES, FAREWELL, CLOSE_DATABASE, RELEASE_SLOT, AROUND];
    after.into_iter().fold(drain.max(STOP_TAKING), Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_a_stop_is_within_the_longest() {
        let steps = FLUSH + FAREWELL + LAST_PUBLISHES + FAREWELL + CLOSE_DATABASE + RELEASE_SLOT;
        for drain in [0, 5, 35, 3605].map(Duration::from_secs) {
            assert!(longest(drain) > drain.max(STOP_TAKING) + steps);
        }
        assert_eq!(longest(Duration::MAX), Duration::MAX);
    }
}
