//! The worker's own code: what the routes call by name. Apart from `main`, so that tests have it too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use routemq_worker::{
    Message, Next, Outcome, Registry,
    extract::{Config, Json, Params, Permanent, Publisher, State},
    middleware::from_fn_with_config,
    mqtt::{Outgoing, PublishError},
};
use serde::Deserialize;
use serde_json::Value;

/// What the handlers share.
#[derive(Debug, Default)]
pub struct App {
    seen: Mutex<HashMap<Device, u64>>,
}

/// The params of the route's pattern.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
pub struct Device {
    /// Where it stands.
    pub site: String,
    /// Its number there.
    pub number: u32,
}

/// The payload.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// Percent.
    pub battery: u8,
}

/// What the spec says under `config`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Percent below which an alarm is raised.
    pub low_battery: u8,
}

/// Why a status is not handled.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// More than full: trying again is no use.
    #[error("a battery cannot be at {0} %")]
    Impossible(u8),
    /// The broker refused the alarm.
    #[error("the alarm was not published")]
    Alarm(#[from] PublishError),
}

impl App {
    /// Counts a device's message; how many it has sent.
    pub fn count(&self, device: &Device) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(device.clone()).or_default();
        *count += 1;
        *count
    }
}

/// Counts each device's messages, and raises an alarm where a battery is low.
///
/// # Errors
/// A status that no device can have is dead-lettered; an alarm that was not published is tried again.
pub async fn device_status(
    Params(device): Params<Device>,
    Json(status): Json<Status>,
    Config(limits): Config<Limits>,
    State(app): State<App>,
    publisher: Publisher,
) -> Result<Outcome, Permanent<StatusError>> {
    if status.battery > 100 {
        return Err(Permanent(StatusError::Impossible(status.battery)));
    }
    let count = app.count(&device);
    if status.battery < limits.low_battery {
        let topic = format!("alarms/{}/{}", device.site, device.number).into();
        let payload = format!("battery at {} %, message {count}", status.battery).into();
        let alarm = Outgoing { topic, payload, ..Outgoing::default() };
        publisher.publish(alarm).await.map_err(StatusError::Alarm)?;
    }
    Ok(Outcome::Done)
}

/// Lets messages pass that carry the token of the spec's `config` in the user property `token`.
pub async fn require_token(message: Message, next: Next, config: Arc<Value>) -> Outcome {
    let token = config["token"].as_str();
    let user = message.properties().map(|it| it.user.as_slice()).unwrap_or_default();
    if user.iter().any(|(name, value)| name == "token" && Some(value.as_str()) == token) {
        return next.run(message).await;
    }
    Outcome::Rejected("NoToken")
}

/// Everything that the routes refer to by name.
pub fn registry() -> Registry {
    Registry::new()
        .state(App::default())
        .middleware("require-token", from_fn_with_config(require_token))
        .handler("device-status", device_status)
}
