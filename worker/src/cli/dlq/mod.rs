//! `routemq dlq`: dead letters, looked at and sent again.
//!
//! Each command first moves what the broker holds into a SQLite file, the store, and then works on that: a broker can
//! neither search nor show more than its window.

mod fetch;
mod letter;
mod replay;
mod selection;
mod show;
mod store;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};

use self::{
    fetch::{Source, failed},
    selection::Selection,
};
use super::{Ended, failure::Failure, print, sqlite_file::Place, style};

/// Where dead letters are kept.
const STORE: Place = Place { name: "dead-letters.db", option: "--store" };

/// Lists, shows and replays dead letters.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Example: routemq dlq ls\n\n\
        The first look begins a durable subscription to dead/# (see --from): from then on the broker keeps dead letters until\n\
        the next one, which moves them into a file of this folder (see --store). Run it once before you need it."
)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    Ls(show::Ls),
    /// Show them whole
    Show(show::Show),
    /// Publish them again, to their first topic
    Replay(replay::Replay),
    /// Remove them from the store
    Rm(Rm),
}

/// Removes dead letters from the store, for good.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: routemq dlq rm --replayed --older-than 30d\n\nExit codes: 0 done, 1 nothing was named, 3 no broker."
)]
struct Rm {
    #[command(flatten)]
    selection: Selection,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    source: Source,
}

impl Dlq {
    pub(crate) async fn execute(self) -> Ended {
        match self.command {
            Command::Ls(ls) => ls.execute().await,
            Command::Show(show) => show.execute().await,
            Command::Replay(replay) => replay.execute().await,
            Command::Rm(rm) => rm.execute().await,
        }
    }
}

impl Rm {
    async fn execute(self) -> Ended {
        if self.selection.is_everything() && !self.selection.replayed {
            return Err(Failure::input(
                "remove which? name IDs, --route, --class, an age, or --replayed",
            ));
        }
        let mut store = self.source.fetched().await?;
        let entries = store.list(&self.selection).await.map_err(failed)?;
        let what = style::count(entries.len(), "dead letter");
        if !entries.is_empty() && !self.yes && !ask(&format!("remove {what} for good?"))? {
            return Ok(std::process::ExitCode::SUCCESS);
        }
        for entry in &entries {
            store.remove(entry.id).await.map_err(failed)?;
        }
        print(&format!("removed {what}\n"))
    }
}

/// Asks on a terminal; elsewhere nobody could answer.
fn ask(question: &str) -> Result<bool, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::input(format!(
            "{question} Add --yes: there is no terminal to ask on"
        )));
    }
    eprint!("{question} [y/N] ");
    // A question that cannot be shown is answered with no below.
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    read.map_err(|error| Failure::input("cannot read the answer").because(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
