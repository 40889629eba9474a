//! One or the other broker, for suites that hold on both.

use std::{net::SocketAddr, process::ExitStatus};

use crate::{Client, Mosquitto, MosquittoConfig, Rmqtt};

/// A running broker.
#[derive(Debug)]
pub enum Broker {
    /// mosquitto: a share's part for an absent member waits in that member's session.
    Mosquitto(Mosquitto),
    /// rmqtt: a share's messages go to members that are connected, and sessions live in memory.
    Rmqtt(Rmqtt),
}

impl Broker {
    /// A mosquitto with the defaults.
    pub async fn mosquitto() -> Self {
        Self::Mosquitto(Mosquitto::start(MosquittoConfig::default()).await)
    }

    /// A mosquitto that sends no more than the receive maximum, where the machine has one: before 2.0.13 it now and then sends all
    /// that it has, also to a new session.
    pub async fn recent_mosquitto() -> Self {
        Self::Mosquitto(Mosquitto::start(MosquittoConfig::recent()).await)
    }

    /// An rmqtt.
    pub async fn rmqtt() -> Self {
        Self::Rmqtt(Rmqtt::start().await)
    }

    /// Which of both.
    pub fn is_mosquitto(&self) -> bool {
        matches!(self, Self::Mosquitto(_))
    }

    /// Which, and which version: `mosquitto 2.0.21`.
    pub fn name(&self) -> String {
        match self {
            Self::Mosquitto(broker) => {
                let (major, minor, patch) = broker.version();
                format!("mosquitto {major}.{minor}.{patch}")
            }
            Self::Rmqtt(_) => "rmqtt".to_owned(),
        }
    }

    /// `127.0.0.1` and the port.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Mosquitto(broker) => broker.address(),
            Self::Rmqtt(broker) => broker.address(),
        }
    }

    /// `mqtt://127.0.0.1:<port>`, or `mqtts://localhost:<port>` with TLS.
    pub fn url(&self) -> String {
        match self {
            Self::Mosquitto(broker) => broker.url(),
            Self::Rmqtt(broker) => format!("mqtt://{}", broker.address()),
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        match self {
            Self::Mosquitto(broker) => broker.log(),
            Self::Rmqtt(broker) => broker.log(),
        }
    }

    /// Whether it sends a client no more unacknowledged messages than that client asked for.
    pub fn keeps_to_receive_maximum(&self) -> bool {
        match self {
            Self::Mosquitto(broker) => broker.keeps_to_receive_maximum(),
            Self::Rmqtt(_) => true,
        }
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) -> ExitStatus {
        match self {
            Self::Mosquitto(broker) => broker.stop().await,
            Self::Rmqtt(broker) => broker.stop().await,
        }
    }

    /// SIGKILL: what was not written to disk is gone.
    pub fn kill(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.kill(),
            Self::Rmqtt(broker) => broker.kill(),
        }
    }

    /// Starts it again on the same port, with what is on disk.
    pub async fn restart(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.restart().await,
            Self::Rmqtt(broker) => broker.restart().await,
        }
    }

    /// Stands still: accepts at TCP level, says nothing.
    pub fn pause(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.pause(),
            Self::Rmqtt(broker) => broker.pause(),
        }
    }

    /// Goes on.
    pub fn resume(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.resume(),
            Self::Rmqtt(broker) => broker.resume(),
        }
    }

    /// A client of this broker, connected.
    pub async fn client(&self, client_id: &str) -> Client {
        match self {
            Self::Mosquitto(broker) => broker.client(client_id).await,
            Self::Rmqtt(broker) => broker.client(client_id).await,
        }
    }

    // === What only mosquitto has ===

    /// Writes another access list and makes it read.
    pub fn reload_acl(&mut self, acl: &str) {
        match self {
            Self::Mosquitto(broker) => broker.reload_acl(acl),
            Self::Rmqtt(_) => panic!("rmqtt has no access list here"),
        }
    }

    /// The value of `$SYS/broker/<name>`.
    pub async fn sys(&self, name: &str) -> String {
        match self {
            Self::Mosquitto(broker) => broker.sys(name).await,
            Self::Rmqtt(_) => panic!("rmqtt publishes no $SYS/broker/{name} here"),
        }
    }
}
