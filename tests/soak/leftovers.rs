//! What is on the broker when every process has ended.

use std::time::Duration;

use routemq_tests::{Broker, Client, ClientConfig};
use rumqttc::v5::mqttbytes::QoS;

/// The broker counts its clients once a second.
const COUNTED: Duration = Duration::from_secs(4);
/// What a session still holds comes at once.
const QUIET: Duration = Duration::from_millis(500);

/// Sessions and their messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leftovers {
    /// Sessions that the broker keeps.
    pub(crate) sessions: usize,
    /// Slots that were used: each has one.
    pub(crate) slots: usize,
    /// Messages that were still queued for one of them, by client id.
    pub(crate) queued: Vec<(String, usize)>,
}

/// Looks; `client_ids` are those of the slots.
pub(crate) async fn look(broker: &Broker, client_ids: &[String]) -> Leftovers {
    let counted = match broker {
        Broker::Mosquitto(_) => Some(sessions(broker, client_ids.len()).await),
        Broker::Rmqtt(_) => None,
    };
    let (mut present, mut queued) = (0, Vec::new());
    for client_id in client_ids {
        let config = ClientConfig::new(client_id.clone()).durable();
        let mut client = Client::connect(broker.address(), config).await;
        present += usize::from(client.session_present());
        let messages = client.receive_all(QUIET).await;
        if !messages.is_empty() {
            queued.push((client_id.clone(), messages.len()));
        }
        client.disconnect().await;
    }
    // A broker that does not count its sessions is only asked for those of the slots.
    let sessions = counted.unwrap_or(present);
    Leftovers { sessions, slots: client_ids.len(), queued }
}

/// How many there are, once that is as many as expected, or when the number no longer changes.
async fn sessions(broker: &Broker, expected: usize) -> usize {
    let mut asking = broker.client("soak-accountant").await;
    asking.subscribe("$SYS/broker/clients/total", QoS::AtMostOnce).await;
    let mut sessions = None;
    // The first answer is as old as the last count; only changes are published.
    while let Some(total) = asking.receive(COUNTED).await {
        let total: usize = total.text().parse().expect("a number");
        sessions = Some(total.saturating_sub(1));
        if sessions == Some(expected) {
            break;
        }
    }
    sessions.expect("mosquitto counts its clients")
}
