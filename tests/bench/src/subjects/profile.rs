//! A program that counts what it runs through (`tests/bench/profile`) writes the counts down when it ends in order, and not when it is killed.

use std::{env, process::Child, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchError, Context as _};

/// Far longer than it takes to write a few megabytes.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// Whether counts are to be written, as LLVM's runtime is told.
fn asked() -> bool {
    env::var_os("LLVM_PROFILE_FILE").is_some()
}

/// The subject's side: from now on SIGTERM ends it in order.
pub(super) fn end_in_order() -> Result<(), BenchError> {
    if !asked() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime")?;
    let terminate = {
        let _in = runtime.enter();
        signal(SignalKind::terminate()).context("no signals")
    };
    let mut terminate = terminate?;
    thread::spawn(move || {
        runtime.block_on(terminate.recv());
        std::process::exit(0);
    });
    Ok(())
}

/// From outside: ends it in order, where counts are to be written.
pub(super) fn end(child: &mut Child) {
    if !asked() || kill_process(Pid::from_child(child), Signal::TERM).is_err() {
        return;
    }
    let looks = PATIENCE.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(LOOK);
    }
}
