//! rmqtt's own router behind a lock.
//!
//! rmqtt 0.24 holds a shard of its map of subscribers while it looks up who of a share is there, and may yield there; two sessions that
//! unsubscribe then block both threads on that shard, and the whole broker stands still (seen in 3 of 150 runs of a table that
//! changes under load). Its `add` and `remove` also change the map and the tree in two steps. Here they wait without blocking.

use async_trait::async_trait;
use rmqtt::{
    context::ServerContext,
    net::Result,
    router::{DefaultRouter, Router},
    types::{
        AllRelationsMap, HashMap, Id, NodeId, Route, SubRelationsMap, SubsSearchParams,
        SubsSearchResult, SubscriptionOptions, TopicName,
    },
    utils::Counter,
};
use tokio::sync::RwLock;

/// Who matches does not yield while another changes what is matched.
pub struct Gated {
    inner: DefaultRouter,
    gate: RwLock<()>,
}

impl Gated {
    /// Takes the place of the router of `context`.
    pub async fn install(context: &ServerContext) {
        let gated =
            Self { inner: DefaultRouter::new(Some(context.clone())), gate: RwLock::default() };
        *context.extends.router_mut().await = Box::new(gated);
    }
}

#[async_trait]
impl Router for Gated {
    async fn add(&self, topic_filter: &str, id: Id, opts: SubscriptionOptions) -> Result<()> {
        let _alone = self.gate.write().await;
        self.inner.add(topic_filter, id, opts).await
    }

    async fn remove(&self, topic_filter: &str, id: Id) -> Result<bool> {
        let _alone = self.gate.write().await;
        self.inner.remove(topic_filter, id).await
    }

    async fn matches(&self, id: Id, topic: &TopicName) -> Result<SubRelationsMap> {
        let _beside = self.gate.read().await;
        self.inner.matches(id, topic).await
    }

    async fn is_online(&self, node_id: NodeId, client_id: &str) -> bool {
        self.inner.is_online(node_id, client_id).await
    }

    async fn gets(&self, limit: usize) -> Vec<Route> {
        self.inner.gets(limit).await
    }

    async fn get(&self, topic: &str) -> Result<Vec<Route>> {
        self.inner.get(topic).await
    }

    async fn query_subscriptions(&self, q: &SubsSearchParams) -> Vec<SubsSearchResult> {
        self.inner.query_subscriptions(q).await
    }

    async fn topics_tree(&self) -> usize {
        self.inner.topics_tree().await
    }

    fn topics(&self) -> Counter {
        self.inner.topics()
    }

    fn routes(&self) -> Counter {
        self.inner.routes()
    }

    fn merge_topics(&self, topics_map: &HashMap<NodeId, Counter>) -> Counter {
        self.inner.merge_topics(topics_map)
    }

    fn merge_routes(&self, routes_map: &HashMap<NodeId, Counter>) -> Counter {
        self.inner.merge_routes(routes_map)
    }

    async fn list_topics(&self, top: usize) -> Vec<String> {
        self.inner.list_topics(top).await
    }

    async fn list_relations(&self, top: usize) -> Vec<serde_json::Value> {
        self.inner.list_relations(top).await
    }

    fn relations(&self) -> &AllRelationsMap {
        self.inner.relations()
    }
}
