//! The release operator, with the rights that the chart gives it.

use routemq_tests::{ControlPlane, Directory, Launch, Process, free_port};

use super::api::exchange;
use crate::{cpu, error::BenchError};

/// A running operator; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Operator {
    process: Process,
    port: u16,
    _directory: Directory,
}

/// What it has done since its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Done {
    pub(super) reconciles: f64,
    pub(super) writes: f64,
}

impl Operator {
    pub(super) fn start(plane: &ControlPlane) -> Result<Self, BenchError> {
        let own = std::env::current_exe().ok();
        let program = own.and_then(|own| Some(own.parent()?.join("routemq-operator")));
        let program = program.filter(|it| it.is_file()).ok_or_else(|| {
            BenchError::Absent(
                "routemq-operator beside this program: start tests/bench/run".to_owned(),
            )
        })?;
        let (directory, port) = (Directory::new("bench-operator"), free_port());
        let process = Launch::new(program)
            .env("KUBECONFIG", plane.kubeconfig_of("routemq", "routemq-operator"))
            // As the image has it.
            .env("MALLOC_ARENA_MAX", "2")
            .env("ROUTEMQ_NAMESPACE", "routemq")
            .env("ROUTEMQ_POD_NAME", format!("bench-{port}"))
            .env("ROUTEMQ_BROKER_URL", "mqtt://mosquitto.mqtt.svc:1883")
            .env("ROUTEMQ_WORKER_IMAGE", "routemq:bench")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .start(&directory.path().join("operator.log"));
        Ok(Self { process, port, _directory: directory })
    }

    /// Resident memory, in megabytes.
    #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
    pub(super) fn memory(&self) -> f64 {
        cpu::memory(self.process.pid()).unwrap_or(0) as f64 / 1_000_000.0
    }

    /// Nothing yet, where it does not answer yet.
    pub(super) fn done(&self) -> Done {
        let text = exchange(self.port, "GET", "/metrics", "", "").unwrap_or_default();
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Done {
            reconciles: sum("routemq_operator_reconciles_total"),
            writes: sum("routemq_operator_writes_total"),
        }
    }
}
