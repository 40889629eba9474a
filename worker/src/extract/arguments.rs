//! The arguments that a handler can take, but params.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use routemq_mqtt::{Outgoing, PublishError, Published};
use serde::de::DeserializeOwned;

use super::{Context, FromMessage, Rejection};
use crate::{message::Message, outbox::Outbox, registry::States};

/// The payload read as JSON into `T`, straight from the bytes.
///
/// ```
/// # use routemq_worker::extract::Json;
/// #[derive(serde::Deserialize)]
/// struct Status { battery: u8 }
///
/// async fn status(Json(status): Json<Status>) {
///     println!("{} %", status.battery);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

/// The payload as text.
///
/// ```
/// # use routemq_worker::extract::Text;
/// async fn say(Text(text): Text) { println!("{text}"); }
/// ```
#[derive(Clone, Debug)]
pub struct Text(pub String);

/// The payload as bytes; shares the read buffer. `bytes::Bytes` itself is an argument, too.
///
/// ```
/// # use routemq_worker::extract::Raw;
/// async fn count(Raw(bytes): Raw) { println!("{} bytes", bytes.len()); }
/// ```
#[derive(Clone, Debug)]
pub struct Raw(pub Bytes);

/// The topic.
///
/// ```
/// # use routemq_worker::extract::Topic;
/// async fn trace(topic: Topic) { println!("{}", &*topic); }
/// ```
#[derive(Clone, Debug)]
pub struct Topic(pub ByteString);

/// Registered state, shared.
///
/// ```
/// # use routemq_worker::extract::State;
/// struct Fleet { region: String }
/// async fn region(State(fleet): State<Fleet>) { println!("{}", fleet.region); }
/// ```
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

/// Publishes, confirmed by the broker.
///
/// ```
/// # use routemq_worker::extract::{Publisher, Topic};
/// # use routemq_worker::mqtt::{Outgoing, PublishError};
/// async fn echo(topic: Topic, publisher: Publisher) -> Result<(), PublishError> {
///     let echo = Outgoing { topic: format!("echo/{}", &*topic).into(), ..Outgoing::default() };
///     publisher.publish(echo).await.map(drop)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Publisher(Outbox);

/// The spec's `config` of this handler, read into `T`.
///
/// ```
/// # use routemq_worker::extract::Config;
/// #[derive(serde::Deserialize)]
/// struct Limits { celsius: f64 }
/// async fn check(Config(limits): Config<Limits>) { println!("{} °C", limits.celsius); }
/// ```
#[derive(Clone, Debug)]
pub struct Config<T>(pub T);

/// What earlier handlers with `as` left, by name.
///
/// ```
/// # use routemq_worker::extract::Results;
/// async fn look(results: Results) { println!("{:?}", results.get("lookup")); }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Results(Vec<(String, serde_json::Value)>);

impl<T: DeserializeOwned + Send> FromMessage for Json<T> {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        let bytes = context.message.payload().view()?;
        // Looked at as text once, and not each text in it.
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        read.map(Self).map_err(|error| Rejection::Type { reason: place(&error) })
    }
}

/// Where and of which category, but not serde's words: they quote the payload.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

impl FromMessage for Text {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        let bytes = context.message.payload().view()?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Rejection::Type { reason: error.to_string() })?;
        Ok(Self(text.to_owned()))
    }
}

impl FromMessage for Raw {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.message.payload().bytes()?))
    }
}

impl FromMessage for Bytes {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(context.message.payload().bytes()?)
    }
}

impl FromMessage for Topic {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.message.shared_topic()))
    }
}

impl Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromMessage for Message {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(context.message.clone())
    }
}

impl<T: Send + Sync + 'static> FromMessage for State<T> {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        let missing = || Rejection::State(std::any::type_name::<T>());
        context.states.get().map(Self).ok_or_else(missing)
    }

    fn missing_state(states: &States) -> Option<&'static str> {
        states.missing::<T>()
    }
}

impl FromMessage for Publisher {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.outbox.clone()))
    }
}

impl Publisher {
    /// Publishes and waits until the broker has it; waits while the broker is away.
    ///
    /// # Errors
    /// Where the broker refuses it.
    pub async fn publish(&self, message: Outgoing) -> Result<Published, PublishError> {
        self.0.publish(message).await
    }
}

impl<T: DeserializeOwned + Send> FromMessage for Config<T> {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        T::deserialize(&**context.config).map(Self).map_err(Rejection::Config)
    }
}

impl FromMessage for Results {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.message.results()))
    }
}

impl Results {
    /// The result of the handler with `as: name`; `None` where it was skipped or left none.
    pub fn get(&self, name: &str) -> Option<&serde_json::Value> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value)
    }
}
