//! Documents are read again when they are saved: a good change runs, a bad one is told and the last good one stays.

use std::{path::Path, time::Duration};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use routemq_worker::run::{Change, Running};
use tokio::sync::mpsc;

use super::{
    Dev,
    line::Printer,
    load::{self, Load, Refused},
    simulate::Simulation,
};
use crate::cli::{documents, failure::Failure};

/// Editors write a file in several steps: what follows within this time belongs to the same save.
const QUIET: Duration = Duration::from_millis(150);

/// Reloads on save until `stop` resolves.
pub(super) async fn until(
    stop: impl Future<Output = ()>,
    dev: &Dev,
    running: &mut Running,
    printer: &Printer,
    simulation: Option<&Simulation>,
) -> Result<(), Failure> {
    let (saved, mut changes) = mpsc::channel(1);
    let _watcher = watch(dev, saved)?;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(()) = changes.recv() => {}
        }
        // Each further event starts the quiet time anew.
        while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {}
        if let Some(load) = Box::pin(reload(dev, running, printer)).await
            && let Some(simulation) = simulation
        {
            simulation.learn(&load);
        }
    }
}

async fn reload(dev: &Dev, running: &mut Running, printer: &Printer) -> Option<Load> {
    let load = match load::try_load(dev) {
        Ok(load) => load,
        Err(refused) => {
            refuse(printer, refused);
            return None;
        }
    };
    let changes = Box::pin(running.apply(load::runnable(&load))).await;
    printer.learn(&load);
    for (name, change) in changes {
        printer.say(&words(printer, &name, &change));
    }
    Some(load)
}

fn refuse(printer: &Printer, refused: Refused) {
    let paint = printer.paint();
    let (lines, summary) = match refused {
        Refused::Problems(problems) => {
            let lines = problems.iter().map(ToString::to_string).collect();
            (lines, documents::summary(&problems))
        }
        Refused::Failure(failure) => (Vec::new(), failure.to_string()),
    };
    for line in lines {
        printer.say(&line);
    }
    printer.say(&format!("{} {summary}; the last good one goes on", paint.red("not reloaded:")));
}

fn words(printer: &Printer, name: &str, change: &Change) -> String {
    let paint = printer.paint();
    let good = |words: &str| format!("{} {name} {words}", paint.green("reloaded:"));
    match change {
        Change::Started => good("is new and runs"),
        Change::Swapped => good("took up the change, connected as it is"),
        Change::Restarted => good("started again: its connection changed"),
        Change::Stopped(_) => good("is gone and stopped"),
        Change::Refused(error) => {
            let cause = crate::cli::failure::chain(error);
            format!("{} {cause}; the last good one goes on", paint.red("not reloaded:"))
        }
    }
}

/// Watches folders, never files: an editor replaces the file by another of the same name.
fn watch(dev: &Dev, saved: mpsc::Sender<()>) -> Result<RecommendedWatcher, Failure> {
    let failed = |error: notify::Error| {
        Failure::world("cannot watch the documents for changes").because(&error)
    };
    let tell = move |event: notify::Result<notify::Event>| {
        let access = |event: &notify::Event| matches!(event.kind, EventKind::Access(_));
        if event
            .is_ok_and(|event| !access(&event) && event.paths.iter().any(|path| is_document(path)))
        {
            // Full: a reload is due already.
            let _ = saved.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell).map_err(failed)?;
    for path in dev.paths.iter().chain(&dev.secrets) {
        let (folder, mode) = if path.is_dir() {
            (path.as_path(), RecursiveMode::Recursive)
        } else {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)
        };
        watcher.watch(folder, mode).map_err(failed)?;
    }
    Ok(watcher)
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}
