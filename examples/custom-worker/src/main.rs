//! `cargo run -p custom-worker -- examples/custom-worker/routes.yaml`, with `MQTT_BROKER` set.

use std::process::ExitCode;

use routemq_worker::{Worker, WorkerError};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), WorkerError> {
    Worker::from_env()?.with_registry(custom_worker::registry()).run().await.map(drop)
}
