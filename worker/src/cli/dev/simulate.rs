//! Publishes plausible messages, over a connection of its own as any device would.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use routemq_mqtt::{Publisher, SessionConfig};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use url::Url;

use super::{load::Load, sample::Sampler};

/// How much, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Messages a second in all.
    pub(super) rate: f64,
    pub(super) seed: u64,
}

/// A simulation under way.
pub(super) struct Simulation {
    /// What is simulated; replaced on reload.
    load: Arc<RwLock<Load>>,
    publisher: Publisher,
    task: JoinHandle<()>,
}

pub(super) fn start(broker: &str, plan: Plan, load: &Load) -> Option<Simulation> {
    let url = Url::parse(broker).ok()?;
    let mut config = SessionConfig::new(url, "dev-simulation");
    config.clean_start = true;
    config.session_expiry = Duration::ZERO;
    let publisher = Publisher::spawn(config);
    let load = Arc::new(RwLock::new(load.clone()));
    let task = tokio::spawn(publish(publisher.clone(), plan, Arc::clone(&load)));
    Some(Simulation { load, publisher, task })
}

impl Simulation {
    pub(super) fn learn(&self, load: &Load) {
        *self.load.write().unwrap_or_else(PoisonError::into_inner) = load.clone();
    }

    pub(super) async fn stop(self) {
        self.task.abort();
        self.publisher.stop(Duration::from_secs(1)).await;
    }
}

/// Route by route, in turn; the next message waits until the broker has the one before.
async fn publish(publisher: Publisher, plan: Plan, load: Arc<RwLock<Load>>) {
    let mut sampler = Sampler::new(plan.seed);
    let mut ticks = interval(Duration::from_secs_f64(1.0 / plan.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_usize.. {
        ticks.tick().await;
        let message = {
            let load = load.read().unwrap_or_else(PoisonError::into_inner);
            let routes: Vec<_> = load
                .routes
                .iter()
                .flat_map(|loaded| loaded.table.routes.iter().map(move |route| (loaded, route)))
                .collect();
            let Some((loaded, route)) = routes.get(turn % routes.len().max(1)) else { continue };
            sampler.message(&loaded.table, route, &loaded.secrets)
        };
        if let Err(error) = publisher.publish(message).await {
            tracing::warn!(%error, "a simulated message was not published");
        }
    }
}
