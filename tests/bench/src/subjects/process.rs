//! A subject from outside: started, watched, ended.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{Kind, Order, profile, progress::Progress, python};
use crate::{
    cpu,
    error::{BenchError, Context as _},
};

/// A running subject; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    child: Child,
    progress: File,
    path: PathBuf,
    metrics: u16,
}

impl Subject {
    /// Starts it and waits until it is subscribed; the Python framework, which says nothing of that, is only started.
    pub(crate) fn start(order: &Order) -> Result<Self, BenchError> {
        if order.kind == Kind::Python {
            return Self::start_python(order);
        }
        let mut child = command(order)?.spawn().context("the subject does not start")?;
        let Some(output) = child.stdout.take() else {
            return Err(BenchError::Wrong("the subject has no output".to_owned()));
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("the subject says nothing")?;
        let Some(metrics) = line.trim().strip_prefix("ready ").and_then(|it| it.parse().ok())
        else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(BenchError::Wrong(format!(
                "{} is not ready: {line:?}",
                order.kind.label()
            )));
        };
        let path = order.progress.clone();
        let progress = File::open(&path).context("the subject shows no progress")?;
        Ok(Self { kind: order.kind, child, progress, path, metrics })
    }

    fn start_python(order: &Order) -> Result<Self, BenchError> {
        let child =
            python::command(order)?.spawn().context("the Python framework does not start")?;
        let path = order.progress.clone();
        let progress = File::open(&path).context("the subject shows no progress")?;
        Ok(Self { kind: order.kind, child, progress, path, metrics: 0 })
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress::read(&self.progress)
    }

    /// Processor time so far, in nanoseconds.
    pub(crate) fn time(&self) -> u64 {
        cpu::time(self.child.id()).unwrap_or(0)
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        cpu::memory(self.child.id()).unwrap_or(0)
    }

    /// Its metrics, as Prometheus would read them; nothing where it has none.
    pub(crate) fn scrape(&self) -> String {
        let mut text = String::new();
        if self.metrics > 0
            && let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.metrics))
        {
            let request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
            // A scrape that fails is one without text.
            let _ = stream.write_all(request).and_then(|()| stream.read_to_string(&mut text));
        }
        text
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = profile::end(&mut self.child);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn command(order: &Order) -> Result<Command, BenchError> {
    use clap::ValueEnum as _;
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map(|it| it.get_name().to_owned()).unwrap_or_default()
    };
    let own = std::env::current_exe().context("this program is not found")?;
    let mut command = Command::new(own);
    command.arg("subject").arg(word(order.kind.to_possible_value()));
    for (name, value) in [
        ("--port", order.port.to_string()),
        ("--window", order.window.to_string()),
        ("--qos", order.qos.to_string()),
        ("--routes", order.routes.to_string()),
        ("--keys", order.keys.to_string()),
        ("--progress", order.progress.display().to_string()),
        ("--work", word(order.work.to_possible_value())),
    ] {
        command.args([name, &value]);
    }
    if let Some(processor) = order.processor {
        command.args(["--processor", &processor.to_string()]);
    }
    if let Some(database) = &order.database {
        command.args(["--database", database]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}
