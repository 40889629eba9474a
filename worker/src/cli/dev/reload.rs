//! Documents are read again when they are saved: a good change runs, a bad one is told and the last good one stays.

use routemq_worker::{
    run::{Change, Running},
    service::Watch,
};

use super::{
    Dev,
    line::Printer,
    load::{self, Load, Refused},
    simulate::Simulation,
};
use crate::cli::documents;

/// Reloads on save until `stop` resolves.
pub(super) async fn until(
    stop: impl Future<Output = ()>,
    dev: &Dev,
    mut saved: Watch,
    running: &mut Running,
    printer: &Printer,
    simulation: Option<&Simulation>,
) {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = saved.changed() => {}
        }
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
        Change::Renewed => good("took up changed secrets, connected as it is"),
        Change::Stopped(_) => good("is gone and stopped"),
        Change::Waiting(missing) => {
            let missing = missing.join(", ");
            format!(
                "{} {name} needs {missing}; the last good one goes on",
                paint.red("not reloaded:")
            )
        }
        Change::Refused(error) => {
            let cause = crate::cli::failure::chain(error);
            format!("{} {cause}; the last good one goes on", paint.red("not reloaded:"))
        }
    }
}
