use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Middleware, bounds, rules};

/// A prefix with common middleware. Groups nest by `parent`, at most 8 deep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::OWN_PARENT])))]
pub struct Group {
    /// What routes and other groups call this group.
    #[schemars(schema_with = "bounds::name")]
    pub name: String,
    /// The enclosing group; its prefix stands before this one's and its middleware runs first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::name")]
    pub parent: Option<String>,
    /// Levels put before the topics of the group's routes; may hold params.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::prefix")]
    pub prefix: Option<String>,
    /// Steps that every message of the group takes, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub middleware: Vec<Middleware>,
}
