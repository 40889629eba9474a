//! What runs: an object's table, and what it refers to.

use routemq_crds::{table::Table, v1alpha1::MqttRoute};

use crate::Secrets;

/// A `MqttRoute` that compiled, and what it refers to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// An object that did not change is left alone by [`Running::apply`](super::Running::apply).
    pub written: Written,
    /// Compiled.
    pub table: Table,
    /// The Secrets and ConfigMaps of its namespace.
    pub secrets: Secrets,
}

/// A spec as it was written, to tell whether another is the same: its JSON, which takes far less memory than the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written(Box<str>);

impl From<&MqttRoute> for Written {
    fn from(object: &MqttRoute) -> Self {
        #[expect(clippy::expect_used, reason = "a spec is plain data: strings, numbers, maps")]
        let json = serde_json::to_string(&object.spec).expect("a spec is plain data");
        Self(json.into_boxed_str())
    }
}
