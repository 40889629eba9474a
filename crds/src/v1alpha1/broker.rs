use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, NameRef, bounds, rules};

/// Where messages come from. Every field defaults to the operator's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::BROKER_URL, rules::BROKER_TLS])))]
pub struct Broker {
    /// `mqtt://`, `mqtts://`, `ws://` or `wss://`, a host and, if it is not the scheme's own, a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::broker_url")]
    pub url: Option<String>,
    /// A Secret with the keys `username` and `password`; either may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<NameRef>,
    /// Certificates for `mqtts://` and `wss://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Certificates; without it the system's roots are trusted and no client certificate is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret whose key `ca.crt` is the authority to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<NameRef>,
    /// A Secret whose keys `tls.crt` and `tls.key` are the client's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_secret_ref: Option<NameRef>,
}

/// The database that `sql` handlers and `dedup` with a `Database` store use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// A Secret's key that holds a `mysql://`, `postgres://` or `sqlite://` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
}
