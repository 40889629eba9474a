//! What the operator was told at start: the defaults of every MqttRoute.

use k8s_openapi::api::core::v1::ResourceRequirements;
use routemq_crds::v1alpha1::Broker;

/// Read once, in `main`, from flags and environment (the chart sets them).
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The worker image of MqttRoutes that name none.
    pub worker_image: String,
    /// Resources of workers that name none.
    pub worker_resources: ResourceRequirements,
    /// Secrets for pulling the worker image, in each MqttRoute's namespace.
    pub worker_pull_secrets: Vec<String>,
    /// The broker of MqttRoutes that name none; a spec overrides it field by field.
    pub broker: Broker,
}

/// The broker of one MqttRoute: the spec's fields, and the operator's where it has none.
#[must_use]
pub fn effective_broker(spec: Option<&Broker>, defaults: &Broker) -> Broker {
    let spec = spec.cloned().unwrap_or_default();
    Broker {
        url: spec.url.or_else(|| defaults.url.clone()),
        credentials_secret_ref: spec
            .credentials_secret_ref
            .or_else(|| defaults.credentials_secret_ref.clone()),
        tls: spec.tls.or_else(|| defaults.tls.clone()),
    }
}
