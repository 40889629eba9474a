//! The API server through `kubectl proxy`: plain HTTP, no start of a program for each request.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use routemq_tests::{ControlPlane, Directory, Launch, Process, free_port};
use serde_json::Value;

use crate::error::{BenchError, Context as _};

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
const START: Duration = Duration::from_secs(20);

/// A way to the API server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Api {
    port: u16,
    _proxy: Process,
    _directory: Directory,
}

impl Api {
    pub(super) fn start(plane: &ControlPlane) -> Result<Self, BenchError> {
        let (directory, port) = (Directory::new("bench-proxy"), free_port());
        let proxy = Launch::new(plane.tools()[0].join("kubectl"))
            .args(["--kubeconfig", &plane.kubeconfig().to_string_lossy()])
            .args(["proxy", "--port", &port.to_string()])
            .start(&directory.path().join("proxy.log"));
        let api = Self { port, _proxy: proxy, _directory: directory };
        let started = Instant::now();
        while api.get("/readyz").is_err() {
            if started.elapsed() > START {
                return Err(BenchError::Absent("an answer of kubectl proxy".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(api)
    }

    pub(super) fn get(&self, path: &str) -> Result<String, BenchError> {
        exchange(self.port, "GET", path, "", "")
    }

    pub(super) fn post(&self, path: &str, object: &Value) -> Result<String, BenchError> {
        exchange(self.port, "POST", path, JSON, &object.to_string())
    }

    pub(super) fn patch(&self, path: &str, change: &Value) -> Result<String, BenchError> {
        exchange(self.port, "PATCH", path, MERGE, &change.to_string())
    }
}

/// One request, by HTTP/1.0: the answer ends with the connection. An error where it is no success.
pub(super) fn exchange(
    port: u16,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Result<String, BenchError> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("nobody listens")?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).context("a request was not sent")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("a request was not answered")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let code = head.split(' ').nth(1).unwrap_or("none");
    if code.starts_with('2') {
        return Ok(body.to_owned());
    }
    Err(BenchError::Wrong(format!("{method} {path}: {code} {body}")))
}
