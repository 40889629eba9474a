use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// The object's name.
    pub name: String,
}

/// Names one key of a Secret or ConfigMap of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRef {
    /// The object's name.
    pub name: String,
    /// The key within it.
    pub key: String,
}
