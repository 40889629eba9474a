use std::collections::BTreeSet;

use routemq_crds::{
    table::{Middleware, SchemaSource, Table},
    v1alpha1::Broker,
};

/// Names of the Secrets and ConfigMaps that an object refers to; the operator itself reads none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Mounted as a folder each.
    pub secrets: BTreeSet<String>,
    /// Mounted as a folder each.
    pub config_maps: BTreeSet<String>,
}

/// All references of a route table and its broker.
#[must_use]
pub fn references(table: &Table, broker: &Broker) -> References {
    let mut found = References { secrets: broker_secrets(broker), ..References::default() };
    found.secrets.extend(table.database.as_ref().map(|key| key.name.clone()));
    for middleware in table.routes.iter().flat_map(|route| route.middleware.iter()) {
        match middleware {
            Middleware::ApiKey { keys, .. } => found.secrets.insert(keys.name.clone()),
            Middleware::Validate(SchemaSource::ConfigMap(key)) => {
                found.config_maps.insert(key.name.clone())
            }
            _ => false,
        };
    }
    found
}

fn broker_secrets(broker: &Broker) -> BTreeSet<String> {
    let tls = broker.tls.as_ref();
    [
        broker.credentials_secret_ref.as_ref(),
        tls.and_then(|tls| tls.ca_secret_ref.as_ref()),
        tls.and_then(|tls| tls.client_cert_secret_ref.as_ref()),
    ]
    .into_iter()
    .flatten()
    .map(|reference| reference.name.clone())
    .collect()
}
