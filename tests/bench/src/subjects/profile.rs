//! What a program runs through (`tests/bench/profile`, `tests/bench/layout`) is written when it ends in order, and not when it is killed.

use std::{env, io, process::Child, thread};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchError, Context as _};

/// Whether it is to be written.
fn asked() -> bool {
    env::var_os("ROUTEMQ_BENCH_IN_ORDER").is_some()
}

/// The subject's side: from now on SIGTERM ends it in order.
pub(super) fn end_in_order() -> Result<(), BenchError> {
    if !asked() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime")?;
    // From here on, not from whenever the thread begins.
    let terminate = runtime.block_on(async { signal(SignalKind::terminate()) });
    let mut terminate = terminate.context("no signals")?;
    thread::spawn(move || {
        runtime.block_on(terminate.recv());
        std::process::exit(0);
    });
    Ok(())
}

/// From outside: ends it in order, where that is to be written.
pub(super) fn end(child: &mut Child) -> io::Result<()> {
    if asked() {
        kill_process(Pid::from_child(child), Signal::TERM)?;
        child.wait()?;
    }
    Ok(())
}
