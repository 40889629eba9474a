use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Broker, Database, Delivery, Group, MqttRouteStatus, Route, WorkerPod, bounds, rules};

/// Topic patterns and what happens to the messages that match them; one worker Deployment.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "routemq.io",
    version = "v1alpha1",
    kind = "MqttRoute",
    plural = "mqttroutes",
    shortname = "mr",
    category = "routemq",
    namespaced,
    doc = "Topic patterns and what happens to the messages that match them.",
    status = "MqttRouteStatus",
    scale(
        spec_replicas_path = ".spec.workerCount",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Workers", "type": "integer", "jsonPath": ".status.readyReplicas"}"#,
    printcolumn = r#"{"name": "Desired", "type": "integer", "jsonPath": ".spec.workerCount"}"#,
    printcolumn = r#"{"name": "Routes", "type": "integer", "jsonPath": ".status.routeCount"}"#,
    printcolumn = r#"{"name": "Shared", "type": "boolean", "jsonPath": ".spec.shared"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::SHARED, rules::PARENTS, rules::GROUPS])))]
pub struct MqttRouteSpec {
    /// Where messages come from; missing fields are the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<Broker>,
    /// The database that `sql` handlers use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Whether workers share one subscription; false means exactly one worker and a plain subscription.
    #[serde(default = "yes")]
    pub shared: bool,
    /// Worker pods; what `kubectl scale` changes.
    #[serde(default = "one")]
    #[schemars(schema_with = "bounds::worker_count")]
    pub worker_count: i32,
    /// The MQTT share name. Default `<namespace>.<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::share_name")]
    pub share_name: Option<String>,
    /// Prefixes with common middleware.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<Group>,
    /// What is subscribed to, and what happens to the messages.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub routes: Vec<Route>,
    /// How messages are taken, retried and given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The worker pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerPod>,
    /// Workers stop, their sessions stay, and the broker keeps the messages until the session expires.
    #[serde(default)]
    pub paused: bool,
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}
