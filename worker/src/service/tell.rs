//! What a reload came to, in the log: each state once, however often files change.

use std::collections::BTreeMap;

use super::ServiceError;
use crate::run::Change;

/// Everything that is wrong with the documents as a whole is told under this name.
const DOCUMENTS: &str = "documents";

/// Remembers what it told.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told: BTreeMap<String, String>,
}

impl Teller {
    /// Nothing could be loaded.
    pub(super) fn refused(&mut self, error: &ServiceError) {
        if self.is_news(DOCUMENTS, &error.to_string()) {
            tracing::error!(%error, "the documents are refused: what runs goes on as it is");
        }
    }

    /// Everything was loaded, and this is what it changed.
    pub(super) fn applied(&mut self, changes: &[(String, Change)]) {
        self.told.remove(DOCUMENTS);
        for (route, change) in changes {
            match change {
                Change::Waiting(missing) => {
                    let missing = missing.join(", ");
                    if self.is_news(route, &missing) {
                        tracing::warn!(route, missing, "waiting for what it refers to");
                    }
                }
                Change::Refused(error) => {
                    let error = error.sentence();
                    if self.is_news(route, &error) {
                        tracing::error!(route, error, "refused: what runs goes on as it is");
                    }
                }
                done => {
                    self.told.remove(route);
                    tell(route, done);
                }
            }
        }
    }

    fn is_news(&mut self, about: &str, words: &str) -> bool {
        self.told.insert(about.to_owned(), words.to_owned()).as_deref() != Some(words)
    }
}

fn tell(route: &str, change: &Change) {
    let words = match change {
        Change::Started => "started",
        Change::Swapped => "the new table is in use, connected as before",
        Change::Renewed => "changed secrets are in use, connected as before",
        Change::Restarted => "started again, since its connection changed",
        Change::Stopped(_) => "stopped, since its document is gone",
        Change::Waiting(_) | Change::Refused(_) => return,
    };
    tracing::info!(route, "reloaded: {words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_state_is_news_once_until_something_else_was_told() {
        let mut teller = Teller::default();
        let waiting = |what: &str| [("fleet.a".to_owned(), Change::Waiting(vec![what.to_owned()]))];
        let mut told = Vec::new();
        for what in ["Secret x", "Secret x", "Secret y", "Secret x"] {
            told.push(teller.is_news("fleet.a", what));
        }
        assert_eq!(told, [true, false, true, true]);
        teller.applied(&waiting("Secret x"));
        teller.applied(&[("fleet.a".to_owned(), Change::Started)]);
        assert!(teller.is_news("fleet.a", "Secret x"), "it ran meanwhile");
    }
}
