//! QoS 2 on the receiving side: a message is handed over once, however often it is sent
//! (MQTT 5, 4.3.3).

use std::collections::HashSet;

/// The packet identifiers between PUBLISH and PUBREL. Belongs to the session, not to a connection.
#[derive(Debug, Default)]
pub(crate) struct ExactlyOnce {
    /// Handed over on this connection; PUBREC is owed.
    at_work: HashSet<u16>,
    /// PUBREC is sent; PUBREL is awaited.
    received: HashSet<u16>,
}

impl ExactlyOnce {
    /// A new connection. What was at work comes again; what was acknowledged is only forgotten with
    /// the session.
    pub(crate) fn begin(&mut self, session_present: bool) {
        self.at_work.clear();
        if !session_present {
            self.received.clear();
        }
    }

    /// Whether a PUBLISH is to be handed over: not one that was already.
    pub(crate) fn admit(&mut self, id: u16) -> bool {
        !self.received.contains(&id) && self.at_work.insert(id)
    }

    /// PUBREC is sent.
    pub(crate) fn acknowledge(&mut self, id: u16) {
        self.at_work.remove(&id);
        self.received.insert(id);
    }

    /// PUBREL. `false`: unknown, which PUBCOMP says with reason 0x92.
    pub(crate) fn release(&mut self, id: u16) -> bool {
        self.received.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_sent_again_before_its_release_is_not_handed_over_again() {
        let mut state = ExactlyOnce::default();
        assert!(state.admit(5));
        assert!(!state.admit(5), "sent again while at work");
        state.acknowledge(5);
        assert!(!state.admit(5), "sent again after PUBREC");
        state.begin(true);
        assert!(!state.admit(5), "sent again on the next connection");
        assert!(state.release(5));
        assert!(state.admit(5), "a new message under the same identifier");
    }

    #[test]
    fn a_message_at_work_when_the_connection_broke_comes_again() {
        let mut state = ExactlyOnce::default();
        state.admit(5);
        state.begin(true);
        assert!(state.admit(5));
    }

    #[test]
    fn a_lost_session_forgets_everything() {
        let mut state = ExactlyOnce::default();
        state.admit(5);
        state.acknowledge(5);
        state.begin(false);
        assert!(!state.release(5));
        assert!(state.admit(5));
    }
}
