use std::{fs, path::Path};

use super::{Handling, Journal, Permit, SURVIVED};
use crate::{
    dispatch::Incoming,
    message::Message,
    testing::{admit, bed},
};

/// A start that ends without being told to, after it has begun with `handled`.
async fn crash(folder: &Path, handled: &[&Message]) {
    let journal = Journal::open(folder).unwrap();
    for message in handled {
        if journal.careful().is_some() {
            let permit = journal.permit(message.received()).await;
            // Never dropped: a process that dies strikes nothing out.
            std::mem::forget(permit);
        }
    }
}

async fn message(payload: &'static str, again: bool) -> Message {
    let (engine, _) = bed("a/{id}").engine().await;
    let incoming = Incoming::new("a/1", payload);
    admit(&engine, if again { incoming.sent_again() } else { incoming })
}

async fn is_poison(journal: &Journal, message: &Message) -> bool {
    let Some(journal) = journal.careful() else { return false };
    matches!(journal.permit(message.received()).await, Permit::Poison)
}

#[tokio::test]
async fn what_kills_three_processes_is_not_handled_by_the_fourth() {
    let folder = tempfile::tempdir().unwrap();
    let (killer, innocent) = (message("killer", true).await, message("innocent", true).await);
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    let fourth = Journal::open(folder.path()).unwrap();
    assert!(is_poison(&fourth, &killer).await);
    assert!(!is_poison(&fourth, &innocent).await);
}

/// HiveMQ and others hand the messages of a dead member to a living one as if they were new.
#[tokio::test]
async fn a_killer_is_found_where_the_broker_does_not_mark_what_it_sends_again() {
    let folder = tempfile::tempdir().unwrap();
    let killer = message("killer", false).await;
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    assert!(is_poison(&Journal::open(folder.path()).unwrap(), &killer).await);
}

/// A volume that is full takes no new file, and leaves the old one as it is.
#[tokio::test]
async fn what_cannot_be_written_leaves_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let killer = message("killer", true).await;
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    let poison = || fs::read_to_string(folder.path().join("handling")).unwrap();
    let before = poison();
    fs::create_dir(folder.path().join("draft")).unwrap();
    Journal::open(folder.path()).unwrap_err();
    assert!(!before.is_empty() && poison() == before);
}

#[tokio::test]
async fn one_crash_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), &[]).await;
    assert!(Journal::open(folder.path()).unwrap().careful().is_none());
}

#[tokio::test]
async fn crashes_with_a_stop_in_between_are_not_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), &[]).await;
    Journal::open(folder.path()).unwrap().close();
    crash(folder.path(), &[]).await;
    assert!(Journal::open(folder.path()).unwrap().careful().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lives_for_a_minute_starts_the_count_anew() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        crash(folder.path(), &[]).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    assert!(journal.careful().is_some());
    tokio::time::timeout(SURVIVED * 2, journal.survived()).await.unwrap();
    assert!(journal.careful().is_none());
    assert!(Journal::open(folder.path()).unwrap().careful().is_none(), "a first crash again");
}

#[tokio::test]
async fn a_careful_worker_handles_each_message_alone_marked_as_sent_again_or_not() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        crash(folder.path(), &[]).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    for again in [true, false] {
        let (one, other) = (message("x", again).await, message("y", !again).await);
        let Permit::Handle(first @ Handling::Alone(_)) = journal.permit(one.received()).await
        else {
            panic!("not alone");
        };
        let mut others = polled(journal.permit(other.received()));
        assert!(others.is_pending());
        drop(first);
        assert!(!others.is_pending());
    }
    assert_eq!(fs::read_to_string(folder.path().join("handling")).unwrap(), "");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_which() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Journal::open(&file.path().join("scratch")).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[tokio::test]
async fn a_folder_that_fails_later_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        crash(folder.path(), &[]).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    for _ in 0..2 {
        let permit = journal.permit(message("x", true).await.received()).await;
        assert!(matches!(permit, Permit::Handle(Handling::Alone(_))));
    }
}

/// A future that is polled by hand.
fn polled<F: Future>(future: F) -> Polled<F> {
    Polled { future: Box::pin(future) }
}

struct Polled<F> {
    future: std::pin::Pin<Box<F>>,
}

impl<F: Future> Polled<F> {
    fn is_pending(&mut self) -> bool {
        futures::FutureExt::now_or_never(self.future.as_mut()).is_none()
    }
}
