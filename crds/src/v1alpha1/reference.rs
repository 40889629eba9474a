use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// The object's name.
    #[schemars(schema_with = "bounds::object_name")]
    pub name: String,
}

/// Names one key of a Secret or ConfigMap of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRef {
    /// The object's name.
    #[schemars(schema_with = "bounds::object_name")]
    pub name: String,
    /// The key within it.
    #[schemars(schema_with = "bounds::data_key")]
    pub key: String,
}
