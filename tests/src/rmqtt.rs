//! An rmqtt of one's own: a second MQTT 5 broker, built by tests/brokers/build.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::{
    Client, ClientConfig, Directory, Launch, Process, Signal, folder, free_port, process::accepts,
};

/// A running rmqtt on a loopback port, its sessions in memory; dropping it kills it.
#[derive(Debug)]
pub struct Rmqtt {
    process: Process,
    port: u16,
    directory: Directory,
}

impl Rmqtt {
    /// Starts it and waits until it accepts connections.
    pub async fn start() -> Self {
        let directory = Directory::new("rmqtt");
        for _ in 0..5 {
            let port = free_port();
            let mut process = launch(&directory, port);
            if accepts(&mut process, port).await {
                return Self { process, port, directory };
            }
        }
        panic!("rmqtt does not start: see {}", log(&directory).display())
    }

    /// `127.0.0.1` and the port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// SIGTERM, and its end awaited: sessions and messages are gone.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.exit(Duration::from_secs(30)).await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, without sessions (stops it first where it runs).
    pub async fn restart(&mut self) {
        if self.process.exit_status().is_none() {
            self.stop().await;
        }
        self.process = launch(&self.directory, self.port);
        assert!(
            accepts(&mut self.process, self.port).await,
            "rmqtt does not start again: see {}",
            log(&self.directory).display()
        );
    }

    /// Stands still: accepts at TCP level, says nothing.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// A client of this broker, connected.
    pub async fn client(&self, client_id: &str) -> Client {
        Client::connect(self.address(), ClientConfig::new(client_id)).await
    }
}

fn launch(directory: &Directory, port: u16) -> Process {
    Launch::new(program()).arg(port.to_string()).start(&log(directory))
}

fn log(directory: &Directory) -> PathBuf {
    directory.path().join("rmqtt.log")
}

/// Built on first use; `./tests/run` does it beforehand, because it takes minutes.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let output = Command::new(folder("tests/brokers/build"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap_or_else(|error| panic!("tests/brokers/build cannot be started: {error}"));
        assert!(output.status.success(), "tests/brokers/build ended with {}", output.status);
        String::from_utf8(output.stdout).expect("paths are UTF-8").trim().into()
    })
}
