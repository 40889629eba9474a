//! The API server through `kubectl proxy`: plain HTTP, no start of a program for each request.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
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

    /// A watch: its events come as lines, for as long as somebody reads.
    pub(super) fn open(&self, path: &str) -> Result<BufReader<TcpStream>, BenchError> {
        match ask(self.port, "GET", path, "", "")? {
            (code, lines) if code.starts_with('2') => Ok(lines),
            (code, _) => Err(BenchError::Wrong(format!("GET {path}: {code}"))),
        }
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
    let (code, mut answer) = ask(port, method, path, kind, body)?;
    let mut body = String::new();
    answer.read_to_string(&mut body).context("a request was not answered")?;
    if code.starts_with('2') {
        return Ok(body);
    }
    Err(BenchError::Wrong(format!("{method} {path}: {code} {body}")))
}

/// The answer's code and what follows its head.
fn ask(
    port: u16,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Result<(String, BufReader<TcpStream>), BenchError> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("nobody listens")?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).context("a request was not sent")?;
    let mut answer = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).context("a request was not answered")?;
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line);
    }
    let code = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("none");
    Ok((code.to_owned(), answer))
}
