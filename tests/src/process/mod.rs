//! Child processes: started, signalled by their pid, ended with their handle.

mod launch;
mod naming;
mod spawn;
mod stat;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, kill_process};
use tokio::net::TcpStream;

pub use launch::{Launch, Owner};
pub use naming::processes_naming;
pub use rustix::process::Signal;

use crate::eventually;

/// A running child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
    exited: Option<ExitStatus>,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that takes standard output and standard error.
    pub fn output_path(&self) -> &Path {
        &self.output
    }

    /// What it has written to standard output and standard error so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("the child is ours to wait for");
        }
        self.exited
    }

    /// Waits for its end.
    pub async fn exit(&mut self, timeout: Duration) -> ExitStatus {
        let output = self.output.clone();
        eventually("the process ends", timeout, async || {
            self.exit_status().ok_or_else(|| format!("still running; output: {}", output.display()))
        })
        .await
    }

    /// Sends a signal to it alone; nothing once it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            send(self.pid(), signal);
        }
    }

    /// Sends a signal to it and to its descendants.
    pub fn signal_tree(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            for pid in tree::with_descendants(self.pid()) {
                send(pid, signal);
            }
        }
    }

    /// SIGKILL to it and its descendants, and its end awaited.
    pub fn kill(&mut self) {
        self.signal_tree(Signal::KILL);
        self.exited = self.exited.or_else(|| self.child.wait().ok());
    }

    /// Resident memory now, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_kilobytes("VmRSS:") * 1024
    }

    /// The most resident memory so far, bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_kilobytes("VmHWM:") * 1024
    }

    /// User and system time so far, to a hundredth of a second.
    pub fn processor_time(&self) -> Duration {
        // Fields 14 and 15.
        let fields = stat::after_name(format!("/proc/{}", self.pid()));
        let ticks: Vec<u64> = fields.iter().skip(11).take(2).flat_map(|it| it.parse()).collect();
        assert_eq!(ticks.len(), 2, "process {} has no processor time (is it gone?)", self.pid());
        Duration::from_millis(10 * ticks.iter().sum::<u64>())
    }

    fn status_kilobytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_else(|| panic!("process {} has no {field} (is it gone?)", self.pid()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            print_tail(&self.output);
        }
    }
}

/// True when it accepts connections on a loopback port; false when it ended (the port was taken after all).
pub(crate) async fn accepts(process: &mut Process, port: u16) -> bool {
    for _ in 0..1000 {
        if process.exit_status().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return process.exit_status().is_none();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn send(pid: u32, signal: Signal) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is positive");
    // It may have ended a moment ago: then there is nothing to signal.
    let _ = kill_process(process, signal);
    if signal == Signal::STOP {
        tree::until_stopped(pid);
    }
}

fn print_tail(output: &Path) {
    let text = String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(40)..];
    eprintln!("--- the last lines of {} ---\n{}", output.display(), tail.join("\n"));
}
