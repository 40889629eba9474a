//! `routemq dlq replay`: dead letters go back to where they were published first.
//!
//! # Guarantee
//! At least once: a letter counts as replayed after the broker has confirmed the publish. No loop: a message that came
//! back too often, or whose topic is a dead letter topic itself, is left alone unless that is asked for.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use routemq_crds::topic::filter_matches;
use routemq_mqtt::{Outgoing, Published, Publisher};
use tokio::time::{Interval, interval, timeout};

use super::{
    ask,
    fetch::{Source, failed},
    letter::{Entry, Letter},
    selection::Selection,
    store::Store,
};
use crate::cli::{Ended, failure::Failure, print, publish::rate, style};

/// A message that came back so often will come back again.
const MOST: i64 = 3;
/// How long one may take to be confirmed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes dead letters again, to their first topic.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    routemq dlq replay 12 13\n  \
    routemq dlq replay --route control --class Row --yes\n  \
    routemq dlq replay --all --dry-run\n\n\
    Each goes as it came, with the user property routemq-replays. Exit codes: 0 all were replayed, 1 some were left, 3 no broker.")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// All that are in the store
    #[arg(long)]
    all: bool,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
    /// Also what came back three times
    #[arg(long)]
    force: bool,
    /// Messages a second at most [default: as fast as they are confirmed]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    source: Source,
}

/// Why a letter is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Left {
    #[error("nobody knows its first topic: it has no user property routemq-topic")]
    NoTopic,
    #[error("its topic is one where dead letters are looked for: it would come straight back")]
    Loop,
    #[error(
        "it was replayed {MOST} times and came back each time: mend the cause; --force replays it again"
    )]
    TooOften,
    #[error("nobody subscribes to its topic: start the workers first")]
    Unheard,
}

impl Replay {
    pub(super) async fn execute(self) -> Ended {
        if self.selection.is_everything() && !self.all {
            return Err(Failure::input(
                "replay which? name IDs, --route, --class, an age, or --all",
            ));
        }
        let mut store = self.source.fetched().await?;
        let letters = store.list(&self.selection).await.map_err(failed)?;
        let filters = store.filters(&[]).await.map_err(failed)?;
        let (go, stay): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|entry| self.left(entry, &filters).is_none());
        for entry in &stay {
            if let Some(reason) = self.left(entry, &filters) {
                say_left(entry, reason);
            }
        }
        if go.is_empty() {
            print("nothing to replay\n")?;
            return Ok(code(stay.len()));
        }
        if !self.confirmed(&go)? {
            return Ok(ExitCode::SUCCESS);
        }
        let unheard = self.replay(&mut store, go).await?;
        Ok(code(stay.len() + unheard))
    }

    fn left(&self, entry: &Entry, filters: &[String]) -> Option<Left> {
        let Some(topic) = &entry.topic else { return Some(Left::NoTopic) };
        if filters.iter().any(|filter| filter_matches(filter, topic)) {
            return Some(Left::Loop);
        }
        (entry.replays >= MOST && !self.force).then_some(Left::TooOften)
    }

    /// Asks, unless it need not or must not do anything.
    fn confirmed(&self, go: &[Entry]) -> Result<bool, Failure> {
        let what = style::count(go.len(), "dead letter");
        if self.dry_run {
            for entry in go {
                let topic = entry.topic.as_deref().unwrap_or_default();
                print(&format!("would replay {} to {topic}\n", entry.id))?;
            }
            print(&format!("would replay {what}; nothing was done\n"))?;
            return Ok(false);
        }
        if self.yes { Ok(true) } else { ask(&format!("replay {what}?")) }
    }

    /// How many nobody heard.
    async fn replay(&self, store: &mut Store, go: Vec<Entry>) -> Result<usize, Failure> {
        let publisher = self.source.broker.publisher("dlq").await?;
        let mut ticks = self.rate.map(|rate| interval(Duration::from_secs_f64(1.0 / rate)));
        let (all, mut unheard) = (go.len(), 0);
        for entry in go {
            let letter = store.load(entry).await.map_err(failed)?;
            if heard(&publisher, &letter, ticks.as_mut()).await? {
                store.replayed(letter.entry.id).await.map_err(failed)?;
            } else {
                say_left(&letter.entry, Left::Unheard);
                unheard += 1;
            }
        }
        publisher.stop(Duration::from_secs(2)).await;
        print(&format!("replayed {}\n", style::count(all - unheard, "dead letter")))?;
        Ok(unheard)
    }
}

/// Whether the broker took it for somebody.
async fn heard(
    publisher: &Publisher,
    letter: &Letter,
    ticks: Option<&mut Interval>,
) -> Result<bool, Failure> {
    if let Some(ticks) = ticks {
        ticks.tick().await;
    }
    let Some(message) = letter.again() else { return Ok(false) };
    let answer = confirmed(publisher, message).await?;
    Ok(!answer.no_subscribers)
}

/// What the broker said.
async fn confirmed(publisher: &Publisher, message: Outgoing) -> Result<Published, Failure> {
    let topic = message.topic.clone();
    let answer = timeout(PATIENCE, publisher.publish(message)).await;
    let late = |_| Failure::world(format!("the broker did not confirm {topic} within 30 s"));
    answer.map_err(late)?.map_err(|error| Failure::world_from(&error))
}

fn say_left(entry: &Entry, reason: Left) {
    eprintln!("note: {} is left: {reason}", entry.id);
}

fn code(left: usize) -> ExitCode {
    ExitCode::from(u8::from(left > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(force: bool) -> Replay {
        use clap::{Args as _, FromArgMatches as _};
        let force: &[&str] = if force { &["replay", "--force"] } else { &["replay"] };
        let command = Replay::augment_args(clap::Command::new("replay"));
        Replay::from_arg_matches(&command.get_matches_from(force)).unwrap()
    }

    #[test]
    fn what_would_come_straight_back_is_left() {
        let entry = |topic: Option<&str>, replays| Entry {
            topic: topic.map(str::to_owned),
            replays,
            ..Entry::default()
        };
        let rows = [
            ("no story", entry(None, 0), false, Some(Left::NoTopic)),
            ("a dead letter topic", entry(Some("dead/x"), 0), true, Some(Left::Loop)),
            ("too often", entry(Some("a/b"), 3), false, Some(Left::TooOften)),
            ("too often, and wanted", entry(Some("a/b"), 3), true, None),
            ("twice", entry(Some("a/b"), 2), false, None),
        ];
        for (case, entry, force, wanted) in rows {
            assert_eq!(replay(force).left(&entry, &["dead/#".to_owned()]), wanted, "{case}");
        }
    }
}
