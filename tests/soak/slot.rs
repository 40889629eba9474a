//! One worker: its process, and the proxy before it.

use std::{net::SocketAddr, time::Duration};

use routemq_tests::{Proxy, WorkerConfig, WorkerProcess};

use crate::{options::Control, witness::Witness};

/// A drain of 30 s, and what a busy machine needs to end a process.
const GRACE: Duration = Duration::from_secs(45);

/// A slot, its process running or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) proxy: Proxy,
    config: WorkerConfig,
    control: Option<Control>,
    process: Option<WorkerProcess>,
    running: bool,
    /// What earlier pods of this seat wrote.
    before: String,
}

impl Slot {
    /// Not started.
    pub(crate) async fn new(
        number: u32,
        broker: SocketAddr,
        witness: &Witness,
        config: &WorkerConfig,
        control: Option<Control>,
    ) -> Self {
        let proxy = Proxy::tapped(broker, witness.tap(number)).await;
        let config = WorkerConfig { broker: Some(proxy.url()), ..config.clone() };
        let config = WorkerConfig { slot: config.slot.map(|_| number), ..config };
        let before = String::new();
        Self { number, proxy, config, control, process: None, running: false, before }
    }

    /// Whether it was ever started.
    pub(crate) fn was_used(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process is supposed to run.
    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// From the next start on it is another pod.
    pub(crate) fn become_pod(
        &mut self,
        (arguments, environment): (Vec<String>, Vec<(String, String)>),
    ) {
        if self.config.environment != environment {
            self.before = self.output();
            self.process = None;
            (self.config.arguments, self.config.environment) = (arguments, environment);
        }
    }

    /// Starts the process, again with the same configuration; kills it first where it runs.
    pub(crate) fn start(&mut self) {
        self.running = true;
        if self.control == Some(Control::RandomClientIds) {
            let id = ("MQTT_CLIENT_ID".to_owned(), format!("random-{:08x}", fastrand::u32(..)));
            self.config.environment = vec![id];
            self.process = None;
        }
        match &mut self.process {
            Some(process) => process.restart(),
            None => self.process = Some(WorkerProcess::run(&self.config)),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.running = false;
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// SIGTERM, and its end awaited.
    ///
    /// # Errors
    /// It ends with something else than 0, or not within its grace (then it is killed).
    pub(crate) async fn terminate(&mut self) -> Result<(), String> {
        self.running = false;
        let Some(process) = &mut self.process else { return Ok(()) };
        process.process().signal(routemq_tests::Signal::TERM);
        let deadline = tokio::time::Instant::now() + GRACE;
        while tokio::time::Instant::now() < deadline {
            match process.process().exit_status() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("ended with {status} after SIGTERM")),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        process.kill();
        Err(format!("still running {} s after SIGTERM", GRACE.as_secs()))
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&mut self) {
        self.signal(routemq_tests::Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self) {
        self.signal(routemq_tests::Signal::CONT);
    }

    fn signal(&mut self, signal: routemq_tests::Signal) {
        if let Some(process) = &mut self.process {
            process.process().signal(signal);
        }
    }

    /// Ended although nobody asked it to: how.
    pub(crate) fn fell_over(&mut self) -> Option<String> {
        let process = self.process.as_mut().filter(|_| self.running)?;
        let status = process.process().exit_status()?;
        self.running = false;
        Some(format!("ended by itself with {status}"))
    }

    /// Writes the documents for the next start.
    pub(crate) fn write_routes(&mut self, routes: &str) {
        routes.clone_into(&mut self.config.routes);
        if let Some(process) = &self.process {
            std::fs::write(process.routes_path(), routes).expect("its directory can be written");
        }
    }

    /// The most resident memory of this life, bytes.
    pub(crate) fn peak_memory(&mut self) -> Option<u64> {
        let process = self.process.as_mut().filter(|_| self.running)?;
        if process.process().exit_status().is_some() {
            return None;
        }
        Some(process.process().peak_resident_bytes())
    }

    /// What it wrote in all its lives.
    pub(crate) fn output(&self) -> String {
        let own = self.process.as_ref().map(WorkerProcess::output).unwrap_or_default();
        format!("{}{own}", self.before)
    }
}
