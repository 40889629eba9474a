//! `routemq pub`: publishes, each message confirmed by the broker.

use std::{io::Read, path::PathBuf, process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::Args;
use routemq_mqtt::{Outgoing, Properties, Publisher, QoS};

use super::{Ended, connection::BrokerArguments, failure::Failure, style};

/// How long a message may take to be confirmed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes a message, and waits until the broker has it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    routemq pub devices/control/d-17 '{\"command\":\"restart\"}'\n  \
    routemq pub images/d-17 -f photo.jpg --qos 2\n  \
    date | routemq pub clock - --retain\n  \
    routemq pub load/test '{\"n\":1}' --count 1000 --rate 100\n\n\
    Exit codes: 0 the broker has it, 1 the topic or payload is wrong, 3 no broker or it refuses.")]
pub(crate) struct Pub {
    /// The topic, without wildcards
    topic: String,
    /// The payload; - reads standard input [default: empty]
    #[arg(conflicts_with = "file")]
    payload: Option<String>,
    /// Reads the payload from a file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Quality of service: 0, 1 or 2
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// The broker keeps it for later subscribers
    #[arg(short, long)]
    retain: bool,
    /// How often it is published
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Messages a second at most [default: as fast as they are confirmed]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// A user property; may be given more than once
    #[arg(short = 'D', long = "user-property", value_name = "NAME=VALUE", value_parser = property)]
    user_properties: Vec<(String, String)>,
    /// Where an answer should go
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,
    #[command(flatten)]
    broker: BrokerArguments,
}

/// `N` or `N/s`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .strip_suffix("/s")
        .unwrap_or(text)
        .parse()
        .map_err(|_| "write a number of messages a second, such as 5/s".to_owned())?;
    if number.is_finite() && (0.001..=100_000.0).contains(&number) {
        Ok(number)
    } else {
        Err("write a number between 0.001/s and 100000/s".to_owned())
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn qos(number: u8) -> QoS {
    match number {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

impl Pub {
    pub(crate) async fn execute(self) -> Ended {
        topic_name(&self.topic)?;
        let message = self.message()?;
        let publisher = self.broker.publisher("pub").await?;
        let sent = self.send(&publisher, message).await;
        publisher.stop(Duration::from_secs(2)).await;
        let unheard = sent?;
        if unheard > 0 {
            let what = style::count(usize::try_from(unheard).unwrap_or(usize::MAX), "message");
            eprintln!("note: nobody subscribes to {}: {what} went nowhere", self.topic);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// How many of the messages nobody subscribes to.
    async fn send(&self, publisher: &Publisher, message: Outgoing) -> Result<u64, Failure> {
        let pause = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let mut ticks = pause.map(tokio::time::interval);
        let mut unheard = 0;
        for _ in 0..self.count {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let publish = tokio::time::timeout(PATIENCE, publisher.publish(message.clone()));
            let answer = publish.await.map_err(|_| self.unconfirmed())?;
            let answer = answer.map_err(|error| Failure::world_from(&error))?;
            unheard += u64::from(answer.no_subscribers);
        }
        Ok(unheard)
    }

    fn unconfirmed(&self) -> Failure {
        let seconds = PATIENCE.as_secs();
        Failure::world(format!("the broker did not confirm {} within {seconds} s", self.topic))
    }

    fn message(&self) -> Result<Outgoing, Failure> {
        let properties = Properties {
            response_topic: self.response_topic.clone(),
            user: self.user_properties.clone(),
            ..Properties::default()
        };
        Ok(Outgoing {
            topic: self.topic.as_str().into(),
            payload: self.content()?,
            qos: qos(self.qos),
            retain: self.retain,
            properties: (properties != Properties::default()).then(|| Box::new(properties)),
        })
    }

    fn content(&self) -> Result<Bytes, Failure> {
        match (&self.payload, &self.file) {
            (Some(text), _) if text == "-" => stdin(),
            (Some(text), _) => Ok(Bytes::from(text.clone())),
            (None, Some(path)) if path.as_os_str() == "-" => stdin(),
            (None, Some(path)) => std::fs::read(path).map(Bytes::from).map_err(|error| {
                Failure::input(format!("cannot read {}", path.display())).because(&error)
            }),
            (None, None) => Ok(Bytes::new()),
        }
    }
}

fn stdin() -> Result<Bytes, Failure> {
    let mut payload = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut payload);
    read.map_err(|error| Failure::input("cannot read standard input").because(&error))?;
    Ok(payload.into())
}

fn topic_name(topic: &str) -> Result<(), Failure> {
    if topic.is_empty() || topic.contains(['+', '#', '\0']) || topic.len() > 65_535 {
        return Err(Failure::input(format!(
            "{topic:?} is not a topic to publish to: it must be 1 to 65,535 bytes without '+', '#' and NUL"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_or_without_its_unit() {
        let rows =
            [("5/s", Some(5.0)), ("0.5", Some(0.5)), ("0", None), ("x/s", None), ("-1", None)];
        for (text, want) in rows {
            assert_eq!(rate(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_not_published_to() {
        for topic in ["", "a/+", "#"] {
            assert!(topic_name(topic).is_err(), "{topic}");
        }
        assert!(topic_name("a/b").is_ok());
    }
}
