//! `rmqtt PORT`: an MQTT 5 broker on a loopback port, its sessions in memory, for tests.

mod router;

use std::{num::NonZeroU16, time::Duration};

use rmqtt::{
    context::ServerContext,
    net::{Builder, Error, Result},
    server::MqttServer,
};

/// Messages that it keeps for one session beyond those on the way.
const QUEUE: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| Error::msg("usage: rmqtt PORT"))?;
    let context = ServerContext::new()
        .plugins_config_map_add("rmqtt-shared-subscription", "strategy = \"round_robin\"\n")
        .build()
        .await;
    router::Gated::install(&context).await;
    rmqtt_shared_subscription::register(&context, true, false).await?;
    let listener = Builder::new()
        .name("tests")
        .laddr(([127, 0, 0, 1], port).into())
        // It starts again on the port of one that was killed a moment ago.
        .reuseaddr(Some(true))
        .nodelay(true)
        .allow_anonymous(true)
        // So that a dead client is noticed before a test's patience ends: after 15 s.
        .max_keepalive(10)
        // A client's Receive Maximum counts where it is lower.
        .max_inflight(NonZeroU16::MAX)
        .max_mqueue_len(QUEUE)
        // A connected client is sent nothing twice (MQTT 5, 4.4), and what has no expiry does not expire.
        .message_retry_interval(Duration::ZERO)
        .message_expiry_interval(Duration::ZERO);
    MqttServer::new(context).listener(listener.bind()?.tcp()?).build().run().await
}
