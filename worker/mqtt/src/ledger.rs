//! Which messages are owed an acknowledgement, in receive order.
//!
//! Pure: no socket, no clock. Handlers finish in any order; MQTT wants acknowledgements in the order
//! of receipt (MQTT-4.6.0-2), and an acknowledgement that comes for an earlier connection must touch
//! nothing, because packet identifiers start again there.

use std::collections::VecDeque;

use crate::{AckToken, QoS};

/// One debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Debt {
    /// The packet identifier.
    pub(crate) id: u16,
    /// PUBACK or PUBREC.
    pub(crate) qos: QoS,
}

/// The debts of one connection at a time.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epoch: u32,
    /// The sequence number of the first entry.
    base: u64,
    entries: VecDeque<Entry>,
    /// Bytes of the messages that are not done.
    unfinished: usize,
    late: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    debt: Debt,
    bytes: usize,
    done: bool,
}

impl Ledger {
    /// A new connection: every debt of the old one is void, the broker sends those messages again.
    pub(crate) fn begin(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.base = 0;
        self.entries.clear();
        self.unfinished = 0;
    }

    /// A message of so many bytes was received.
    pub(crate) fn owe(&mut self, debt: Debt, bytes: usize) -> AckToken {
        let sequence = self.base + self.entries.len() as u64;
        self.entries.push_back(Entry { debt, bytes, done: false });
        self.unfinished += bytes;
        AckToken { epoch: self.epoch, sequence }
    }

    /// Its outcome is final. A token of an earlier connection, or one given twice, changes nothing.
    pub(crate) fn done(&mut self, token: AckToken) {
        if token.epoch != self.epoch {
            self.late += 1;
            return;
        }
        // Below the base: given twice, and acknowledged long ago.
        let Some(index) = token.sequence.checked_sub(self.base) else { return };
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = entry.filter(|entry| !entry.done) {
            entry.done = true;
            self.unfinished -= entry.bytes;
        }
    }

    /// The next debt that may be paid, in receive order; `None` as soon as one is not done.
    pub(crate) fn pay(&mut self) -> Option<Debt> {
        if !self.entries.front()?.done {
            return None;
        }
        self.base += 1;
        self.entries.pop_front().map(|entry| entry.debt)
    }

    /// Bytes of messages whose outcome is not final.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Debts not yet paid.
    pub(crate) fn outstanding(&self) -> usize {
        self.entries.len()
    }

    /// The sequence numbers of what is owed: the first, and one beyond the last.
    pub(crate) fn owed(&self) -> (u64, u64) {
        (self.base, self.base + self.entries.len() as u64)
    }

    /// Acknowledgements discarded because their connection is gone, since the start.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn debt(id: u16) -> Debt {
        Debt { id, qos: QoS::AtLeastOnce }
    }

    fn paid(ledger: &mut Ledger) -> Vec<u16> {
        std::iter::from_fn(|| ledger.pay()).map(|debt| debt.id).collect()
    }

    #[test]
    fn only_the_done_prefix_is_paid() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        let tokens: Vec<_> = [7, 8, 9].map(|id| ledger.owe(debt(id), 1)).to_vec();
        ledger.done(tokens[1]);
        assert_eq!(paid(&mut ledger), [0_u16; 0]);
        ledger.done(tokens[0]);
        assert_eq!(paid(&mut ledger), [7, 8]);
        ledger.done(tokens[2]);
        assert_eq!(paid(&mut ledger), [9]);
    }

    #[test]
    fn a_token_of_an_earlier_connection_pays_nothing_and_is_counted() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        let old = ledger.owe(debt(1), 1);
        ledger.begin(2);
        ledger.owe(debt(1), 1);
        ledger.done(old);
        assert_eq!(paid(&mut ledger), [0_u16; 0]);
        assert_eq!(ledger.late(), 1);
    }

    #[test]
    fn bytes_count_until_their_message_is_done_and_no_longer_than_its_connection() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        let tokens = [ledger.owe(debt(1), 10), ledger.owe(debt(2), 200)];
        assert_eq!(ledger.unfinished(), 210);
        ledger.done(tokens[1]);
        ledger.done(tokens[1]);
        assert_eq!(ledger.unfinished(), 10, "done out of order, and told twice");
        ledger.begin(2);
        ledger.done(tokens[0]);
        assert_eq!(ledger.unfinished(), 0);
    }

    #[test]
    fn a_token_given_twice_pays_once() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        let first = ledger.owe(debt(1), 1);
        ledger.owe(debt(2), 1);
        ledger.done(first);
        assert_eq!(paid(&mut ledger), [1]);
        ledger.done(first);
        assert_eq!(paid(&mut ledger), [0_u16; 0]);
    }

    #[test]
    fn a_token_that_was_never_given_out_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        ledger.owe(debt(1), 1);
        ledger.done(AckToken { epoch: 1, sequence: 5 });
        assert_eq!((paid(&mut ledger), ledger.outstanding()), (vec![], 1));
    }

    /// What can happen to a session.
    #[derive(Clone, Debug)]
    enum Step {
        Receive,
        /// One of the tokens given out so far, of any connection; also several times.
        Finish(prop::sample::Index),
        Pay,
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => Just(Step::Receive),
            8 => any::<prop::sample::Index>().prop_map(Step::Finish),
            3 => Just(Step::Pay),
            1 => Just(Step::Lose),
        ]
    }

    proptest! {
        /// Against a naive oracle that keeps every message of a connection and whether it is done.
        #[test]
        fn acks_are_in_order_once_and_of_their_own_connection(
            steps in prop::collection::vec(step(), 0..400)
        ) {
            let mut ledger = Ledger::default();
            let mut epoch = 1;
            ledger.begin(epoch);
            let mut tokens: Vec<AckToken> = Vec::new();
            let mut oracle: Vec<bool> = Vec::new();
            let mut acknowledged = 0;
            for step in steps {
                match step {
                    Step::Receive => {
                        let id = u16::try_from(oracle.len() + 1).unwrap();
                        tokens.push(ledger.owe(debt(id), 1));
                        oracle.push(false);
                    }
                    Step::Finish(index) if !tokens.is_empty() => {
                        let token = *index.get(&tokens);
                        ledger.done(token);
                        if token.epoch == epoch {
                            oracle[usize::try_from(token.sequence).unwrap()] = true;
                        }
                    }
                    Step::Finish(_) => {}
                    Step::Pay => {
                        for id in paid(&mut ledger) {
                            acknowledged += 1;
                            prop_assert_eq!(usize::from(id), acknowledged, "out of order or twice");
                            prop_assert!(oracle[acknowledged - 1], "before the outcome");
                        }
                        let prefix = oracle.iter().take_while(|done| **done).count();
                        prop_assert_eq!(acknowledged, prefix, "a done prefix is held back");
                    }
                    Step::Lose => {
                        epoch += 1;
                        ledger.begin(epoch);
                        oracle.clear();
                        acknowledged = 0;
                    }
                }
            }
            for token in &tokens {
                ledger.done(*token);
            }
            let rest = paid(&mut ledger).len();
            prop_assert_eq!(acknowledged + rest, oracle.len(), "all done, not all acknowledged");
            prop_assert_eq!(ledger.outstanding(), 0);
        }
    }
}
