//! A program that counts what it runs through (`tests/bench/profile`) writes the counts down when it ends in order, and not when it is killed.

use std::{env, io, process::Child, thread};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchError, Context as _};

/// Far longer than it takes to write a few megabytes.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

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
    // From here on, not from whenever the thread begins.
    let terminate = runtime.block_on(async { signal(SignalKind::terminate()) });
    let mut terminate = terminate.context("no signals")?;
    thread::spawn(move || {
        runtime.block_on(terminate.recv());
        std::process::exit(0);
    });
    Ok(())
}

/// From outside: ends it in order, where counts are to be written.
pub(super) fn end(child: &Child) -> io::Result<()> {
    if !asked() {
        return Ok(());
    }
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    pidfd_send_signal(&process, Signal::TERM)?;
    // Readable when it has ended.
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE))?;
    Ok(())
}
