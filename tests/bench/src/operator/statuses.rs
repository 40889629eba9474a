//! The statuses of all objects, as a watch tells them: nobody asks for them again and again.

use std::{
    io::BufRead as _,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::{api::Api, generation, observed, parse, path};
use crate::error::BenchError;

/// What a status said, and when it came.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) observed: i64,
    pub(super) at: Instant,
}

/// A watch of the objects; it ends with the API server's answer.
#[derive(Debug)]
pub(super) struct Statuses {
    told: Receiver<Told>,
}

impl Statuses {
    /// From the present state on.
    pub(super) fn watch(api: &Api) -> Result<Self, BenchError> {
        let list = parse(&api.get(&format!("{}?limit=1", path("")))?)?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let lines = api.open(&format!("{}?watch=1&resourceVersion={version}", path("")))?;
        let (sender, told) = channel();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let at = Instant::now();
                let Ok(event) = parse(&line) else { continue };
                let object = &event["object"];
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let observed = observed(object).min(generation(object));
                if sender.send(Told { name, observed, at }).is_err() {
                    return;
                }
            }
        });
        Ok(Self { told })
    }

    pub(super) fn next(&self, patience: Duration) -> Result<Told, BenchError> {
        let missing = || BenchError::Wrong(format!("no status within {} s", patience.as_secs()));
        self.told.recv_timeout(patience).map_err(|_| missing())
    }
}
