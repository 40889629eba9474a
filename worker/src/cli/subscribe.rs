//! `routemq sub`: watches messages.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use chrono::Local;
use clap::Args;
use routemq_mqtt::{AckToken, Acks, Delivery, End, Publish, QoS, Receiver, Subscription};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Ended, Output,
    connection::{self, BrokerArguments},
    failure::Failure,
    print,
    publish::qos,
    signals::Signals,
    style::Paint,
};

/// Watches messages, a line each, until Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    routemq sub 'devices/#'\n  \
    routemq sub 'dead/+' --output json | jq .payload\n  \
    routemq sub devices/d-17/answer --count 1 --timeout 5\n\n\
    Exit codes: 0 done, 1 a filter is wrong, 3 no broker, it refuses, or --timeout passed before --count.")]
pub(crate) struct Sub {
    /// Topic filters, wildcards as MQTT has them
    #[arg(required = true, value_name = "FILTER")]
    filters: Vec<String>,
    /// Ends after so many messages
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Ends after so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// The highest quality of service: 0, 1 or 2
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// How messages are printed; JSON is an object a line
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    broker: BrokerArguments,
}

/// Hands messages to the printer.
struct Watcher {
    messages: mpsc::UnboundedSender<(Publish, Option<AckToken>)>,
}

impl Receiver for Watcher {
    fn deliver(&mut self, Delivery { arrival, token }: Delivery<'_>) {
        // Bounded by the receive maximum: tokens are given back after printing.
        let _ = self.messages.send((arrival.into_publish(), token));
    }
}

/// Why watching ended.
enum Over {
    Counted,
    TimedOut,
    Interrupted,
}

impl Sub {
    pub(crate) async fn execute(self) -> Ended {
        let mut signals = Signals::listen()?;
        let config = self.broker.session("sub")?;
        let (messages, mut incoming) = mpsc::unbounded_channel();
        let mut given = None;
        let session = connection::connect(config, |acks| {
            given = Some(acks);
            Watcher { messages }
        })
        .await?;
        session.subscribe_to(self.subscriptions()).await;
        connection::granted(&session, &self.filters).await?;
        eprintln!("note: watching {}; Ctrl-C ends", self.filters.join(", "));
        let deadline = self.timeout.map(Duration::from_secs);
        let over = tokio::select! {
            over = self.watch(&mut incoming, given.as_ref()) => over?,
            () = until(deadline) => Over::TimedOut,
            () = signals.next() => Over::Interrupted,
        };
        session.stop(End::Discard, Duration::from_secs(2)).await;
        match (over, self.count, self.timeout) {
            (Over::TimedOut, Some(count), Some(seconds)) => {
                Err(Failure::world(format!("fewer than {count} messages came within {seconds} s")))
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let filters = self.filters.iter().enumerate();
        let subscription = |(index, filter): (usize, &String)| Subscription {
            filter: filter.as_str().into(),
            qos: qos(self.qos),
            identifier: u32::try_from(index + 1).unwrap_or(1),
        };
        filters.map(subscription).collect()
    }

    async fn watch(
        &self,
        incoming: &mut mpsc::UnboundedReceiver<(Publish, Option<AckToken>)>,
        acks: Option<&Acks>,
    ) -> Result<Over, Failure> {
        let paint = Paint::stdout();
        let mut left = self.count;
        while let Some((publish, token)) = incoming.recv().await {
            print(&match self.output {
                Output::Text => line(&publish, paint),
                Output::Json => format!("{}\n", object(&publish)),
            })?;
            if let (Some(acks), Some(token)) = (acks, token) {
                acks.done(token);
            }
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(Over::Counted);
            }
        }
        Ok(Over::Interrupted)
    }
}

async fn until(deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline).await,
        None => std::future::pending().await,
    }
}

/// `12:00:01.123  devices/d-17/status  {"status":"ok"}  retained`
fn line(publish: &Publish, paint: Paint) -> String {
    let time = Local::now().format("%H:%M:%S%.3f").to_string();
    let payload = match std::str::from_utf8(&publish.payload) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\t') => text.to_owned(),
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => format!("<{} bytes: {}>", publish.payload.len(), hex(&publish.payload)),
    };
    let retained = if publish.retain { paint.dim("  retained") } else { String::new() };
    format!("{}  {}  {payload}{retained}\n", paint.dim(&time), paint.cyan(&publish.topic))
}

/// The first 32 bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(65);
    for byte in bytes.iter().take(32) {
        // Writing to a String does not fail.
        let _ = write!(shown, "{byte:02x}");
    }
    if bytes.len() > 32 { shown + "…" } else { shown }
}

fn object(publish: &Publish) -> Value {
    let mut object = json!({
        "time": Local::now().to_rfc3339(),
        "topic": &*publish.topic,
        "qos": number(publish.qos),
        "retain": publish.retain,
        "duplicate": publish.duplicate,
    });
    let payload = match std::str::from_utf8(&publish.payload) {
        Ok(text) => ("payload", serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
        Err(_) => ("payloadBytes", json!(publish.payload.to_vec())),
    };
    object[payload.0] = payload.1;
    if let Some(properties) = &publish.properties {
        if let Some(topic) = &properties.response_topic {
            object["responseTopic"] = json!(topic);
        }
        if let Some(kind) = &properties.content_type {
            object["contentType"] = json!(kind);
        }
        if !properties.user.is_empty() {
            object["userProperties"] = json!(properties.user);
        }
    }
    object
}

fn number(qos: QoS) -> u8 {
    match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}
