//! Since when the oldest unacknowledged message is owed: a mark a turn, nothing a message.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The turns that brought what is still owed, oldest first. At most as many as there are debts.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// The sequence number of a turn's first debt, and when the turn was.
    turns: VecDeque<(u64, Instant)>,
    /// Debts up to here (exclusive) are in `turns`.
    noted: u64,
}

impl Ages {
    /// A new connection: sequence numbers start again.
    pub(crate) fn clear(&mut self) {
        self.turns.clear();
        self.noted = 0;
    }

    /// The end of a turn: the debts `first..end` are owed, those not seen before since `now`.
    pub(crate) fn note(&mut self, first: u64, end: u64, now: Instant) {
        if end > self.noted {
            self.turns.push_back((self.noted, now));
            self.noted = end;
        }
        if first == end {
            self.turns.clear();
        }
        while self.turns.get(1).is_some_and(|(start, _)| *start <= first) {
            self.turns.pop_front();
        }
    }

    /// When the oldest was received.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.turns.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a naive list that keeps the time of every debt.
        #[test]
        fn the_oldest_is_that_of_the_first_debt_left(
            turns in prop::collection::vec((0..5_u64, 0..6_u64), 1..100)
        ) {
            let began = Instant::now();
            let (mut ages, mut debts) = (Ages::default(), VecDeque::new());
            let (mut first, mut end) = (0, 0);
            for (turn, (received, paid)) in (0_u64..).zip(turns) {
                let now = began + Duration::from_secs(turn);
                end += received;
                debts.extend((0..received).map(|_| now));
                first += debts.drain(..debts.len().min(usize::try_from(paid).unwrap())).count() as u64;
                ages.note(first, end, now);
                prop_assert_eq!(ages.oldest(), debts.front().copied());
                prop_assert!(ages.turns.len() <= debts.len());
            }
            ages.clear();
            prop_assert_eq!(ages.oldest(), None);
        }
    }
}
