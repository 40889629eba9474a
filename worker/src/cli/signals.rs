//! Ctrl-C and SIGTERM.

use tokio::sync::watch;

use super::failure::Failure;

/// Signals from the moment it is made: none is missed between two waits.
#[derive(Debug)]
pub(crate) struct Signals {
    count: watch::Receiver<u32>,
}

impl Signals {
    /// From now on SIGINT and SIGTERM no longer end the process.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::world("cannot listen for signals").because(&error);
        let mut source = source().map_err(failed)?;
        let (sender, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                source.next().await;
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { count })
    }

    /// The next signal since the last call.
    pub(crate) async fn next(&mut self) {
        if self.count.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
fn source() -> std::io::Result<Source> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Source {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    })
}

#[cfg(unix)]
impl Source {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Source {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
fn source() -> std::io::Result<Source> {
    Ok(Source { interrupt: tokio::signal::windows::ctrl_c()? })
}

#[cfg(windows)]
impl Source {
    async fn next(&mut self) {
        self.interrupt.recv().await;
    }
}
