//! rumqttc's event loop, its limits opened as far as they go: what a subscriber in Rust usually is.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{Packet, Publish},
    },
};

use super::{Order, Tally, say_ready};
use crate::error::{BenchError, Context as _};

/// Acknowledgements that wait for the event loop: one that found no room would be lost.
const REQUESTS: usize = 65_536;

pub(super) fn run(order: &Order, tally: &Tally, manual: bool) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime")?.block_on(serve(order, tally, manual))
}

async fn serve(order: &Order, tally: &Tally, manual: bool) -> Result<(), BenchError> {
    let mut options = MqttOptions::new("bench-rumqttc", "127.0.0.1", order.port);
    options.set_keep_alive(Duration::from_mins(1)).set_manual_acks(manual);
    options.set_receive_maximum(Some(order.window)).set_max_packet_size(Some(1 << 20));
    options.set_request_channel_capacity(REQUESTS);
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let qos = match order.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let asked = client.subscribe("$share/rumqttc/#", qos).await;
    asked.map_err(|error| BenchError::Wrong(error.to_string()))?;
    while let Some(publish) = next(&mut events).await {
        tally.add(1);
        if manual && client.try_ack(&publish).is_err() {
            return Err(BenchError::Wrong("an acknowledgement found no room".to_owned()));
        }
    }
    Ok(())
}

/// The next message; `None`: the connection is gone.
async fn next(events: &mut EventLoop) -> Option<Publish> {
    loop {
        match events.poll().await.ok()? {
            Event::Incoming(Packet::Publish(publish)) => return Some(publish),
            Event::Incoming(Packet::SubAck(_)) => say_ready(None),
            _ => {}
        }
    }
}
