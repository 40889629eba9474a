use std::{fs, path::Path};

use super::{Journal, SURVIVED};
use crate::{
    dispatch::Incoming,
    message::Message,
    testing::{admit, bed},
};

/// A start that ends without being told to, with `handled` in hand.
async fn crash(folder: &Path, handled: &[&Message]) {
    let journal = Journal::open(folder).unwrap();
    if journal.watching().is_some() {
        for message in handled {
            // Never dropped: a process that dies strikes nothing out.
            std::mem::forget(journal.handling(message.received()).await);
        }
    }
}

async fn message(payload: &'static str, again: bool) -> Message {
    let (engine, _) = bed("a/{id}").engine().await;
    let incoming = Incoming::new("a/1", payload);
    admit(&engine, if again { incoming.sent_again() } else { incoming })
}

async fn accuses(journal: &Journal, message: &Message) -> bool {
    let Some(journal) = journal.watching() else { return false };
    journal.handling(message.received()).await.accused
}

/// Whether nothing is handled beside it.
async fn is_alone(journal: &Journal, message: &Message) -> bool {
    let other = self::message("other", false).await;
    let _handling = journal.handling(message.received()).await;
    polled(journal.handling(other.received())).is_pending()
}

#[tokio::test]
async fn what_kills_three_processes_is_not_handled_by_the_fourth() {
    let folder = tempfile::tempdir().unwrap();
    let (killer, innocent) = (message("killer", true).await, message("innocent", true).await);
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    let fourth = Journal::open(folder.path()).unwrap();
    assert!(accuses(&fourth, &killer).await);
    assert!(!accuses(&fourth, &innocent).await);
}

/// Some program outside kills, whatever is being handled.
#[tokio::test]
async fn what_happens_to_be_in_hand_when_the_process_is_killed_is_not_accused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (message("a", true).await, message("b", true).await, message("c", true).await);
    // Each was in hand once, and is done when it comes again.
    for hand in [&[][..], &[&a, &b], &[&c], &[], &[]] {
        crash(folder.path(), hand).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    for innocent in [&a, &b, &c] {
        assert!(!accuses(&journal, innocent).await);
    }
}

#[tokio::test]
async fn what_was_in_hand_with_others_and_then_alone_is_accused_and_the_others_are_handled_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (killer, neighbour) = (message("killer", true).await, message("neighbour", true).await);
    for hand in [&[][..], &[&neighbour, &killer], &[&killer]] {
        crash(folder.path(), hand).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    assert!(accuses(&journal, &killer).await);
    assert!(!accuses(&journal, &neighbour).await);
    assert!(is_alone(&journal, &neighbour).await);
}

/// It was not reached before the process was killed for another reason.
#[tokio::test]
async fn a_suspect_stays_one_while_crashes_are_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let (killer, other) = (message("killer", true).await, message("other", true).await);
    for hand in [&[][..], &[&killer], &[&other], &[&killer]] {
        crash(folder.path(), hand).await;
    }
    assert!(accuses(&Journal::open(folder.path()).unwrap(), &killer).await);
}

/// It has counted what lies there, and dies before it has said that it runs.
#[tokio::test]
async fn what_a_process_that_died_while_it_began_did_not_handle_is_not_counted_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let innocent = message("innocent", true).await;
    for hand in [&[][..], &[], &[&innocent]] {
        crash(folder.path(), hand).await;
    }
    let (running, handling) = (folder.path().join("running"), folder.path().join("handling"));
    let before = (fs::read(&running).unwrap(), fs::read(&handling).unwrap());
    drop(Journal::open(folder.path()).unwrap());
    fs::write(running, before.0).unwrap();
    fs::write(handling, before.1).unwrap();
    assert!(!accuses(&Journal::open(folder.path()).unwrap(), &innocent).await);
}

#[tokio::test]
async fn a_place_is_used_again_when_its_message_is_done() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), &[]).await;
    let journal = Journal::open(folder.path()).unwrap();
    let (x, y) = (message("x", true).await, message("y", false).await);
    for _ in 0..100 {
        let _both = (journal.handling(x.received()).await, journal.handling(y.received()).await);
    }
    assert_eq!(fs::read(folder.path().join("handling")).unwrap(), [0; 16]);
}

/// HiveMQ and others hand the messages of a dead member to a living one as if they were new.
#[tokio::test]
async fn a_killer_is_found_where_the_broker_does_not_mark_what_it_sends_again() {
    let folder = tempfile::tempdir().unwrap();
    let killer = message("killer", false).await;
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    assert!(accuses(&Journal::open(folder.path()).unwrap(), &killer).await);
}

/// A volume that is full takes no new file, and leaves the old one as it is.
#[tokio::test]
async fn what_cannot_be_written_leaves_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let killer = message("killer", true).await;
    for _ in 0..3 {
        crash(folder.path(), &[&killer]).await;
    }
    let hand = || fs::read(folder.path().join("handling")).unwrap();
    let before = hand();
    fs::create_dir(folder.path().join("draft")).unwrap();
    Journal::open(folder.path()).unwrap_err();
    assert!(!before.is_empty() && hand() == before);
}

#[tokio::test]
async fn after_one_crash_messages_are_handled_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), &[]).await;
    let journal = Journal::open(folder.path()).unwrap();
    assert!(journal.watching().is_some());
    assert!(!is_alone(&journal, &message("x", true).await).await);
}

#[tokio::test]
async fn crashes_with_a_stop_in_between_are_not_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), &[]).await;
    Journal::open(folder.path()).unwrap().close();
    let x = message("x", true).await;
    crash(folder.path(), &[&x]).await;
    let journal = Journal::open(folder.path()).unwrap();
    assert!(!is_alone(&journal, &x).await, "not the second in a row");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lives_for_a_minute_starts_the_count_anew() {
    let folder = tempfile::tempdir().unwrap();
    let x = message("x", true).await;
    for _ in 0..2 {
        crash(folder.path(), &[&x]).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    assert!(journal.watching().is_some() && is_alone(&journal, &x).await);
    tokio::time::timeout(SURVIVED * 2, journal.survived()).await.unwrap();
    assert!(journal.watching().is_none());
    let after = Journal::open(folder.path()).unwrap();
    assert!(!is_alone(&after, &x).await, "a first crash again");
}

#[tokio::test]
async fn a_suspect_waits_for_the_others_and_they_for_it_marked_as_sent_again_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let suspect = message("x", false).await;
    for _ in 0..2 {
        crash(folder.path(), &[&suspect]).await;
    }
    let journal = Journal::open(folder.path()).unwrap();
    for again in [true, false] {
        let (x, y) = (message("x", again).await, message("y", again).await);
        let first = journal.handling(y.received()).await;
        let mut suspects = polled(journal.handling(x.received()));
        assert!(suspects.is_pending());
        drop(first);
        assert!(!suspects.is_pending());
        assert!(is_alone(&journal, &x).await);
    }
    let hand = fs::read(folder.path().join("handling")).unwrap();
    assert!(hand.iter().all(|byte| *byte == 0), "struck out");
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
        assert!(!journal.handling(message("x", true).await.received()).await.accused);
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
